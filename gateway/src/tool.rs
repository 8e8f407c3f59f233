//! What a tool is: its name and schemas as clients see them, and the function that carries it out.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorData};
use rmcp::service::RequestContext;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::CallContext;
use crate::policy::PolicyTool;
use crate::schema;

/// Who may see a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Whoever is a member of the space it acts in.
    UserSpace,
    /// Nobody who comes over MCP: never listed, never callable.
    Admin,
}

/// What a tool does to the data, for the policy gate and for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hint {
    /// Looks only.
    Read,
    /// Adds or changes, in a way that can be undone.
    Write,
    /// Removes for good.
    Destructive,
}

/// The fields of one table that a tool writes sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EncryptedFields {
    /// The table of app data.
    pub table: &'static str,
    /// Its sealed fields.
    pub fields: &'static [&'static str],
}

/// What a tool says about itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its MCP name, `module.verb`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does, in a sentence or two that a newcomer understands.
    pub description: &'static str,
    /// Who may see it.
    pub scope: Scope,
    /// What it does to the data.
    pub hint: Hint,
    /// Whether calling it again with the same arguments changes nothing more. Reads always are.
    pub idempotent: bool,
    /// What it writes sealed.
    pub encrypted: Option<EncryptedFields>,
}

impl About {
    /// What policy goes by.
    pub(crate) fn for_policy(&self) -> PolicyTool<'_> {
        PolicyTool {
            name: self.name,
            scope: self.scope,
            hint: self.hint,
        }
    }

    /// The part of the name before the first dot.
    pub fn module(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(module, _)| module)
    }
}

/// What carries out a call.
pub(crate) type Handler =
    Arc<dyn Fn(CallContext, Value) -> BoxFuture<'static, Result<Reply, ToolError>> + Send + Sync>;

/// Says whether a tool's server is one that says nothing on the way to an answer, unless it is asked to or asks.
pub(crate) type OnlyAnswers = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a tool answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Data, still to be checked against the tool's output schema.
    Data(Value),
    /// What an upstream server answered, to be passed on as it is.
    AsIs(Result<CallToolResponse, ErrorData>),
}

/// A tool: what it says about itself, its schemas, and what carries it out.
#[derive(Clone)]
pub struct ToolSpec {
    pub(crate) about: About,
    pub(crate) input: Map<String, Value>,
    /// `None` for an upstream's tool, whose answers are not ours to judge.
    pub(crate) output: Option<Map<String, Value>>,
    handler: Handler,
    only_answers: Option<OnlyAnswers>,
}

impl std::fmt::Debug for ToolSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolSpec")
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

impl ToolSpec {
    /// A tool whose schemas are those of its handler's types.
    ///
    /// The input is checked against its schema before the handler sees it, the output against its own before a
    /// client does.
    pub fn new<In, Out, Run, Answer>(about: About, run: Run) -> Self
    where
        In: DeserializeOwned + JsonSchema + Send + 'static,
        Out: Serialize + JsonSchema + 'static,
        Run: Fn(CallContext, In) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Result<Out, ToolError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |context, arguments| {
            let run = run.clone();
            async move {
                // The schema has passed, so what is left is a number beyond the type's range. The text of serde's
                // error is not passed on: it may repeat what the caller sent.
                let input = serde_json::from_value(arguments)
                    .map_err(|_| ToolError::Rejected("a number is too large".to_owned()))?;
                let output = run(context, input).await?;
                serde_json::to_value(output)
                    .map(Reply::Data)
                    .map_err(|error| ToolError::failed("the answer could not be written", error))
            }
            .boxed()
        });
        Self {
            about,
            input: schema::input::<In>(),
            output: Some(schema::output::<Out>()),
            handler,
            only_answers: None,
        }
    }

    /// A tool that answers for itself: what `run` gives is passed on as it is, and through the request's context it
    /// may speak to its client on the way. It is ended when its caller gives the call up.
    pub fn raw<Run, Answer>(about: About, input: Map<String, Value>, run: Run) -> Self
    where
        Run: Fn(CallContext, CallToolRequestParams, RequestContext<RoleServer>) -> Answer
            + Clone
            + Send
            + Sync
            + 'static,
        Answer: Future<Output = Result<CallToolResponse, ErrorData>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |context, arguments| {
            let asked = context.request.clone();
            let mut params = asked.params.clone();
            params.arguments = arguments.as_object().cloned();
            let answering = run(context, params, asked.context.clone());
            async move {
                // Whichever is first: nobody waits for what is given up.
                let answer = tokio::select! {
                    answer = answering => answer,
                    () = asked.context.ct.cancelled() => {
                        Err(ErrorData::internal_error("the call was cancelled", None))
                    }
                };
                Ok(Reply::AsIs(answer))
            }
            .boxed()
        });
        Self::mounted(about, input, handler)
    }

    /// A tool of an upstream server, with the schema it gave for its input.
    pub(crate) fn mounted(about: About, input: Map<String, Value>, handler: Handler) -> Self {
        Self {
            about,
            input,
            output: None,
            handler,
            only_answers: None,
        }
    }

    /// The same, of a server of which `only_answers` tells.
    #[must_use]
    pub(crate) fn with_only_answers(mut self, only_answers: OnlyAnswers) -> Self {
        self.only_answers = Some(only_answers);
        self
    }

    /// Whether its server is known to say nothing on the way to an answer, unless it is asked to or asks.
    pub(crate) fn only_answers(&self) -> bool {
        self.only_answers
            .as_ref()
            .is_some_and(|only_answers| only_answers())
    }

    /// Whether an upstream server carries it out.
    pub(crate) fn is_mounted(&self) -> bool {
        self.output.is_none()
    }

    /// Carries out one call whose arguments have passed the input schema.
    pub(crate) fn call(
        &self,
        context: CallContext,
        arguments: Value,
    ) -> BoxFuture<'static, Result<Reply, ToolError>> {
        (self.handler)(context, arguments)
    }
}

/// Why a tool has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The call cannot be done as asked. The caller reads the text and may mend the call; it never holds a value
    /// the caller sent, because errors are stored where sealed fields must not be.
    #[error("{0}")]
    Rejected(String),
    /// The call cannot be done for a reason that programs should know apart from others: `code` is stable.
    #[error("{reason}")]
    Refused {
        /// For programs, in capitals.
        code: &'static str,
        /// For people.
        reason: String,
    },
    /// The house is at fault. The caller reads `what`, the log has the cause.
    #[error("{what}")]
    Failed {
        /// What could not be done, for the caller.
        what: String,
        /// Why, for the log.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ToolError {
    /// A failure of the house.
    pub fn failed(what: impl Into<String>, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed {
            what: what.into(),
            cause: Box::new(cause),
        }
    }
}
