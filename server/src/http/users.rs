//! Accounts as an admin sees them: a list without personas unless asked, deletion, revocation, and the record of acts.

use axum::Json;
use axum::extract::{Path, Query, State};
use events::UserId;
use http::StatusCode;
use identity::{Account, AccountKind, Act, AuditEntry, Role, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::answer::{Deleted, Done, Iso, done};
use super::caller::{Admin, ExternalRunner};
use super::endpoint::{Access, Endpoint};
use super::personas::{ERASED_WITHIN, erase_account};
use super::problem::Problem;

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
            .once_per_key()
            .about(Access::Admin, "Takes back every token of an account")
            .refuses(&[404]),
        Endpoint::get(&["/api/v1/admin/audit"], acts)
            .about(
                Access::Admin,
                "Sensitive acts on accounts and keys, the latest first",
            )
            .reads(&["user", "before", "limit"]),
        Endpoint::post(&["/api/v1/internal/users/{id}/persona-stamp"], stamp)
            .once_per_key()
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
) -> Result<Json<UserPage>, Problem> {
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
    let users = accounts.into_iter().map(UserSeen::from).collect();
    Ok(Json(UserPage { users, total, next }))
}

/// A page of accounts.
#[derive(Debug, Serialize, JsonSchema)]
struct UserPage {
    users: Vec<UserSeen>,
    /// Accounts of that kind, on all pages.
    total: u64,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// An account as an admin sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UserSeen {
    id: UserId,
    email: String,
    name: String,
    kind: AccountKind,
    role: Role,
    tier: Tier,
    created_at: Iso,
}

impl From<Account> for UserSeen {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            email: account.email,
            name: account.name,
            kind: account.kind,
            role: account.role,
            tier: account.tier,
            created_at: account.created_at.into(),
        }
    }
}

async fn delete(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Deleted<UserId>>, Problem> {
    let account = account(&app, id).await?;
    if account.role == Role::Admin || account.kind == AccountKind::System {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "ACCOUNT_PROTECTED",
            "an administrator's or the house's own account is not deleted here",
        ));
    }
    erase_account(&app, &account.id).await?;
    Ok(Json(Deleted {
        ok: true,
        deleted: account.id,
    }))
}

async fn revoke(_: Admin, State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, Problem> {
    let account = account(&app, id).await?;
    app.identity.revoke_all(&account.id).await?;
    Ok(done())
}

async fn stamp(
    _: ExternalRunner,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Stamped>, Problem> {
    let account = account(&app, id).await?;
    let account = app.identity.stamp_persona(&account.id).await?;
    Ok(Json(Stamped {
        ok: true,
        user_id: account.id,
        kind: account.kind,
        tier: account.tier,
    }))
}

/// An account that is a persona's now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stamped {
    ok: bool,
    user_id: UserId,
    kind: AccountKind,
    tier: Tier,
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
) -> Result<Json<Acts>, Problem> {
    let user = query.user.map(user_id).transpose()?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let acts = app.identity.acts(user.as_ref(), query.before, limit).await?;
    let next = (acts.len() == limit as usize)
        .then(|| acts.last().map(|act| act.id))
        .flatten();
    let acts = acts.into_iter().map(ActSeen::from).collect();
    Ok(Json(Acts { acts, next }))
}

/// A page of acts.
#[derive(Debug, Serialize, JsonSchema)]
struct Acts {
    acts: Vec<ActSeen>,
    /// Ask with this as `before` for more; null at the end.
    next: Option<i64>,
}

/// One sensitive act.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ActSeen {
    id: i64,
    at: Iso,
    act: Act,
    /// Whose account or key it is about.
    user_id: Option<String>,
    /// Who did it.
    by_id: Option<String>,
    detail: Option<String>,
}

impl From<AuditEntry> for ActSeen {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.into(),
            act: entry.act,
            user_id: entry.user_id,
            by_id: entry.by_id,
            detail: entry.detail,
        }
    }
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
