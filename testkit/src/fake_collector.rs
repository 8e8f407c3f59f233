//! An OpenTelemetry collector that is none: it keeps what it is sent, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;

type Kept = Arc<Mutex<Vec<Bytes>>>;

/// A running collector. It ends with this value.
#[derive(Debug)]
pub struct FakeCollector {
    address: SocketAddr,
    kept: Kept,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeCollector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeCollector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is no free port.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    #[expect(clippy::disallowed_methods, reason = "the server ends with this value")]
    pub async fn start() -> Self {
        let kept = Kept::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(kept.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            // An error ends the server, and the test sees that nothing came.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            address,
            kept,
            server,
        }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of all requests so far.
    pub fn taken(&self) -> Vec<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take(State(kept): State<Kept>, body: Bytes) {
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
}
