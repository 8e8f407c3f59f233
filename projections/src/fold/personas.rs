//! Personas come, change, halt and go.

use events::{Cadence, PersonaDescription, PersonaErased, PersonaHalted, Subject, UserId};

use super::Place;
use crate::column::{bigint, json_text};
use crate::database::DbConnection;
use crate::error::FoldError;

/// Enrolled or revised: the event holds the whole description, so both set all of it. What an earlier enrolment
/// of the same persona said about when is kept.
pub(super) async fn described(
    db: &mut DbConnection,
    place: &Place<'_>,
    description: &PersonaDescription,
) -> Result<(), FoldError> {
    place.is_about_persona(&description.persona_id)?;
    sqlx::query(
        "-- name: persona_described
         INSERT INTO personas (id, email, name, archetype, system_prompt, module_mix, cadence, time_zone, partners,
                               created_at, updated_at, stream_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)
         ON CONFLICT (id) DO UPDATE
         SET email = excluded.email,
             name = excluded.name,
             archetype = excluded.archetype,
             system_prompt = excluded.system_prompt,
             module_mix = excluded.module_mix,
             cadence = excluded.cadence,
             time_zone = excluded.time_zone,
             partners = excluded.partners,
             updated_at = excluded.updated_at",
    )
    .bind(description.persona_id.as_str())
    .bind(&description.email)
    .bind(&description.name)
    .bind(&description.archetype)
    .bind(&description.system_prompt)
    .bind(json_text(&description.module_mix)?)
    .bind(cadence_word(description.cadence))
    .bind(&description.time_zone)
    .bind(json_text(&description.partners)?)
    .bind(place.time.as_microsecond())
    .bind(bigint(place.seq.0))
    .execute(db)
    .await?;
    Ok(())
}

fn cadence_word(cadence: Cadence) -> &'static str {
    match cadence {
        Cadence::Daily => "daily",
        Cadence::Weekdays => "weekdays",
        Cadence::Hourly => "hourly",
    }
}

/// Its actor gave up. The next tick that begins says that it is back.
pub(super) async fn halted(
    db: &mut DbConnection,
    place: &Place<'_>,
    halted: &PersonaHalted,
) -> Result<(), FoldError> {
    place.is_about_persona(&halted.persona_id)?;
    sqlx::query("UPDATE personas SET halted = $2 WHERE id = $1")
        .bind(halted.persona_id.as_str())
        .bind(&halted.reason)
        .execute(db)
        .await?;
    Ok(())
}

/// Everything that is the persona's goes: its own rows, its sessions and refusals, the records of the spaces that
/// were its alone, and what was parked of any of them.
pub(super) async fn erased(
    db: &mut DbConnection,
    place: &Place<'_>,
    erased: &PersonaErased,
) -> Result<(), FoldError> {
    place.is_about_persona(&erased.persona_id)?;
    for statement in [
        "DELETE FROM personas WHERE id = $1",
        "DELETE FROM ticks WHERE persona_id = $1",
        "DELETE FROM persona_actions WHERE persona_id = $1",
        "DELETE FROM persona_feedback WHERE persona_id = $1",
        "DELETE FROM sessions WHERE user_id = $1",
        "DELETE FROM refusals WHERE user_id = $1",
    ] {
        sqlx::query(statement)
            .bind(erased.persona_id.as_str())
            .execute(&mut *db)
            .await?;
    }
    let user = UserId::from(erased.persona_id.clone());
    let mut subjects = vec![place.subject.clone(), Subject::Session(user)];
    for space in &erased.spaces {
        sqlx::query("DELETE FROM records WHERE space_id = $1")
            .bind(space.as_str())
            .execute(&mut *db)
            .await?;
        subjects.push(Subject::Record(space.clone()));
    }
    for subject in subjects {
        sqlx::query("DELETE FROM parked_events WHERE subject = $1")
            .bind(subject.to_string())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
