//! MCP as rmcp asks for it: who we are, which tools there are, and one call handed on to its dispatch.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorData,
    Implementation, InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};

use crate::call::Principal;
use crate::call_log::UnderWay;
use crate::door::{Opened, Opening};
use crate::gateway::Inner;

/// How long a client may go by a list of tools, milliseconds: rules and mounted tools change while we run.
const LIST_TTL_MS: u64 = 5_000;
const INSTRUCTIONS: &str = "Habits, tasks, notes and a journal of one space. List before you change: ids come from \
    the list and create tools. An error names the field and what it must be.";
/// Methods we do answer: rmcp hands them on as custom requests when their params have the wrong shape.
const ANSWERED: [&str; 4] = ["initialize", "ping", "tools/call", "tools/list"];

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Mcp(Arc<Inner>);

impl Mcp {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

/// What the door attached to the request that `context` is about.
fn attached<T: Clone + Send + Sync + 'static>(context: &RequestContext<RoleServer>) -> Option<T> {
    context.extensions.get::<Parts>()?.extensions.get::<T>().cloned()
}

/// Whose request `context` is about.
fn caller(context: &RequestContext<RoleServer>) -> Result<Arc<Principal>, ErrorData> {
    attached(context).ok_or_else(|| {
        // Only a request that went around the door lacks one.
        tracing::error!("a request came without a caller");
        ErrorData::internal_error("the caller is not known", None)
    })
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let implementation =
            Implementation::new("dramatis", env!("CARGO_PKG_VERSION")).with_title("Dramatis");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let result = self.negotiate_initialize(&request)?;
        if let Some(opening) = attached::<Opening>(&context) {
            let client = format!("{} {}", request.client_info.name, request.client_info.version);
            opening.fill(Opened {
                client,
                protocol: result.protocol_version.to_string(),
            });
        }
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // One page holds them all, so no cursor of ours is about; an empty one is the start.
        if request
            .and_then(|page| page.cursor)
            .is_some_and(|cursor| !cursor.is_empty())
        {
            return Err(ErrorData::invalid_params(
                "cursor: this list has one page; leave the cursor out",
                None,
            ));
        }
        let principal = caller(&context)?;
        let tools = self.0.listed_for(&principal);
        Ok(ListToolsResult::with_all_items(tools)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.registry.listed_tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let principal = caller(&context)?;
        let present = self.0.guests.enter(&principal.user_id).ok_or_else(|| {
            ErrorData::internal_error("the account is being erased; nothing more is done for it", None)
        })?;
        // The call keeps its session, and the drain waiting, even when its client has gone away.
        let under_way = UnderWay::new(present, self.0.under_way.token());
        let _in_use = principal
            .session
            .as_ref()
            .map(|session| self.0.sessions.hold(session));
        self.0.dispatch(principal, request, context, under_way).await
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if ANSWERED.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params(
                format!("params of {} have the wrong shape", request.method),
                None,
            ));
        }
        let method = events::capped(&request.method, 80);
        Err(ErrorData::new(
            rmcp::model::ErrorCode::METHOD_NOT_FOUND,
            format!("unknown method: {method}"),
            None,
        ))
    }
}
