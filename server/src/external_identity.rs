//! Another system's logins, space lists and vaults, asked over HTTP at the one origin that is configured.
//!
//! It follows no redirect: a caller's token and password go where the operator said, or nowhere. An answer may take
//! seconds and have so many bytes; five of a row that do not come let nobody ask for ten seconds, so that a system that is
//! down costs those who wait for it nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use events::{Clock, SpaceId, SystemClock, UserId};
use http::{Method, StatusCode, header};
use identity::{
    AccountKind, ExternalAccount, ExternalError, ExternalFuture, ExternalIdentity, ExternalKey,
    ExternalLogin, Membership, Role, SpaceRole, SpaceType, Tier,
};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// How long a connection, and an answer, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(8);
/// Bytes an answer may have.
const BYTES_MAX: usize = 256 * 1024;
/// Answers in a row that did not come before nobody asks, and for how long nobody does.
const FAILURES_MAX: u32 = 5;
const LEFT_ALONE_FOR: Duration = Duration::from_secs(10);

/// Where the system before this one answers.
const LOGIN: &str = "/api/v1/auth/login";
const SPACES: &str = "/api/auth/organization/list";
const VAULT_KEY: &str = "/api/v1/me/encryption-vault/key";
const JWKS: &str = "/api/auth/jwks";

/// See the module.
#[derive(Debug)]
pub(crate) struct HttpExternalIdentity {
    http: reqwest::Client,
    origin: String,
    clock: Arc<SystemClock>,
    lately: Mutex<Lately>,
}

#[derive(Debug, Default)]
struct Lately {
    failures: u32,
    left_alone_until: Duration,
}

/// An answer with its status.
pub(crate) type Answered = (StatusCode, Value);

impl HttpExternalIdentity {
    /// A client without connections yet.
    ///
    /// # Errors
    /// What is wrong with `origin`, or with the TLS library.
    pub(crate) fn new(origin: &str, clock: Arc<SystemClock>) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(WITHIN)
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            http,
            origin: checked_origin(origin)?,
            clock,
            lately: Mutex::default(),
        })
    }

    /// Where its key set is.
    pub(crate) fn jwks_url(&self) -> String {
        self.at(JWKS)
    }

    /// Asks it as the bearer of `token`, for what is the caller's alone.
    pub(crate) async fn forward(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Answered, ExternalError> {
        let asked = self
            .http
            .request(method, self.at(path))
            .bearer_auth(token.expose_secret());
        self.answer(match body {
            Some(body) => asked.json(body),
            None => asked,
        })
        .await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The answer, be it a yes or a no. What is no answer counts against it.
    async fn answer(&self, asked: RequestBuilder) -> Result<Answered, ExternalError> {
        let now = self.clock.monotonic();
        if self
            .lately
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .left_alone_until
            > now
        {
            let told = "it did not answer lately, and is left alone for some seconds";
            return Err(ExternalError::Unavailable(told.to_owned()));
        }
        let answered = read(asked).await;
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(answered, Err(ExternalError::Unavailable(_))) {
            lately.failures += 1;
            if lately.failures >= FAILURES_MAX {
                lately.left_alone_until = self.clock.monotonic() + LEFT_ALONE_FOR;
            }
        } else {
            *lately = Lately::default();
        }
        answered
    }

    /// The body of a yes.
    async fn yes(&self, asked: RequestBuilder) -> Result<Value, ExternalError> {
        let (status, body) = self.answer(asked).await?;
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                Err(ExternalError::Refused)
            }
            StatusCode::NOT_FOUND if body["code"] == "VAULT_NOT_INITIALISED" => Err(ExternalError::NoVault),
            StatusCode::TOO_MANY_REQUESTS => Err(ExternalError::Throttled { retry_after_s: 5 }),
            status => Err(ExternalError::Malformed(format!("it answered {status}"))),
        }
    }
}

async fn read(asked: RequestBuilder) -> Result<Answered, ExternalError> {
    let told = |error: reqwest::Error| ExternalError::Unavailable(error.without_url().to_string());
    let mut answer = asked
        .header(header::ACCEPT, "application/json")
        .send()
        .await
        .map_err(told)?;
    let status = answer.status();
    if status.is_server_error() {
        return Err(ExternalError::Unavailable(format!("it answered {status}")));
    }
    if status.is_redirection() {
        return Err(ExternalError::Malformed(
            "it sends elsewhere, where nobody follows".to_owned(),
        ));
    }
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(ExternalError::Malformed(format!("more than {BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    match serde_json::from_slice(&body) {
        Ok(body) => Ok((status, body)),
        // A no may be said in any words.
        Err(_) if !status.is_success() => Ok((status, Value::Null)),
        Err(_) => Err(ExternalError::Malformed("no JSON".to_owned())),
    }
}

impl ExternalIdentity for HttpExternalIdentity {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn login<'a>(&'a self, email: &'a str, password: &'a SecretString) -> ExternalFuture<'a, ExternalLogin> {
        Box::pin(async move {
            let credentials = json!({ "email": email, "password": password.expose_secret() });
            let mut body = self
                .yes(self.http.post(self.at(LOGIN)).json(&credentials))
                .await?;
            let token = match body["token"].take() {
                Value::String(token) => SecretString::from(token),
                _ => return Err(malformed("token must be text")),
            };
            let account = account_of(&body["user"])?;
            Ok(ExternalLogin { token, account })
        })
    }

    fn spaces<'a>(&'a self, token: &'a SecretString) -> ExternalFuture<'a, Vec<Membership>> {
        Box::pin(async move {
            let asked = self.http.get(self.at(SPACES)).bearer_auth(token.expose_secret());
            let body = self.yes(asked).await?;
            let listed = body
                .as_array()
                .ok_or_else(|| malformed("spaces must be a list"))?;
            listed.iter().map(place_of).collect()
        })
    }

    fn vault_key<'a>(&'a self, token: &'a SecretString) -> ExternalFuture<'a, ExternalKey> {
        Box::pin(async move {
            let asked = self
                .http
                .get(self.at(VAULT_KEY))
                .bearer_auth(token.expose_secret());
            key_of(&self.yes(asked).await?)
        })
    }
}

fn malformed(what: &str) -> ExternalError {
    ExternalError::Malformed(what.to_owned())
}

fn text<'a>(of: &'a Value, name: &str) -> Result<&'a str, ExternalError> {
    let text = of[name]
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= 500);
    text.ok_or_else(|| ExternalError::Malformed(format!("{name} must be text")))
}

fn account_of(user: &Value) -> Result<ExternalAccount, ExternalError> {
    let email = text(user, "email")?.to_owned();
    Ok(ExternalAccount {
        id: UserId::try_new(text(user, "id")?).map_err(|_| malformed("user.id cannot be an id"))?,
        name: text(user, "name").unwrap_or(&email).to_owned(),
        // Words of a later version mean the least there is.
        kind: match user["kind"].as_str() {
            Some("persona") => AccountKind::Persona,
            _ => AccountKind::Human,
        },
        role: match user["role"].as_str() {
            Some("admin") => Role::Admin,
            _ => Role::User,
        },
        tier: match user["tier"].as_str() {
            Some("pro") => Tier::Pro,
            _ => Tier::Free,
        },
        email,
    })
}

fn place_of(place: &Value) -> Result<Membership, ExternalError> {
    let name = text(place, "name")?;
    Ok(Membership {
        space_id: SpaceId::try_new(text(place, "id")?)
            .map_err(|_| malformed("a space's id cannot be one"))?,
        name: name.chars().filter(|c| !c.is_control()).take(200).collect(),
        slug: text(place, "slug").unwrap_or(name).to_owned(),
        space_type: match place["metadata"]["type"].as_str() {
            Some("personal") => SpaceType::Personal,
            Some("brand") => SpaceType::Brand,
            Some("club") => SpaceType::Club,
            Some("family") => SpaceType::Family,
            Some("team") => SpaceType::Team,
            Some("practice") => SpaceType::Practice,
            _ => return Err(malformed("a space's metadata.type is none that is known")),
        },
        role: match text(place, "role")? {
            "owner" => SpaceRole::Owner,
            "admin" => SpaceRole::Admin,
            _ => SpaceRole::Member,
        },
    })
}

fn key_of(body: &Value) -> Result<ExternalKey, ExternalError> {
    if body["requiresRecoveryCode"] == true || body["zeroKnowledge"] == true {
        return Ok(ExternalKey::OwnersOnly);
    }
    let decoded = Zeroizing::new(BASE64.decode(text(body, "masterKey")?).unwrap_or_default());
    let mut key = Zeroizing::new([0; 32]);
    if decoded.len() != key.len() {
        return Err(malformed("masterKey must be 32 bytes in base64"));
    }
    key.copy_from_slice(&decoded);
    let format_version = body["formatVersion"]
        .as_u64()
        .and_then(|version| u32::try_from(version).ok());
    Ok(ExternalKey::Key {
        key,
        format_version: format_version.unwrap_or(1),
        kek_id: text(body, "kekId").unwrap_or("elsewhere").to_owned(),
    })
}

/// `scheme://host[:port]`, without a slash at its end; plain HTTP on the loopback interface alone.
pub(crate) fn checked_origin(text: &str) -> Result<String, String> {
    let refused =
        "must be an origin like https://app.example.org, or http:// on the loopback interface".to_owned();
    let url: Url = text.parse().map_err(|_| refused.clone())?;
    let host = url.host_str().unwrap_or_default();
    let is_loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_named = !host.is_empty() && url.username().is_empty() && url.password().is_none();
    if is_safe && is_bare && is_named {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(refused)
    }
}

#[cfg(test)]
mod tests;
