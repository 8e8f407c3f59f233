//! Configuration: defaults < `dramatis.toml` < environment < command line.
//!
//! One struct holds every key; `layers.rs` reads it from where it may stand, and `dramatis config print` shows each
//! value and where it came from. An unknown key is an error wherever it stands. Nothing else in the house reads the
//! environment.

mod layers;
mod mounts;
mod secrets;
mod token_exchange;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use identity::TokenAlgorithm;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::external_identity::checked_origin;
pub(crate) use layers::{ConfigFlags, HouseFlags, Layers, Setting};
pub(crate) use mounts::MountKeys;
pub(crate) use secrets::weaknesses;

/// The service key of a development server, as public as the development seed secret.
pub(crate) const DEVELOPMENT_SERVICE_KEY: &str = "dev-service-key-rotate-in-prod";
/// The issuer that a development server names in its tokens. Production names its own address.
pub(crate) const DEVELOPMENT_ISSUER: &str = "urn:dramatis:development";

/// Where this runs, which decides what is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Environment {
    /// A laptop: well-known secrets and `/diag` are fine.
    Development,
    /// Refuses well-known secrets and the development issuer; `/diag` is off.
    Production,
}

/// Which brain acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BrainKind {
    /// The one that needs no key: a pure function of its inputs.
    Simulated,
    /// A model behind Anthropic's Messages API.
    Anthropic,
    /// A model behind Chat Completions: OpenAI, or a server of that kind at `openai_base_url`.
    #[serde(rename = "openai")]
    #[value(name = "openai")]
    OpenAi,
}

/// What is done with a cassette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CassetteKey {
    /// Conversations with models are put down on it.
    Record,
    /// They are taken from it, request for request; no model is asked.
    Replay,
    /// They are taken from it turn by turn, whatever the app answers; no model is asked.
    ReplayModel,
}

/// What the policy gate does with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyModeKey {
    /// Decide nothing.
    Off,
    /// Record what would be refused, refuse nothing.
    LogOnly,
    /// Refuse.
    Enforce,
}

/// What the log keeps of each tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordCallsKey {
    /// Nothing.
    Off,
    /// That it began and how it ended, with the hash of its arguments.
    Hashes,
    /// That, and the arguments sealed with the caller's own key.
    Arguments,
}

/// In which form encrypted fields are written, and which are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FieldEncryptionKey {
    /// The form that clients of the system before this one share; both are read.
    #[serde(rename = "enc:1")]
    Shared,
    /// The form that is bound to its place; both are read.
    #[serde(rename = "enc:2")]
    Bound,
    /// The form that is bound to its place; the other is refused.
    #[serde(rename = "enc:2-only")]
    BoundOnly,
}

/// Another issuer whose tokens are accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerKey {
    /// The `iss` of its tokens.
    pub(crate) issuer: String,
    /// Where its key set is.
    pub(crate) jwks_url: String,
    /// The `aud` we are to it; our own audiences when not given.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// Which algorithms its keys may be for: `EdDSA`, `ES256`, `RS256`.
    pub(crate) algorithms: Vec<TokenAlgorithm>,
    /// A scope every token must have.
    #[serde(default)]
    pub(crate) scope: Option<String>,
    /// Its subjects, each with the email of the account it is here.
    pub(crate) accounts: BTreeMap<String, String>,
}

/// Every setting. Durations are in the unit their name ends with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where this runs.
    pub(crate) environment: Environment,
    /// Folder of everything this program keeps.
    pub(crate) data: PathBuf,
    /// Address of the one HTTP listener.
    pub(crate) listen: SocketAddr,
    /// The address people and clients use, when it is not the listener's own (behind a proxy).
    pub(crate) public_url: Option<String>,
    /// Names accepted in `Host` beside the listener's own.
    pub(crate) allowed_hosts: Vec<String>,
    /// Browser origins accepted beside the listener's own.
    pub(crate) allowed_origins: Vec<String>,
    /// A NATS server to use instead of starting a child.
    pub(crate) nats: Option<String>,
    /// Where the tables are kept: a `postgres://` address, or SQLite in the data folder.
    #[serde(serialize_with = "without_password")]
    pub(crate) database: Option<SecretString>,
    /// Monitoring address of that server, such as `http://127.0.0.1:8222`, which says when it writes to disk; of a cluster
    /// several, with commas between them.
    pub(crate) nats_monitor: Option<String>,
    /// Takes that server unasked, though it may lose what it acknowledged when its machine goes down.
    pub(crate) unsafe_nats_durability_unchecked: bool,
    /// Copies of each message that server keeps; 3 in a cluster.
    pub(crate) nats_replicas: usize,
    /// The nats-server program to start as a child; looked for when not given.
    pub(crate) nats_server: Option<PathBuf>,
    /// Loopback port of the child; 0 picks a free one.
    pub(crate) nats_port: u16,
    /// Loopback address where browsers reach the child over WebSocket; nowhere when not given.
    pub(crate) nats_websocket: Option<SocketAddr>,
    /// Which brain acts.
    pub(crate) brain: BrainKind,
    /// Brains of single personas: email to `simulated`, `anthropic` or `openai`, and `:MODEL` where it is another one.
    pub(crate) persona_brains: BTreeMap<String, String>,
    /// Key of the Messages API.
    #[serde(serialize_with = "masked_option")]
    pub(crate) anthropic_api_key: Option<SecretString>,
    /// Where the Messages API is.
    pub(crate) anthropic_base_url: String,
    /// The model that `anthropic` asks.
    pub(crate) anthropic_model: String,
    /// Key of Chat Completions; servers on one's own machine need none.
    #[serde(serialize_with = "masked_option")]
    pub(crate) openai_api_key: Option<SecretString>,
    /// Where Chat Completions is.
    pub(crate) openai_base_url: String,
    /// The model that `openai` asks.
    pub(crate) openai_model: String,
    /// What that server calls the limit of an answer; without it, what suits its address.
    pub(crate) openai_max_tokens_member: Option<String>,
    /// Tokens one answer of a model may have.
    pub(crate) model_max_tokens: u32,
    /// A JSON object whose members are put into every model request last of all; null takes one out.
    pub(crate) model_extra: Option<String>,
    /// Requests to models one tick may make.
    pub(crate) model_turns_per_tick_max: u32,
    /// Price list in TOML whose entries count before the built-in ones.
    pub(crate) prices_file: Option<PathBuf>,
    /// File that conversations with models are put down on, or taken from.
    pub(crate) cassette: Option<PathBuf>,
    /// What is done with it.
    pub(crate) cassette_mode: CassetteKey,
    /// Dollars one tick may spend on models.
    pub(crate) budget_tick_usd: f64,
    /// Dollars one persona may spend in a day.
    pub(crate) budget_persona_day_usd: f64,
    /// Dollars all may spend in a day.
    pub(crate) budget_day_usd: f64,
    /// Dollars all may spend in a calendar month.
    pub(crate) budget_month_usd: f64,
    /// What every random choice of the simulated brain follows from.
    pub(crate) seed: u64,
    /// What persona passwords are derived from.
    #[serde(serialize_with = "masked")]
    pub(crate) seed_secret: SecretString,
    /// The key of external runners (`X-Service-Key`).
    #[serde(serialize_with = "masked_option")]
    pub(crate) service_key: Option<SecretString>,
    /// Who tokens say they are from.
    pub(crate) issuer: String,
    /// Others whose tokens are accepted.
    pub(crate) issuers: Vec<IssuerKey>,
    /// Another system whose logins, spaces and vaults are used instead of ours: its origin.
    pub(crate) external_identity: Option<String>,
    /// Who that system's tokens say they are from; its origin, where nothing is said.
    pub(crate) external_issuer: Option<String>,
    /// How long a token lasts.
    pub(crate) token_ttl_minutes: u64,
    /// File of the key-encryption key; made at the first start in development.
    pub(crate) kek_file: Option<PathBuf>,
    /// The key-encryption key itself, instead of its file: `[NAME:]BASE64`.
    #[serde(serialize_with = "masked_option")]
    pub(crate) kek: Option<SecretString>,
    /// Files of key-encryption keys that seal nothing new and open what they sealed.
    pub(crate) kek_older_files: Vec<PathBuf>,
    /// Such keys themselves: `[NAME:]BASE64`, with commas between them.
    #[serde(serialize_with = "masked_option")]
    pub(crate) kek_older: Option<SecretString>,
    /// PEM file of the RSA public key that grants' data keys are wrapped to.
    pub(crate) runner_key_file: Option<PathBuf>,
    /// In which form encrypted fields are written.
    pub(crate) field_encryption: FieldEncryptionKey,
    /// Shares due ticks with other runners over the work queue; without it, where `nats` is a server that others use too.
    pub(crate) share_ticks: Option<bool>,
    /// Personas acting at once.
    pub(crate) concurrency: usize,
    /// How often the scheduler looks for who is due.
    pub(crate) tick_interval_ms: u64,
    /// How long one tick may take.
    pub(crate) tick_deadline_ms: u64,
    /// Calls one tick may make.
    pub(crate) calls_per_tick_max: u32,
    /// Personas visit the calibration twins about weekly, and rate them beside the app.
    #[serde(deserialize_with = "truthy")]
    pub(crate) calibration: bool,
    /// Starts with the scheduler paused.
    #[serde(deserialize_with = "truthy")]
    pub(crate) paused: bool,
    /// What the policy gate does.
    pub(crate) policy_mode: PolicyModeKey,
    /// The policy gate's rules; the built-in ones without it.
    pub(crate) policy: Option<PathBuf>,
    /// Calls of one tool by one user in a rolling minute, by the built-in rules.
    pub(crate) calls_per_minute_max: u32,
    /// What the log keeps of each tool call.
    pub(crate) record_calls: RecordCallsKey,
    /// Writes calls into a journal in the data folder before they are in the log, instead of letting each wait for the log;
    /// without it, where `nats` is a child of this server.
    pub(crate) call_journal: Option<bool>,
    /// MCP sessions of one user at once.
    pub(crate) sessions_per_user_max: usize,
    /// MCP sessions of all users together.
    pub(crate) sessions_max: usize,
    /// An MCP session without a message for this long ends.
    pub(crate) session_idle_ms: u64,
    /// Address of an OpenTelemetry collector that spans go to, by OTLP over HTTP; nowhere without it.
    pub(crate) otlp_endpoint: Option<String>,
    /// The whole address for spans, where the collector takes them at another one than `otlp_endpoint` and `/v1/traces`.
    pub(crate) otlp_traces_endpoint: Option<String>,
    /// Headers the collector wants: `NAME=VALUE`, with commas between them.
    #[serde(serialize_with = "masked_option")]
    pub(crate) otlp_headers: Option<SecretString>,
    /// How spans are written; `http/protobuf` is the one way there is.
    pub(crate) otlp_protocol: String,
    /// How long the collector may take for one batch.
    pub(crate) otlp_timeout_ms: u64,
    /// What this program is called there.
    pub(crate) otlp_service_name: String,
    /// Share of traces that are kept, 0 to 1, where the caller has not decided it.
    pub(crate) otlp_sampled: f64,
    /// MCP servers whose tools are offered beside the built-in ones, by name.
    pub(crate) mounts: BTreeMap<String, MountKeys>,
    /// Each of the above with where it came from, secrets masked: what operators are shown.
    #[serde(skip)]
    pub(crate) shown: Vec<Setting>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: Environment::Development,
            data: PathBuf::from("dramatis-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 3069)),
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            nats: None,
            database: None,
            nats_monitor: None,
            unsafe_nats_durability_unchecked: false,
            nats_replicas: 1,
            nats_server: None,
            nats_port: 0,
            nats_websocket: None,
            brain: BrainKind::Simulated,
            persona_brains: BTreeMap::new(),
            anthropic_api_key: None,
            anthropic_base_url: "https://api.anthropic.com".to_owned(),
            anthropic_model: "claude-haiku-5-5".to_owned(),
            openai_api_key: None,
            openai_base_url: "https://api.openai.com/v1".to_owned(),
            openai_model: "gpt-5.6-luna".to_owned(),
            openai_max_tokens_member: None,
            model_max_tokens: 4_096,
            model_extra: None,
            model_turns_per_tick_max: 24,
            prices_file: None,
            cassette: None,
            cassette_mode: CassetteKey::Replay,
            budget_tick_usd: 0.25,
            budget_persona_day_usd: 1.0,
            budget_day_usd: 10.0,
            budget_month_usd: 100.0,
            seed: 1,
            seed_secret: SecretString::from(catalog::DEVELOPMENT_SEED_SECRET),
            service_key: Some(SecretString::from(DEVELOPMENT_SERVICE_KEY)),
            issuer: DEVELOPMENT_ISSUER.to_owned(),
            issuers: Vec::new(),
            external_identity: None,
            external_issuer: None,
            token_ttl_minutes: 12 * 60,
            kek_file: None,
            kek: None,
            kek_older_files: Vec::new(),
            kek_older: None,
            runner_key_file: None,
            field_encryption: FieldEncryptionKey::Bound,
            share_ticks: None,
            concurrency: 2,
            tick_interval_ms: 60_000,
            tick_deadline_ms: 10 * 60_000,
            calls_per_tick_max: 40,
            calibration: false,
            paused: false,
            policy_mode: PolicyModeKey::Enforce,
            policy: None,
            calls_per_minute_max: 30,
            record_calls: RecordCallsKey::Hashes,
            call_journal: None,
            sessions_per_user_max: 16,
            sessions_max: 50_000,
            session_idle_ms: 30 * 60_000,
            otlp_endpoint: None,
            otlp_traces_endpoint: None,
            otlp_headers: None,
            otlp_protocol: "http/protobuf".to_owned(),
            otlp_timeout_ms: 10_000,
            otlp_service_name: "dramatis".to_owned(),
            otlp_sampled: 1.0,
            mounts: BTreeMap::new(),
            shown: Vec::new(),
        }
    }
}

impl Config {
    /// Everything that may not stand as it is, one line each. Who opens no accounts needs no key for them.
    fn faults(&self, opens_accounts: bool) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, reason: &str| faults.push(format!("{key}: {reason}"));
        if self.concurrency == 0 {
            fault("concurrency", "at least one persona must be able to act");
        }
        let is_postgres = |url: &SecretString| {
            ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.expose_secret().starts_with(scheme))
        };
        if self.database.as_ref().is_some_and(|url| !is_postgres(url)) {
            fault(
                "database",
                "must be a postgres:// address; without it accounts and tables are SQLite in the data folder",
            );
        }
        if self.nats_replicas == 0 {
            fault("nats_replicas", "at least 1");
        }
        if self
            .nats_websocket
            .is_some_and(|address| !address.ip().is_loopback())
        {
            fault(
                "nats_websocket",
                "must be a loopback address; a proxy in front of it brings TLS",
            );
        }
        if self.tick_interval_ms < 100 {
            fault("tick_interval_ms", "at least 100");
        }
        if self.calls_per_tick_max == 0 {
            fault("calls_per_tick_max", "at least 1");
        }
        if self.calls_per_minute_max == 0 {
            fault("calls_per_minute_max", "at least 1");
        }
        if self.model_max_tokens == 0 {
            fault("model_max_tokens", "at least 1");
        }
        if self.model_turns_per_tick_max == 0 {
            fault("model_turns_per_tick_max", "at least 1");
        }
        for (key, dollars) in [
            ("budget_tick_usd", self.budget_tick_usd),
            ("budget_persona_day_usd", self.budget_persona_day_usd),
            ("budget_day_usd", self.budget_day_usd),
            ("budget_month_usd", self.budget_month_usd),
        ] {
            if !(dollars.is_finite() && dollars >= 0.0) {
                fault(key, "a number of dollars, 0 or more");
            }
        }
        if self.token_ttl_minutes == 0 {
            fault("token_ttl_minutes", "at least 1");
        }
        for (key, reason) in crate::otlp::faults(self) {
            fault(key, &reason);
        }
        self.external_faults(&mut fault);
        for (name, mount) in &self.mounts {
            let key = format!("mounts.{name}");
            mount.faults().into_iter().for_each(|reason| fault(&key, reason));
        }
        if self.environment == Environment::Production {
            self.production_faults(opens_accounts, &mut fault);
        }
        faults
    }

    /// What production refuses and a laptop does not.
    fn production_faults(&self, opens_accounts: bool, fault: &mut impl FnMut(&str, &str)) {
        if self.seed_secret.expose_secret() == catalog::DEVELOPMENT_SEED_SECRET {
            fault(
                "seed_secret",
                "production refuses the development seed secret; set PERSONA_SEED_SECRET",
            );
        }
        let service_key = self.service_key.as_ref().map(SecretString::expose_secret);
        if service_key == Some(DEVELOPMENT_SERVICE_KEY) {
            fault(
                "service_key",
                "production refuses the development service key; set MANA_SERVICE_KEY",
            );
        }
        if self.record_calls == RecordCallsKey::Off {
            fault(
                "record_calls",
                "production keeps a record of every call; `hashes` keeps the least",
            );
        }
        if self.issuer == DEVELOPMENT_ISSUER {
            fault(
                "issuer",
                "production refuses the development issuer; set it to this server's public address",
            );
        }
        if opens_accounts && self.kek_file.is_none() && self.kek.is_none() {
            fault(
                "kek_file",
                "production makes no key by itself; name the file of the key-encryption key",
            );
        }
        for (key, reason) in weaknesses(self) {
            fault(key, &format!("production refuses a secret that is {reason}"));
        }
    }

    fn external_faults(&self, fault: &mut impl FnMut(&str, &str)) {
        if let Some(Err(reason)) = self.external_identity.as_deref().map(checked_origin) {
            fault("external_identity", &reason);
        }
        if self.external_issuer.is_some() && self.external_identity.is_none() {
            fault(
                "external_issuer",
                "belongs to external_identity, which is not set",
            );
        }
    }

    /// Whether well-known secrets are fine.
    pub(crate) fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// The accounts, keys and spaces.
    pub(crate) fn identity_file(&self) -> PathBuf {
        self.data.join("identity.sqlite")
    }

    /// Whether there may be accounts to look at: in a file that is there, or in a database, which says so itself.
    pub(crate) fn has_accounts(&self) -> bool {
        self.database.is_some() || self.identity_file().exists()
    }

    /// The tables folded from the log.
    pub(crate) fn tables_file(&self) -> PathBuf {
        self.data.join("dramatis.sqlite")
    }

    /// Where the tables are, for people: the file, or the address without its password.
    pub(crate) fn tables_place(&self) -> String {
        match &self.database {
            Some(url) => address_without_password(url),
            None => self.tables_file().display().to_string(),
        }
    }

    /// The child nats-server's folder.
    pub(crate) fn nats_dir(&self) -> PathBuf {
        self.data.join("nats")
    }
}

fn masked<S: serde::Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mask(secret))
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn masked_option<S: serde::Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(mask).serialize(serializer)
}

/// An address as people may see it.
fn address_without_password(url: &SecretString) -> String {
    let url = url.expose_secret();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn without_password<S: serde::Serializer>(
    url: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    url.as_ref().map(address_without_password).serialize(serializer)
}

fn mask(secret: &SecretString) -> &'static str {
    match secret.expose_secret() {
        catalog::DEVELOPMENT_SEED_SECRET | DEVELOPMENT_SERVICE_KEY => "******** (development)",
        _ => "********",
    }
}

/// The old runner's switch was `1`, `true` or `yes`.
fn truthy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Bool(is) => Ok(is),
        serde_json::Value::Number(number) => Ok(number.as_i64() != Some(0)),
        serde_json::Value::String(text) => match text.to_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "" | "0" | "false" | "no" | "off" => Ok(false),
            other => Err(serde::de::Error::custom(format!(
                "{other:?} is neither true nor false"
            ))),
        },
        other => Err(serde::de::Error::custom(format!(
            "{other} is neither true nor false"
        ))),
    }
}

/// Whether text may be coloured, by the `NO_COLOR` convention.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads the environment"
)]
pub(crate) fn colour() -> crate::output::Colour {
    if std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty()) {
        crate::output::Colour::Never
    } else {
        crate::output::Colour::Auto
    }
}

/// The folders in which programs are looked for.
pub(crate) fn program_dirs() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}
