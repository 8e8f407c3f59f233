//! A stock MCP client.

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

/// An open session.
pub type Session = RunningService<RoleClient, ClientConfig>;

/// Opens a session at `url`, as whoever `token` is of.
///
/// # Errors
/// When nobody answers, or the answer is no.
pub async fn open(url: &str, token: Option<String>) -> anyhow::Result<Session> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
    if let Some(token) = token {
        config = config.auth_header(token);
    }
    let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
    let client = Implementation::new("benches", env!("CARGO_PKG_VERSION"));
    let session = ClientConfig::new(ClientCapabilities::default(), client);
    Ok(session.serve(transport).await?)
}
