//! Who is due, for a runner outside this program.

use std::collections::BTreeMap;

use actors::{Slot, next_due};
use axum::Json;
use axum::extract::State;
use events::{Cadence, Clock as _, PersonaId};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use projections::PersonaRow;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::App;
use crate::http::answer::Iso;
use crate::http::caller::ExternalRunner;
use crate::http::problem::Problem;

/// Our own scheduler spreads personas over the day; an outside runner has its own pace, so for it a persona is
/// due as soon as its day or hour begins.
const SLOT: Slot = Slot {
    time: Time::midnight(),
    second_of_hour: 0,
};

pub(super) async fn due(_: ExternalRunner, State(app): State<App>) -> Result<Json<Due>, Problem> {
    let now = app.clock.now();
    let rows = in_order_of_need(app.tables.personas().await?, now);
    Ok(Json(Due {
        personas: rows.into_iter().map(DuePersona::from).collect(),
        server_time: now.into(),
    }))
}

/// Personas that are due, who needs it most first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Due {
    personas: Vec<DuePersona>,
    server_time: Iso,
}

/// A persona with all that a runner needs to act as it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DuePersona {
    user_id: PersonaId,
    email: String,
    archetype: String,
    system_prompt: String,
    /// Module to weight.
    module_mix: BTreeMap<String, f64>,
    tick_cadence: Cadence,
    last_active_at: Option<Iso>,
}

impl From<PersonaRow> for DuePersona {
    fn from(row: PersonaRow) -> Self {
        Self {
            user_id: row.persona_id,
            email: row.email,
            archetype: row.archetype,
            system_prompt: row.system_prompt,
            module_mix: row.module_mix,
            tick_cadence: row.cadence,
            last_active_at: row.last_active_at.map(Iso::from),
        }
    }
}

/// Those that are due at `now`: who never ran first, then by how long they are overdue.
fn in_order_of_need(personas: Vec<PersonaRow>, now: Timestamp) -> Vec<PersonaRow> {
    let mut due: Vec<(bool, SignedDuration, PersonaRow)> = personas
        .into_iter()
        .filter_map(|row| {
            let overdue = now.duration_since(due_at(&row));
            (!overdue.is_negative()).then_some((row.last_active_at.is_some(), overdue, row))
        })
        .collect();
    due.sort_by(|(ran, overdue, _), (other_ran, other_overdue, _)| {
        ran.cmp(other_ran).then(other_overdue.cmp(overdue))
    });
    due.into_iter().map(|(_, _, row)| row).collect()
}

fn due_at(row: &PersonaRow) -> Timestamp {
    let zone = TimeZone::get(&row.time_zone).unwrap_or(TimeZone::UTC);
    next_due(row.cadence, &zone, row.created_at, row.last_active_at, SLOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persona(name: &str, cadence: Cadence, last_active_at: Option<&str>) -> PersonaRow {
        PersonaRow {
            persona_id: PersonaId::try_new(name).unwrap(),
            email: format!("{name}@mana.test"),
            name: name.to_owned(),
            archetype: String::new(),
            system_prompt: String::new(),
            module_mix: std::collections::BTreeMap::new(),
            cadence,
            time_zone: "Europe/Berlin".to_owned(),
            partners: Vec::new(),
            last_active_at: last_active_at.map(|at| at.parse().unwrap()),
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ticks: 0,
            halted: None,
        }
    }

    fn names(personas: Vec<PersonaRow>, now: &str) -> Vec<String> {
        in_order_of_need(personas, now.parse().unwrap())
            .into_iter()
            .map(|row| row.name)
            .collect()
    }

    #[test]
    fn who_never_ran_comes_first_and_then_who_is_overdue_longest() {
        let personas = vec![
            persona("an-hour-late", Cadence::Hourly, Some("2026-01-05T08:30:00Z")),
            persona("days-late", Cadence::Daily, Some("2026-01-02T08:00:00Z")),
            persona("never-ran", Cadence::Daily, None),
        ];
        assert_eq!(
            names(personas, "2026-01-05T10:00:00Z"),
            ["never-ran", "days-late", "an-hour-late"]
        );
    }

    #[test]
    fn a_day_is_one_of_the_personas_own_zone() {
        // 22:30 UTC is 23:30 in Berlin; at 23:05 UTC it is the next day there.
        let ran = || vec![persona("anna", Cadence::Daily, Some("2026-01-05T22:30:00Z"))];
        assert!(names(ran(), "2026-01-05T22:59:00Z").is_empty());
        assert_eq!(names(ran(), "2026-01-05T23:05:00Z"), ["anna"]);
    }

    #[test]
    fn who_acts_on_weekdays_is_not_due_at_the_weekend() {
        // 2026-01-09 is a Friday.
        let ran = || vec![persona("anna", Cadence::Weekdays, Some("2026-01-09T08:00:00Z"))];
        assert!(names(ran(), "2026-01-11T12:00:00Z").is_empty());
        assert_eq!(names(ran(), "2026-01-12T00:00:00Z"), ["anna"]);
    }
}
