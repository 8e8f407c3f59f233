//! Calls that an earlier run of the gateway left without an end: nobody knows what came of them, and that is said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events::{CallId, Clock, Commit, CommitId, EventLog, ExpectedSeq, StreamSeq, Subject, UserId};
use projections::{ProjectorHandle, Tables, UnfinishedCall};
use tokio_util::sync::CancellationToken;

use super::replay::{self, Replay};

/// Pause before the log or the tables are asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the tables may take to come to where the log was at the start, before it is looked again.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Events of one commit.
const GROUP_EVENTS_MAX: usize = 500;

/// What an earlier run left, and where it is to be looked for.
#[derive(Debug)]
pub(crate) struct Unfinished {
    // dependencies
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) tables: Tables,
    pub(crate) projector: ProjectorHandle,
    pub(crate) clock: Arc<dyn Clock>,
    /// What is in the journal and not in the log.
    pub(crate) replay: Option<Replay>,
}

/// Waits until the tables have folded everything there was at the start, brings what the journal has beyond it into the
/// log, and closes what was left open.
///
/// A gateway beside this one may have calls of that time still under way: their own ends take the place of `unknown`.
pub(crate) async fn close_unfinished(unfinished: Unfinished, stop: CancellationToken) {
    let mut until = None;
    loop {
        match unfinished.attempt(&mut until).await {
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
            () = unfinished.clock.sleep(AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Unfinished {
    async fn attempt(&self, until: &mut Option<StreamSeq>) -> Result<usize, String> {
        let end = if let Some(end) = *until {
            end
        } else {
            let state = self.log.state().await.map_err(|error| error.to_string())?;
            *until.insert(state.last_seq)
        };
        self.folded(end).await?;
        if let Some(replay) = &self.replay {
            let replayed = replay.run(self.log.as_ref(), &self.tables, self.clock.as_ref());
            if let Some(last) = replayed.await? {
                self.folded(last).await?;
            }
        }
        let unfinished = self.tables.unfinished_calls(end).await;
        let unfinished = unfinished.map_err(|error| error.to_string())?;
        let mut by_user: BTreeMap<UserId, Vec<CallId>> = BTreeMap::new();
        for UnfinishedCall { user_id, call_id } in unfinished {
            by_user.entry(user_id).or_default().push(call_id);
        }
        let mut closed = 0;
        for (user_id, calls) in by_user {
            for calls in calls.chunks(GROUP_EVENTS_MAX) {
                let commit = unknown(&user_id, calls, self.clock.as_ref());
                let appended = self.log.append(&commit, ExpectedSeq::Any).await;
                let appended = appended.map_err(|error| error.to_string())?;
                appended
                    .map(|_| closed += calls.len())
                    .map_err(|rejection| rejection.to_string())?;
            }
        }
        Ok(closed)
    }

    /// Waits until the tables are where the log was at `end`.
    async fn folded(&self, end: StreamSeq) -> Result<(), String> {
        if end == StreamSeq::ZERO {
            return Ok(());
        }
        let caught_up = self.projector.wait_for(end, CATCH_UP).await;
        caught_up.map(drop).map_err(|error| error.to_string())
    }
}

/// The commit's id follows from the calls: two gateways that start together write it once.
fn unknown(user_id: &UserId, calls: &[CallId], clock: &dyn Clock) -> Commit {
    let named: Vec<&str> = ["calls-unknown"]
        .into_iter()
        .chain(calls.iter().map(CallId::as_str))
        .collect();
    let events = calls.iter().map(|call_id| replay::unknown(call_id, clock));
    let subject = Subject::Session(user_id.clone());
    Commit::new(CommitId::derived(&named), subject, clock.now(), events.collect())
}
