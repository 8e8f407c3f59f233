//! Personas come, change, halt and go.

use events::{Cadence, PersonaDescription, PersonaErased, PersonaHalted, Subject, UserId};

use super::{Place, must_fit_key};
use crate::column::{bigint, json_text};
use crate::error::FoldError;
use crate::schema::{ErasedSubject, Persona};
use crate::working_set::WorkingSet;

/// Enrolled or revised: the event holds the whole description, so both set all of it. What an earlier enrolment
/// of the same persona said about when is kept.
pub(super) fn described(
    set: &mut WorkingSet,
    place: &Place<'_>,
    description: &PersonaDescription,
) -> Result<(), FoldError> {
    place.is_about_persona(&description.persona_id)?;
    must_fit_key("email", &description.email)?;
    let earlier = set.personas.get(description.persona_id.as_str())?;
    let time = place.time.as_microsecond();
    let persona = Persona {
        id: description.persona_id.to_string(),
        email: description.email.clone(),
        name: description.name.clone(),
        archetype: description.archetype.clone(),
        system_prompt: description.system_prompt.clone(),
        module_mix: json_text(&description.module_mix)?,
        cadence: cadence_word(description.cadence).to_owned(),
        time_zone: description.time_zone.clone(),
        partners: json_text(&description.partners)?,
        last_active_at: earlier.and_then(|earlier| earlier.last_active_at),
        halted: earlier.and_then(|earlier| earlier.halted.clone()),
        created_at: earlier.map_or(time, |earlier| earlier.created_at),
        updated_at: time,
        stream_seq: earlier.map_or(bigint(place.seq.0), |earlier| earlier.stream_seq),
    };
    set.personas.put(persona);
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
pub(super) fn halted(
    set: &mut WorkingSet,
    place: &Place<'_>,
    halted: &PersonaHalted,
) -> Result<(), FoldError> {
    place.is_about_persona(&halted.persona_id)?;
    set.personas.change(halted.persona_id.as_str(), |persona| {
        persona.halted = Some(halted.reason.clone());
    })
}

/// Everything that is the persona's goes: its own rows, its sessions and refusals, the records of the spaces that
/// were its alone, and what was parked of any of them.
pub(super) fn erased(
    set: &mut WorkingSet,
    place: &Place<'_>,
    erased: &PersonaErased,
) -> Result<(), FoldError> {
    place.is_about_persona(&erased.persona_id)?;
    set.erase_persona(erased.persona_id.as_str());
    // Of its chain nothing is left but this commit, which its erasure is about to make the first.
    set.erase_chain_head(&place.subject.to_string());
    let user = UserId::from(erased.persona_id.clone());
    let mut subjects = vec![place.subject.clone(), Subject::Session(user)];
    for space in &erased.spaces {
        set.erase_space(space.as_str());
        subjects.push(Subject::Record(space.clone()));
    }
    for subject in subjects {
        let subject = subject.to_string();
        set.erase_parked(&subject);
        // From now on nobody misses commits there.
        let seq = bigint(place.seq.0);
        set.erased_subjects.put(ErasedSubject { subject, seq });
    }
    Ok(())
}
