//! A persona's way in: the same login route, with the same answer, that a person has.

use std::time::Duration;

use events::PersonaId;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stage::Stage;

/// How long one try may take. Checking a password takes a good part of a second on purpose.
const TRY_WITHIN: Duration = Duration::from_secs(15);
/// Tries while the server says that it is busy or does not answer.
const TRIES_MAX: u32 = 3;
/// Before the second try; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(250);

/// No token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The password derived here is not the one the account was seeded with.
    #[error("login refused: {reason}; was it seeded under the PERSONA_SEED_SECRET that this runner has?")]
    WrongPassword { reason: String },
    /// The server said no.
    #[error("login refused with {status}: {reason}")]
    Refused { status: StatusCode, reason: String },
    /// There was no answer.
    #[error("login got no answer: {0}")]
    Unreachable(String),
    /// The answer was not what the contract says.
    #[error("login answered something else: {0}")]
    Unreadable(String),
}

impl LoginError {
    fn may_be_tried_again(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            Self::Unreachable(_) => true,
            Self::Unreadable(_) | Self::WrongPassword { .. } => false,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    token: SecretString,
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

/// Logs in as the persona and returns its own token.
pub(crate) async fn log_in(
    stage: &Stage,
    persona_id: &PersonaId,
    email: &str,
) -> Result<SecretString, LoginError> {
    let password = catalog::derive_password(&stage.settings.seed_secret, email);
    let mut pause = PAUSE;
    let mut tries = 1;
    loop {
        let answer = stage
            .within(TRY_WITHIN, try_once(stage, email, &password))
            .await
            .unwrap_or_else(|| {
                Err(LoginError::Unreachable(format!(
                    "none within {} s",
                    TRY_WITHIN.as_secs()
                )))
            });
        match answer {
            Ok(answer) if answer.user.id != persona_id.as_str() => {
                return Err(LoginError::Unreadable(format!(
                    "the account of {email} is not persona {persona_id}"
                )));
            }
            Ok(answer) => return Ok(answer.token),
            Err(error) if tries >= TRIES_MAX || !error.may_be_tried_again() => return Err(error),
            Err(_) => stage.clock.sleep(pause).await,
        }
        tries += 1;
        pause *= 2;
    }
}

async fn try_once(stage: &Stage, email: &str, password: &SecretString) -> Result<Answer, LoginError> {
    let unreachable = |error: reqwest::Error| LoginError::Unreachable(causes(&error));
    let response = stage
        .http
        .post(format!("{}/api/v1/auth/login", stage.settings.base_url))
        .json(&json!({"email": email, "password": password.expose_secret()}))
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    if !status.is_success() {
        let reason = reason(&body);
        return Err(match status {
            StatusCode::UNAUTHORIZED => LoginError::WrongPassword { reason },
            status => LoginError::Refused { status, reason },
        });
    }
    // The text of a parse error can quote the body, and the body holds the token: only the place is told.
    serde_json::from_slice(&body)
        .map_err(|error| LoginError::Unreadable(format!("line {} column {}", error.line(), error.column())))
}

/// What an error body says for a person to read.
fn reason(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    ["detail", "error", "title"]
        .iter()
        .find_map(|member| body.get(*member).and_then(Value::as_str))
        .unwrap_or("no reason given")
        .to_owned()
}

/// An error with what caused it; reqwest's own text stops at "error sending request".
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
