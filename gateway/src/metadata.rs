//! What this server is to an OAuth client: RFC 9728 metadata, without a token.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::gateway::Gateway;

/// Where the metadata of the MCP endpoint is.
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// The metadata; the same at the root and at the endpoint's own path.
pub(crate) async fn protected_resource(State(gateway): State<Gateway>, request: Request) -> Response {
    let inner = &gateway.inner;
    if let Err(problem) = inner.allowed.check(request.uri(), request.headers()) {
        return problem.into_response();
    }
    let base = &inner.public_url;
    let issuers = inner.identity.trusted_issuers();
    let servers: Vec<&String> = std::iter::once(base).chain(&issuers).collect();
    Json(json!({
        "resource": format!("{base}/mcp"),
        "authorization_servers": servers,
        "bearer_methods_supported": ["header"],
        "resource_name": "Dramatis",
    }))
    .into_response()
}
