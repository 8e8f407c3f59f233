//! What is written down about one call: its start before the tool runs, what refused it, and that it has ended.

use std::sync::Arc;

use events::{CallEnded, CallId, CallOutcome, CallRefused, CallStarted, Event};

use super::{Incoming, Refused};
use crate::call_log::{NotRecorded, Note, OpenCall};
use crate::gateway::Inner;
use crate::settings::RecordCalls;

/// Bytes of sealed arguments that are kept; larger ones are left out, their hash stays.
const ARGUMENTS_BYTES_MAX: usize = 32 * 1024;
/// Characters a tool's name may have by MCP.
const TOOL_NAME_CHARS_MAX: usize = 128;
/// Stands for what can be no tool's name, and may be anything a caller thought of.
const MALFORMED: &str = "(malformed)";

impl Inner {
    /// Writes down that a call begins, with what refused it in `log-only` mode; `None` where calls are not recorded.
    ///
    /// # Errors
    /// [`NotRecorded`]: it must not be carried out.
    pub(super) async fn record_start(
        &self,
        incoming: &Incoming,
        tool: &str,
        refused: Option<&Refused>,
    ) -> Result<Option<OpenCall>, NotRecorded> {
        let user_id = &incoming.principal.user_id;
        let refused = refused.map(|refused| self.refused(incoming, tool, refused));
        if self.settings.record_calls == RecordCalls::Off {
            self.record_alone(incoming, refused.into_iter().collect()).await;
            return Ok(None);
        }
        let started = self.started(incoming, tool).await;
        let open = OpenCall::new(
            self.calls.clone(),
            self.clock.clone(),
            user_id.clone(),
            started.call_id.clone(),
            incoming.traceparent.clone(),
            incoming.taken,
            incoming.under_way.clone(),
        );
        let note = incoming.note([started.into()].into_iter().chain(refused).collect());
        match self.calls.record(user_id, note).await {
            Ok(()) => Ok(Some(open)),
            Err(error) => {
                match error {
                    // Its start will be in the log, so its end must be.
                    NotRecorded::Unanswered => open.end(CallOutcome::Error, Some("unrecorded")),
                    NotRecorded::Full | NotRecorded::NotSent => open.forget(),
                }
                Err(error)
            }
        }
    }

    /// Writes down a call that is not carried out. The refusal stands whether or not that can be done.
    pub(super) async fn record_refused(&self, incoming: &Incoming, tool: &str, refused: Option<&Refused>) {
        let refused = refused.map(|refused| self.refused(incoming, tool, refused));
        let mut events: Vec<Event> = refused.into_iter().collect();
        if self.settings.record_calls != RecordCalls::Off {
            let started = self.started(incoming, tool).await;
            let elapsed = self.clock.monotonic().saturating_sub(incoming.taken);
            let ended = CallEnded {
                call_id: started.call_id.clone(),
                outcome: CallOutcome::Refused,
                fault: None,
                duration_ms: Some(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
                ended_at: self.clock.now(),
            };
            events.insert(0, started.into());
            events.push(ended.into());
        }
        self.record_alone(incoming, events).await;
    }

    async fn record_alone(&self, incoming: &Incoming, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let recorded = self
            .calls
            .record(&incoming.principal.user_id, incoming.note(events));
        if let Err(error) = recorded.await {
            tracing::error!(error = %error, "a refusal could not be recorded");
        }
    }

    async fn started(&self, incoming: &Incoming, tool: &str) -> CallStarted {
        let principal = &incoming.principal;
        let started_at = self.clock.now();
        CallStarted {
            call_id: CallId::from(self.ids.uuid_at(started_at)),
            client_call_id: incoming.client_call_id.clone(),
            session_id: principal.session.as_ref().map(|session| session.id.clone()),
            user_id: principal.user_id.clone(),
            space_id: principal.space_id.clone(),
            tool: recordable(tool).to_owned(),
            input_hash: events::input_hash(&incoming.arguments),
            arguments: self.sealed_arguments(incoming).await,
            policy_version: incoming.rules.version,
            started_at,
        }
    }

    /// The arguments under the caller's own key, where the operator asked for them and the caller has a key here.
    async fn sealed_arguments(&self, incoming: &Incoming) -> Option<String> {
        if self.settings.record_calls != RecordCalls::WithArguments {
            return None;
        }
        let personal = self
            .identity
            .personal_space(&incoming.principal.user_id)
            .await
            .ok()?;
        let key = self.records.keys.get(&personal).await.ok()?;
        self.records.keys.reserve(&key, 1).await.ok()?;
        let mut nonce = [0; 12];
        self.ids.fill(&mut nonce);
        let sealed = key.cipher().seal(&incoming.arguments, nonce);
        (sealed.len() <= ARGUMENTS_BYTES_MAX).then_some(sealed)
    }

    fn refused(&self, incoming: &Incoming, tool: &str, refused: &Refused) -> Event {
        let principal = &incoming.principal;
        CallRefused {
            user_id: principal.user_id.clone(),
            space_id: principal.space_id.clone(),
            tool: tool.to_owned(),
            call_id: incoming.client_call_id.clone(),
            rule: refused.rule.to_string(),
            policy_version: incoming.rules.version,
            mode: self.settings.policy.mode.as_str().to_owned(),
            refused_at: self.clock.now(),
        }
        .into()
    }
}

impl Incoming {
    fn note(&self, events: Vec<Event>) -> Note {
        Note {
            events,
            traceparent: self.traceparent.clone(),
            under_way: Arc::clone(&self.under_way),
        }
    }
}

/// `tool` where it can be a tool's name: what else a caller sends in its place is nobody's business to keep.
fn recordable(tool: &str) -> &str {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=TOOL_NAME_CHARS_MAX).contains(&tool.len()) && tool.bytes().all(is_name_byte) {
        tool
    } else {
        MALFORMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_tool_s_name_is_not_kept() {
        assert_eq!(recordable("todo.create"), "todo.create");
        let long = "x".repeat(129);
        for other in [
            "",
            "my password is hunter2",
            "todo/create",
            "t\u{e4}",
            long.as_str(),
        ] {
            assert_eq!(recordable(other), MALFORMED, "{other}");
        }
    }
}
