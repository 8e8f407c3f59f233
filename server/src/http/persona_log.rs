//! Writing to a persona's subject beside its actor.
//!
//! Every write is a decision over the subject's history, appended under the guard that the history has not
//! moved on since; if it has, the decision is made again over the newer one. That makes each write idempotent:
//! what a retry would write again is in the history it decides over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use events::{
    CallId, Clock as _, Commit, CommitId, Event, ExpectedSeq, PersonaDescription, PersonaId, RecordedCommit,
    Rejection, SpaceId, StreamSeq, Subject, TickId,
};
use sha2::{Digest as _, Sha256};

use super::App;
use super::problem::Problem;

/// Decisions made anew because the persona's actor appended in between; it does so every few milliseconds
/// while it acts.
const ATTEMPTS_MAX: u32 = 20;

/// What a persona's subject says, as far as writers beside its actor must know it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The subject's last commit.
    pub(crate) last_seq: StreamSeq,
    /// Who it is; `None` before its enrolment and after its erasure.
    pub(crate) description: Option<PersonaDescription>,
    /// Its erasure. It is never enrolled again: who comes under the same email is somebody else.
    pub(crate) erased: Option<Erased>,
    /// Its ticks, and whether each has ended.
    pub(crate) ticks: BTreeMap<TickId, bool>,
    /// The highest number of a tick.
    pub(crate) last_number: u64,
    /// Calls made.
    pub(crate) calls: BTreeSet<CallId>,
    /// Modules with a rating, or with a rating that failed.
    pub(crate) rated: BTreeSet<(TickId, String)>,
}

/// What a persona's subject says about its erasure.
#[derive(Debug)]
pub(crate) struct Erased {
    /// Where it stands.
    pub(crate) at: StreamSeq,
    /// The spaces that were its alone.
    pub(crate) spaces: BTreeSet<SpaceId>,
}

impl History {
    /// Folds a subject's commits.
    pub(crate) fn of(commits: &[RecordedCommit]) -> Self {
        let mut history = Self::default();
        for recorded in commits {
            for (_, event) in recorded.events() {
                history.fold(event, recorded.seq);
            }
            history.last_seq = recorded.seq;
        }
        history
    }

    fn fold(&mut self, event: &Event, at: StreamSeq) {
        match event {
            Event::PersonaEnrolled(enrolled) => self.description = Some(enrolled.0.clone()),
            Event::PersonaRevised(revised) => self.description = Some(revised.0.clone()),
            Event::PersonaErased(erased) => {
                let spaces = erased.spaces.iter().cloned().collect();
                *self = Self {
                    erased: Some(Erased { at, spaces }),
                    ..Self::default()
                }
            }
            Event::TickStarted(started) => {
                self.ticks.insert(started.tick_id.clone(), false);
                self.last_number = self.last_number.max(started.number);
            }
            Event::ToolCalled(called) => {
                self.calls.insert(called.call_id.clone());
            }
            Event::Rated(rated) => {
                self.rated.insert((rated.tick_id.clone(), rated.module.clone()));
            }
            Event::RatingFailed(failed) => {
                self.rated.insert((failed.tick_id.clone(), failed.module.clone()));
            }
            Event::TickFinished(finished) => {
                self.ticks.insert(finished.tick_id.clone(), true);
            }
            Event::TickInterrupted(interrupted) => {
                self.ticks.insert(interrupted.tick_id.clone(), true);
            }
            _ => {}
        }
    }
}

/// A commit to be, before its place in the subject is known.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is written, in a few words; part of the commit's id.
    pub(crate) what: &'static str,
    /// What tells this draft from others of its kind; part of the commit's id.
    pub(crate) key: Vec<String>,
    /// The tick it belongs to.
    pub(crate) tick: Option<TickId>,
    /// The events.
    pub(crate) events: Vec<Event>,
    /// Rows the caller is told were written.
    pub(crate) rows: u64,
}

impl Draft {
    /// The commit after `after`. Its id follows from what it says and where it stands: the same decision made
    /// twice at once is one commit, and the same words said again later are another.
    fn into_commit(self, app: &App, persona: &PersonaId, after: StreamSeq) -> Commit {
        let mut digest = Sha256::new();
        for part in &self.key {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let id = CommitId::derived(&[self.what, persona.as_str(), &after.to_string(), &digest]);
        let commit = Commit::new(
            id,
            Subject::Persona(persona.clone()),
            app.clock.now(),
            self.events,
        );
        match self.tick {
            Some(tick) => commit.in_tick(tick),
            None => commit,
        }
    }
}

/// What a write came to.
#[derive(Debug)]
pub(crate) struct Written {
    /// Rows that were new.
    pub(crate) rows: u64,
    /// The tables show the write.
    pub(crate) is_visible: bool,
}

/// Appends what `decide` says about the persona's history, and waits until the tables have passed it.
///
/// # Errors
/// What `decide` refuses with, and 503 when the log cannot be asked or the persona's subject never stands still.
pub(crate) async fn write<D>(app: &App, persona: &PersonaId, decide: D) -> Result<Written, Problem>
where
    D: Fn(&History) -> Result<Vec<Draft>, Problem>,
{
    let mut rows = 0;
    let mut attempt = 1;
    let seq = loop {
        let history = History::of(&app.log.read_subject(&Subject::Persona(persona.clone())).await?);
        match append_all(app, persona, history.last_seq, decide(&history)?, &mut rows).await? {
            Ok(seq) => break seq,
            Err(rejection @ Rejection::TooLarge { .. }) => return Err(rejection.into()),
            Err(rejection) if attempt >= ATTEMPTS_MAX => return Err(rejection.into()),
            Err(_) => attempt += 1,
        }
    };
    // Also when nothing was appended: an earlier try may have appended it and not waited to the end.
    let passed = app
        .projector
        .wait_for(seq, app.settings.admin_read_your_writes)
        .await;
    if passed.is_err() {
        tracing::warn!(seq = seq.0, persona.id = %persona, "a write is stored, but the tables are behind");
    }
    Ok(Written {
        rows,
        is_visible: passed.is_ok(),
    })
}

/// Appends one after the other, each guarded by the one before. Rows of what was appended are counted even if a
/// later one is refused.
async fn append_all(
    app: &App,
    persona: &PersonaId,
    mut after: StreamSeq,
    drafts: Vec<Draft>,
    rows: &mut u64,
) -> Result<Result<StreamSeq, Rejection>, Problem> {
    for draft in drafts {
        let draft_rows = draft.rows;
        let commit = draft.into_commit(app, persona, after);
        match app.log.append(&commit, ExpectedSeq::Exactly(after)).await? {
            Ok(appended) => {
                after = appended.seq;
                // A duplicate is a request like this one that came at the same time; it counted the rows.
                *rows += if appended.duplicate { 0 } else { draft_rows };
            }
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    Ok(Ok(after))
}
