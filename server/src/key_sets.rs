//! Fetches the key sets of trusted issuers over HTTP.

use std::time::Duration;

use identity::{KeySetFuture, KeySetSource};
use reqwest::redirect::Policy;

/// How long an issuer may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes a key set may have.
const BYTES_MAX: usize = 256 * 1024;

/// See the module. It follows no redirect: an issuer's keys are where the operator said, or nowhere.
#[derive(Debug)]
pub(crate) struct HttpKeySets(reqwest::Client);

impl HttpKeySets {
    /// A source without connections yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(WITHIN)
            .redirect(Policy::none());
        Ok(Self(client.build()?))
    }

    async fn body(&self, url: &str) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.0.get(url).send().await.map_err(told)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > BYTES_MAX {
                return Err(format!("more than {BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl KeySetSource for HttpKeySets {
    fn fetch<'a>(&'a self, url: &'a str) -> KeySetFuture<'a> {
        Box::pin(self.body(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use axum::{Router, response::Redirect};
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn redirects_errors_and_too_much_are_no_key_sets() {
        let router = Router::new()
            .route("/keys", get(|| async { "{\"keys\":[]}" }))
            .route("/moved", get(|| async { Redirect::temporary("/keys") }))
            .route("/large", get(|| async { vec![b' '; BYTES_MAX + 1] }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        let sets = HttpKeySets::new().unwrap();
        assert_eq!(
            sets.fetch(&format!("{base}/keys")).await.unwrap(),
            b"{\"keys\":[]}"
        );
        for bad in ["moved", "large", "missing"] {
            sets.fetch(&format!("{base}/{bad}")).await.unwrap_err();
        }
    }
}
