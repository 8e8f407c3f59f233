//! A made-up past: ticks as personas live them, the records they leave, and their sessions.
//!
//! One tick is 26 events in 15 commits: a session opened and closed, eight calls of which every other writes a record,
//! two ratings. The same number always gives the same past.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use events::testing::{given, sample_time};
use events::{
    Appended, CallId, Commit, CommitStream, Delivery, Event, EventLog, ExpectedSeq, FieldWrite, Intent,
    LogError, LogState, PersonaDescription, PersonaEnrolled, PersonaId, Rated, RatingSource, RecordChanged,
    RecordId, RecordOp, RecordedCommit, Rejection, SessionClosed, SessionId, SessionOpened, SpaceId,
    StreamIdentity, StreamSeq, Subject, TickFinished, TickId, TickOutcome, TickStarted, TickTrigger,
    ToolCalled, ToolReturned, UserId,
};
use futures::{StreamExt as _, stream};

/// Personas in the past.
pub const PERSONAS: u64 = 256;
/// Events of one tick.
pub const EVENTS_OF_A_TICK: u64 = 26;
/// Calls of one tick.
const CALLS: u32 = 8;

/// What one decision is about, and what it made happen.
pub type Decision = (Subject, Vec<Event>);

/// At least `events` events: everybody enrolled, then everybody's ticks in turn.
pub fn history(events: u64) -> impl Iterator<Item = Decision> {
    let ticks = events.saturating_sub(PERSONAS).div_ceil(EVENTS_OF_A_TICK);
    let lived = (0..ticks).flat_map(|tick| tick_of(tick % PERSONAS, tick / PERSONAS + 1));
    (0..PERSONAS).map(enrolled).chain(lived)
}

/// The part of [`history`] that is persona `persona`'s own.
pub fn history_of(persona: u64, events: u64) -> impl Iterator<Item = Decision> {
    let ticks = events.saturating_sub(PERSONAS).div_ceil(EVENTS_OF_A_TICK);
    let own = (0..ticks).filter(move |tick| tick % PERSONAS == persona);
    std::iter::once(enrolled(persona)).chain(own.flat_map(move |tick| tick_of(persona, tick / PERSONAS + 1)))
}

/// Ids here are short words and numbers, which all ids may be.
#[expect(clippy::expect_used, reason = "the text is ours and an id")]
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the text is an id")
}

fn enrolled(persona: u64) -> Decision {
    let persona_id: PersonaId = id(&format!("persona-{persona}"));
    let description = PersonaDescription {
        persona_id: persona_id.clone(),
        email: format!("persona.{persona}@example.org"),
        name: format!("Persona {persona}"),
        archetype: "measured".to_owned(),
        system_prompt: "You use the app and say what you think of it.".to_owned(),
        module_mix: BTreeMap::from([("todo".to_owned(), 1.0)]),
        cadence: events::Cadence::Daily,
        time_zone: "Europe/Berlin".to_owned(),
        partners: Vec::new(),
    };
    (
        Subject::Persona(persona_id),
        vec![PersonaEnrolled(description).into()],
    )
}

/// One tick, decision by decision.
fn tick_of(persona: u64, number: u64) -> Vec<Decision> {
    let at = sample_time();
    let persona_id: PersonaId = id(&format!("persona-{persona}"));
    let user_id = UserId::from(persona_id.clone());
    let tick_id: TickId = id(&format!("tick-{persona}-{number}"));
    let session_id: SessionId = id(&format!("session-{persona}-{number}"));
    let space_id: SpaceId = id(&format!("space-{persona}"));
    let own = Subject::Persona(persona_id.clone());
    let session = Subject::Session(user_id.clone());
    let opened = SessionOpened {
        session_id: session_id.clone(),
        user_id: user_id.clone(),
        space_id: space_id.clone(),
        client: "dramatis-persona 0.1.0".to_owned(),
        protocol: "2025-11-25".to_owned(),
        opened_at: at,
    };
    let started = TickStarted {
        tick_id: tick_id.clone(),
        persona_id,
        number,
        due_at: at,
        started_at: at,
        trigger: TickTrigger::Schedule,
        brain: "simulated".to_owned(),
        model: None,
        prompt_version: 1,
        seed: number,
    };
    let mut decisions: Vec<Decision> = vec![(session.clone(), vec![opened.into()])];
    let mut pending: Vec<Event> = vec![started.into()];
    for index in 0..CALLS {
        let call_id: CallId = id(&format!("{tick_id}-{index}"));
        let is_write = index % 2 == 0;
        let tool = if is_write { "notes.create" } else { "notes.search" };
        pending.push(called(&tick_id, &call_id, index, tool));
        decisions.push((own.clone(), std::mem::take(&mut pending)));
        if is_write {
            let record = written(&space_id, &user_id, &call_id, tool);
            decisions.push((Subject::Record(space_id.clone()), vec![record]));
        }
        let returned = ToolReturned {
            tick_id: tick_id.clone(),
            call_id,
            latency_ms: Some(4),
            result_bytes: 345,
        };
        pending.push(returned.into());
    }
    pending.extend(["notes", "todo"].map(|module| rated(&tick_id, module)));
    let finished = TickFinished {
        tick_id,
        outcome: TickOutcome::Completed,
        reason: None,
        calls: CALLS,
        errors: 0,
        retries: 0,
        cost_micro_usd: None,
        resume_at: None,
        finished_at: at,
    };
    pending.push(finished.into());
    decisions.push((own, pending));
    let closed = SessionClosed {
        session_id,
        reason: "client".to_owned(),
        closed_at: at,
    };
    decisions.push((session, vec![closed.into()]));
    decisions
}

fn called(tick_id: &TickId, call_id: &CallId, index: u32, tool: &str) -> Event {
    ToolCalled {
        tick_id: tick_id.clone(),
        call_id: call_id.clone(),
        index,
        tool: tool.to_owned(),
        module: "notes".to_owned(),
        input_hash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
        act_hash: None,
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        called_at: sample_time(),
    }
    .into()
}

fn written(space_id: &SpaceId, actor: &UserId, call_id: &CallId, tool: &str) -> Event {
    let field = |text: &str| FieldWrite {
        value: text.into(),
        at: sample_time(),
    };
    let sealed = "enc:1:8yiGRh6ha+ZbSsVC.5Lc7I0zD7+U56wJ+0l2O5h57NGR5h1L1tikWrXA5";
    let record_id: RecordId = id(&format!("note-{call_id}"));
    RecordChanged {
        space_id: space_id.clone(),
        table: "notes".to_owned(),
        record_id,
        op: RecordOp::Put,
        fields: BTreeMap::from(
            [("title", sealed), ("content", sealed), ("color", "#6366f1")]
                .map(|(name, text)| (name.to_owned(), field(text))),
        ),
        actor: actor.clone(),
        tool: Some(tool.to_owned()),
        call_id: Some(call_id.clone()),
        synced: None,
        changed_at: sample_time(),
    }
    .into()
}

/// A new note, written by somebody.
pub fn note(number: u64) -> Decision {
    let persona = number % PERSONAS;
    let space_id: SpaceId = id(&format!("space-{persona}"));
    let record = written(
        &space_id,
        &id(&format!("persona-{persona}")),
        &id(&format!("call-{number}")),
        "notes.create",
    );
    (Subject::Record(space_id), vec![record])
}

fn rated(tick_id: &TickId, module: &str) -> Event {
    Rated {
        tick_id: tick_id.clone(),
        module: module.to_owned(),
        rating: 4,
        notes: "1 of 8 calls failed: title: required".to_owned(),
        evidence: Vec::new(),
        source: RatingSource::Simulated,
        friction: Some(0.25),
        rubric_version: 1,
        unsupported: None,
        brain: Some("simulated".to_owned()),
        model: None,
        prompt_version: Some(1),
        answers: None,
    }
    .into()
}

/// A past in memory, for measuring what a fold costs without reading from a server. It only reads.
#[derive(Debug)]
pub struct PreparedLog {
    commits: Arc<[RecordedCommit]>,
    /// What the next follower from the beginning is given, so that copying is not among what is measured.
    copy: Mutex<Option<Vec<RecordedCommit>>>,
}

impl PreparedLog {
    /// At least `events` events of [`history`].
    pub fn new(events: u64) -> Self {
        Self {
            commits: given(history(events)).into(),
            copy: Mutex::new(None),
        }
    }

    /// Makes the copy that the next follower from the beginning uses up.
    pub fn make_ready(&self) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.commits.to_vec());
    }

    /// Events in it.
    pub fn events(&self) -> u64 {
        self.commits
            .iter()
            .map(|recorded| recorded.commit.events.len() as u64)
            .sum()
    }

    /// Its last place.
    pub fn last_seq(&self) -> StreamSeq {
        StreamSeq(self.commits.len() as u64)
    }

    fn get(&self, seq: StreamSeq) -> Option<&RecordedCommit> {
        self.commits.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }
}

#[async_trait]
impl EventLog for PreparedLog {
    async fn append(&self, _: &Commit, _: ExpectedSeq) -> Result<Result<Appended, Rejection>, LogError> {
        Err(LogError::Unfit("what is past is past".to_owned()))
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        Ok(self
            .commits
            .iter()
            .rfind(|recorded| recorded.commit.subject == *subject)
            .cloned())
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        let of_subject = self
            .commits
            .iter()
            .filter(|recorded| recorded.commit.subject == *subject);
        Ok(of_subject.cloned().collect())
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        let from = usize::try_from(after.0).unwrap_or(usize::MAX);
        let ready = self.copy.lock().unwrap_or_else(PoisonError::into_inner).take();
        let past = match ready {
            Some(ready) if from == 0 => ready,
            _ => self.commits.iter().skip(from).cloned().collect(),
        };
        let past = past.into_iter().map(|recorded| Ok(Delivery::Commit(recorded)));
        // Like any log that is followed, it does not end.
        Ok(stream::iter(past).chain(stream::pending()).boxed())
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        Ok(self.get(seq).cloned().map(Delivery::Commit))
    }

    async fn state(&self) -> Result<LogState, LogError> {
        Ok(LogState {
            identity: StreamIdentity {
                name: "prepared".to_owned(),
                created: sample_time(),
            },
            last_seq: self.last_seq(),
            messages: self.commits.len() as u64,
            bytes: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_has_the_events_and_commits_that_are_said() {
        let decisions = tick_of(3, 1);
        assert_eq!(decisions.len(), 15);
        let events: usize = decisions.iter().map(|(_, events)| events.len()).sum();
        assert_eq!(events as u64, EVENTS_OF_A_TICK);
    }

    #[test]
    fn everybodys_parts_are_the_whole() {
        let events = 2_000;
        let whole = history(events).count();
        let parts: usize = (0..PERSONAS)
            .map(|persona| history_of(persona, events).count())
            .sum();
        assert_eq!(whole, parts);
    }

    #[tokio::test]
    async fn a_past_folds_without_anything_parked() {
        let dir = tempfile::tempdir().unwrap();
        let tables = projections::Tables::open(&dir.path().join("tables.sqlite"))
            .await
            .unwrap();
        let log = PreparedLog::new(1_000);
        let clock = events::SystemClock::new();
        let report = projections::rebuild(&log, &tables, &clock, &mut |_| ())
            .await
            .unwrap();
        assert_eq!((report.seq, report.events), (log.last_seq(), log.events()));
        let counts = tables.counts().await.unwrap();
        assert_eq!((counts.parked, counts.actions_pending), (0, 0));
        assert_eq!(counts.actions, counts.ticks * u64::from(CALLS));
        assert_eq!(counts.records, counts.actions / 2);
    }
}
