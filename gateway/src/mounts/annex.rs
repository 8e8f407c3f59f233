//! A mounted server that keeps its own names passes the rest of its protocol through: resources, prompts, completion,
//! log levels, subscriptions.
#![expect(
    deprecated,
    reason = "the protocol's own logging is deprecated, and servers have it"
)]

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::RoleServer;
use rmcp::model::{
    ClientRequest, CompleteRequest, CompleteRequestParams, CompleteResult, ErrorData, GetPromptRequest,
    GetPromptRequestParams, GetPromptResponse, ListPromptsRequest, ListResourceTemplatesRequest,
    ListResourcesRequest, PaginatedRequestParams, Prompt, ReadResourceRequest, ReadResourceRequestParams,
    ReadResourceResponse, Resource, ResourceTemplate, ServerCapabilities, ServerResult, SetLevelRequest,
    SetLevelRequestParams, SubscribeRequest, SubscribeRequestParams, UnsubscribeRequest,
    UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;

use super::mount::{AskError, Asked, Mount};
use crate::annex::Annex;
use crate::call::Principal;

/// Pages of a list.
const PAGES_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct PassedThrough(pub(super) Arc<Mount>);

impl PassedThrough {
    async fn ask(&self, caller: &Principal, request: ClientRequest) -> Result<ServerResult, ErrorData> {
        let answer = self.0.ask_aside(request, caller).await;
        answer.map_err(|error| self.failed(&error))?
    }

    async fn ask_for(
        &self,
        caller: &Principal,
        request: ClientRequest,
        context: &RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        // Resources and prompts are looked at; asking twice does nothing twice.
        let asked = Asked {
            context,
            is_plain: false,
        };
        let answer = self.0.ask(request, caller, asked, true).await;
        answer.map_err(|error| self.failed(&error))?
    }

    fn failed(&self, error: &AskError) -> ErrorData {
        ErrorData::internal_error(format!("{}: {error}", self.0.settings.name), None)
    }

    fn nonsense(&self) -> ErrorData {
        let name = &self.0.settings.name;
        ErrorData::internal_error(
            format!("{name}: the server answered something else than was asked"),
            None,
        )
    }

    /// A whole list, page by page. What cannot be had is left out: the others are shown.
    async fn all<T>(
        &self,
        caller: &Principal,
        request: impl Fn(PaginatedRequestParams) -> ClientRequest,
        page: impl Fn(ServerResult) -> Option<(Vec<T>, Option<String>)>,
    ) -> Vec<T> {
        let (mut all, mut params) = (Vec::new(), PaginatedRequestParams::default());
        for _ in 0..PAGES_MAX {
            let asked = self.ask(caller, request(params.clone())).await;
            let Some((items, next)) = asked.ok().and_then(&page) else {
                break;
            };
            all.extend(items);
            if next.is_none() {
                break;
            }
            params.cursor = next;
        }
        all
    }
}

#[async_trait]
impl Annex for PassedThrough {
    fn capabilities(&self) -> ServerCapabilities {
        let theirs = self.0.capabilities();
        let mut passed = ServerCapabilities::default();
        passed.completions = theirs.completions;
        passed.logging = theirs.logging;
        passed.prompts = theirs.prompts;
        passed.resources = theirs.resources;
        passed
    }

    async fn resources(&self, caller: &Principal) -> Vec<Resource> {
        self.all(
            caller,
            |params| ClientRequest::ListResourcesRequest(ListResourcesRequest::with_param(params)),
            |result| match result {
                ServerResult::ListResourcesResult(page) => Some((page.resources, page.next_cursor)),
                _ => None,
            },
        )
        .await
    }

    async fn resource_templates(&self, caller: &Principal) -> Vec<ResourceTemplate> {
        self.all(
            caller,
            |params| {
                ClientRequest::ListResourceTemplatesRequest(ListResourceTemplatesRequest::with_param(params))
            },
            |result| match result {
                ServerResult::ListResourceTemplatesResult(page) => {
                    Some((page.resource_templates, page.next_cursor))
                }
                _ => None,
            },
        )
        .await
    }

    async fn prompts(&self, caller: &Principal) -> Vec<Prompt> {
        self.all(
            caller,
            |params| ClientRequest::ListPromptsRequest(ListPromptsRequest::with_param(params)),
            |result| match result {
                ServerResult::ListPromptsResult(page) => Some((page.prompts, page.next_cursor)),
                _ => None,
            },
        )
        .await
    }

    async fn read_resource(
        &self,
        caller: Arc<Principal>,
        mut what: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        what.meta = None;
        let request = ClientRequest::ReadResourceRequest(ReadResourceRequest::new(what));
        match self.ask_for(&caller, request, &context).await? {
            ServerResult::ReadResourceResult(result) => Ok(ReadResourceResponse::Complete(result)),
            ServerResult::InputRequiredResult(result) => Ok(ReadResourceResponse::InputRequired(result)),
            _ => Err(self.nonsense()),
        }
    }

    async fn get_prompt(
        &self,
        caller: Arc<Principal>,
        mut what: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        what.meta = None;
        let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(what));
        match self.ask_for(&caller, request, &context).await? {
            ServerResult::GetPromptResult(result) => Ok(GetPromptResponse::Complete(result)),
            ServerResult::InputRequiredResult(result) => Ok(GetPromptResponse::InputRequired(result)),
            _ => Err(self.nonsense()),
        }
    }

    async fn complete(
        &self,
        caller: Arc<Principal>,
        mut what: CompleteRequestParams,
    ) -> Result<CompleteResult, ErrorData> {
        what.meta = None;
        let request = ClientRequest::CompleteRequest(CompleteRequest::new(what));
        match self.ask(&caller, request).await? {
            ServerResult::CompleteResult(result) => Ok(result),
            _ => Err(self.nonsense()),
        }
    }

    async fn subscribe(&self, caller: Arc<Principal>, uri: &str) -> Result<(), ErrorData> {
        let request = SubscribeRequest::new(SubscribeRequestParams::new(uri));
        self.ask(&caller, ClientRequest::SubscribeRequest(request))
            .await
            .map(drop)
    }

    async fn unsubscribe(&self, caller: Arc<Principal>, uri: &str) -> Result<(), ErrorData> {
        let request = UnsubscribeRequest::new(UnsubscribeRequestParams::new(uri));
        self.ask(&caller, ClientRequest::UnsubscribeRequest(request))
            .await
            .map(drop)
    }

    async fn set_level(
        &self,
        caller: Arc<Principal>,
        mut level: SetLevelRequestParams,
    ) -> Result<(), ErrorData> {
        level.meta = None;
        let request = ClientRequest::SetLevelRequest(SetLevelRequest::new(level));
        self.ask(&caller, request).await.map(drop)
    }
}
