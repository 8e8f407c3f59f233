//! What clients find beside tools: resources and prompts of mounted servers, and in tests the fixtures of the conformance suite.
#![expect(
    deprecated,
    reason = "the protocol's own logging is deprecated, and upstream servers have it"
)]

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::RoleServer;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, ErrorCode, ErrorData, GetPromptRequestParams, GetPromptResponse,
    Prompt, ReadResourceRequestParams, ReadResourceResponse, Resource, ResourceTemplate, ServerCapabilities,
    SetLevelRequestParams,
};
use rmcp::service::RequestContext;

use crate::call::Principal;
use crate::notices::Notices;

/// Resources and prompts that come from elsewhere and are served through the same door. Tools are in the registry,
/// wherever they come from.
///
/// There is one annex or none; one that stands for several servers tells them apart by name itself. Lists are given
/// whole and in any order: sorting and pages are the door's business. What is not overridden answers as a method
/// this server does not have.
///
/// `context` is the request's own: notifications and questions sent through its peer go to the client that waits for
/// this answer, and its cancellation token says when nobody waits any more.
#[async_trait]
pub trait Annex: std::fmt::Debug + Send + Sync + 'static {
    /// What this adds to what the server says it can do.
    fn capabilities(&self) -> ServerCapabilities {
        ServerCapabilities::default()
    }

    /// Called once, before the first request, with the way to tell clients that something has changed.
    fn attach(&self, notices: Notices) {
        drop(notices);
    }

    /// The resources `caller` finds here.
    async fn resources(&self, caller: &Principal) -> Vec<Resource> {
        let _ = caller;
        Vec::new()
    }

    /// The resource templates `caller` finds here.
    async fn resource_templates(&self, caller: &Principal) -> Vec<ResourceTemplate> {
        let _ = caller;
        Vec::new()
    }

    /// Reads a resource.
    async fn read_resource(
        &self,
        caller: Arc<Principal>,
        what: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let _ = (caller, what, context);
        Err(not_here("resources/read"))
    }

    /// Whether a session of `caller` may watch a resource, and takes note of it. From then on the session hears of
    /// [`crate::Change::Resource`] with this address.
    async fn subscribe(&self, caller: Arc<Principal>, uri: &str) -> Result<(), ErrorData> {
        let _ = (caller, uri);
        Err(not_here("resources/subscribe"))
    }

    /// Takes note that a session of `caller` watches a resource no more.
    async fn unsubscribe(&self, caller: Arc<Principal>, uri: &str) -> Result<(), ErrorData> {
        let _ = (caller, uri);
        Err(not_here("resources/unsubscribe"))
    }

    /// The prompts `caller` finds here.
    async fn prompts(&self, caller: &Principal) -> Vec<Prompt> {
        let _ = caller;
        Vec::new()
    }

    /// Fills in a prompt.
    async fn get_prompt(
        &self,
        caller: Arc<Principal>,
        what: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let _ = (caller, what, context);
        Err(not_here("prompts/get"))
    }

    /// Suggests how an argument may go on.
    async fn complete(
        &self,
        caller: Arc<Principal>,
        what: CompleteRequestParams,
    ) -> Result<CompleteResult, ErrorData> {
        let _ = (caller, what);
        Err(not_here("completion/complete"))
    }

    /// Takes note of how much of the log a session of `caller` wants to hear.
    async fn set_level(&self, caller: Arc<Principal>, level: SetLevelRequestParams) -> Result<(), ErrorData> {
        let _ = (caller, level);
        Err(not_here("logging/setLevel"))
    }
}

/// The answer to a method this server does not have.
pub(crate) fn not_here(method: &str) -> ErrorData {
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("unknown method: {method}"),
        None,
    )
}

/// `ours` and what the annex adds. What both name, the annex says.
pub(crate) fn merged(mut ours: ServerCapabilities, theirs: ServerCapabilities) -> ServerCapabilities {
    macro_rules! take {
        ($($field:ident),*) => {
            $(if theirs.$field.is_some() {
                ours.$field = theirs.$field;
            })*
        };
    }
    take!(
        experimental,
        extensions,
        completions,
        logging,
        prompts,
        resources,
        tools
    );
    ours
}
