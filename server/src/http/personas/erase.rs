//! Deletes a persona for good: everything it is, in every file, so that it stays away after a rebuild too.
//!
//! ```text
//! shut out ─▶ let finish ─▶ PersonaErased ─▶ tables without it ─▶ log without it ─▶ file of tables written anew
//! identity    gateway       log              projections          log               projections
//!                                                                      ─▶ account, key, passwords: identity
//! ```
//!
//! Each step may be taken again, and the account, which remembers that it began, goes last: a deletion that broke off
//! anywhere is finished by asking again, or by [`finish_begun`] without being asked. Why in this order, and what of a
//! persona stays in the hands of others, is in docs/adr/0010.

mod finish;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use events::{Clock as _, PersonaErased, PersonaId, SpaceId, StreamSeq, Subject, UserId};
use identity::{AccountKind, IdentityError};
use tokio::sync::Mutex;

pub(crate) use finish::finish_begun;

use super::{persona_id, unknown_persona};
use crate::house::HouseRole;
use crate::http::App;
use crate::http::answer::Deleted;
use crate::http::caller::Admin;
use crate::http::persona_log::{Draft, History, write};
use crate::http::problem::Problem;

/// How long the persona's calls under way may take to end. A write waits five seconds for the tables at most.
const CALLS_END: Duration = Duration::from_secs(10);

/// How long a call may go on that another process let in before it saw that the account is shut out: that sees it within
/// two seconds, and a write waits five for the tables.
const CALLS_ELSEWHERE_END: Duration = Duration::from_secs(8);

/// Two erasures at once would only wait for each other's rewriting of the files.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(super) async fn delete(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Deleted<PersonaId>>, Problem> {
    let persona = persona_id(id)?;
    let user: UserId = persona.clone().into();
    let account = app.identity.account(&user).await?.ok_or_else(unknown_persona)?;
    if account.kind != AccountKind::Persona {
        let detail = "that account is not a persona; it was left as it is";
        return Err(Problem::bad_request("NOT_A_PERSONA", detail));
    }
    erase(&app, &persona).await?;
    Ok(Json(Deleted {
        ok: true,
        deleted: persona,
    }))
}

/// Takes every step that is still to be taken.
///
/// # Errors
/// 404 for an account that is not there (any more), and 503 when a step must wait:
/// what was done stays done, and the next try goes on.
async fn erase(app: &App, persona: &PersonaId) -> Result<(), Problem> {
    let _turn = ONE_AT_A_TIME.lock().await;
    // What an earlier deletion left to do is done first: this one may be the second try of that.
    app.identity.rewrite_if_due().await?;
    let user: UserId = persona.clone().into();
    app.identity.account(&user).await?.ok_or_else(unknown_persona)?;
    shut_out(app, &user).await?;
    let erasure = put_on_record(app, persona).await?;
    clear_log(app, persona, &erasure).await?;
    app.tables.scrub().await?;
    delete_account(app, &user).await
}

/// Deletes any account as a persona is deleted. Its subject then says that it is erased, and nothing else.
pub(crate) async fn erase_account(app: &App, user: &UserId) -> Result<(), Problem> {
    erase(app, &persona_id(user.to_string())?).await
}

/// Lets nothing new of the persona begin, and waits for the end of what is under way.
async fn shut_out(app: &App, user: &UserId) -> Result<(), Problem> {
    app.identity.suspend(user).await?;
    app.gateway.expel(user, CALLS_END).await.map_err(|still| {
        tracing::warn!(user.id = %user, calls = still.0, "an erasure waits for calls that do not end");
        let detail = "the persona is shut out, but calls of it are still under way; try again to finish";
        Problem::unavailable("CALLS_UNDER_WAY", detail)
    })?;
    if app.settings.role == HouseRole::Gateway {
        app.clock.sleep(CALLS_ELSEWHERE_END).await;
    }
    Ok(())
}

/// What the log says was erased.
#[derive(Debug)]
struct Erasure {
    /// Where it says so.
    at: StreamSeq,
    /// The spaces that were the persona's alone.
    spaces: Vec<SpaceId>,
}

/// Appends the event unless it stands already, and waits until the tables are without the persona. Its actor finds
/// the event in the way of its next append, and stands down.
async fn put_on_record(app: &App, persona: &PersonaId) -> Result<Erasure, Problem> {
    let alone = app.identity.sole_spaces(&persona.clone().into()).await?;
    let written = write(app, persona, |history| Ok(decide(history, persona, &alone))).await?;
    if !written.is_visible {
        let detail = "the persona is being erased, but the tables are behind; try again to finish";
        return Err(Problem::unavailable("TABLES_BEHIND", detail));
    }
    let subject = Subject::Persona(persona.clone());
    let history = History::of(&app.log.read_subject(&subject).await?);
    let erased = history.erased.ok_or_else(|| {
        Problem::internal(
            "a persona's erasure is not in the log it was written to",
            &subject,
        )
    })?;
    Ok(Erasure {
        at: erased.at,
        spaces: erased.spaces.into_iter().collect(),
    })
}

/// The event, unless one stands that names all the spaces. Another one names the earlier one's too: only the last
/// one stays in the log.
fn decide(history: &History, persona: &PersonaId, alone: &[SpaceId]) -> Vec<Draft> {
    let named = history.erased.as_ref().map(|erased| &erased.spaces);
    if named.is_some_and(|named| alone.iter().all(|space| named.contains(space))) {
        return Vec::new();
    }
    let mut spaces = named.cloned().unwrap_or_default();
    spaces.extend(alone.iter().cloned());
    let event = PersonaErased {
        persona_id: persona.clone(),
        spaces: spaces.iter().cloned().collect(),
    };
    vec![Draft {
        what: "persona-erased",
        key: spaces.iter().map(ToString::to_string).collect(),
        tick: None,
        events: vec![event.into()],
        rows: 1,
    }]
}

/// Takes the persona's commits out of the log: records first, its own subject last, and of that all but the event
/// that keeps it erased. What stays holds ids only.
async fn clear_log(app: &App, persona: &PersonaId, erasure: &Erasure) -> Result<(), Problem> {
    for space in &erasure.spaces {
        app.log.purge(&Subject::Record(space.clone()), None).await?;
    }
    app.log
        .purge(&Subject::Session(persona.clone().into()), None)
        .await?;
    let before = StreamSeq(erasure.at.0.saturating_sub(1));
    app.log
        .purge(&Subject::Persona(persona.clone()), Some(before))
        .await?;
    Ok(())
}

/// Destroys the key and with it what it encrypted elsewhere, the password, the memberships and the account.
async fn delete_account(app: &App, user: &UserId) -> Result<(), Problem> {
    match app.identity.delete_account(user).await {
        // Gone in between: an operator deleted it by hand.
        Ok(_) | Err(IdentityError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    app.identity.rewrite_if_due().await?;
    Ok(())
}
