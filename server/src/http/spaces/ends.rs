//! How a space changes owners, and how it ends.
//!
//! ```text
//! hand over ─▶ the next owner's key seals from now on ─▶ what is there is sealed anew ─▶ the past owner's key is let go
//! identity     identity                                 gateway, through the log         identity
//!
//! delete ─▶ no such space for anybody ─▶ SpaceErased ─▶ tables without it ─▶ log without it ─▶ looked at once more
//! identity  identity                     log            projections          log
//! ```
//!
//! The first step is the one that counts; the others may be taken again, and [`finish`] takes them without being asked.

use axum::Json;
use axum::extract::{Path, State};
use events::{Clock as _, Commit, CommitId, Event, ExpectedSeq, SpaceErased, SpaceId, StreamSeq, Subject};
use gateway::{ResealStep, ToolError};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::{SpaceSeen, space_id, user_id};
use crate::http::App;
use crate::http::answer::{Done, done};
use crate::http::body::JsonObject;
use crate::http::caller::Authenticated;
use crate::http::fields::{Faults, Fields};
use crate::http::problem::Problem;

/// How long a gateway of another process may go on with what it knew of keys and members, with some to spare.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(6);
/// Records sealed anew in one step, and steps taken while somebody waits for the answer.
const STEP_RECORDS: u32 = 200;
const STEPS_AT_ONCE: u32 = 5;

/// A space with the place that is left in it to who had it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HandedOver {
    ok: bool,
    space: SpaceSeen,
}

pub(super) async fn hand_over(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Json<HandedOver>, Problem> {
    let mut faults = Faults::default();
    let member = Fields::new(body, &mut faults).text("userId", 1..=200);
    faults.finish()?;
    let (space, member) = (space_id(id)?, user_id(member)?);
    let place = app
        .identity
        .hand_over_space(&caller.user_id, &space, &member)
        .await?;
    // What is left after these is sealed anew by and by; until then it opens with the key it was sealed with.
    if let Err(error) = seal_anew(&app, &space, STEPS_AT_ONCE).await {
        tracing::warn!(space.id = %space, error = %error, "a space that was handed over is not sealed anew yet");
    }
    Ok(Json(HandedOver {
        ok: true,
        space: place.into(),
    }))
}

pub(super) async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    let space = space_id(id)?;
    app.identity.delete_space(&caller.user_id, &space).await?;
    // It is gone for everybody; what is left of its records goes by and by where this breaks off.
    if let Err(problem) = erase_records(&app, &space).await {
        tracing::warn!(space.id = %space, code = problem.code(), "a deleted space's records are not erased yet");
    }
    Ok(done())
}

/// Takes what steps are left of everything that was handed over or deleted.
pub(crate) async fn finish(app: &App) -> Result<(), Problem> {
    let now = app.clock.now();
    for handover in app.identity.handovers().await? {
        let began = app.clock.now();
        let left = seal_anew(app, &handover.space_id, u32::MAX).await;
        match left {
            Ok(0) if is_known_to_all(handover.at, began) => {
                app.identity
                    .finish_handover(&handover.space_id, handover.at)
                    .await?;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(space.id = %handover.space_id, error = %error, "a space that was handed over is not sealed anew yet");
            }
        }
    }
    for deleted in app.identity.deleted_spaces().await? {
        erase_records(app, &deleted.space_id).await?;
        if is_known_to_all(deleted.at, now) {
            // Once more, for an erasure that was cut off right before this.
            app.tables.scrub().await?;
            app.identity.forget_deleted_space(&deleted.space_id).await?;
        }
    }
    Ok(())
}

/// Whether nobody can have missed by `now` what happened `at`.
fn is_known_to_all(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) >= KNOWN_FOR
}

/// Seals what is in the space anew, in so many steps at most, and says how many fields that were.
async fn seal_anew(app: &App, space: &SpaceId, steps_max: u32) -> Result<u64, ToolError> {
    let mut step = ResealStep {
        space: Some(space.clone()),
        records_max: STEP_RECORDS,
        ..ResealStep::default()
    };
    let mut resealed = 0;
    for _ in 0..steps_max {
        let found = app.gateway.reseal(&step).await?;
        resealed += found.resealed;
        match found.next {
            Some(next) => step.after = next,
            None => break,
        }
    }
    Ok(resealed)
}

/// Takes a deleted space's records out of tables and log. Where they are gone already, nothing happens.
async fn erase_records(app: &App, space: &SpaceId) -> Result<(), Problem> {
    let subject = Subject::Record(space.clone());
    let Some(last) = app.log.last(&subject).await? else {
        return Ok(());
    };
    let is_erased = |event: &Event| matches!(event, Event::SpaceErased(_));
    let erased_at = if last.commit.events.iter().any(is_erased) {
        last.seq
    } else {
        append_erasure(app, space, last.seq).await?
    };
    app.projector
        .wait_for(erased_at, app.settings.admin_read_your_writes)
        .await
        .map_err(|_| {
            Problem::unavailable("TABLES_BEHIND", "the tables are behind; it is finished by itself")
        })?;
    let before = StreamSeq(erased_at.0.saturating_sub(1));
    if app.log.purge(&subject, Some(before)).await? > 0 {
        app.tables.scrub().await?;
    }
    Ok(())
}

async fn append_erasure(app: &App, space: &SpaceId, last: StreamSeq) -> Result<StreamSeq, Problem> {
    let id = CommitId::derived(&["space-erased", space.as_str(), &last.to_string()]);
    let event = SpaceErased {
        space_id: space.clone(),
    };
    let subject = Subject::Record(space.clone());
    let commit = Commit::new(id, subject, app.clock.now(), vec![event.into()]);
    let appended = app.log.append(&commit, ExpectedSeq::Any).await??;
    Ok(appended.seq)
}
