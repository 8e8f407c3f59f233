//! Given / when / then for whatever decides or folds, and one sample of every event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::codec::{CodecError, decode_event};
use crate::commit::{Commit, RecordedCommit, StreamSeq};
#[allow(clippy::wildcard_imports, reason = "the samples name every event there is")]
use crate::event::*;
use crate::ids::{
    CallId, CommitId, DeployName, PersonaId, RecordId, RequestId, SessionId, SpaceId, TickId, UserId,
};
use crate::subject::Subject;
pub use crate::upcast::Upcaster;

/// The instant all samples happen at: 2026-01-05 08:00 UTC, a Monday.
pub fn sample_time() -> Timestamp {
    Timestamp::constant(1_767_600_000, 0)
}

/// An id from text that is one.
///
/// # Panics
/// When it is not.
#[expect(clippy::expect_used, reason = "a test helper; the text is the test's own")]
pub fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the text is an id")
}

/// Reads one event's JSON as it is read from the log, with other upcasters than those of the present types.
///
/// # Errors
/// As reading from the log.
pub fn read_raised(text: &str, upcasters: &[Upcaster]) -> Result<Event, CodecError> {
    decode_event(text, upcasters)
}

/// A history: commits numbered from 1, as a log would give them back.
pub fn given(commits: impl IntoIterator<Item = (Subject, Vec<Event>)>) -> Vec<RecordedCommit> {
    (1u64..)
        .zip(commits)
        .map(|(seq, (subject, events))| {
            let id = CommitId::derived(&["sample", &seq.to_string()]);
            RecordedCommit {
                seq: StreamSeq(seq),
                commit: Commit::new(id, subject, sample_time(), events),
                link: None,
                seal: None,
            }
        })
        .collect()
}

/// One event of every known type, in the order of [`Event::TYPES`].
#[expect(clippy::too_many_lines, reason = "one literal for each type")]
pub fn samples() -> Vec<Event> {
    let at = sample_time();
    let persona_id: PersonaId = id("018f0000-0000-7000-8000-000000000001");
    let user_id: UserId = persona_id.clone().into();
    let tick_id: TickId = id("018f0000-0000-7000-8000-000000000002");
    let call_id: CallId = id("018f0000-0000-7000-8000-000000000003");
    let space_id: SpaceId = id("018f0000-0000-7000-8000-000000000004");
    let request_id: RequestId = id("018f0000-0000-7000-8000-000000000006");
    let session_id: SessionId = id("018f0000-0000-7000-8000-000000000005");
    let description = PersonaDescription {
        persona_id: persona_id.clone(),
        email: "persona.anna@mana.test".to_owned(),
        name: "Anna".to_owned(),
        archetype: "adhd-student".to_owned(),
        system_prompt: "Du bist Anna.".to_owned(),
        module_mix: BTreeMap::from([("habits".to_owned(), 1.0), ("todo".to_owned(), 3.0)]),
        cadence: Cadence::Daily,
        time_zone: "Europe/Berlin".to_owned(),
        partners: vec!["persona.ben@mana.test".to_owned()],
    };
    let field = FieldWrite {
        value: json!("enc:1:8yiGRh6ha+ZbSsVC.5Lc7I0zD7+U56wJ+0l2O5h57NGR5h1L1tikWrXA5"),
        at,
    };
    let thing = KnownObject {
        module: "todo".to_owned(),
        kind: "task".to_owned(),
        id: "018f0000-0000-7000-8000-000000000008".to_owned(),
    };
    vec![
        PersonaEnrolled(description.clone()).into(),
        PersonaRevised(description).into(),
        PersonaErased {
            persona_id: persona_id.clone(),
            spaces: vec![space_id.clone()],
        }
        .into(),
        PersonaHalted {
            persona_id: persona_id.clone(),
            restarts: 3,
            reason: "panicked".to_owned(),
        }
        .into(),
        TickStarted {
            tick_id: tick_id.clone(),
            persona_id,
            number: 1,
            due_at: at,
            started_at: at,
            trigger: TickTrigger::Schedule,
            brain: "simulated".to_owned(),
            model: None,
            prompt_version: 1,
            seed: 7,
        }
        .into(),
        SpaceEntered {
            tick_id: tick_id.clone(),
            space_id: space_id.clone(),
            space_type: "team".to_owned(),
        }
        .into(),
        ToolCalled {
            tick_id: tick_id.clone(),
            call_id: call_id.clone(),
            index: 0,
            tool: "todo.create".to_owned(),
            module: "todo".to_owned(),
            input_hash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
            act_hash: Some("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned()),
            intent: Intent::Mistake,
            mistake: Some("missing-required".to_owned()),
            retry_of: None,
            called_at: at,
        }
        .into(),
        ToolReturned {
            tick_id: tick_id.clone(),
            call_id: call_id.clone(),
            latency_ms: Some(12),
            result_bytes: 345,
        }
        .into(),
        ToolFailed {
            tick_id: tick_id.clone(),
            call_id: call_id.clone(),
            error: "title: required".to_owned(),
            latency_ms: Some(3),
            cause: Cause::Persona,
        }
        .into(),
        ModelAsked {
            tick_id: tick_id.clone(),
            request_id: request_id.clone(),
            brain: "anthropic".to_owned(),
            model: "claude-haiku-5-5".to_owned(),
            purpose: Purpose::Act,
            reserved_micro_usd: 4_000,
            asked_at: at,
        }
        .into(),
        ModelCalled {
            tick_id: tick_id.clone(),
            request_id: Some(request_id),
            model: "claude-haiku-5-5".to_owned(),
            input_tokens: Some(1_200),
            cached_tokens: Some(9_000),
            cache_write_tokens: Some(0),
            output_tokens: Some(300),
            cost_micro_usd: Some(360),
            retries: 0,
            stop_reason: "tool_use".to_owned(),
            error: None,
            latency_ms: 850,
        }
        .into(),
        Rated {
            tick_id: tick_id.clone(),
            module: "todo".to_owned(),
            rating: 4,
            notes: "1 of 3 calls failed: title: required".to_owned(),
            evidence: vec![call_id.clone()],
            source: RatingSource::Simulated,
            friction: Some(0.25),
            rubric_version: 1,
            unsupported: None,
            brain: Some("simulated".to_owned()),
            model: None,
            prompt_version: Some(1),
            answers: None,
        }
        .into(),
        RatingFailed {
            tick_id: tick_id.clone(),
            module: "notes".to_owned(),
            reason: "answer was prose".to_owned(),
        }
        .into(),
        TwinRated {
            tick_id: tick_id.clone(),
            twin: Twin::Bad,
            rating: Some(2),
            failed: None,
            calls: 7,
            errors: 3,
            friction: 0.45,
            source: RatingSource::Simulated,
            rubric_version: 1,
            brain: "simulated".to_owned(),
            model: None,
            prompt_version: 1,
            rated_at: at,
        }
        .into(),
        EdgeTried {
            tick_id: tick_id.clone(),
            call_id: call_id.clone(),
            tool: "todo.create".to_owned(),
            field: "title".to_owned(),
            class: "nfd-twin".to_owned(),
            verdict: EdgeVerdict::Altered,
            detail: Some("5 characters were read back as 4 others".to_owned()),
        }
        .into(),
        DiaryWritten {
            tick_id: tick_id.clone(),
            made: vec![thing.clone()],
            closed: vec!["018f0000-0000-7000-8000-000000000009".to_owned()],
        }
        .into(),
        ExpectationRaised {
            tick_id: tick_id.clone(),
            space_id: space_id.clone(),
            thing: thing.clone(),
            call_id: call_id.clone(),
            partners: vec![id("018f0000-0000-7000-8000-00000000000a")],
        }
        .into(),
        ExpectationChecked {
            tick_id: tick_id.clone(),
            space_id: space_id.clone(),
            thing,
            outcome: ExpectationOutcome::Kept,
            call_id: Some(call_id.clone()),
        }
        .into(),
        TickFinished {
            tick_id: tick_id.clone(),
            outcome: TickOutcome::Completed,
            reason: None,
            calls: 3,
            errors: 1,
            retries: 1,
            cost_micro_usd: Some(0),
            resume_at: None,
            finished_at: at,
        }
        .into(),
        TickInterrupted {
            tick_id,
            reason: "found unfinished at start".to_owned(),
            found_at: at,
        }
        .into(),
        SessionOpened {
            session_id: session_id.clone(),
            user_id: user_id.clone(),
            space_id: space_id.clone(),
            client: "dramatis-persona 0.1.0".to_owned(),
            protocol: "2025-11-25".to_owned(),
            opened_at: at,
        }
        .into(),
        SessionClosed {
            session_id,
            reason: "client".to_owned(),
            closed_at: at,
        }
        .into(),
        CallRefused {
            user_id: user_id.clone(),
            space_id: space_id.clone(),
            tool: "habits.archive".to_owned(),
            call_id: Some(call_id.clone()),
            rule: "rate".to_owned(),
            policy_version: 1,
            mode: "enforce".to_owned(),
            refused_at: at,
        }
        .into(),
        CallStarted {
            call_id: id("018f0000-0000-7000-8000-000000000007"),
            client_call_id: Some(call_id.clone()),
            session_id: Some(id("018f0000-0000-7000-8000-000000000005")),
            user_id: user_id.clone(),
            space_id: space_id.clone(),
            tool: "todo.create".to_owned(),
            input_hash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
            arguments: Some("enc:1:8yiGRh6ha+ZbSsVC.5Lc7I0zD7+U56wJ+0l2O5h57NGR5h1L1tikWrXA5".to_owned()),
            policy_version: 1,
            started_at: at,
        }
        .into(),
        CallEnded {
            call_id: id("018f0000-0000-7000-8000-000000000007"),
            outcome: CallOutcome::Error,
            fault: Some("rejected".to_owned()),
            duration_ms: Some(3),
            ended_at: at,
        }
        .into(),
        RecordChanged {
            space_id: space_id.clone(),
            table: "tasks".to_owned(),
            record_id: RecordId::from(uuid::Uuid::from_u128(6)),
            op: RecordOp::Put,
            fields: BTreeMap::from([("title".to_owned(), field)]),
            actor: user_id,
            tool: Some("todo.create".to_owned()),
            call_id: Some(call_id),
            synced: None,
            changed_at: at,
        }
        .into(),
        SpaceErased { space_id }.into(),
        DeployMarked {
            name: id::<DeployName>("v1.4.2"),
            note: Some("new reminders".to_owned()),
            deployed_at: at,
        }
        .into(),
    ]
}
