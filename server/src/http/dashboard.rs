//! The dashboard at `/`: one page, its style and its modules, all in this binary.
//!
//! Nothing is built and nothing is fetched from elsewhere: the files beside this one are what the browser gets. They
//! hold no data; what they show they ask for at `/api/v1/queries/…`, signed in as an admin. The policy below lets no
//! other script run, and no text become markup: the modules write text with `textContent` only, and a browser that
//! knows Trusted Types refuses everything else.
//!
//! **To add a page**: a file `page-NAME.js` here, a line in [`FILES`], and a line in `app.js`.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::endpoint::{Access, Endpoint};
use super::problem::Problem;

/// Our own scripts and styles, data from ourselves, nothing inline, no frames, no forms that leave, no markup from text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Kept by the browser and asked about each time: a new binary's page is never mixed with an old one's modules.
const CACHE: &str = "no-cache";

macro_rules! files {
    ($($name:literal)*) => {
        /// Every file by its name.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("dashboard/", $name)))),*];
    };
}

files! {
    "style.css" "icon.svg"
    "app.js" "api.js" "dom.js" "format.js" "live.js" "parts.js" "prose.js" "schema.js"
    "page-api.js" "page-event.js" "page-feed.js" "page-findings.js" "page-gateway.js" "page-heatmap.js" "page-overview.js"
    "page-personas.js" "page-projections.js" "page-replay.js" "page-signin.js" "page-spend.js" "page-story.js"
    "page-system.js" "page-tools.js" "page-trace.js"
}

const INDEX: &str = include_str!("dashboard/index.html");

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/"], index)
            .about(Access::Open, "The dashboard; what it shows is for admins")
            .or_with(StatusCode::NOT_MODIFIED)
            .answers_with("text/html"),
        Endpoint::get(&["/dashboard/{file}"], file)
            .about(Access::Open, "A part of the dashboard's page")
            .or_with(StatusCode::NOT_MODIFIED)
            .refuses(&[404])
            .answers_with("text/javascript"),
    ]
}

async fn index(headers: HeaderMap) -> Response {
    let mut response = answer("text/html; charset=utf-8", INDEX, &headers);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let (name, text) = found.ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let media_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    Ok(answer(media_type, text, &headers))
}

/// The text, or that the browser has it already.
fn answer(media_type: &'static str, text: &'static str, headers: &HeaderMap) -> Response {
    let digest = Sha256::digest(text.as_bytes());
    let tag = format!("\"{}\"", hex::encode(&digest[..12]));
    let has_it = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let kept = [
        (header::CACHE_CONTROL, CACHE.to_owned()),
        (header::ETAG, tag),
        (header::CONTENT_TYPE, media_type.to_owned()),
    ];
    if has_it {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_makes_markup_of_text_or_names_another_origin() {
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            "https://",
            "//cdn",
        ];
        for (name, text) in FILES.iter().chain(&[("index.html", INDEX)]) {
            for word in banned {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
        for word in ["onclick=", "style=", "<script>", "javascript:"] {
            assert!(!INDEX.contains(word), "{word}");
        }
    }

    #[test]
    fn every_module_that_is_imported_is_in_the_binary() {
        let imported = FILES
            .iter()
            .flat_map(|(_, text)| text.split('"'))
            .filter_map(|part| part.strip_prefix("./"));
        let mut count = 0;
        for name in imported {
            count += 1;
            assert!(FILES.iter().any(|(known, _)| *known == name), "{name}");
        }
        assert!(count > FILES.len(), "{count}");
    }

    #[test]
    fn all_of_it_is_small_enough_for_a_slow_line() {
        let bytes: usize = FILES.iter().map(|(_, text)| text.len()).sum::<usize>() + INDEX.len();
        assert!(bytes <= 250_000, "{bytes} bytes");
    }
}
