//! Who read what: one line in the log for each account, question and subject, at most one a minute, and the latest
//! of them for the page.
//!
//! A page that is open asks the same again every few seconds; a line for each would bury the one that matters.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use identity::Caller;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// How long the same reading by the same account is one line.
const SAME_FOR: Duration = Duration::from_mins(1);
/// Lines kept for the page.
const LINES_MAX: usize = 200;
/// Readings remembered so as not to be told again; beyond it the oldest are told again.
const REMEMBERED_MAX: usize = 4_096;
/// Characters kept of what was asked about.
const ABOUT_CHARS_MAX: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Audit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: HashMap<(String, &'static str, String), Duration>,
    lines: VecDeque<ReadLine>,
}

/// Somebody read something, or did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ReadLine {
    /// When.
    #[schemars(with = "events::Moment")]
    pub(crate) at: Timestamp,
    /// The account.
    pub(crate) user_id: String,
    /// Its email.
    pub(crate) email: String,
    /// The question or the act.
    pub(crate) what: &'static str,
    /// What it was about, where it was about one thing.
    pub(crate) about: String,
}

impl Audit {
    /// Notes that `caller` asked `what` about `about`.
    pub(crate) fn read(
        &self,
        caller: &Caller,
        what: &'static str,
        about: &str,
        now: Timestamp,
        at: Duration,
    ) {
        let line = line(caller, what, about, now);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.len() >= REMEMBERED_MAX {
            state.told.retain(|_, told| at.saturating_sub(*told) < SAME_FOR);
            if state.told.len() >= REMEMBERED_MAX {
                state.told.clear();
            }
        }
        let told = state
            .told
            .insert((line.user_id.clone(), what, line.about.clone()), at);
        if let Some(told) = told
            && at.saturating_sub(told) < SAME_FOR
        {
            // It counts from when it was told, so that a page left open is told once a minute.
            state.told.insert((line.user_id, what, line.about), told);
            return;
        }
        metrics::counter!("dramatis_operator_reads_total", "query" => what).increment(1);
        tracing::info!(
            operator.id = line.user_id,
            query = what,
            about = line.about,
            "an operator read"
        );
        state.keep(line);
    }

    /// Notes that `caller` did `what`. Every act is a line of its own.
    pub(crate) fn act(&self, caller: &Caller, what: &'static str, about: &str, now: Timestamp) {
        let line = line(caller, what, about, now);
        tracing::info!(
            operator.id = line.user_id,
            act = what,
            about = line.about,
            "an operator acted"
        );
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(line);
    }

    /// The latest lines, newest first.
    pub(crate) fn lines(&self) -> Vec<ReadLine> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.iter().rev().cloned().collect()
    }
}

impl State {
    fn keep(&mut self, line: ReadLine) {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

fn line(caller: &Caller, what: &'static str, about: &str, at: Timestamp) -> ReadLine {
    ReadLine {
        at,
        user_id: caller.user_id.to_string(),
        email: caller.email.clone(),
        what,
        about: events::capped(about, ABOUT_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use events::testing::{id, sample_time};
    use identity::{AccountKind, Role, Tier};

    use super::*;

    fn caller(email: &str) -> Caller {
        Caller {
            user_id: id(&email.replace('@', "-")),
            email: email.to_owned(),
            kind: AccountKind::Human,
            role: Role::Admin,
            tier: Tier::Free,
            time_zone: "UTC".to_owned(),
            issuer: "urn:test".to_owned(),
            expires_at: sample_time(),
            login: None,
        }
    }

    #[test]
    fn the_same_reading_is_told_once_a_minute_and_another_at_once() {
        let audit = Audit::default();
        let (anna, ben) = (caller("anna@x"), caller("ben@x"));
        let read = |who: &Caller, about: &str, at: u64| {
            audit.read(
                who,
                "personas.story",
                about,
                sample_time(),
                Duration::from_secs(at),
            );
        };
        for second in 0..59 {
            read(&anna, "p1", second);
        }
        assert_eq!(audit.lines().len(), 1);
        read(&anna, "p2", 5);
        read(&ben, "p1", 5);
        assert_eq!(audit.lines().len(), 3);
        read(&anna, "p1", 60);
        assert_eq!(audit.lines().len(), 4);
        assert_eq!(audit.lines()[1].email, "ben@x");
    }

    #[test]
    fn what_is_kept_is_bounded_and_every_act_is_told() {
        let audit = Audit::default();
        let anna = caller("anna@x");
        for number in 0..10_000 {
            audit.read(
                &anna,
                "events.get",
                &number.to_string(),
                sample_time(),
                Duration::ZERO,
            );
        }
        let kept = audit.0.lock().unwrap().told.len();
        assert!(kept <= REMEMBERED_MAX, "{kept}");
        audit.act(&anna, "replay.start", "", sample_time());
        audit.act(&anna, "replay.start", "", sample_time());
        assert_eq!(audit.lines().len(), LINES_MAX);
        assert_eq!(
            (audit.lines()[0].what, audit.lines()[1].what),
            ("replay.start", "replay.start")
        );
    }
}
