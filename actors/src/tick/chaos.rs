//! Edge input by our own code, for every brain alike: sent one call at a time, and judged by what the app makes of it.
//!
//! A clean refusal and a clean success are both well. What is not: no answer, an internal error, an error that shows
//! the app's insides, and a value that is read back as another one.

use std::collections::BTreeMap;

use events::{CallId, Cause, ERROR_CHARS_MAX, EdgeTried, EdgeVerdict, Event, TickOutcome, capped};
use serde_json::{Map, Value};

use super::Tick;
use super::live::{Ending, millis};
use super::record::RecordError;
use crate::attribution::Whose;
use crate::brain::{self, CallOutcome, EdgeCall, PastCall};
use crate::mcp_client::{Answer, McpSession, module_of};

/// Words that no user ought to read in an error.
const INSIDES: [&str; 6] = [
    "panicked at",
    "stack backtrace",
    "Traceback (most recent call last)",
    "SQLITE_",
    "syntax error at or near",
    "at Object.<anonymous>",
];

/// What the lists of this tick's modules say, after the edges: the answer, or that there was none.
type Lists = BTreeMap<String, (brain::Look, Option<Value>)>;

impl Tick<'_> {
    /// Brings the edges that are in turn, where the persona is one for it, and holds what came of them.
    pub(super) async fn bring_edges(
        &mut self,
        session: &McpSession,
        ending: &Ending,
    ) -> Result<(), RecordError> {
        let is_over = matches!(
            ending.outcome,
            TickOutcome::Failed | TickOutcome::Refused | TickOutcome::Deferred
        );
        if is_over || !brain::is_chaotic(&self.facts.persona.archetype) {
            return Ok(());
        }
        self.tell_status("bringing edges");
        let past = self.ledger.past();
        let edges = brain::edges(&self.facts.view(session.tools(), &past, self.calls_left()));
        let mut tried = Vec::new();
        for edge in edges {
            if self.time_left().is_zero() {
                break;
            }
            let call_id = self.try_edge(session, &edge).await?;
            tried.push((edge, call_id));
        }
        let settled = self.ledger.asides();
        let outcome_of = |call_id: &CallId| settled.iter().find(|call| call.call_id == *call_id);
        let tried: Vec<(EdgeCall, PastCall)> = tried
            .into_iter()
            .filter_map(|(edge, call_id)| Some((edge, outcome_of(&call_id)?.clone())))
            .collect();
        let lists = self.lists_after(session, &tried).await?;
        for (edge, call) in tried {
            let (verdict, detail) = judge(&edge, &call, &lists);
            metrics::counter!("cast_edges_total", "verdict" => verdict.as_str()).increment(1);
            self.recorder.hold([Event::from(EdgeTried {
                tick_id: self.id.clone(),
                call_id: call.call_id,
                tool: call.tool,
                field: edge.field,
                class: edge.class.name().to_owned(),
                verdict,
                detail: detail.map(|detail| capped(&detail, ERROR_CHARS_MAX)),
            })]);
        }
        Ok(())
    }

    /// Records the call, sends it and records what came of it.
    async fn try_edge(&mut self, session: &McpSession, edge: &EdgeCall) -> Result<CallId, RecordError> {
        let stage = self.stage;
        let sights = self.ledger.sights();
        let (call_id, called) = self
            .ledger
            .plan(edge.call.clone(), Whose::Ours, &sights, stage.clock.now());
        self.recorder.append(vec![called]).await?;
        let sent = stage.clock.monotonic();
        let tool = &edge.call.tool;
        // All of them without a session: one that ends the exchange must not end the persona's.
        let arguments = edge
            .raw
            .clone()
            .unwrap_or_else(|| edge.call.arguments.to_string());
        let answer = session.call_raw(stage, &call_id, tool, &arguments);
        let answer = stage.within(self.time_left(), answer).await;
        let answer = answer.unwrap_or_else(|| Answer::Unanswered {
            message: "no answer before the tick's time was over".to_owned(),
        });
        let latency_ms = millis(stage.clock.monotonic().saturating_sub(sent));
        let events = self.settle([(call_id.clone(), answer, latency_ms)]);
        self.recorder.hold(events);
        Ok(call_id)
    }

    /// Lists each module that took an edge.
    async fn lists_after(
        &mut self,
        session: &McpSession,
        tried: &[(EdgeCall, PastCall)],
    ) -> Result<Lists, RecordError> {
        let taken = |call: &PastCall| matches!(call.outcome, CallOutcome::Ok { .. });
        let mut lists = Lists::new();
        for (_, call) in tried.iter().filter(|(_, call)| taken(call)) {
            if let Some(look) = brain::look(session.tools(), &call.module) {
                lists.insert(call.module.clone(), (look, None));
            }
        }
        let calls: Vec<_> = lists.values().map(|(look, _)| look.call.clone()).collect();
        if calls.is_empty() || !self.send(session, calls, Whose::Ours).await? {
            return Ok(Lists::new());
        }
        for call in self.ledger.asides() {
            if let (Some((look, list)), CallOutcome::Ok { structured, .. }) =
                (lists.get_mut(module_of(&call.tool)), call.outcome)
                && look.call.tool == call.tool
                && look.call.arguments == call.arguments
            {
                *list = Some(structured);
            }
        }
        Ok(lists)
    }
}

fn judge(edge: &EdgeCall, call: &PastCall, lists: &Lists) -> (EdgeVerdict, Option<String>) {
    let structured = match &call.outcome {
        CallOutcome::Ok { structured, .. } => structured,
        CallOutcome::Error { message, cause, .. } => {
            let shows_insides = INSIDES.iter().any(|insides| message.contains(insides));
            return match cause {
                Cause::Infra => (EdgeVerdict::Unanswered, Some(message.clone())),
                Cause::Persona if !shows_insides => (EdgeVerdict::Refused, None),
                Cause::App | Cause::Persona => (EdgeVerdict::Broke, Some(message.clone())),
            };
        }
    };
    let list = lists.get(&call.module);
    if let Some((_, None)) = list {
        let detail = format!("{} cannot be listed since", call.module);
        return (EdgeVerdict::Broke, Some(detail));
    }
    let sent = edge
        .call
        .arguments
        .get(&edge.field)
        .filter(|_| edge.raw.is_none());
    let altered = match (sent, first_object(structured)) {
        (Some(sent), Some(made)) if edge.class.is_kept_as_it_is() => altered(sent, &edge.field, made)
            .or_else(|| {
                let (look, list) = list?;
                let (list, id) = (list.as_ref()?, made.get("id")?.as_str()?);
                match object_of(list, id) {
                    Some(listed) => altered(sent, &edge.field, listed),
                    None if look.is_full(list) => None,
                    None => Some("it was taken and is not in the list".to_owned()),
                }
            }),
        _ => None,
    };
    match altered {
        Some(detail) => (EdgeVerdict::Altered, Some(detail)),
        None => (EdgeVerdict::Accepted, None),
    }
}

/// How the value reads otherwise than it was sent, if it is there at all. In lengths and not in words: what is written
/// may be sealed where the app keeps it.
fn altered(sent: &Value, field: &str, read: &Map<String, Value>) -> Option<String> {
    let read = read.get(field).filter(|read| *read != sent)?;
    let chars = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    Some(match (sent, read) {
        (Value::Number(sent), Value::Number(read)) => format!("{sent} was read back as {read}"),
        (Value::String(_), Value::String(_)) => format!(
            "{} characters were read back as {} others",
            chars(sent),
            chars(read)
        ),
        _ => "it was read back as something of another type".to_owned(),
    })
}

/// The first thing with an id in a result.
fn first_object(result: &Value) -> Option<&Map<String, Value>> {
    match result {
        Value::Object(members) if members.get("id").is_some_and(Value::is_string) => Some(members),
        Value::Object(members) => members.values().find_map(first_object),
        Value::Array(items) => items.iter().find_map(first_object),
        _ => None,
    }
}

/// The thing of that id in a list.
fn object_of<'v>(list: &'v Value, id: &str) -> Option<&'v Map<String, Value>> {
    match list {
        Value::Object(members) if members.get("id").and_then(Value::as_str) == Some(id) => Some(members),
        Value::Object(members) => members.values().find_map(|member| object_of(member, id)),
        Value::Array(items) => items.iter().find_map(|item| object_of(item, id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
