//! Accounts as an admin sees them: a list without personas unless asked, deletion, revocation, and the record of acts.

use axum::Json;
use axum::extract::{Path, Query, State};
use events::UserId;
use http::StatusCode;
use identity::{Account, AccountKind, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::{Admin, ExternalRunner};
use super::endpoint::{Access, Endpoint};
use super::personas::{ERASED_WITHIN, erase_account};
use super::problem::Problem;
use super::{App, iso};

/// Accounts or acts on one page, at most, and where nothing is said.
const PAGE_MAX: u32 = 500;
const PAGE: u32 = 100;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/api/v1/admin/users"], list)
            .about(
                Access::Admin,
                "Accounts by email, people only unless `kind` says otherwise",
            )
            .reads(&["kind", "after", "limit"]),
        Endpoint::delete(&["/api/v1/admin/users/{id}"], delete)
            .about(
                Access::Admin,
                "Deletes an account and the spaces that were its alone, for good",
            )
            .time_limit(ERASED_WITHIN)
            .refuses(&[404, 409, 503]),
        Endpoint::post(&["/api/v1/admin/users/{id}/revoke"], revoke)
            .about(Access::Admin, "Takes back every token of an account")
            .refuses(&[404]),
        Endpoint::get(&["/api/v1/admin/audit"], acts)
            .about(
                Access::Admin,
                "Sensitive acts on accounts and keys, the latest first",
            )
            .reads(&["user", "before", "limit"]),
        Endpoint::post(&["/api/v1/internal/users/{id}/persona-stamp"], stamp)
            .about(Access::ServiceKey, "Marks an account as a persona's")
            .refuses(&[404, 409]),
    ]
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    kind: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(
    _: Admin,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let kinds: &[AccountKind] = match query.kind.as_deref() {
        None | Some("human") => &[AccountKind::Human],
        Some("persona") => &[AccountKind::Persona],
        Some("system") => &[AccountKind::System],
        Some("all") => &[AccountKind::Human, AccountKind::Persona, AccountKind::System],
        Some(_) => {
            return Err(Problem::bad_request(
                "INVALID_QUERY",
                "kind: must be one of human, persona, system, all",
            ));
        }
    };
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let after = query.after.unwrap_or_default();
    let accounts = app.identity.accounts_after(kinds, &after, limit).await?;
    let next = (accounts.len() == limit as usize)
        .then(|| accounts.last().map(|account| account.email.clone()))
        .flatten();
    let total = app.identity.count_accounts(kinds).await?;
    let users: Vec<Value> = accounts.iter().map(user_json).collect();
    Ok(Json(json!({ "users": users, "total": total, "next": next })))
}

fn user_json(account: &Account) -> Value {
    json!({
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "kind": account.kind,
        "role": account.role,
        "tier": account.tier,
        "createdAt": iso(account.created_at),
    })
}

async fn delete(_: Admin, State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let account = account(&app, id).await?;
    if account.role == Role::Admin || account.kind == AccountKind::System {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "ACCOUNT_PROTECTED",
            "an administrator's or the house's own account is not deleted here",
        ));
    }
    erase_account(&app, &account.id).await?;
    Ok(Json(json!({ "ok": true, "deleted": account.id })))
}

async fn revoke(_: Admin, State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let account = account(&app, id).await?;
    app.identity.revoke_all(&account.id).await?;
    Ok(Json(json!({ "ok": true })))
}

async fn stamp(
    _: ExternalRunner,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let account = account(&app, id).await?;
    let account = app.identity.stamp_persona(&account.id).await?;
    Ok(Json(json!({
        "ok": true, "userId": account.id, "kind": account.kind, "tier": account.tier,
    })))
}

#[derive(Debug, Deserialize)]
struct ActsQuery {
    user: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

async fn acts(
    _: Admin,
    State(app): State<App>,
    Query(query): Query<ActsQuery>,
) -> Result<Json<Value>, Problem> {
    let user = query.user.map(user_id).transpose()?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let acts = app.identity.acts(user.as_ref(), query.before, limit).await?;
    let next = (acts.len() == limit as usize)
        .then(|| acts.last().map(|act| act.id))
        .flatten();
    let acts: Vec<Value> = acts
        .iter()
        .map(|act| {
            json!({
                "id": act.id,
                "at": iso(act.at),
                "act": act.act,
                "userId": act.user_id,
                "byId": act.by_id,
                "detail": act.detail,
            })
        })
        .collect();
    Ok(Json(json!({ "acts": acts, "next": next })))
}

async fn account(app: &App, id: String) -> Result<Account, Problem> {
    app.identity.account(&user_id(id)?).await?.ok_or_else(unknown)
}

fn user_id(id: String) -> Result<UserId, Problem> {
    UserId::try_new(id).map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found("USER_NOT_FOUND", "there is no account of that id")
}
