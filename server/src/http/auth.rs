//! Accounts for everybody: registration, login and the keys that tokens are checked with.

use axum::Json;
use axum::extract::State;
use events::UserId;
use http::{StatusCode, header};
use identity::{Account, AccountKind, IdentityError, Login, Registration, Role, Tier};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Done, done};
use super::body::{JsonObject, OptionalJsonObject};
use super::caller::{Authenticated, BEARER};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;

/// Bytes of a registration or login: a handful of short fields.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Characters an email may have.
pub(crate) const EMAIL_CHARS: std::ops::RangeInclusive<usize> = 3..=254;
/// Characters a new password may have.
pub(crate) const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=256;
/// How long others may keep the keys; shorter than the time two keys overlap at a rotation.
const JWKS_CACHE: &str = "public, max-age=60";

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let credentials = json!({
        "type": "object",
        "required": ["email", "password"],
        "properties": {
            "email": { "type": "string", "format": "email" },
            "password": { "type": "string", "minLength": 8, "maxLength": 256 },
        },
    });
    let mut registration = credentials.clone();
    registration["properties"]["name"] = json!({ "type": "string", "maxLength": 120 });
    vec![
        Endpoint::post(&["/api/v1/auth/register"], register)
            .about(Access::Open, "Makes an account with its personal space and vault")
            .takes(registration)
            .succeeds_with(StatusCode::CREATED)
            .refuses(&[409, 503])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::post(&["/api/v1/auth/login"], login)
            .about(Access::Open, "Gives a token for an email and its password")
            .takes(credentials)
            .refuses(&[401, 429, 503])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::post(&["/api/v1/auth/refresh"], refresh)
            .about(
                Access::Token,
                "Gives a fresh token for the login the caller came with",
            )
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::post(&["/api/v1/auth/logout"], logout)
            .about(
                Access::Token,
                "Ends the login the caller came with, or with `everywhere` all of its account",
            )
            .takes(json!({ "type": "object", "properties": { "everywhere": { "type": "boolean" } } }))
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::get(&["/.well-known/jwks.json", "/api/auth/jwks"], jwks)
            .about(Access::Open, "The public keys that tokens are signed with")
            .gives::<KeySet>(),
    ]
}

async fn register(
    State(app): State<App>,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let registration = Registration {
        email: fields.text("email", EMAIL_CHARS),
        password: fields.secret("password", PASSWORD_CHARS),
        name: fields.optional_text("name", 1..=120),
        // A persona or an admin is never made by asking for it here.
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: fields.optional_text("timeZone", 1..=64),
    };
    faults.finish()?;
    let account = app.identity.register(registration).await?;
    let user = account.into();
    Ok((StatusCode::CREATED, Json(Registered { user })))
}

async fn login(State(app): State<App>, JsonObject(body): JsonObject) -> Result<Json<LoggedIn>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let email = fields.text("email", 1..=*EMAIL_CHARS.end());
    let password = fields.secret("password", 1..=*PASSWORD_CHARS.end());
    faults.finish()?;
    let login = app.identity.login(&email, &password).await?;
    Ok(Json(login.into()))
}

async fn refresh(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<LoggedIn>, Problem> {
    Ok(Json(app.identity.refresh(&caller).await?.into()))
}

async fn logout(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<Done>, Problem> {
    let mut faults = Faults::default();
    let is_everywhere = Fields::new(body, &mut faults).flag("everywhere");
    faults.finish()?;
    if is_everywhere {
        app.identity.revoke_all(&caller.user_id).await?;
    } else {
        app.identity.log_out(&caller).await?;
    }
    Ok(done())
}

async fn jwks(State(app): State<App>) -> ([(header::HeaderName, &'static str); 1], Json<Value>) {
    app.identity.refresh_signing_keys().await;
    ([(header::CACHE_CONTROL, JWKS_CACHE)], Json(app.identity.jwks()))
}

/// Answer of a registration.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Registered {
    user: AccountSeen,
}

/// A login as its owner gets it. The one place where a token leaves the house.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LoggedIn {
    /// What `Authorization: Bearer` takes.
    token: String,
    user: AccountSeen,
}

/// An account as its owner sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AccountSeen {
    id: UserId,
    email: String,
    name: String,
    kind: AccountKind,
    role: Role,
    tier: Tier,
}

/// JSON Web Keys (RFC 7517).
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

/// An Ed25519 key that tokens are signed with.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PublicKey {
    kty: String,
    crv: String,
    alg: String,
    #[serde(rename = "use")]
    used_for: String,
    kid: String,
    x: String,
}

impl From<Login> for LoggedIn {
    fn from(login: Login) -> Self {
        Self {
            token: login.token.expose_secret().to_owned(),
            user: login.account.into(),
        }
    }
}

impl From<Account> for AccountSeen {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            email: account.email,
            name: account.name,
            kind: account.kind,
            role: account.role,
            tier: account.tier,
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let said = error.to_string();
        match error {
            IdentityError::EmailTaken => Self::new(StatusCode::CONFLICT, "EMAIL_TAKEN", said),
            IdentityError::InvalidField { field, reason } => {
                Self::bad_request("INVALID_FIELDS", format!("{field}: {reason}"))
                    .with("faults", json!([{ "field": field, "reason": reason }]))
            }
            IdentityError::BadCredentials => Self::unauthorized("BAD_CREDENTIALS", BEARER, said),
            IdentityError::Throttled { retry_after_s } => {
                Self::too_often("TOO_MANY_LOGINS", retry_after_s, said)
            }
            IdentityError::LoginEnded => Self::unauthorized("LOGIN_ENDED", BEARER, said),
            IdentityError::NotStampable => Self::new(StatusCode::CONFLICT, "NOT_STAMPABLE", said),
            IdentityError::RotateForbidden => Self::new(StatusCode::CONFLICT, "ZK_ROTATE_FORBIDDEN", said),
            IdentityError::RecoveryWrapMissing => Self::bad_request("RECOVERY_WRAP_MISSING", said),
            IdentityError::ZeroKnowledge
            | IdentityError::ZeroKnowledgeActive
            | IdentityError::ZeroKnowledgeHandover { .. } => {
                Self::new(StatusCode::CONFLICT, "ZK_ACTIVE", said)
            }
            IdentityError::KeptElsewhere { .. } => Self::new(StatusCode::CONFLICT, "KEPT_ELSEWHERE", said),
            IdentityError::UnknownElsewhere { .. } => {
                Self::new(StatusCode::CONFLICT, "UNKNOWN_ELSEWHERE", said)
            }
            IdentityError::OwnerAway => Self::unavailable("OWNER_AWAY", said),
            IdentityError::External { origin, error } => {
                tracing::warn!(origin, error = %error, "the system that keeps accounts does not answer");
                Self::unavailable(
                    "EXTERNAL_IDENTITY_UNAVAILABLE",
                    "the system that keeps accounts does not answer as it should now; try again",
                )
            }
            IdentityError::HandoverUnderWay => Self::new(StatusCode::CONFLICT, "HANDOVER_UNDER_WAY", said),
            IdentityError::KeyExhausted => Self::new(StatusCode::CONFLICT, "KEY_EXHAUSTED", said),
            IdentityError::NotFound => Self::not_found("NOT_FOUND", said),
            IdentityError::SpaceRoleNeeded { .. } => {
                Self::new(StatusCode::FORBIDDEN, "SPACE_ROLE_NEEDED", said)
            }
            IdentityError::AlreadyMember => Self::new(StatusCode::CONFLICT, "ALREADY_MEMBER", said),
            IdentityError::OwnerStays => Self::new(StatusCode::CONFLICT, "OWNER_STAYS", said),
            IdentityError::SpaceLimit { .. } => Self::new(StatusCode::CONFLICT, "LIMIT_REACHED", said),
            IdentityError::NotAPersona => Self::new(StatusCode::CONFLICT, "NOT_A_PERSONA", said),
            IdentityError::Suspended => Self::unavailable("ACCOUNT_SUSPENDED", said),
            IdentityError::VaultNotInitialised => Self::not_found("VAULT_NOT_INITIALISED", said),
            IdentityError::Busy => Self::unavailable("BUSY", said),
            IdentityError::Database(cause) => {
                tracing::error!(error = %cause, "the accounts cannot be read or written");
                Self::unavailable(
                    "DATABASE_UNAVAILABLE",
                    "the database does not answer now; try again",
                )
            }
            error => Self::internal("identity cannot do what was asked", &error),
        }
    }
}
