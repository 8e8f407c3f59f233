//! The middle of a tick: the brain plans, calls go out together, outcomes come back in any order.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use events::{CallId, Event, TickOutcome};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use rmcp::model::JsonObject;
use serde_json::Value;

use super::Tick;
use super::record::{RecordError, Recorder};
use super::span;
use crate::attribution::{Settled, Whose};
use crate::brain::{BrainError, CallOutcome, PlannedCall, Step, Unsent};
use crate::mcp_client::{Answer, McpSession};
use crate::report::TickProgress;
use crate::stage::Stage;

/// A brain that thinks longer than this no longer keeps outcomes from the log.
const HOLD_AT_MOST: Duration = Duration::from_millis(250);

/// How the middle of a tick ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) outcome: TickOutcome,
    pub(super) reason: Option<String>,
    /// For a deferred tick, when it is due again; `None` leaves it to the cadence.
    pub(super) resume_at: Option<Timestamp>,
}

impl Ending {
    /// Whether there is anything to ask a brain's opinion of.
    pub(super) fn can_be_rated(&self) -> bool {
        !matches!(self.outcome, TickOutcome::Failed | TickOutcome::Refused)
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self {
            outcome: TickOutcome::Failed,
            reason: Some(reason.into()),
            resume_at: None,
        }
    }

    pub(super) fn limit(reason: impl Into<String>) -> Self {
        Self {
            outcome: TickOutcome::Limit,
            reason: Some(reason.into()),
            resume_at: None,
        }
    }
}

/// What came back for one call.
type Arrival = (CallId, Answer, u64);

impl Tick<'_> {
    /// Asks the brain and carries out what it plans, until it is done or a limit is reached.
    pub(super) async fn live(&mut self, session: &McpSession) -> Result<Ending, RecordError> {
        loop {
            let past = self.ledger.past();
            self.tell_status("thinking");
            let view = self.facts.view(session.tools(), &past, self.calls_left());
            let limit = self.time_left();
            let think = guarded(self.brain.step(&view, &mut self.conversation));
            let think = self.stage.within(limit, think);
            let Some(step) = while_recording(self.stage, &mut self.recorder, think).await? else {
                return Ok(self.out_of_time());
            };
            let mut calls = match step {
                Err(reason) => return Ok(Ending::failed(reason)),
                Ok(Step::Done { outcome, note }) => {
                    return Ok(Ending {
                        outcome,
                        reason: note,
                        resume_at: None,
                    });
                }
                Ok(Step::Ask(request)) => {
                    self.tell_status("asking a model");
                    match Box::pin(self.ask(&request)).await? {
                        Ok(()) => continue,
                        Err(ending) => return Ok(ending),
                    }
                }
                Ok(Step::Calls(calls)) => calls,
            };
            if let Some(fault) = fault_of(&calls) {
                return Ok(Ending::failed(fault));
            }
            let calls_left = usize::try_from(self.calls_left()).unwrap_or(usize::MAX);
            let is_over = calls.len() > calls_left;
            calls.truncate(calls_left);
            if !self.send(session, calls, Whose::Brains).await? {
                return Ok(self.out_of_time());
            }
            if is_over {
                return Ok(Ending::limit(format!(
                    "the limit of {} calls was reached",
                    self.stage.settings.calls_per_tick_max
                )));
            }
        }
    }

    /// Records the calls, sends them together, and records each outcome under its own call's id as it comes. False
    /// when the time ran out first; the calls in flight are settled as unanswered then.
    pub(super) async fn send(
        &mut self,
        session: &McpSession,
        calls: Vec<PlannedCall>,
        whose: Whose,
    ) -> Result<bool, RecordError> {
        let now = self.stage.clock.now();
        let sights = self.ledger.sights();
        let (mut called, mut outgoing) = (Vec::new(), Vec::new());
        for call in calls {
            let (tool, arguments) = (call.tool.clone(), object(&call.arguments));
            let unsent = call.unsent.clone();
            let (call_id, event) = self.ledger.plan(call, whose, &sights, now);
            called.push(event);
            outgoing.push((call_id, tool, arguments, unsent));
        }
        // Before anything is sent: a call that the log does not know of must not exist.
        if self.visiting {
            called.clear();
        }
        self.recorder.append(called).await?;
        for (_, tool, ..) in outgoing.iter().filter(|_| !self.visiting) {
            self.tell(|persona_id, name| TickProgress::Called {
                persona_id,
                name,
                tool: tool.clone(),
            });
        }
        self.tell_status("calling");
        let stage = self.stage;
        let traceparent = self.span.traceparent();
        let traceparent = traceparent.as_deref();
        let mut in_flight: FuturesUnordered<_> = outgoing
            .into_iter()
            .map(|(call_id, tool, arguments, unsent)| async move {
                let sent = stage.clock.monotonic();
                let answer = match unsent {
                    Some(Unsent { message, .. }) => Answer::Unanswered { message },
                    None => call(stage, session, traceparent, &call_id, &tool, arguments).await,
                };
                (
                    call_id,
                    answer,
                    millis(stage.clock.monotonic().saturating_sub(sent)),
                )
            })
            .collect();
        let mut arrived: Vec<Arrival> = Vec::new();
        loop {
            if arrived.is_empty() {
                if in_flight.is_empty() {
                    return Ok(true);
                }
                match self.stage.within(self.time_left(), in_flight.next()).await {
                    Some(Some(arrival)) => arrived.push(arrival),
                    Some(None) => return Ok(true),
                    None => break,
                }
            }
            // What has arrived by now shares the commit.
            while let Some(Some(arrival)) = in_flight.next().now_or_never() {
                arrived.push(arrival);
            }
            let events = self.settle(arrived.drain(..));
            if in_flight.is_empty() {
                self.recorder.hold(events);
                continue;
            }
            // The calls in flight are watched meanwhile, so that their latency is theirs and not the log's.
            let mut append = pin!(self.recorder.append(events));
            loop {
                tokio::select! {
                    biased;
                    appended = &mut append => break appended?,
                    // An arrival is kept for the next round; the append goes on.
                    Some(arrival) = in_flight.next() => arrived.push(arrival),
                }
            }
        }
        drop(in_flight);
        let unanswered = self.ledger.open().into_iter().map(|call_id| {
            let message = "no answer before the tick's time was over".to_owned();
            (
                call_id,
                Answer::Unanswered { message },
                millis(self.stage.settings.tick_deadline),
            )
        });
        let events = self.settle(unanswered.collect::<Vec<_>>());
        self.recorder.hold(events);
        Ok(false)
    }

    /// Puts down outcomes, each for the call whose id it carries, and returns the events that say so.
    pub(super) fn settle(&mut self, arrivals: impl IntoIterator<Item = Arrival>) -> Vec<Event> {
        let mut events = Vec::new();
        for (call_id, answer, latency_ms) in arrivals {
            let Some(settled) = self.ledger.settle(&call_id, answer, latency_ms) else {
                continue;
            };
            if self.visiting {
                continue;
            }
            self.tell_settled(&settled);
            events.push(settled.event);
        }
        self.tell_status("calling");
        events
    }

    fn tell_settled(&self, settled: &Settled) {
        let tool = settled.tool.clone();
        self.tell(|persona_id, name| match &settled.outcome {
            CallOutcome::Ok { latency_ms, .. } => TickProgress::Returned {
                persona_id,
                name,
                tool,
                latency_ms: *latency_ms,
            },
            CallOutcome::Error { message, cause, .. } => {
                let error = events::capped(message, events::ERROR_CHARS_MAX);
                TickProgress::Failed {
                    persona_id,
                    name,
                    tool,
                    cause: *cause,
                    error,
                }
            }
        });
        let outcome = if settled.outcome.error().is_none() {
            "ok"
        } else {
            "error"
        };
        metrics::counter!("cast_tool_calls_total", "outcome" => outcome).increment(1);
    }

    pub(super) fn out_of_time(&self) -> Ending {
        Ending::limit(format!(
            "the limit of {} s was reached",
            self.stage.settings.tick_deadline.as_secs()
        ))
    }

    pub(super) fn calls_left(&self) -> u32 {
        self.calls_of_tick_max().saturating_sub(self.ledger.made())
    }
}

/// Sends one call, in a span of its own.
async fn call(
    stage: &Stage,
    session: &McpSession,
    traceparent: Option<&str>,
    call_id: &CallId,
    tool: &str,
    arguments: JsonObject,
) -> Answer {
    let offered = session.tools().iter().any(|offered| offered.name == tool);
    let mut span = span::of_call(stage, traceparent, offered.then_some(tool));
    let from = span.traceparent();
    let answer = session.call(stage, call_id, tool, arguments, from).await;
    span::answered(&mut span, &answer);
    answer
}

/// Waits for `thinking`, and writes down what the recorder holds if that takes long.
async fn while_recording<T>(
    stage: &Stage,
    recorder: &mut Recorder<'_>,
    thinking: impl Future<Output = T>,
) -> Result<T, RecordError> {
    let mut thinking = pin!(thinking);
    if recorder.is_holding() {
        tokio::select! {
            biased;
            thought = &mut thinking => return Ok(thought),
            // It goes on below; only the patience is over.
            () = stage.clock.sleep(HOLD_AT_MOST) => recorder.append(Vec::new()).await?,
        }
    }
    Ok(thinking.await)
}

/// A brain's answer, with its errors and its panics as the reason there is none: neither may take the actor down.
pub(super) async fn guarded<T>(answer: impl Future<Output = Result<T, BrainError>>) -> Result<T, String> {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("the brain panicked: {}", panic_text(panic.as_ref()))),
    }
}

/// The message of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Why this plan cannot be carried out, if it cannot.
fn fault_of(calls: &[PlannedCall]) -> Option<String> {
    if calls.is_empty() {
        return Some("the brain was not done and planned nothing".to_owned());
    }
    let odd = calls.iter().find(|call| !call.arguments.is_object())?;
    Some(format!(
        "the brain planned {} with arguments that are no object",
        odd.tool
    ))
}

fn object(arguments: &Value) -> JsonObject {
    arguments.as_object().cloned().unwrap_or_default()
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
