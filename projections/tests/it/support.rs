//! Short ways to say what happened, to fold it, and to look at what came out.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use events::testing::{given, id, sample_time};
use events::{
    CallEnded, CallId, CallOutcome, CallRefused, CallStarted, Cause, Commit, CommitId, DeployMarked,
    EdgeTried, EdgeVerdict, Event, EventLog, ExpectationChecked, ExpectationOutcome, ExpectationRaised,
    ExpectedSeq, FieldWrite, Intent, KnownObject, MemoryLog, PersonaDescription, PersonaEnrolled, PersonaId,
    Rated, RatingSource, RecordChanged, RecordOp, SessionOpened, SpaceEntered, StreamSeq, Subject,
    SystemClock, TickFinished, TickId, TickOutcome, TickStarted, TickTrigger, ToolCalled, ToolFailed,
    ToolReturned, Twin, TwinRated,
};
use jiff::Timestamp;
use projections::{FoldError, Progress, Projector, TableChecksum, Tables};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Tables of one test's own, gone with it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub tables: Tables,
}

impl Bench {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        Self { dir, tables }
    }

    /// Tables that hold a fold of `commits`, and the log they are in.
    pub async fn folded(commits: Vec<(Subject, Vec<Event>)>) -> (Self, Arc<MemoryLog>) {
        let (bench, log) = (Self::new().await, log_of(commits).await);
        fold_to_end(log.clone(), &bench.tables, 2_000).await.unwrap();
        (bench, log)
    }

    /// Changes the file behind the fold's back.
    pub async fn by_hand(&self, statement: &'static str) -> u64 {
        let mut db = raw(self.tables.path().unwrap()).await;
        sqlx::query(statement)
            .execute(&mut db)
            .await
            .unwrap()
            .rows_affected()
    }
}

/// A connection that knows nothing of our rules.
pub async fn raw(path: &Path) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions as _;
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap()
}

pub fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

/// A log that holds `commits`.
pub async fn log_of(commits: Vec<(Subject, Vec<Event>)>) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new());
    for recorded in given(commits) {
        append(log.as_ref(), &recorded.commit).await;
    }
    log
}

pub async fn append(log: &dyn EventLog, commit: &Commit) -> StreamSeq {
    log.append(commit, ExpectedSeq::Any).await.unwrap().unwrap().seq
}

/// One more commit at the end of `log`.
pub async fn happen(log: &dyn EventLog, subject: Subject, events: Vec<Event>) -> StreamSeq {
    let next = log.state().await.unwrap().last_seq.next();
    let commit = Commit::new(
        CommitId::derived(&["more", &next.to_string()]),
        subject,
        sample_time(),
        events,
    );
    append(log, &commit).await
}

/// Runs a projector until the tables hold all of `log`, then stops it.
pub async fn fold_to_end(
    log: Arc<dyn EventLog>,
    tables: &Tables,
    batch_commits_max: usize,
) -> Result<(), FoldError> {
    let end = log.state().await.unwrap().last_seq;
    let (projector, handle) = Projector::new(log, tables.clone(), clock());
    let cancel = CancellationToken::new();
    let stop = async {
        let reached = handle.wait_for(end, LIMIT).await;
        cancel.cancel();
        reached
    };
    let (ran, reached) = tokio::join!(
        projector
            .with_batch_commits_max(batch_commits_max)
            .run(cancel.clone()),
        stop
    );
    ran?;
    assert!(reached.is_ok(), "{reached:?}");
    Ok(())
}

/// Runs a projector until the tables hold all of `log` (`true`), or until it was polled `polls` times; then it is
/// dropped where it stands, as a killed process would leave it (`false`).
pub async fn fold_cut_after(
    log: Arc<dyn EventLog>,
    tables: &Tables,
    batch_commits_max: usize,
    polls: usize,
) -> bool {
    let end = log.state().await.unwrap().last_seq;
    let (projector, handle) = Projector::new(log, tables.clone(), clock());
    let mut run = pin!(
        projector
            .with_batch_commits_max(batch_commits_max)
            .run(CancellationToken::new())
    );
    let mut polled = 0;
    let cut = std::future::poll_fn(|cx| {
        polled += 1;
        if polled > polls {
            Poll::Ready(())
        } else {
            run.as_mut().poll(cx).map(|ended| ended.unwrap())
        }
    });
    tokio::select! {
        biased;
        () = cut => false,
        reached = handle.wait_for(end, LIMIT) => reached.map(|_| true).unwrap(),
    }
}

/// Runs a rebuild to its end, or until it was polled `polls` times; then it is dropped where it stands, as a killed
/// process would leave it.
pub async fn rebuild_cut_after(log: &dyn EventLog, tables: &Tables, polls: usize) {
    let (clock, mut quiet) = (clock(), quiet);
    let mut work = pin!(projections::rebuild(log, tables, clock.as_ref(), &mut quiet));
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        polled += 1;
        if polled > polls {
            Poll::Ready(())
        } else {
            work.as_mut().poll(cx).map(|ended| drop(ended.unwrap()))
        }
    })
    .await;
}

/// What tables hold after an undisturbed fold of `log`.
pub async fn reference(log: Arc<dyn EventLog>) -> Vec<TableChecksum> {
    let bench = Bench::new().await;
    fold_to_end(log, &bench.tables, 2_000).await.unwrap();
    bench.tables.checksums().await.unwrap()
}

/// What two logs that tell of the same have in common: neither the commits' own hashes nor where somebody was erased.
pub fn without_traces_of_the_log(mut checksums: Vec<TableChecksum>) -> Vec<TableChecksum> {
    checksums.retain(|table| !["chain_heads", "erased_subjects"].contains(&table.table.as_str()));
    checksums
}

pub fn quiet(_: Progress) {}

// --- what happened --------------------------------------------------------------------------------------------------

pub fn of_persona(name: &str) -> Subject {
    Subject::Persona(id(name))
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn enrolled(name: &str) -> Event {
    PersonaEnrolled(PersonaDescription {
        persona_id: id(name),
        email: format!("persona.{name}@mana.test"),
        name: name.to_owned(),
        archetype: "researcher".to_owned(),
        system_prompt: format!("You are {name}."),
        module_mix: [("todo".to_owned(), 1.0)].into(),
        cadence: events::Cadence::Daily,
        time_zone: "Europe/Berlin".to_owned(),
        partners: Vec::new(),
    })
    .into()
}

pub fn began(name: &str, tick: &str) -> Event {
    TickStarted {
        tick_id: id(tick),
        persona_id: id::<PersonaId>(name),
        number: 1,
        due_at: at(100),
        started_at: at(100),
        trigger: TickTrigger::Manual,
        brain: "simulated".to_owned(),
        model: None,
        prompt_version: 1,
        seed: u64::MAX,
    }
    .into()
}

pub fn call(tick: &str, call: &str, index: u32, tool: &str) -> ToolCalled {
    ToolCalled {
        tick_id: id(tick),
        call_id: id(call),
        index,
        tool: tool.to_owned(),
        module: tool.split('.').next().unwrap_or_default().to_owned(),
        input_hash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
        act_hash: None,
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        called_at: at(101),
    }
}

pub fn called(tick: &str, call_id: &str, index: u32) -> Event {
    call(tick, call_id, index, "todo.create").into()
}

pub fn returned(tick: &str, call: &str) -> Event {
    ToolReturned {
        tick_id: id(tick),
        call_id: id(call),
        latency_ms: Some(12),
        result_bytes: 3,
    }
    .into()
}

pub fn failed(tick: &str, call: &str, error: &str) -> Event {
    ToolFailed {
        tick_id: id::<TickId>(tick),
        call_id: id::<CallId>(call),
        error: error.to_owned(),
        latency_ms: Some(3),
        cause: Cause::App,
    }
    .into()
}

pub fn rated(tick: &str, module: &str, rating: u8) -> Event {
    Rated {
        tick_id: id(tick),
        module: module.to_owned(),
        rating,
        notes: "counted".to_owned(),
        evidence: vec![id("call-1")],
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

pub fn finished(tick: &str) -> Event {
    TickFinished {
        tick_id: id(tick),
        outcome: TickOutcome::Completed,
        reason: None,
        calls: 1,
        errors: 0,
        retries: 0,
        cost_micro_usd: Some(0),
        resume_at: None,
        finished_at: at(110),
    }
    .into()
}

pub fn of_space(space: &str) -> Subject {
    Subject::Record(id(space))
}

pub fn record(space: &str, record: &str, op: RecordOp, fields: &[(&str, &str, i64)]) -> Event {
    RecordChanged {
        space_id: id(space),
        table: "tasks".to_owned(),
        record_id: id(record),
        op,
        fields: fields
            .iter()
            .map(|(name, value, second)| {
                (
                    (*name).to_owned(),
                    FieldWrite {
                        value: (*value).into(),
                        at: at(*second),
                    },
                )
            })
            .collect(),
        actor: id("anna"),
        tool: None,
        call_id: None,
        synced: None,
        changed_at: at(fields.iter().map(|(_, _, second)| *second).max().unwrap_or(500)),
    }
    .into()
}

/// A short day of one persona that touches most tables.
pub fn day_of(name: &str) -> Vec<(Subject, Vec<Event>)> {
    let tick = &format!("tick-of-{name}");
    vec![
        (of_persona(name), vec![enrolled(name)]),
        (
            of_persona(name),
            vec![
                began(name, tick),
                called(tick, "call-1", 0),
                called(tick, "call-2", 1),
            ],
        ),
        (
            of_space(name),
            vec![record(
                name,
                "task-1",
                RecordOp::Put,
                &[("title", "enc:1:a", 101)],
            )],
        ),
        (of_persona(name), vec![failed(tick, "call-2", "title: required")]),
        (
            of_persona(name),
            vec![returned(tick, "call-1"), called(tick, "call-3", 2)],
        ),
        (
            of_space(name),
            vec![record(
                name,
                "task-1",
                RecordOp::Put,
                &[("title", "enc:1:b", 105)],
            )],
        ),
        (of_persona(name), vec![rated(tick, "todo", 4), finished(tick)]),
    ]
}

/// A day of `maker` in a space it shares with `partner`, who does not find what it put there; with edge input that was
/// read back otherwise, a mistake that was taken as right, and both twins.
#[expect(clippy::too_many_lines, reason = "a day is a list of what happens in it")]
pub fn shared_day_of(maker: &str, partner: &str) -> Vec<(Subject, Vec<Event>)> {
    let (making, looking) = (&format!("making-of-{maker}"), &format!("looking-of-{partner}"));
    let thing = KnownObject {
        module: "todo".to_owned(),
        kind: "task".to_owned(),
        id: format!("thing-of-{maker}"),
    };
    let entered = |tick: &str| SpaceEntered {
        tick_id: id(tick),
        space_id: id("shared"),
        space_type: "family".to_owned(),
    };
    let raised = ExpectationRaised {
        tick_id: id(making),
        space_id: id("shared"),
        thing: thing.clone(),
        call_id: id("made"),
        partners: vec![id(partner)],
    };
    let checked = ExpectationChecked {
        tick_id: id(looking),
        space_id: id("shared"),
        thing,
        outcome: ExpectationOutcome::Broken,
        call_id: Some(id("looked")),
    };
    let edge = |verdict, detail: Option<&str>| EdgeTried {
        tick_id: id(making),
        call_id: id("edge"),
        tool: "todo.create".to_owned(),
        field: "title".to_owned(),
        class: "nfd-twin".to_owned(),
        verdict,
        detail: detail.map(str::to_owned),
    };
    let twin = |twin, rating| TwinRated {
        tick_id: id(making),
        twin,
        rating: Some(rating),
        failed: None,
        calls: 5,
        errors: 1,
        friction: 0.25,
        source: RatingSource::Simulated,
        rubric_version: 1,
        brain: "simulated".to_owned(),
        model: None,
        prompt_version: 1,
        rated_at: at(100),
    };
    let chaos = ToolCalled {
        intent: Intent::Chaos,
        mistake: Some("nfd-twin".to_owned()),
        ..call(making, "edge", 1, "todo.create")
    };
    let wrong = ToolCalled {
        intent: Intent::Mistake,
        mistake: Some("wrong-type".to_owned()),
        ..call(making, "wrong", 2, "notes.create")
    };
    vec![
        (of_persona(maker), vec![enrolled(maker)]),
        (of_persona(partner), vec![enrolled(partner)]),
        (
            of_persona(maker),
            vec![
                began(maker, making),
                entered(making).into(),
                called(making, "made", 0),
                returned(making, "made"),
                chaos.into(),
                returned(making, "edge"),
                wrong.into(),
                returned(making, "wrong"),
                edge(EdgeVerdict::Accepted, None).into(),
                edge(
                    EdgeVerdict::Altered,
                    Some("5 characters were read back as 4 others"),
                )
                .into(),
            ],
        ),
        (
            of_persona(maker),
            vec![
                raised.into(),
                twin(Twin::Good, 5).into(),
                twin(Twin::Bad, 2).into(),
                finished(making),
            ],
        ),
        (
            of_persona(partner),
            vec![
                began(partner, looking),
                entered(looking).into(),
                call(looking, "looked", 0, "todo.list").into(),
                returned(looking, "looked"),
                checked.into(),
                finished(looking),
            ],
        ),
    ]
}

/// The start of `user`'s call `client_call_id` as the gateway tells it.
pub fn call_started(user: &str, call_id: &str, client_call_id: &str) -> CallStarted {
    CallStarted {
        call_id: id(call_id),
        client_call_id: Some(id(client_call_id)),
        session_id: None,
        user_id: id(user),
        space_id: id(user),
        tool: "todo.create".to_owned(),
        input_hash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
        arguments: None,
        policy_version: 1,
        started_at: at(101),
    }
}

pub fn call_ended(call_id: &str, outcome: CallOutcome) -> Event {
    CallEnded {
        call_id: id(call_id),
        outcome,
        fault: None,
        duration_ms: Some(3),
        ended_at: at(102),
    }
    .into()
}

/// A session in which the same call is refused twice. A refusal folded twice is a row too many, or a parked one.
pub fn session_of(user: &str) -> Vec<(Subject, Vec<Event>)> {
    let opened = SessionOpened {
        session_id: id(&format!("session-of-{user}")),
        user_id: id(user),
        space_id: id(user),
        client: "dramatis-persona".to_owned(),
        protocol: "2025-11-25".to_owned(),
        opened_at: at(1),
    };
    let refused = CallRefused {
        user_id: id(user),
        space_id: id(user),
        tool: "habits.archive".to_owned(),
        call_id: None,
        rule: "rate".to_owned(),
        policy_version: 1,
        mode: "enforce".to_owned(),
        refused_at: at(2),
    };
    vec![(
        Subject::Session(id(user)),
        vec![
            opened.into(),
            refused.clone().into(),
            refused.into(),
            call_started(user, &format!("door-{user}"), "call-1").into(),
            call_ended(&format!("door-{user}"), CallOutcome::Ok),
        ],
    )]
}

/// The mark of a deployment.
pub fn deployed(name: &str, second: i64) -> (Subject, Vec<Event>) {
    let marked = DeployMarked {
        name: id(name),
        note: None,
        deployed_at: at(second),
    };
    (Subject::Deploy(id(name)), vec![marked.into()])
}
