//! Signing in to the dashboard: an admin's email and password, or a token, for a cookie that no script can read.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, RequestExt as _};
use events::{Clock as _, UserId};
use http::{HeaderMap, HeaderValue, Method, header};
use identity::{Caller, Role};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Done, Iso, done};
use super::auth::{EMAIL_CHARS, PASSWORD_CHARS};
use super::body::JsonObject;
use super::caller::{authenticated, must_be_admin};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::operators::{Operator, SESSION_COOKIE, from_our_own_page};
use super::problem::Problem;

const PATHS: &[&str] = &["/api/v1/dashboard/session"];
/// Bytes of a sign-in.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Characters of a token.
const TOKEN_CHARS_MAX: usize = 8 * 1024;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(PATHS, who).about(Access::Admin, "Who is signed in to the dashboard"),
        Endpoint::post(PATHS, sign_in)
            .about(
                Access::Open,
                "Signs an admin in to the dashboard: the answer sets a cookie that pages of this server send along",
            )
            .takes(schema())
            .gives::<SessionSeen>()
            .refuses(&[401, 403, 503])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(PATHS, sign_out)
            .about(Access::Open, "Forgets the dashboard's cookie")
            .gives::<Done>()
            .refuses(&[403]),
    ]
}

fn schema() -> Value {
    json!({
        "type": "object",
        "description": "an email and its password, or a token as `dramatis token` prints it",
        "properties": {
            "email": { "type": "string", "format": "email" },
            "password": { "type": "string" },
            "token": { "type": "string" },
        },
    })
}

async fn who(Operator(caller): Operator) -> Json<SessionSeen> {
    Json(caller.into())
}

async fn sign_in(State(app): State<App>, request: axum::extract::Request) -> Result<Response, Problem> {
    // A page elsewhere must not sign this browser in as somebody it chose.
    if request.headers().contains_key(header::ORIGIN) || request.headers().contains_key("sec-fetch-site") {
        from_our_own_page(&Method::POST, request.headers())?;
    }
    let JsonObject(body) = request.extract_with_state(&app).await?;
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let token = fields.optional_text("token", 1..=TOKEN_CHARS_MAX);
    let token = if let Some(token) = token {
        faults.finish()?;
        SecretString::from(token.trim().to_owned())
    } else {
        let email = fields.text("email", 1..=*EMAIL_CHARS.end());
        let password = fields.secret("password", 1..=*PASSWORD_CHARS.end());
        faults.finish()?;
        app.identity.login(&email, &password).await?.token
    };
    let caller = authenticated(Some(token.expose_secret()), &app).await?;
    must_be_admin(&caller)?;
    app.operators
        .audit
        .act(&caller, "session.sign_in", "", app.clock.now());
    let seconds = caller.expires_at.duration_since(app.clock.now()).as_secs().max(0);
    let cookie = cookie(&app, token.expose_secret(), seconds)?;
    Ok((cookie, Json(SessionSeen::from(caller))).into_response())
}

async fn sign_out(State(app): State<App>, method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    from_our_own_page(&method, &headers)?;
    Ok((cookie(&app, "", 0)?, done()).into_response())
}

/// No script reads it, no other site makes a browser send it, and only addresses of ours get it.
fn cookie(app: &App, token: &str, seconds: i64) -> Result<HeaderMap, Problem> {
    let secure = if app.settings.public_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    let text = format!(
        "{SESSION_COOKIE}={token}; Path=/api/v1; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Problem::bad_request("INVALID_FIELDS", "token: must be a token"))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(header::SET_COOKIE, value)]))
}

/// Who is signed in to the dashboard.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionSeen {
    user: SessionUser,
    expires_at: Iso,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SessionUser {
    id: UserId,
    email: String,
    role: Role,
}

impl From<Caller> for SessionSeen {
    fn from(caller: Caller) -> Self {
        Self {
            user: SessionUser {
                id: caller.user_id,
                email: caller.email,
                role: caller.role,
            },
            expires_at: caller.expires_at.into(),
        }
    }
}
