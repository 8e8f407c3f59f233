//! One tick's conversation with a model: what was said, word for word, and which calls wait for their results.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use events::{CallId, Cause, Intent, Purpose};
use serde_json::{Map, Value};

use super::ModelSettings;
use super::api::Request;
use super::endpoint::Endpoint;
use super::names::Names;
use super::prompt;
use super::turn::{Stop, ToolResult, Turn, WireCall};
use crate::brain::{PastCall, PlannedCall, TickView, Unsent};

/// Tokens a server may add to what it is sent, such as its own words around the tools.
const HIDDEN_TOKENS: u64 = 1_000;

/// A tick's conversation. It is the tick's own and goes with it: no state is shared between ticks or personas.
#[derive(Debug, Default)]
pub struct Conversation {
    pub(super) talk: Option<Talk>,
    pub(super) reply: Option<Turn>,
    /// Unusable answers to the questionnaire so far.
    pub(super) rating_faults: u32,
    pub(super) is_rating: bool,
}

impl Conversation {
    /// Hands over what the model answered to the last request.
    pub(crate) fn answered(&mut self, turn: Turn) {
        self.reply = Some(turn);
    }
}

/// A request to a model, ready to be paid for and sent.
pub struct ModelRequest {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) body: Value,
    pub(crate) model: String,
    pub(crate) purpose: Purpose,
    /// More than it can have, whatever its tokens are.
    pub(crate) input_tokens_max: u64,
    pub(crate) output_tokens_max: u64,
}

impl fmt::Debug for ModelRequest {
    /// Without the conversation, which is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelRequest")
            .field("model", &self.model)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// What has been said so far.
#[derive(Debug)]
pub(super) struct Talk {
    names: Names,
    system: String,
    tools: Vec<Value>,
    schemas: BTreeMap<String, Option<jsonschema::Validator>>,
    messages: Vec<Value>,
    /// Calls of the last answer, and where in the tick's past their outcomes begin.
    pending: Option<(usize, Vec<String>)>,
    known: Known,
}

/// How long the conversation is known to be.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    tokens: u64,
    /// Messages that these tokens cover; 0 when nothing is known.
    messages: usize,
}

impl Talk {
    pub(super) fn open(settings: &ModelSettings, tick: &TickView<'_>) -> Self {
        let api = settings.endpoint.api();
        let names = Names::of(tick.tools.iter().map(|tool| tool.name.as_str()));
        let compiled = tick.tools.iter().map(|tool| {
            // A schema that is none checks nothing; the app decides then.
            (
                tool.name.clone(),
                jsonschema::validator_for(&tool.input_schema).ok(),
            )
        });
        Self {
            schemas: compiled.collect(),
            tools: api.tools(&names, tick.tools),
            names,
            system: prompt::system(tick),
            messages: api.user(&[], Some(&prompt::opening(tick))),
            pending: None,
            known: Known::default(),
        }
    }

    /// Answers the calls that wait, each exactly once, and says `text` after them; nothing of both says nothing.
    pub(super) fn say(&mut self, settings: &ModelSettings, past: &[PastCall], text: Option<&str>) {
        let (from, wire_ids) = self.pending.take().unwrap_or_default();
        let outcomes = past.get(from..).unwrap_or_default();
        let results: Vec<ToolResult> = (wire_ids.into_iter().enumerate())
            .map(|(at, wire_id)| {
                let (content, is_error) = match outcomes.get(at) {
                    Some(call) => prompt::result(&call.outcome),
                    None => ("not carried out: the visit was over".to_owned(), true),
                };
                ToolResult {
                    wire_id,
                    content,
                    is_error,
                }
            })
            .collect();
        if !results.is_empty() || text.is_some() {
            self.messages.extend(settings.endpoint.api().user(&results, text));
        }
    }

    /// Takes in an answer. Its calls wait for results from now on, whatever becomes of them.
    pub(super) fn heard(&mut self, turn: &Turn, past: usize) {
        self.messages.push(turn.raw.clone());
        if let Some(tokens) = turn.usage.conversation_tokens() {
            let messages = self.messages.len();
            self.known = Known { tokens, messages };
        }
        if !turn.calls.is_empty() {
            let wire_ids = turn.calls.iter().map(|call| call.wire_id.clone()).collect();
            self.pending = Some((past, wire_ids));
        }
    }

    /// The calls of `turn` as the tick makes them, in the model's order.
    pub(super) fn plan(&self, turn: &Turn, past: &[PastCall]) -> Vec<PlannedCall> {
        let mut retried: Vec<CallId> = past.iter().filter_map(|call| call.retry_of.clone()).collect();
        let planned = turn.calls.iter().map(|call| {
            let mut planned = self.planned(call, turn.stop == Stop::Cut);
            let failed = past.iter().rev().find(|earlier| {
                earlier.tool == planned.tool
                    && earlier.outcome.error().is_some()
                    && !retried.contains(&earlier.call_id)
            });
            if planned.unsent.is_none()
                && let Some(failed) = failed
            {
                retried.push(failed.call_id.clone());
                planned.retry_of = Some(failed.call_id.clone());
            }
            planned
        });
        planned.collect()
    }

    fn planned(&self, call: &WireCall, is_cut: bool) -> PlannedCall {
        let unsent = |message: String, cause| Some(Unsent { message, cause });
        let known = self.names.mcp(&call.name);
        let (tool, arguments, unsent) = match (known, &call.arguments) {
            (None, _) => {
                let message = format!(
                    "there is no tool {:?}; use the tools you were given, by their names",
                    call.name
                );
                (
                    events::capped(&call.name, 100),
                    None,
                    unsent(message, Cause::Persona),
                )
            }
            (Some(tool), _) if is_cut => {
                let message = "not carried out: your answer was cut off at its length limit, and with it perhaps this call; say less at once";
                (tool.to_owned(), None, unsent(message.to_owned(), Cause::Infra))
            }
            (Some(tool), Err(fault)) => (tool.to_owned(), None, unsent(fault.clone(), Cause::Persona)),
            (Some(tool), Ok(arguments)) => (tool.to_owned(), Some(arguments), None),
        };
        // What the tool's own schema refuses is the persona's mistake, and is sent all the same: whether the app says
        // so well is what we want to know.
        let is_mistake = arguments.is_some_and(|arguments| {
            let schema = self.schemas.get(&tool).and_then(Option::as_ref);
            schema.is_some_and(|schema| !schema.is_valid(arguments))
        });
        PlannedCall {
            tool,
            arguments: arguments.cloned().unwrap_or_else(|| Value::Object(Map::new())),
            intent: if is_mistake {
                Intent::Mistake
            } else {
                Intent::Valid
            },
            mistake: is_mistake.then(|| "schema".to_owned()),
            retry_of: None,
            unsent,
        }
    }

    /// The next request. With `schema` the answer has to be JSON of that form.
    pub(super) fn request(
        &self,
        settings: &ModelSettings,
        purpose: Purpose,
        schema: Option<&Value>,
    ) -> ModelRequest {
        let mut body = settings.endpoint.api().body(&Request {
            model: &settings.model,
            max_tokens: settings.max_tokens,
            max_tokens_member: &settings.max_tokens_member,
            system: &self.system,
            tools: &self.tools,
            messages: &self.messages,
            schema,
        });
        // Last of all: what the operator wants in each request, or, as null, does not.
        for (member, value) in &settings.extra {
            if value.is_null() {
                body.shift_remove(member);
            } else {
                body.insert(member.clone(), value.clone());
            }
        }
        let body = Value::Object(body);
        ModelRequest {
            endpoint: settings.endpoint.clone(),
            input_tokens_max: self.input_tokens_max(&body, schema),
            output_tokens_max: u64::from(settings.max_tokens),
            model: settings.model.clone(),
            body,
            purpose,
        }
    }

    /// A token stands for at least one byte, so what was not counted by the server yet has no more tokens than bytes.
    fn input_tokens_max(&self, body: &Value, schema: Option<&Value>) -> u64 {
        let bytes = |value: &Value| value.to_string().len() as u64;
        if self.known.messages == 0 {
            return bytes(body) + HIDDEN_TOKENS;
        }
        let new = self.messages.get(self.known.messages..).unwrap_or_default();
        let new: u64 = new.iter().map(bytes).sum();
        // With a schema the whole may be counted anew, as it stands before everything else.
        self.known.tokens + new + schema.map_or(0, bytes) + HIDDEN_TOKENS
    }
}
