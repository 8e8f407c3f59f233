//! MCP as rmcp asks for it: who we are, what there is, and one call handed on to its dispatch.
#![expect(
    deprecated,
    reason = "the protocol's own logging is deprecated, and upstream servers have it"
)]

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
    CustomRequest, CustomResult, ErrorData, GetPromptRequestParams, GetPromptResponse, Implementation,
    InitializeRequestParams, InitializeResult, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionFilter, Tool, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};

use crate::annex::{self, Annex};
use crate::call::Principal;
use crate::call_log::UnderWay;
use crate::door::{Opened, Opening};
use crate::gateway::Inner;
use crate::lists::{Kind, LIST_TTL_MS};
use crate::sessions::InUse;
use crate::trace;

const INSTRUCTIONS: &str = "Habits, tasks, notes and a journal of one space. List before you change: ids come from \
    the list and create tools. An error names the field and what it must be.";
/// The `_meta` member of a list that names the mounted servers which are away.
const DEGRADED: &str = "dramatis/degraded";
/// Methods we do answer: rmcp hands them on as custom requests when their params have the wrong shape.
const ANSWERED: [&str; 4] = ["initialize", "ping", "tools/call", "tools/list"];
/// Those we answer where there is an annex.
const ANSWERED_BY_ANNEX: [&str; 9] = [
    "completion/complete",
    "logging/setLevel",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
];
/// Methods that the revision without sessions no longer has.
const GONE: [&str; 5] = [
    "initialize",
    "logging/setLevel",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
];
/// The first revision without sessions.
const STATELESS_SINCE: &str = "2026-07-28";
/// Streams of `subscriptions/listen` one user may hold.
const LISTENING_PER_USER_MAX: usize = 32;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Mcp(Arc<Inner>);

impl Mcp {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    fn annex(&self, method: &str) -> Result<&dyn Annex, ErrorData> {
        self.0.annex.as_deref().ok_or_else(|| annex::not_here(method))
    }
}

/// What the door attached to the request that `context` is about.
fn attached<T: Clone + Send + Sync + 'static>(context: &RequestContext<RoleServer>) -> Option<T> {
    context.extensions.get::<Parts>()?.extensions.get::<T>().cloned()
}

/// The request's trace, from its own word or from the HTTP request that brought it.
fn settle_trace(context: &mut RequestContext<RoleServer>) {
    let headers = context.extensions.get::<Parts>().map(|parts| &parts.headers);
    trace::settle(&mut context.meta, headers);
}

/// Whether the request is of a revision without sessions.
fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version.as_str() >= STATELESS_SINCE)
}

/// Whose request this is.
fn caller(context: &RequestContext<RoleServer>) -> Result<Arc<Principal>, ErrorData> {
    attached::<Arc<Principal>>(context).ok_or_else(|| {
        // Only a request that went around the door lacks one.
        tracing::error!("a request came without a caller");
        ErrorData::internal_error("the caller is not known", None)
    })
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let implementation =
            Implementation::new("dramatis", env!("CARGO_PKG_VERSION")).with_title("Dramatis");
        let ours = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        let theirs = self.0.annex.as_ref().map(|annex| annex.capabilities());
        ServerConfig::new(annex::merged(ours, theirs.unwrap_or_default()))
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let Some(opening) = attached::<Opening>(&context) else {
            let told = "this session has begun already; send initialize without a session id for another one";
            return Err(ErrorData::invalid_request(told, None));
        };
        context.peer.set_peer_info(request.clone());
        let result = self.negotiate_initialize(&request)?;
        let mut hello = request;
        hello.protocol_version = result.protocol_version.clone();
        hello.meta = None;
        opening.fill(Opened(hello));
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.0.list_tools(caller(&context)?.as_ref(), request.as_ref())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.registry.listed_tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        settle_trace(&mut context);
        let caller = caller(&context)?;
        let _in_use = self.0.in_use(&caller);
        let under_way = self.0.under_way(&caller)?;
        self.0.dispatch(caller, request, context, under_way).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let caller = caller(&context)?;
        let all = self.annex("resources/list")?.resources(&caller).await;
        let page = self.0.page(Kind::Resources, &caller, all, request.as_ref())?;
        let mut result = ListResourcesResult::with_all_items(page.items)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = page.next;
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let caller = caller(&context)?;
        let annex = self.annex("resources/templates/list")?;
        let all = annex.resource_templates(&caller).await;
        let page = self
            .0
            .page(Kind::ResourceTemplates, &caller, all, request.as_ref())?;
        let mut result = ListResourceTemplatesResult::with_all_items(page.items)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = page.next;
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        settle_trace(&mut context);
        let caller = caller(&context)?;
        let _under_way = self.0.under_way(&caller)?;
        let annex = self.annex("resources/read")?;
        annex.read_resource(caller, request, context).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let caller = caller(&context)?;
        let all = self.annex("prompts/list")?.prompts(&caller).await;
        let page = self.0.page(Kind::Prompts, &caller, all, request.as_ref())?;
        let mut result = ListPromptsResult::with_all_items(page.items)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = page.next;
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        settle_trace(&mut context);
        let caller = caller(&context)?;
        let _under_way = self.0.under_way(&caller)?;
        let annex = self.annex("prompts/get")?;
        annex.get_prompt(caller, request, context).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let annex = self.annex("completion/complete")?;
        annex.complete(caller(&context)?, request).await
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_stateless(&context) {
            return Err(annex::not_here("logging/setLevel"));
        }
        let annex = self.annex("logging/setLevel")?;
        annex.set_level(caller(&context)?, request).await
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = caller(&context)?;
        let session = caller.session.clone();
        let annex = self.annex("resources/subscribe")?;
        annex.subscribe(caller, &request.uri).await?;
        if session.is_none_or(|session| session.desk.watch(request.uri)) {
            return Ok(());
        }
        let told = "this session watches too many resources; unsubscribe from one first";
        Err(ErrorData::invalid_request(told, None))
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = caller(&context)?;
        if let Some(session) = &caller.session {
            session.desk.unwatch(&request.uri);
        }
        let annex = self.annex("resources/unsubscribe")?;
        annex.unsubscribe(caller, &request.uri).await
    }

    /// Whatever was asked for; rmcp leaves of it what our capabilities say.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let caller = caller(subscription.request_context())?;
        let sink = subscription.sink().clone();
        let listening = self
            .0
            .listeners
            .listen(caller, sink, LISTENING_PER_USER_MAX)
            .ok_or_else(|| {
                let told = format!("you listen on {LISTENING_PER_USER_MAX} streams already; end one of them");
                ErrorData::invalid_request(told, None)
            })?;
        // Whichever is first: the client went away, or the server ends the stream in good order.
        tokio::select! {
            () = subscription.cancelled() => {}
            () = listening.end.cancelled() => {}
        }
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method = request.method.as_str();
        let is_answered =
            ANSWERED.contains(&method) || self.0.annex.is_some() && ANSWERED_BY_ANNEX.contains(&method);
        let is_gone = is_stateless(&context) && GONE.contains(&method);
        if is_answered && !is_gone {
            return Err(ErrorData::invalid_params(
                format!("params of {method} have the wrong shape"),
                None,
            ));
        }
        Err(annex::not_here(&events::capped(method, 80)))
    }
}

impl Inner {
    /// The page of tools that `request` asks for.
    pub(crate) fn list_tools(
        &self,
        caller: &Principal,
        request: Option<&PaginatedRequestParams>,
    ) -> Result<ListToolsResult, ErrorData> {
        let page = self.page(Kind::Tools, caller, self.listed_for(caller), request)?;
        let mut result = ListToolsResult::with_all_items(page.items)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = page.next;
        result.meta = self.degraded();
        Ok(result)
    }

    /// What a list of tools says of mounted servers that are away.
    fn degraded(&self) -> Option<MetaObject> {
        let away = self.mounts.degraded();
        let marker = (!away.is_empty()).then(|| JsonObject::from_iter([(DEGRADED.to_owned(), away.into())]));
        marker.map(MetaObject)
    }

    /// Counts something `caller` has under way, for as long as the answer lives, even when its client has gone
    /// away: the drain waits, and so does whoever erases the account.
    pub(crate) fn under_way(&self, caller: &Principal) -> Result<Arc<UnderWay>, ErrorData> {
        let present = self.guests.enter(&caller.user_id).ok_or_else(|| {
            ErrorData::internal_error("the account is being erased; nothing more is done for it", None)
        })?;
        Ok(UnderWay::new(present, self.under_way.token()))
    }

    /// Keeps the caller's session, if it came in one, from resting for as long as the answer lives.
    pub(crate) fn in_use(&self, caller: &Principal) -> Option<InUse> {
        caller.session.as_ref().map(|session| self.sessions.hold(session))
    }
}
