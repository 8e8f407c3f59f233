//! What a process that died left in its journal is brought into the log: once, and only what is not there yet.
//!
//! Which of it the log has the tables tell, once they have folded all of it: a commit is stored whole or not at all, so
//! a note is there if its first event is. Calls that the journal has no end of are closed as `unknown` right after:
//! they died with the process.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use events::{
    CallEnded, CallId, CallOutcome, Clock, Commit, CommitId, Event, EventLog, ExpectedSeq, StreamSeq,
    Subject, UserId,
};
use identity::Identity;
use projections::Tables;

use super::journal::{Left, Line};
use super::lane::Room;
use crate::guests::Guests;

/// Calls the tables are asked about at once.
const CALLS_AT_ONCE: usize = 1_000;

/// What replaying takes.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) left: Left,
    pub(crate) identity: Identity,
    pub(crate) guests: Arc<Guests>,
}

/// The call an event tells of, and whether it tells of its end.
pub(super) fn call_of(event: &Event) -> Option<(&CallId, bool)> {
    match event {
        Event::CallStarted(started) => Some((&started.call_id, false)),
        Event::CallEnded(ended) => Some((&ended.call_id, true)),
        _ => None,
    }
}

impl Replay {
    /// Appends what the log does not have, and deletes the files. The tables must have folded all of the log that was
    /// there when this process started. Gives the place of the last commit, if there was one.
    pub(super) async fn run(
        &self,
        log: &dyn EventLog,
        tables: &Tables,
        clock: &dyn Clock,
    ) -> Result<Option<StreamSeq>, String> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let lines = self.left.lines().map_err(|error| {
            tracing::error!(%error, "what the last run left in the journal of calls cannot be read, and stays there");
            error.to_string()
        })?;
        let told = told(tables, &lines).await?;
        let mut by_user: BTreeMap<UserId, Vec<Line>> = BTreeMap::new();
        for line in lines.into_iter().filter(|line| !is_told(line, &told)) {
            by_user.entry(line.user_id.clone()).or_default().push(line);
        }
        let mut last = None;
        for (user_id, lines) in by_user {
            last = last.max(self.append(log, clock, &user_id, lines).await?);
        }
        self.left.forget().map_err(|error| error.to_string())?;
        Ok(last)
    }

    async fn append(
        &self,
        log: &dyn EventLog,
        clock: &dyn Clock,
        user_id: &UserId,
        mut lines: Vec<Line>,
    ) -> Result<Option<StreamSeq>, String> {
        let account = self.identity.account(user_id).await;
        let account = account.map_err(|error| error.to_string())?;
        let is_served = account.is_some_and(|account| account.suspended_at.is_none());
        // Of somebody who is being erased nothing is appended any more.
        let Some(_present) = self.guests.enter(user_id).filter(|_| is_served) else {
            return Ok(None);
        };
        lines.extend(without_end(user_id, &lines, clock));
        let calls = lines.len();
        let mut last = None;
        while !lines.is_empty() {
            let mut room = Room::default();
            let taken = lines.iter().take_while(|line| room.takes(&line.events)).count();
            let commit = commit_of(user_id, lines.drain(..taken), clock);
            let appended = log.append(&commit, ExpectedSeq::Any).await;
            let appended = appended.map_err(|error| error.to_string())?;
            let appended = appended.map_err(|rejection| rejection.to_string())?;
            last = Some(appended.seq);
        }
        tracing::warn!(
            notes = calls,
            "notes about calls that the last run did not bring into the log are there now"
        );
        Ok(last)
    }
}

/// Starts and ends that the log has, of all that are in `lines`.
async fn told(tables: &Tables, lines: &[Line]) -> Result<HashSet<(CallId, bool)>, String> {
    let calls: Vec<CallId> = lines
        .iter()
        .filter_map(|line| call_of(line.events.first()?))
        .map(|(call_id, _)| call_id.clone())
        .collect();
    let mut told = HashSet::new();
    for calls in calls.chunks(CALLS_AT_ONCE) {
        let known = tables
            .calls_told(calls)
            .await
            .map_err(|error| error.to_string())?;
        for (call_id, has_ended) in known {
            if has_ended {
                told.insert((call_id.clone(), true));
            }
            told.insert((call_id, false));
        }
    }
    Ok(told)
}

fn is_told(line: &Line, told: &HashSet<(CallId, bool)>) -> bool {
    let first = line.events.first().and_then(call_of);
    first.is_some_and(|(call_id, is_end)| told.contains(&(call_id.clone(), is_end)))
}

/// The ends of calls that `lines` begin and do not end, a line each.
fn without_end(user_id: &UserId, lines: &[Line], clock: &dyn Clock) -> Vec<Line> {
    let events = || lines.iter().flat_map(|line| &line.events).filter_map(call_of);
    let ended: HashSet<&CallId> = events().filter(|(_, is_end)| *is_end).map(|(id, _)| id).collect();
    let open = events().filter(|(call_id, is_end)| !is_end && !ended.contains(call_id));
    let end = |(call_id, _)| Line {
        user_id: user_id.clone(),
        traceparent: None,
        events: vec![unknown(call_id, clock)],
    };
    open.map(end).collect()
}

/// The end of a call that nobody knows the outcome of.
pub(super) fn unknown(call_id: &CallId, clock: &dyn Clock) -> Event {
    CallEnded {
        call_id: call_id.clone(),
        outcome: CallOutcome::Unknown,
        fault: None,
        duration_ms: None,
        ended_at: clock.now(),
    }
    .into()
}

/// The commit's id follows from what it tells: tried again, it is the same.
fn commit_of(user_id: &UserId, lines: impl Iterator<Item = Line>, clock: &dyn Clock) -> Commit {
    let (mut events, mut traceparent) = (Vec::new(), None);
    for line in lines {
        traceparent = traceparent.or(line.traceparent);
        events.extend(line.events);
    }
    let told = events.iter().filter_map(call_of);
    let named: Vec<&str> = ["calls-replayed"]
        .into_iter()
        .chain(told.flat_map(|(call_id, is_end)| [call_id.as_str(), if is_end { "end" } else { "start" }]))
        .collect();
    let subject = Subject::Session(user_id.clone());
    let mut commit = Commit::new(CommitId::derived(&named), subject, clock.now(), events);
    commit.traceparent = traceparent;
    commit
}
