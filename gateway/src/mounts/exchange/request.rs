//! One request to a token endpoint, and what may be made of its answer.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Bearer;
use crate::mounts::address::{self, Lookup};
use crate::mounts::settings::{ClientAuthentication, TokenExchange};

/// How long one exchange may take, the wait for its turn included.
pub(super) const WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Bytes an answer may have.
const BYTES_MAX: usize = 64 * 1024;
/// Bytes a token may have.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Characters of an error code that are told on.
const CODE_CHARS_MAX: usize = 64;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// The kind of token an OAuth server has issued.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The kind of token that is a signed statement.
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Why there are no credentials for somebody at a mounted server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The token endpoint said no, with a code of RFC 6749 or 8693.
    #[error("its token endpoint issues no token for you ({0})")]
    Refused(String),
    /// It does not know us, or our secret.
    #[error("its token endpoint does not accept our client credentials")]
    Unauthorized,
    /// No answer came.
    #[error("its token endpoint does not answer")]
    Unreachable,
    /// What came is no answer.
    #[error("its token endpoint's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// Our secret is not where it is said to be.
    #[error("the client secret for its token endpoint cannot be read")]
    NoSecret,
    /// There is no token of the caller's that could be exchanged.
    #[error("there is no token of yours that could be exchanged")]
    NoSubject,
    /// We could not state who the caller is.
    #[error("nothing could be stated about your account")]
    NotVouched,
    /// The table is full of exchanges under way.
    #[error("too many tokens are being exchanged; try again in a moment")]
    TooMany,
}

impl ExchangeError {
    /// Its word in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Unauthorized => "refused",
            _ => "failed",
        }
    }
}

/// For whom a token is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// For ourselves, by client credentials.
    Ourselves,
    /// For whom `token` speaks.
    For {
        /// The subject token.
        token: &'a SecretString,
        /// Its kind, as RFC 8693 names them.
        kind: &'static str,
    },
}

/// What the endpoint has issued.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) bearer: Bearer,
    /// How long it is good for, where that is said.
    pub(super) expires_in: Option<Duration>,
}

/// The answer of RFC 8693 §2.2.1, as much of it as counts. A refresh token is not kept.
#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    issued_token_type: Option<String>,
    token_type: String,
    expires_in: Option<u64>,
}

/// Of an error nothing but its code: descriptions may repeat what was sent.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Where tokens are asked for.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    http: reqwest::Client,
}

impl Endpoint {
    /// The endpoint of `settings`, checked like the address of a server.
    pub(super) fn try_new(settings: &TokenExchange) -> Result<Self, String> {
        let allow_private = settings.allow_private_addresses;
        let url = address::endpoint(&settings.endpoint, allow_private).map_err(|error| error.to_string())?;
        if url.scheme() != "https" && !allow_private {
            return Err(
                "a token endpoint must be https, but for one at an allowed private address".to_owned(),
            );
        }
        let http = reqwest::Client::builder()
            .dns_resolver(Arc::new(Lookup { allow_private }))
            // What is sent is for this endpoint and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { url, http })
    }

    /// Asks for one token.
    pub(super) async fn ask(
        &self,
        settings: &TokenExchange,
        asked: Asked<'_>,
    ) -> Result<Issued, ExchangeError> {
        let secret = fs::read_to_string(&settings.client_secret_file).map(SecretString::from);
        let secret = secret.map_err(|error| {
            tracing::error!(file = %settings.client_secret_file.display(), %error, "a client secret cannot be read");
            ExchangeError::NoSecret
        })?;
        let secret = secret.expose_secret().trim();
        let mut fields = fields(settings, asked);
        let mut request = self.http.post(self.url.clone());
        match settings.client_authentication {
            ClientAuthentication::Basic => {
                let pair = format!("{}:{}", encoded(&settings.client_id), encoded(secret));
                let basic = format!("Basic {}", STANDARD.encode(pair));
                let basic = Bearer::try_new(&basic).map_err(|_| ExchangeError::NoSecret)?;
                request = request.header(AUTHORIZATION, basic.header());
            }
            ClientAuthentication::Post => {
                fields.push(("client_id", &settings.client_id));
                fields.push(("client_secret", secret));
            }
        }
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form(&fields));
        let response = request.send().await.map_err(|_| ExchangeError::Unreachable)?;
        let status = response.status();
        let body = body(response).await?;
        if status.is_success() {
            return issued(&body, asked);
        }
        Err(refused(status, &body))
    }
}

/// The request of RFC 8693 §2.1, or of RFC 6749 §4.4 where we ask for ourselves.
fn fields<'a>(settings: &'a TokenExchange, asked: Asked<'a>) -> Vec<(&'static str, &'a str)> {
    let mut fields = match asked {
        Asked::Ourselves => vec![("grant_type", CLIENT_CREDENTIALS)],
        Asked::For { token, kind } => vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token.expose_secret()),
            ("subject_token_type", kind),
            ("requested_token_type", ACCESS_TOKEN),
        ],
    };
    fields.extend(
        settings
            .audiences
            .iter()
            .map(|audience| ("audience", audience.as_str())),
    );
    fields.extend(
        settings
            .resources
            .iter()
            .map(|resource| ("resource", resource.as_str())),
    );
    fields.extend(settings.scope.as_deref().map(|scope| ("scope", scope)));
    fields
}

/// `fields` as a form is sent.
fn form(fields: &[(&str, &str)]) -> String {
    // The library of addresses writes forms; the address is none.
    let Ok(mut url) = Url::parse("form:/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// One value as it stands in a form, which is how RFC 6749 §2.3.1 wants id and secret.
fn encoded(text: &str) -> String {
    let mut field = form(&[("", text)]);
    field.remove(0);
    field
}

async fn body(mut response: Response) -> Result<Vec<u8>, ExchangeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| ExchangeError::Unreachable)? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(ExchangeError::Unusable("it is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn issued(body: &[u8], asked: Asked<'_>) -> Result<Issued, ExchangeError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| ExchangeError::Unusable("it is no token response"))?;
    // `N_A` says that the token is none that could be shown to a server.
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(ExchangeError::Unusable("the token is no bearer token"));
    }
    let token = answer.access_token.expose_secret();
    if let Asked::For { token: subject, .. } = asked {
        match answer.issued_token_type.as_deref() {
            Some(ACCESS_TOKEN | JWT) => {}
            Some(_) => return Err(ExchangeError::Unusable("the token is of another type")),
            None => return Err(ExchangeError::Unusable("it does not say what was issued")),
        }
        if token == subject.expose_secret() {
            return Err(ExchangeError::Unusable("it hands the exchanged token back"));
        }
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(is_token) {
        return Err(ExchangeError::Unusable("the token cannot be sent"));
    }
    let bearer = Bearer::try_new(&format!("Bearer {token}"));
    Ok(Issued {
        bearer: bearer.map_err(|_| ExchangeError::Unusable("the token cannot be sent"))?,
        expires_in: answer.expires_in.map(Duration::from_secs),
    })
}

fn refused(status: StatusCode, body: &[u8]) -> ExchangeError {
    if status.is_redirection() {
        return ExchangeError::Unusable("it is a redirect, which is not followed");
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return ExchangeError::Unreachable;
    }
    let code = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.error);
    let is_code = |code: &String| {
        (1..=CODE_CHARS_MAX).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match code.ok().filter(is_code) {
        Some(code) if code == "invalid_client" => ExchangeError::Unauthorized,
        _ if status == StatusCode::UNAUTHORIZED => ExchangeError::Unauthorized,
        Some(code) => ExchangeError::Refused(code),
        None => ExchangeError::Unusable("it is an error without a code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> SecretString {
        "the.subjects.token".into()
    }

    fn judged(body: &str) -> Result<Option<Duration>, ExchangeError> {
        let token = subject();
        let asked = Asked::For {
            token: &token,
            kind: JWT,
        };
        issued(body.as_bytes(), asked).map(|issued| issued.expires_in)
    }

    const GOOD: &str = r#"{"access_token":"abc","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60,"refresh_token":"x"}"#;

    #[test]
    fn an_answer_is_taken_only_in_the_form_of_the_specification() {
        assert_eq!(judged(GOOD), Ok(Some(Duration::from_mins(1))));
        let unsaid = GOOD.replace("\"expires_in\":60,", "").replace("Bearer", "bearer");
        assert_eq!(judged(&unsaid), Ok(None));
        for (from, to) in [
            ("\"abc\"", "\"\""),
            ("\"abc\"", "\"a b\""),
            ("\"abc\"", "\"a\\nb\""),
            ("\"abc\"", "7"),
            ("\"abc\"", "\"the.subjects.token\""),
            ("Bearer", "N_A"),
            ("Bearer", "DPoP"),
            ("access_token\",\"token_type", "saml2\",\"token_type"),
            ("\"expires_in\":60", "\"expires_in\":\"60\""),
            ("\"expires_in\":60", "\"expires_in\":-1"),
            ("\"token_type\":\"Bearer\",", ""),
            ("\"expires_in\":60", "\"access_token\":\"twice\""),
        ] {
            let body = GOOD.replacen(from, to, 1);
            assert_ne!(body, GOOD);
            assert!(matches!(judged(&body), Err(ExchangeError::Unusable(_))), "{body}");
        }
        assert!(judged("null").is_err() && judged("").is_err());
    }

    #[test]
    fn a_token_endpoint_is_public_and_encrypted_unless_private_ones_are_allowed() {
        let tried = |endpoint: &str, allow_private_addresses| {
            Endpoint::try_new(&TokenExchange {
                endpoint: endpoint.to_owned(),
                client_id: "us".to_owned(),
                client_secret_file: "secret".into(),
                client_authentication: ClientAuthentication::Basic,
                subject: crate::mounts::settings::SubjectToken::Callers,
                audiences: Vec::new(),
                resources: Vec::new(),
                scope: None,
                allow_private_addresses,
            })
        };
        assert!(tried("https://tokens.example/token", false).is_ok());
        for private in [
            "https://10.0.0.1/token",
            "http://127.0.0.1/token",
            "http://tokens.internal/token",
        ] {
            assert!(tried(private, false).is_err(), "{private}");
            assert!(tried(private, true).is_ok(), "{private}");
        }
        assert!(tried("https://us:secret@tokens.example/", true).is_err());
    }

    #[test]
    fn of_an_error_nothing_but_a_code_is_told() {
        let code = |status, body: &str| refused(status, body.as_bytes());
        let bad = StatusCode::BAD_REQUEST;
        assert_eq!(
            code(
                bad,
                r#"{"error":"invalid_target","error_description":"the.subjects.token"}"#
            ),
            ExchangeError::Refused("invalid_target".to_owned())
        );
        for body in [
            "the.subjects.token",
            r#"{"error":"the.subjects.token"}"#,
            r#"{"error":""}"#,
        ] {
            assert!(matches!(code(bad, body), ExchangeError::Unusable(_)), "{body}");
        }
        assert_eq!(code(StatusCode::UNAUTHORIZED, ""), ExchangeError::Unauthorized);
        let invalid = r#"{"error":"invalid_client"}"#;
        assert_eq!(code(bad, invalid), ExchangeError::Unauthorized);
        assert_eq!(code(StatusCode::BAD_GATEWAY, ""), ExchangeError::Unreachable);
        assert!(matches!(code(StatusCode::FOUND, ""), ExchangeError::Unusable(_)));
    }

    #[test]
    fn what_is_sent_is_written_as_a_form() {
        assert_eq!(form(&[("a", "b c"), ("d", "&=+é")]), "a=b+c&d=%26%3D%2B%C3%A9");
        assert_eq!(encoded("a:b/c"), "a%3Ab%2Fc");
    }
}
