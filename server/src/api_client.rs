//! The admin API of a running server, as the commands use it.
//!
//! Every refusal becomes an [`ApiError`] whose text is one line that says what to do, and from there a
//! [`CommandError`] with the right exit code. The token is never printed.

mod error;
#[cfg(test)]
pub(crate) mod stub;
mod types;

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser};
use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Config;
use crate::exit::CommandError;
use crate::run_file::RunFile;
pub(crate) use error::ApiError;
pub(crate) use types::{
    Deleted, LivePersona, PersonaBody, PersonaDescribed, PersonaDetail, PersonaList, TickAnswer, TickLine,
    TickWho, Upserted,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A little more than the server takes for an erasure at most.
const ERASED_WITHIN: Duration = Duration::from_mins(11);
/// A little more than the server keeps a feed open.
const FEED_WITHIN: Duration = Duration::from_mins(16);
/// A tick is answered when the last persona is done; each has its own deadline in the server.
const TICK_ANSWER_WITHIN: Duration = Duration::from_hours(3);

/// The compat path, so that a server of the older system is served as well.
const PERSONAS: &[&str] = &["api", "v1", "personas", "admin"];
const SEAL_MIGRATE: &[&str] = &["api", "v1", "admin", "seal", "migrate"];
const RUNNER_TICK: &[&str] = &["api", "v1", "admin", "runner", "tick"];

const QUERIES: &[&str] = &["api", "v1", "queries"];
const FEED: &[&str] = &["api", "v1", "feed"];

/// Options of every command that talks to a running server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApiArgs {
    /// Address of the running server [default: the one that runs on the data folder, else the `listen` address]
    #[arg(long = "api", alias = "auth", value_name = "URL")]
    pub(crate) api_url: Option<String>,

    /// Token of an account with the admin role; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "TOKEN", env = "MANA_ADMIN_JWT", hide_env_values = true, value_parser = secret())]
    pub(crate) jwt: Option<SecretString>,

    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Takes any text for a token: a parser that refuses one would have clap print it.
fn secret() -> impl TypedValueParser<Value = SecretString> {
    StringValueParser::new().map(|text| SecretString::from(text.trim()))
}

/// A client of the admin API, acting for the account its token names.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    base: Url,
    token: SecretString,
    http: reqwest::Client,
}

impl ApiClient {
    /// A client with the address and token of `args`; without an address, of the server that runs on this
    /// machine's data folder, or would.
    ///
    /// # Errors
    /// [`CommandError::NotAllowed`] without a token, [`CommandError::Usage`] for an address or token that
    /// cannot be one.
    pub(crate) fn connect(args: &ApiArgs, config: &Config) -> Result<Self, CommandError> {
        let token = args
            .jwt
            .clone()
            .filter(|token| !token.expose_secret().is_empty())
            .ok_or_else(|| {
                CommandError::NotAllowed(
                "no admin token: set MANA_ADMIN_JWT, for a development server to what `dramatis token` prints"
                    .to_owned(),
            )
            })?;
        let here =
            || RunFile::find(config).map_or_else(|| format!("http://{}", config.listen), |run| run.api);
        Self::new(&args.api_url.clone().unwrap_or_else(here), token)
    }

    /// A client of the server at `base_url`, which may have a path of its own.
    ///
    /// # Errors
    /// [`CommandError::Usage`] when `base_url` is not an http or https address, or the token holds characters
    /// that no token has.
    pub(crate) fn new(base_url: &str, token: SecretString) -> Result<Self, CommandError> {
        let base = base_url
            .parse::<Url>()
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| {
                CommandError::Usage(format!(
                    "--api {base_url:?} is not an address; it should look like http://127.0.0.1:3069"
                ))
            })?;
        if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CommandError::Usage(
                "the admin token holds characters that no token has".to_owned(),
            ));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            // A redirect would drop the token or carry it elsewhere; the address given is the one meant.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dramatis/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            http = http.no_proxy();
        } else if base.scheme() == "http" {
            tracing::warn!(api = %base, "the token and passwords cross the network unencrypted; use https");
        }
        let http = http
            .build()
            .map_err(|error| CommandError::Failed(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { base, token, http })
    }

    /// Every live persona, as the server words it and as read.
    pub(crate) async fn personas(&self) -> Result<(PersonaList, Value), ApiError> {
        self.read(self.request(Method::GET, PERSONAS, &[])).await
    }

    /// One persona with its latest actions, as the server words it and as read.
    pub(crate) async fn persona(&self, user_id: &str) -> Result<(PersonaDetail, Value), ApiError> {
        self.read(self.request(Method::GET, PERSONAS, &[user_id])).await
    }

    /// Creates the persona with that email, or updates it.
    pub(crate) async fn upsert_persona(&self, persona: &PersonaBody<'_>) -> Result<Upserted, ApiError> {
        self.send(self.request(Method::POST, PERSONAS, &[]), persona)
            .await
    }

    /// Deletes a persona for good. The server refuses any other kind of account with 400.
    pub(crate) async fn delete_persona(&self, user_id: &str) -> Result<Deleted, ApiError> {
        Ok(self
            .read(
                self.request(Method::DELETE, PERSONAS, &[user_id])
                    .timeout(ERASED_WITHIN),
            )
            .await?
            .0)
    }

    /// Lets personas act now and waits until all are done.
    pub(crate) async fn tick(&self, who: &TickWho) -> Result<(TickAnswer, Value), ApiError> {
        let request = self
            .request(Method::POST, RUNNER_TICK, &[])
            .timeout(TICK_ANSWER_WITHIN)
            .json(who);
        self.read(request).await
    }

    /// One step of sealing everything anew.
    pub(crate) async fn seal_step<T: DeserializeOwned>(&self, body: &Value) -> Result<T, ApiError> {
        self.send(self.request(Method::POST, SEAL_MIGRATE, &[]), body)
            .await
    }

    /// What the server answers to the question `name`.
    pub(crate) async fn query(&self, name: &str) -> Result<Value, ApiError> {
        let request = self.request(Method::GET, QUERIES, &[name]);
        Ok(self.read::<Value>(request).await?.0)
    }

    /// The live feed, open; it lasts some minutes.
    pub(crate) async fn feed(&self) -> Result<Response, ApiError> {
        let request = self.request(Method::GET, FEED, &[]).timeout(FEED_WITHIN);
        let answer = request
            .send()
            .await
            .map_err(|error| ApiError::from_transport(&self.base, &error))?;
        refused(answer, &self.base).await
    }

    fn request(&self, method: Method, path: &[&str], rest: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        // An http address always has a path to extend; `new` has seen to that.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path).extend(rest);
        }
        self.http
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
            .timeout(ANSWER_WITHIN)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        Ok(self.read(request.json(body)).await?.0)
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<(T, Value), ApiError> {
        let answer = request
            .send()
            .await
            .map_err(|error| ApiError::from_transport(&self.base, &error))?;
        let answer = refused(answer, &self.base).await?;
        let body = answer
            .bytes()
            .await
            .map_err(|error| ApiError::from_transport(&self.base, &error))?;
        let not_ours = |error: serde_json::Error| ApiError::NotOurs {
            url: self.base.to_string(),
            reason: error.to_string(),
        };
        let value: Value = serde_json::from_slice(&body).map_err(not_ours)?;
        let read = serde_json::from_value(value.clone()).map_err(not_ours)?;
        Ok((read, value))
    }
}

/// The answer if it is a success, the reason why not otherwise.
async fn refused(answer: Response, base: &Url) -> Result<Response, ApiError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let headers = answer.headers().clone();
    let body = answer.bytes().await.unwrap_or_default();
    Err(ApiError::from_refusal(base, status, &headers, &body))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
