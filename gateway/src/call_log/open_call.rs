//! A call between its start and its end on the record. Whatever becomes of it, its end is written: also when its future
//! is dropped, which is what giving a call up looks like from here.

use std::sync::Arc;
use std::time::Duration;

use events::{CallEnded, CallId, CallOutcome, Clock, UserId};

use super::{CallLog, Note, UnderWay};

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenCall {
    log: CallLog,
    clock: Arc<dyn Clock>,
    user_id: UserId,
    call_id: CallId,
    traceparent: Option<String>,
    started: Duration,
    /// Taken when the end has been handed over.
    under_way: Option<Arc<UnderWay>>,
}

impl OpenCall {
    /// A call that began at `started` on the monotonic clock, and whose start is on its way to the log.
    pub(crate) fn new(
        log: CallLog,
        clock: Arc<dyn Clock>,
        user_id: UserId,
        call_id: CallId,
        traceparent: Option<String>,
        started: Duration,
        under_way: Arc<UnderWay>,
    ) -> Self {
        Self {
            log,
            clock,
            user_id,
            call_id,
            traceparent,
            started,
            under_way: Some(under_way),
        }
    }

    /// Hands its end over.
    pub(crate) fn end(mut self, outcome: CallOutcome, fault: Option<&str>) {
        self.hand_over(outcome, fault);
    }

    /// Forgets it: its start was never sent to the log.
    pub(crate) fn forget(mut self) {
        self.under_way = None;
    }

    fn hand_over(&mut self, outcome: CallOutcome, fault: Option<&str>) {
        let Some(under_way) = self.under_way.take() else {
            return;
        };
        let elapsed = self.clock.monotonic().saturating_sub(self.started);
        let ended = CallEnded {
            call_id: self.call_id.clone(),
            outcome,
            fault: fault.map(str::to_owned),
            duration_ms: Some(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
            ended_at: self.clock.now(),
        };
        let note = Note {
            events: vec![ended.into()],
            traceparent: self.traceparent.take(),
            under_way,
        };
        self.log.hand_over(&self.user_id, note);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.hand_over(CallOutcome::Cancelled, None);
    }
}
