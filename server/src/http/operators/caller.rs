//! An operator: an admin with a token in a header, or with the dashboard's cookie on a page of our own.
//!
//! A browser sends a cookie along whoever made it ask, so a cookie alone proves nothing. It counts only when the
//! browser says that a page of this very origin asked (`Sec-Fetch-Site`, or `Origin` where a browser sends no such
//! header); `SameSite=Strict` keeps it home besides. A page on another port of this machine is another origin.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use identity::Caller;

use crate::http::App;
use crate::http::caller::{authenticated, bearer, must_be_admin};
use crate::http::problem::Problem;

/// The cookie that holds a dashboard session's token.
pub(crate) const SESSION_COOKIE: &str = "dramatis_session";

/// See the module.
#[derive(Debug)]
pub(crate) struct Operator(pub(crate) Caller);

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let is_by_header = parts.headers.contains_key(header::AUTHORIZATION);
        let token = if is_by_header {
            bearer(&parts.headers)
        } else {
            session_cookie(&parts.headers)
        };
        if !is_by_header && token.is_some() {
            from_our_own_page(&parts.method, &parts.headers)?;
        }
        let caller = authenticated(token, app).await?;
        must_be_admin(&caller)?;
        Ok(Self(caller))
    }
}

/// The token in the session cookie; `None` when there is none, or more than one.
fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| *name == SESSION_COOKIE && !value.is_empty());
    let (_, token) = found.next()?;
    found.next().is_none().then_some(token)
}

/// Refuses a request that a page of another origin made a browser send.
pub(crate) fn from_our_own_page(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is_reading = matches!(*method, Method::GET | Method::HEAD);
    let is_ours = match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin") => true,
        // An address typed by hand, which only reads.
        Some(b"none") => is_reading,
        Some(_) => false,
        None => match headers.get(header::ORIGIN) {
            Some(origin) => is_this_host(origin, headers),
            None => is_reading,
        },
    };
    if is_ours {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "CROSS_SITE",
        "with a cookie this address is for pages of this server; programs send `Authorization: Bearer <token>`",
    ))
}

fn is_this_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let authority = |text: &str| text.parse::<Authority>().ok();
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .and_then(|(_, host)| authority(host));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(authority);
    origin.is_some() && origin == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_cookie_counts_only_when_a_page_of_this_origin_asked() {
        type Pairs = &'static [(&'static str, &'static str)];
        const HOST: (&str, &str) = ("host", "127.0.0.1:3069");
        let cases: [(Method, Pairs, bool); 10] = [
            (Method::POST, &[HOST, ("sec-fetch-site", "same-origin")], true),
            (Method::POST, &[HOST, ("sec-fetch-site", "same-site")], false),
            (Method::POST, &[HOST, ("sec-fetch-site", "cross-site")], false),
            (Method::GET, &[HOST, ("sec-fetch-site", "cross-site")], false),
            (Method::POST, &[HOST, ("sec-fetch-site", "none")], false),
            (Method::GET, &[HOST, ("sec-fetch-site", "none")], true),
            (Method::POST, &[HOST, ("origin", "http://127.0.0.1:3069")], true),
            (Method::POST, &[HOST, ("origin", "http://127.0.0.1:3070")], false),
            (Method::POST, &[HOST, ("origin", "null")], false),
            (Method::POST, &[HOST], false),
        ];
        for (method, pairs, is_ours) in cases {
            assert_eq!(
                from_our_own_page(&method, &headers(pairs)).is_ok(),
                is_ours,
                "{method} {pairs:?}"
            );
        }
        assert!(from_our_own_page(&Method::GET, &headers(&[HOST])).is_ok());
    }

    #[test]
    fn one_session_cookie_is_read_and_two_are_none() {
        let cookie = |text: &'static str| headers(&[("cookie", text)]);
        assert_eq!(
            session_cookie(&cookie("a=b; dramatis_session=tok; c=d")),
            Some("tok")
        );
        for none in [
            "",
            "dramatis_session=",
            "xdramatis_session=t",
            "dramatis_session=a; dramatis_session=b",
        ] {
            assert_eq!(session_cookie(&cookie(none)), None, "{none}");
        }
    }
}
