//! Edge input: one row for each field and edge class that a persona tried, with how often and what came of it.

use events::{EdgeTried, EdgeVerdict};

use super::{Place, must_fit_key};
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::Edge;
use crate::working_set::WorkingSet;

pub(super) fn tried(set: &mut WorkingSet, place: &Place<'_>, tried: &EdgeTried) -> Result<(), FoldError> {
    let persona = place.persona()?;
    must_fit_key("tool's name", &tried.tool)?;
    must_fit_key("field's name", &tried.field)?;
    must_fit_key("edge class", &tried.class)?;
    let key = (
        persona.to_string(),
        tried.tool.clone(),
        tried.field.clone(),
        tried.class.clone(),
    );
    let known = set.edges.get(&key)?.cloned();
    let at = place.time.as_microsecond();
    let mut row = known.unwrap_or(Edge {
        persona_id: key.0,
        tool_name: key.1,
        field: key.2,
        class: key.3,
        accepted: 0,
        refused: 0,
        altered: 0,
        broke: 0,
        unanswered: 0,
        last_at: at,
        bad_verdict: None,
        bad_detail: None,
        bad_tick_id: None,
        bad_call_id: None,
        bad_at: None,
        stream_seq: 0,
    });
    match tried.verdict {
        EdgeVerdict::Accepted => row.accepted += 1,
        EdgeVerdict::Refused => row.refused += 1,
        EdgeVerdict::Altered => row.altered += 1,
        EdgeVerdict::Broke => row.broke += 1,
        EdgeVerdict::Unanswered => row.unanswered += 1,
    }
    row.last_at = at;
    row.stream_seq = bigint(place.seq.0);
    if !tried.verdict.is_well() {
        row.bad_verdict = Some(tried.verdict.as_str().to_owned());
        row.bad_detail.clone_from(&tried.detail);
        row.bad_tick_id = Some(tried.tick_id.to_string());
        row.bad_call_id = Some(tried.call_id.to_string());
        row.bad_at = Some(at);
    }
    set.edges.put(row);
    Ok(())
}
