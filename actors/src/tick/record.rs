//! What a persona's actor writes: commits on its own subject, each guarded by where the last one was.

use std::time::Duration;

use events::{
    Commit, CommitId, Event, ExpectedSeq, LogError, PersonaId, RecordedCommit, Rejection, StreamSeq, Subject,
    TickId,
};

use crate::diary::Diary;
use crate::recall::Fold;
use crate::roster::RosterEntry;
use crate::stage::Stage;

/// How long the log may take for one answer before it counts as none.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Tries of one append: while the log does not answer, and after the admin API wrote in between.
const TRIES_MAX: u32 = 6;
/// Before the second try; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// Nothing more can be written, so nothing more may be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Somebody else owns the persona now, or it is gone. Not a failure: stand down.
    #[error("{0}")]
    Overtaken(String),
    /// The persona acts now, where other runners share its ticks.
    #[error("another runner lives a tick of it")]
    Elsewhere,
    /// The log cannot be written.
    #[error("the log cannot be written: {0}")]
    Log(String),
}

impl From<LogError> for RecordError {
    fn from(error: LogError) -> Self {
        Self::Log(error.to_string())
    }
}

/// A persona as its subject tells it now, and what it remembers; `None` when it is not enrolled.
pub(crate) async fn fold_subject(
    stage: &Stage,
    persona_id: &PersonaId,
) -> Result<Option<(RosterEntry, Diary)>, LogError> {
    let mut fold = stage.recall.of(persona_id);
    let mut commits = read_subject(stage, persona_id, fold.read_after()).await?;
    if !fold.leads_to(&commits) {
        // It was erased, or the log is another one: what is kept of it tells of a past that is not there.
        fold = Fold::default();
        commits = read_subject(stage, persona_id, fold.read_after()).await?;
    }
    fold.fold(&commits);
    stage.recall.keep(persona_id, &fold);
    Ok(fold.into_persona())
}

async fn read_subject(
    stage: &Stage,
    persona_id: &PersonaId,
    after: StreamSeq,
) -> Result<Vec<RecordedCommit>, LogError> {
    let subject = Subject::Persona(persona_id.clone());
    let read = stage.log.read_subject_after(&subject, after);
    stage.within(ANSWER_WITHIN, read).await.unwrap_or_else(|| {
        let reason = "reading a persona's subject took too long".to_owned();
        Err(LogError::Unavailable(reason))
    })
}

/// Appends what happens in one tick.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    stage: &'a Stage,
    persona_id: PersonaId,
    tick_id: TickId,
    /// The tick's span, where somebody watches.
    traceparent: Option<String>,
    last_seq: StreamSeq,
    commits: u32,
    held: Vec<Event>,
    has_begun: bool,
}

impl<'a> Recorder<'a> {
    /// For `tick_id` of the persona whose subject's last commit is at `last_seq`.
    pub(crate) fn new(
        stage: &'a Stage,
        persona_id: PersonaId,
        tick_id: TickId,
        traceparent: Option<String>,
        last_seq: StreamSeq,
    ) -> Self {
        Self {
            stage,
            persona_id,
            tick_id,
            traceparent,
            last_seq,
            commits: 0,
            held: Vec::new(),
            has_begun: false,
        }
    }

    /// Appends the event a tick begins with. Whoever wrote to the subject since it was folded wins.
    pub(crate) async fn begin(&mut self, started: Event) -> Result<(), RecordError> {
        self.append(vec![started]).await?;
        self.has_begun = true;
        Ok(())
    }

    /// Keeps events for the next commit: an outcome and the calls it leads to are one decision.
    pub(crate) fn hold(&mut self, events: impl IntoIterator<Item = Event>) {
        self.held.extend(events);
    }

    /// Whether something is held.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Appends what was held and `events` as one commit; nothing at all is no commit.
    pub(crate) async fn append(&mut self, events: Vec<Event>) -> Result<(), RecordError> {
        let mut all = std::mem::take(&mut self.held);
        all.extend(events);
        if all.is_empty() {
            return Ok(());
        }
        let name = [
            "tick",
            &self.stage.runner,
            self.tick_id.as_str(),
            &self.commits.to_string(),
        ];
        let (id, now) = (CommitId::derived(&name), self.stage.clock.now());
        let mut commit = Commit::new(id, Subject::Persona(self.persona_id.clone()), now, all)
            .in_tick(self.tick_id.clone());
        commit.traceparent.clone_from(&self.traceparent);
        self.last_seq = self.append_guarded(&commit).await?;
        self.commits += 1;
        Ok(())
    }

    /// Tries until the commit is in, its place is taken, or the tries are used up. Every try is the same commit, so
    /// one that got in without our knowing is found again.
    async fn append_guarded(&self, commit: &Commit) -> Result<StreamSeq, RecordError> {
        let (mut expected, mut pause, mut last_error) = (self.last_seq, PAUSE, String::new());
        for tried in 0..TRIES_MAX {
            if tried > 0 {
                self.stage.clock.sleep(pause).await;
                pause *= 2;
            }
            let append = self.stage.log.append(commit, ExpectedSeq::Exactly(expected));
            match self.stage.within(ANSWER_WITHIN, append).await {
                Some(Ok(Ok(appended))) => return Ok(appended.seq),
                Some(Ok(Err(rejection @ Rejection::WrongSequence { .. }))) if !self.has_begun => {
                    return Err(RecordError::Overtaken(rejection.to_string()));
                }
                Some(Ok(Err(Rejection::WrongSequence { .. }))) => {
                    expected = self.still_ours().await?;
                    "others keep writing to the subject".clone_into(&mut last_error);
                }
                Some(Ok(Err(rejection @ Rejection::TooLarge { .. }))) => {
                    return Err(RecordError::Log(rejection.to_string()));
                }
                Some(Err(LogError::Unavailable(reason))) => last_error = reason,
                Some(Err(busy @ LogError::Busy { .. })) => last_error = busy.to_string(),
                Some(Err(error)) => return Err(error.into()),
                None => last_error = format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
            }
        }
        Err(RecordError::Log(last_error))
    }

    /// The subject's end, if what was written in between leaves the tick ours: a revision by the admin API does, an
    /// erasure or another runner's tick does not.
    async fn still_ours(&self) -> Result<StreamSeq, RecordError> {
        let Some((entry, _)) = fold_subject(self.stage, &self.persona_id).await? else {
            return Err(RecordError::Overtaken("the persona was erased".to_owned()));
        };
        if entry.unfinished.is_none_or(|open| open.tick_id != self.tick_id) {
            return Err(RecordError::Overtaken(
                "another runner has taken the persona over".to_owned(),
            ));
        }
        Ok(entry.last_seq)
    }
}
