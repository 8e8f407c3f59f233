//! Calls that an earlier run of the gateway left without an end: nobody knows what came of them, and that is said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events::{
    CallEnded, CallId, CallOutcome, Clock, Commit, CommitId, EventLog, ExpectedSeq, StreamSeq, Subject,
    UserId,
};
use projections::{ProjectorHandle, Tables, UnfinishedCall};
use tokio_util::sync::CancellationToken;

/// Pause before the log or the tables are asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the tables may take to come to where the log was at the start, before it is looked again.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Events of one commit.
const GROUP_EVENTS_MAX: usize = 500;

/// Waits until the tables have folded everything there was at the start, and closes what was left open then.
///
/// A gateway beside this one may have calls of that time still under way: their own ends take the place of `unknown`.
pub(crate) async fn close_unfinished(
    log: Arc<dyn EventLog>,
    tables: Tables,
    projector: ProjectorHandle,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut until = None;
    loop {
        match attempt(log.as_ref(), &tables, &projector, clock.as_ref(), &mut until).await {
            Ok(0) => return,
            Ok(closed) => {
                tracing::warn!(
                    calls = closed,
                    "calls that the last run left without an end are closed as unknown"
                );
                return;
            }
            Err(reason) => tracing::debug!(reason, "calls without an end cannot be closed yet"),
        }
        // Whichever is first; a sleep given up loses nothing.
        tokio::select! {
            () = clock.sleep(AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn attempt(
    log: &dyn EventLog,
    tables: &Tables,
    projector: &ProjectorHandle,
    clock: &dyn Clock,
    until: &mut Option<StreamSeq>,
) -> Result<usize, String> {
    let end = if let Some(end) = *until {
        end
    } else {
        let state = log.state().await.map_err(|error| error.to_string())?;
        *until.insert(state.last_seq)
    };
    if end > StreamSeq::ZERO {
        let caught_up = projector.wait_for(end, CATCH_UP).await;
        caught_up.map_err(|error| error.to_string())?;
    }
    let unfinished = tables.unfinished_calls(end).await;
    let unfinished = unfinished.map_err(|error| error.to_string())?;
    let mut by_user: BTreeMap<UserId, Vec<CallId>> = BTreeMap::new();
    for UnfinishedCall { user_id, call_id } in unfinished {
        by_user.entry(user_id).or_default().push(call_id);
    }
    let mut closed = 0;
    for (user_id, calls) in by_user {
        for calls in calls.chunks(GROUP_EVENTS_MAX) {
            let commit = unknown(&user_id, calls, clock);
            let appended = log.append(&commit, ExpectedSeq::Any).await;
            let appended = appended.map_err(|error| error.to_string())?;
            appended
                .map(|_| closed += calls.len())
                .map_err(|rejection| rejection.to_string())?;
        }
    }
    Ok(closed)
}

/// The commit's id follows from the calls: two gateways that start together write it once.
fn unknown(user_id: &UserId, calls: &[CallId], clock: &dyn Clock) -> Commit {
    let named: Vec<&str> = ["calls-unknown"]
        .into_iter()
        .chain(calls.iter().map(CallId::as_str))
        .collect();
    let ended_at = clock.now();
    let events = calls.iter().map(|call_id| {
        let ended = CallEnded {
            call_id: call_id.clone(),
            outcome: CallOutcome::Unknown,
            fault: None,
            duration_ms: None,
            ended_at,
        };
        ended.into()
    });
    let subject = Subject::Session(user_id.clone());
    Commit::new(CommitId::derived(&named), subject, ended_at, events.collect())
}
