//! Who is asking: a bearer of a token, an admin, or a runner outside this program with the service key.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use identity::{Caller, Role, TokenError};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::App;
use super::problem::Problem;

/// What `WWW-Authenticate` says where a token is wanted.
pub(crate) const BEARER: &str = "Bearer realm=\"dramatis\"";
const BEARER_INVALID: &str = "Bearer realm=\"dramatis\", error=\"invalid_token\"";
const SERVICE_KEY: &str = "ServiceKey realm=\"dramatis\"";

/// The header an external runner proves itself with.
const SERVICE_KEY_HEADER: &str = "x-service-key";

/// A caller whose token holds.
#[derive(Debug)]
pub(crate) struct Authenticated(pub(crate) Caller);

/// The token itself, for what asks again later whether it still holds. Whether it does is not checked here.
#[derive(Debug)]
pub(crate) struct BearerToken(pub(crate) SecretString);

/// A caller whose token holds and whose role is admin.
#[derive(Debug)]
pub(crate) struct Admin;

/// A runner outside this program that knows the service key.
#[derive(Debug)]
pub(crate) struct ExternalRunner;

impl FromRequestParts<App> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        authenticated(bearer(&parts.headers), app).await.map(Self)
    }
}

/// The account that `token` speaks for.
pub(crate) async fn authenticated(token: Option<&str>, app: &App) -> Result<Caller, Problem> {
    let token = token.ok_or_else(|| {
        let detail = "send `Authorization: Bearer <token>`; POST /api/v1/auth/login gives a token";
        Problem::unauthorized("TOKEN_MISSING", BEARER, detail)
    })?;
    app.identity
        .authenticate(token)
        .await
        .map_err(|error| match error {
            TokenError::Unavailable(error) => error.into(),
            TokenError::KeysUnavailable => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ISSUER_UNAVAILABLE",
                TokenError::KeysUnavailable.to_string(),
            ),
            refusal => Problem::unauthorized("TOKEN_INVALID", BEARER_INVALID, refusal.to_string())
                .with("reason", refusal.reason().into()),
        })
}

/// Refuses an account whose role is not admin.
pub(crate) fn must_be_admin(caller: &Caller) -> Result<(), Problem> {
    if caller.role == Role::Admin {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "ADMIN_ONLY",
        "this address is for accounts with the role admin",
    ))
}

impl FromRequestParts<App> for BearerToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Ok(Self(SecretString::from(
            bearer(&parts.headers).unwrap_or_default(),
        )))
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, app).await?;
        must_be_admin(&caller)?;
        Ok(Self)
    }
}

impl FromRequestParts<App> for ExternalRunner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let given = parts
            .headers
            .get(SERVICE_KEY_HEADER)
            .map(http::HeaderValue::as_bytes);
        match (given, &app.settings.service_key) {
            (Some(given), Some(key)) if is_service_key(given, key) => Ok(Self),
            (None, _) => Err(Problem::unauthorized(
                "SERVICE_KEY_MISSING",
                SERVICE_KEY,
                "send the header X-Service-Key",
            )),
            _ => Err(Problem::unauthorized(
                "SERVICE_KEY_WRONG",
                SERVICE_KEY,
                "X-Service-Key is not the one set here",
            )),
        }
    }
}

/// The token of `Authorization: Bearer …`; `None` when there is none, or more than one header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

/// Compares digests, so that neither content nor length of the key shows in the time it takes.
fn is_service_key(given: &[u8], key: &SecretString) -> bool {
    let given = Sha256::digest(given);
    let key = Sha256::digest(key.expose_secret().as_bytes());
    given.as_slice().ct_eq(key.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_one_bearer_header_with_a_token_counts() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for refused in [
            &[][..],
            &["Basic abc"],
            &["Bearer "],
            &["Bearer"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(&headers(refused)), None, "{refused:?}");
        }
    }

    #[test]
    fn a_service_key_must_be_the_whole_key() {
        let key = SecretString::from("0123456789");
        assert!(is_service_key(b"0123456789", &key));
        for wrong in [&b""[..], b"012345678", b"01234567890", b"0123456788"] {
            assert!(!is_service_key(wrong, &key));
        }
    }
}
