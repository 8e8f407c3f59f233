//! What personas expect of one another: one row for each thing in a shared space and each partner that ought to find it.

use events::{ExpectationChecked, ExpectationRaised, PersonaId};

use super::{Place, must_fit_key};
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::Expectation;
use crate::working_set::WorkingSet;

pub(super) fn raised(
    set: &mut WorkingSet,
    place: &Place<'_>,
    raised: &ExpectationRaised,
) -> Result<(), FoldError> {
    let maker = place.persona()?;
    must_fit_key("thing's id", &raised.thing.id)?;
    for partner in &raised.partners {
        let key = key(raised.space_id.as_str(), &raised.thing.id, partner);
        // The first stands: a thing is put there once.
        if set.expectations.get(&key)?.is_some() {
            continue;
        }
        let (space_id, thing_id, partner_id) = key;
        set.expectations.put(Expectation {
            space_id,
            thing_id,
            partner_id,
            module: raised.thing.module.clone(),
            kind: raised.thing.kind.clone(),
            maker_id: maker.to_string(),
            made_tick_id: raised.tick_id.to_string(),
            made_call_id: raised.call_id.to_string(),
            made_at: place.time.as_microsecond(),
            state: "open".to_owned(),
            looked_tick_id: None,
            looked_call_id: None,
            looked_at: None,
            looked_seq: None,
            stream_seq: bigint(place.seq.0),
        });
    }
    Ok(())
}

/// What was expected of somebody who is erased is no row any more, and looking for it changes nothing. The first outcome
/// stands.
pub(super) fn checked(
    set: &mut WorkingSet,
    place: &Place<'_>,
    checked: &ExpectationChecked,
) -> Result<(), FoldError> {
    let partner = place.persona()?;
    must_fit_key("thing's id", &checked.thing.id)?;
    let key = key(checked.space_id.as_str(), &checked.thing.id, partner);
    if set.expectations.get(&key)?.is_none_or(|row| row.state != "open") {
        return Ok(());
    }
    set.expectations.change(&key, |row| {
        checked.outcome.as_str().clone_into(&mut row.state);
        row.looked_tick_id = Some(checked.tick_id.to_string());
        row.looked_call_id = checked.call_id.as_ref().map(ToString::to_string);
        row.looked_at = Some(place.time.as_microsecond());
        row.looked_seq = Some(bigint(place.seq.0));
    })
}

fn key(space: &str, thing: &str, partner: &PersonaId) -> (String, String, String) {
    (space.to_owned(), thing.to_owned(), partner.to_string())
}
