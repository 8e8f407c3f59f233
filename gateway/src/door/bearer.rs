//! Who calls: the token in the request, checked on every one.

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use identity::{Caller, Identity, TokenError};
use secrecy::SecretString;

use crate::problem::Problem;
use crate::telemetry;

/// Whom the request's own token speaks for. Nothing else is asked: no session, no cookie, no query.
pub(crate) async fn authenticate(
    identity: &Identity,
    headers: &HeaderMap,
    metadata_url: &str,
) -> Result<Caller, Problem> {
    let token = token_of(headers).map_err(|refusal| refusal.into_problem(metadata_url))?;
    identity
        .authenticate(token)
        .await
        .map_err(|error| refused(error, metadata_url))
}

/// The answer to a request whose token is not accepted.
pub(crate) fn refused(error: TokenError, metadata_url: &str) -> Problem {
    Refusal::Token(error).into_problem(metadata_url)
}

enum Refusal {
    Token(TokenError),
    NotBearer,
    SeveralHeaders,
}

/// Whether the request brings one token, of whatever worth.
pub(crate) fn has_token(headers: &HeaderMap) -> bool {
    token_of(headers).is_ok()
}

/// The token of a request that was accepted, to be kept for its length, where it `is_wanted`.
pub(crate) fn kept(headers: &HeaderMap, is_wanted: bool) -> Option<SecretString> {
    token_of(headers)
        .ok()
        .filter(|_| is_wanted)
        .map(SecretString::from)
}

fn token_of(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Token(TokenError::Missing))?;
    if values.next().is_some() {
        return Err(Refusal::SeveralHeaders);
    }
    let value = value
        .to_str()
        .map_err(|_| Refusal::Token(TokenError::Malformed))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NotBearer);
    }
    Ok(token.trim())
}

impl Refusal {
    fn into_problem(self, metadata_url: &str) -> Problem {
        let (status, code, detail) = match &self {
            Self::Token(error) if !error.is_refusal() => {
                telemetry::auth_failure("unavailable");
                tracing::error!(error = %error, cause = ?std::error::Error::source(error), "a token could not be checked");
                return Problem::unavailable("token_not_checked", error.to_string(), 1);
            }
            Self::Token(TokenError::Missing) => (
                StatusCode::UNAUTHORIZED,
                "token_missing",
                TokenError::Missing.to_string(),
            ),
            Self::Token(error @ TokenError::InsufficientScope(_)) => {
                (StatusCode::FORBIDDEN, "insufficient_scope", error.to_string())
            }
            Self::Token(error) => (StatusCode::UNAUTHORIZED, "invalid_token", error.to_string()),
            Self::NotBearer => {
                let detail =
                    "the Authorization header must be `Bearer <token>` with a token from /api/v1/auth/login";
                (StatusCode::UNAUTHORIZED, "token_missing", detail.to_owned())
            }
            Self::SeveralHeaders => {
                let detail = "send one Authorization header, not several";
                (StatusCode::BAD_REQUEST, "invalid_request", detail.to_owned())
            }
        };
        telemetry::auth_failure(self.reason());
        let mut challenge = format!("Bearer resource_metadata=\"{metadata_url}\"");
        // RFC 6750: a request without a token is told where to get one, not that it erred.
        if code != "token_missing" {
            challenge = format!(
                "{challenge}, error=\"{code}\", error_description=\"{}\"",
                quotable(&detail)
            );
        }
        if let Self::Token(TokenError::InsufficientScope(scope)) = &self {
            challenge = format!("{challenge}, scope=\"{}\"", quotable(scope));
        }
        Problem::new(status, code, detail).with(WWW_AUTHENTICATE, challenge)
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Token(error) => error.reason(),
            Self::NotBearer => "not-bearer",
            Self::SeveralHeaders => "several-headers",
        }
    }
}

/// What RFC 6750 lets stand between the quotes of an error description.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
        .collect()
}
