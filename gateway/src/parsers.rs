//! The parsers of what strangers send, one by one, for trials that feed them anything and look for a panic or a hang.

use std::sync::Arc;

use events::Ids;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use rmcp::model::RequestMetaObject;

use crate::door::host_origin::Allowed;
use crate::door::{bearer, json_rpc, ownership};
use crate::error::GatewayError;
use crate::seal::Seal;
use crate::trace;

/// See the module. Each answers whether it took what it was given.
#[derive(Debug)]
pub struct Parsers {
    allowed: Allowed,
    seal: Seal,
}

impl Parsers {
    /// The parsers of a gateway at the default address.
    ///
    /// # Errors
    /// None that can be: the address is a constant.
    pub fn new(ids: Arc<dyn Ids>) -> Result<Self, GatewayError> {
        let origins = ["http://localhost:*".to_owned()];
        Ok(Self {
            allowed: Allowed::try_new("http://127.0.0.1:3069", &["localhost".to_owned()], &origins)?,
            seal: Seal::new(ids),
        })
    }

    /// The body of a POST.
    pub fn body(&self, body: &[u8]) -> bool {
        json_rpc::examine(body).is_ok()
    }

    /// A request's headers, a line each, as far as the library in front lets them through.
    pub fn headers(&self, lines: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines.split(|byte| *byte == b'\n').take(64) {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let is_let_in = self.allowed.check(&Uri::from_static("/mcp"), &headers).is_ok();
        let has_token = bearer::has_token(&headers);
        let _ = (
            ownership::is_stateless(&headers),
            json_rpc::declared_bytes(&headers),
        );
        is_let_in && has_token
    }

    /// A trace, as headers or `_meta` name it: the parent, and after a line's end the state.
    pub fn trace(&self, text: &str) -> bool {
        let (parent, state) = text.split_once('\n').unwrap_or((text, ""));
        let mut meta = RequestMetaObject::default();
        meta.insert(trace::TRACEPARENT.to_owned(), parent.into());
        meta.insert(trace::TRACESTATE.to_owned(), state.into());
        trace::settle(&mut meta, None);
        // What is taken goes on as a header, so it must be one.
        trace::parent(&meta).is_some() && trace::headers(&meta).count() > 0
    }

    /// A cursor, or the id of a stream event.
    pub fn cursor(&self, text: &str) -> bool {
        self.seal.open("cursor", "somebody", text).is_some()
    }

    /// A cursor that is taken, to begin from.
    pub fn a_cursor(&self) -> String {
        self.seal.seal("cursor", "somebody", b"todo.list")
    }
}
