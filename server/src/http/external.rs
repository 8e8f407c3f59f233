//! For runners outside this program, which hold the service key and report what their personas did.
//!
//! What they report becomes the same events a tick of ours writes, on the persona's own subject, marked as
//! reported from outside. A batch may be sent twice: ids follow from what it says.

mod actions;
mod due;
mod feedback;
mod tick;

use events::PersonaId;
use identity::AccountKind;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::endpoint::{Access, Endpoint};
use super::personas::unknown_persona;
use super::problem::Problem;

/// The endpoints of the files below.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            &["/api/v1/internal/personas/due", "/api/v1/personas/internal/due"],
            due::due,
        )
        .about(
            Access::ServiceKey,
            "Personas that are due, those that never ran first, then the longest overdue",
        ),
        Endpoint::post(
            &[
                "/api/v1/internal/personas/{id}/actions",
                "/api/v1/personas/internal/{id}/actions",
            ],
            actions::report,
        )
        .once_per_key()
        .about(
            Access::ServiceKey,
            "Reports what a persona did in ticks run elsewhere",
        )
        .takes(actions::schema())
        .body_bytes_max(actions::BODY_BYTES_MAX)
        .refuses(&[404, 409, 503]),
        Endpoint::post(
            &[
                "/api/v1/internal/personas/{id}/feedback",
                "/api/v1/personas/internal/{id}/feedback",
            ],
            feedback::report,
        )
        .once_per_key()
        .about(
            Access::ServiceKey,
            "Reports how a persona rated what it used elsewhere",
        )
        .takes(feedback::schema())
        .refuses(&[404, 409, 503]),
    ]
}

/// Answer of a report.
#[derive(Debug, Serialize, JsonSchema)]
struct Written {
    ok: bool,
    /// Rows that were new.
    written: u64,
}

impl Written {
    fn new(written: u64) -> Self {
        Self { ok: true, written }
    }
}

/// Refuses ids that are no persona's before anything is decided about them.
async fn must_be_persona(app: &App, persona: &PersonaId) -> Result<(), Problem> {
    let account = app.identity.account(&persona.clone().into()).await?;
    if account.is_some_and(|account| account.kind == AccountKind::Persona) {
        Ok(())
    } else {
        Err(unknown_persona())
    }
}
