//! The page at `/`: what the personas did, as one document without scripts.
//!
//! Whoever reaches the port sees it, so in production it is not there.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use events::{Clock as _, StreamSeq};
use http::header;

use super::App;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;
use crate::report::{PageAbout, PageLink, STYLE};

/// No scripts, nothing from elsewhere, no frames; the one style sheet is ours.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/"], show)
            .about(Access::Open, "The dashboard; not in production")
            .refuses(&[404, 503])
            .answers_with("text/html"),
        Endpoint::get(&["/style.css"], style)
            .about(Access::Open, "The dashboard's style sheet")
            .answers_with("text/css"),
    ]
}

async fn show(State(app): State<App>) -> Result<Response, Problem> {
    if app.settings.production {
        let detail = "the dashboard with sign-in is not part of this version; `dramatis personas list` and \
                      GET /api/v1/admin/report tell the same";
        return Err(Problem::not_found("NO_DASHBOARD", detail));
    }
    let (report, counts) = (
        app.tables.report(StreamSeq::ZERO).await?,
        app.tables.counts().await?,
    );
    let about = PageAbout {
        title: "Dramatis".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: "development".to_owned(),
        generated_at: app.clock.now(),
        links: links(),
    };
    let page = crate::report::html(&report, &counts, &about);
    Ok(([(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)], page).into_response())
}

fn links() -> Vec<PageLink> {
    [
        ("Readiness", "/readyz?verbose"),
        ("Metrics", "/metrics"),
        ("API description", "/openapi.json"),
    ]
    .map(|(label, href)| PageLink {
        label: label.to_owned(),
        href: href.to_owned(),
    })
    .into()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}
