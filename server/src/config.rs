//! Configuration: defaults < `dramatis.toml` < environment < command line.
//!
//! One struct holds every key; `dramatis config print` shows each value and where it came from. An unknown key is
//! an error wherever it stands. This is the only file that reads the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::{Figment, Source};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::exit::CommandError;

/// The service key of a development server, as public as the development seed secret.
pub(crate) const DEVELOPMENT_SERVICE_KEY: &str = "dev-service-key-rotate-in-prod";
/// The issuer that a development server names in its tokens. Production names its own address.
pub(crate) const DEVELOPMENT_ISSUER: &str = "urn:dramatis:development";

/// The environment's names that are older than this program, and the keys they set.
const KEPT_NAMES: [(&str, &str); 7] = [
    ("PERSONA_SEED_SECRET", "seed_secret"),
    ("PERSONA_CONCURRENCY", "concurrency"),
    ("TICK_INTERVAL_MS", "tick_interval_ms"),
    ("RUNNER_PAUSED", "paused"),
    ("MANA_SERVICE_KEY", "service_key"),
    ("DRAMATIS_ENV", "environment"),
    ("MANA_ADMIN_JWT", ""),
];

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BrainKind {
    /// The one that needs no key: a pure function of its inputs.
    Simulated,
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
    /// The nats-server program to start as a child; looked for when not given.
    pub(crate) nats_server: Option<PathBuf>,
    /// Loopback port of the child; 0 picks a free one.
    pub(crate) nats_port: u16,
    /// Which brain acts.
    pub(crate) brain: BrainKind,
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
    /// How long a token lasts.
    pub(crate) token_ttl_minutes: u64,
    /// File of the key-encryption key; made at the first start in development.
    pub(crate) kek_file: Option<PathBuf>,
    /// Personas acting at once.
    pub(crate) concurrency: usize,
    /// How often the scheduler looks for who is due.
    pub(crate) tick_interval_ms: u64,
    /// How long one tick may take.
    pub(crate) tick_deadline_ms: u64,
    /// Calls one tick may make.
    pub(crate) calls_per_tick_max: u32,
    /// Starts with the scheduler paused.
    #[serde(deserialize_with = "truthy")]
    pub(crate) paused: bool,
    /// What the policy gate does.
    pub(crate) policy_mode: PolicyModeKey,
    /// Calls of one tool by one user in a rolling minute.
    pub(crate) calls_per_minute_max: u32,
    /// MCP sessions of one user at once.
    pub(crate) sessions_per_user_max: usize,
    /// An MCP session without a message for this long ends.
    pub(crate) session_idle_ms: u64,
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
            nats_server: None,
            nats_port: 0,
            brain: BrainKind::Simulated,
            seed: 1,
            seed_secret: SecretString::from(catalog::DEVELOPMENT_SEED_SECRET),
            service_key: Some(SecretString::from(DEVELOPMENT_SERVICE_KEY)),
            issuer: DEVELOPMENT_ISSUER.to_owned(),
            token_ttl_minutes: 12 * 60,
            kek_file: None,
            concurrency: 2,
            tick_interval_ms: 60_000,
            tick_deadline_ms: 10 * 60_000,
            calls_per_tick_max: 40,
            paused: false,
            policy_mode: PolicyModeKey::Enforce,
            calls_per_minute_max: 30,
            sessions_per_user_max: 16,
            session_idle_ms: 30 * 60_000,
        }
    }
}

/// Flags that set a key, for every command. `None` leaves it to the layers below.
#[derive(Debug, Clone, Default, Serialize, clap::Args)]
pub(crate) struct ConfigFlags {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "dramatis.toml")]
    #[serde(skip)]
    pub(crate) config: PathBuf,
    /// Folder of everything this program keeps [default: dramatis-data]
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// A NATS server to use instead of the child started by `up`
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats: Option<String>,
}

/// Flags of the commands that start the whole house.
#[derive(Debug, Clone, Default, Serialize, clap::Args)]
pub(crate) struct HouseFlags {
    /// Address to listen on [default: 127.0.0.1:3069]
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Which brain acts [default: simulated]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) brain: Option<BrainKind>,
    /// What every random choice of the simulated brain follows from [default: 1]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

/// A key's value and where it came from, as `config print` shows them.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    /// The key.
    pub(crate) key: String,
    /// The value; secrets masked.
    pub(crate) value: serde_json::Value,
    /// Its source.
    pub(crate) source: String,
}

/// The layers, not yet read.
#[derive(Debug)]
pub(crate) struct Layers(Figment);

impl Layers {
    /// Stacks defaults, `flags.config`, the environment and the command line.
    ///
    /// # Errors
    /// [`CommandError::Usage`] when a configuration file was named that is not there.
    pub(crate) fn stack(flags: &ConfigFlags, house: Option<&HouseFlags>) -> Result<Self, CommandError> {
        let is_default_file = flags.config == Path::new("dramatis.toml");
        if !is_default_file && !flags.config.exists() {
            return Err(CommandError::Usage(format!(
                "--config {}: no such file",
                flags.config.display()
            )));
        }
        let kept = Env::raw()
            .only(&KEPT_NAMES.map(|(name, _)| name))
            .filter_map(|name| {
                let (_, key) = KEPT_NAMES
                    .iter()
                    .find(|(kept, _)| name.as_str().eq_ignore_ascii_case(kept))?;
                (!key.is_empty()).then(|| (*key).into())
            });
        let own = Env::prefixed("DRAMATIS_").ignore(&["env"]);
        let mut figment = Figment::from(Serialized::defaults(unmasked_defaults()))
            .merge(Toml::file(&flags.config))
            .merge(own)
            .merge(kept)
            .merge(Serialized::globals(flags));
        if let Some(house) = house {
            figment = figment.merge(Serialized::globals(house));
        }
        Ok(Self(figment))
    }

    /// Reads and checks every key.
    ///
    /// # Errors
    /// [`CommandError::Usage`] naming each key that is unknown, mistyped or refused in production, and its source.
    pub(crate) fn read(&self) -> Result<Config, CommandError> {
        let config: Config = self.0.extract().map_err(|errors| {
            let lines: Vec<String> = errors.into_iter().map(|error| describe(&error)).collect();
            CommandError::Usage(format!("configuration: {}", lines.join("; ")))
        })?;
        let faults = config.faults();
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(CommandError::Usage(faults.join("\n")))
        }
    }

    /// Every key with its value and source.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, CommandError> {
        let config = self.read()?;
        let values =
            serde_json::to_value(&config).map_err(|error| CommandError::Failed(error.to_string()))?;
        let Some(values) = values.as_object() else {
            return Ok(Vec::new());
        };
        Ok(values
            .iter()
            .map(|(key, value)| Setting {
                key: key.clone(),
                value: value.clone(),
                source: self.source(key),
            })
            .collect())
    }

    fn source(&self, key: &str) -> String {
        let Some(metadata) = self.0.find_metadata(key) else {
            return "default".to_owned();
        };
        match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ if metadata.name.contains("environment variable") => environment_name(key),
            Some(Source::Code(_)) if metadata.name.contains("Flags") => {
                format!("--{}", key.replace('_', "-"))
            }
            _ => "default".to_owned(),
        }
    }
}

fn environment_name(key: &str) -> String {
    let kept = KEPT_NAMES
        .iter()
        .find(|(_, kept)| *kept == key)
        .map(|(name, _)| (*name).to_owned());
    kept.unwrap_or_else(|| format!("DRAMATIS_{}", key.to_uppercase()))
}

fn describe(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let source = error.metadata.as_ref().map(|metadata| match &metadata.source {
        Some(Source::File(path)) => format!(" in {}", path.display()),
        _ if metadata.name.contains("environment variable") => " in the environment".to_owned(),
        _ => String::new(),
    });
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    };
    format!("{key}{}{}", error.kind, source.unwrap_or_default())
}

/// The defaults with their secrets in the clear, for the bottom layer only.
fn unmasked_defaults() -> serde_json::Value {
    let config = Config::default();
    let mut value = serde_json::to_value(&config).unwrap_or_default();
    value["seed_secret"] = config.seed_secret.expose_secret().into();
    // Production has no default service key: without one of its own, external runners are refused.
    value["service_key"] = config
        .service_key
        .as_ref()
        .map(|key| key.expose_secret().to_owned())
        .into();
    value
}

impl Config {
    /// Everything that may not stand as it is, one line each.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, reason: &str| faults.push(format!("{key}: {reason}"));
        if self.concurrency == 0 {
            fault("concurrency", "at least one persona must be able to act");
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
        if self.token_ttl_minutes == 0 {
            fault("token_ttl_minutes", "at least 1");
        }
        if self.environment == Environment::Production {
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
            if self.issuer == DEVELOPMENT_ISSUER {
                fault(
                    "issuer",
                    "production refuses the development issuer; set it to this server's public address",
                );
            }
            if self.kek_file.is_none() {
                fault(
                    "kek_file",
                    "production makes no key by itself; name the file of the key-encryption key",
                );
            }
        }
        faults
    }

    /// Whether well-known secrets are fine.
    pub(crate) fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// The accounts, keys and spaces.
    pub(crate) fn identity_file(&self) -> PathBuf {
        self.data.join("identity.sqlite")
    }

    /// The tables folded from the log.
    pub(crate) fn tables_file(&self) -> PathBuf {
        self.data.join("dramatis.sqlite")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(toml: &str) -> Layers {
        Layers(Figment::from(Serialized::defaults(unmasked_defaults())).merge(Toml::string(toml)))
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = layers("listn = \"127.0.0.1:1\"").read().unwrap_err();
        assert!(error.to_string().contains("listn"), "{error}");
    }

    #[test]
    fn a_mistyped_value_is_an_error_that_names_its_key() {
        let error = layers("concurrency = \"many\"").read().unwrap_err();
        assert!(error.to_string().contains("concurrency"), "{error}");
    }

    #[test]
    fn production_refuses_every_development_secret_at_once() {
        let error = layers("environment = \"production\"")
            .read()
            .unwrap_err()
            .to_string();
        for key in ["seed_secret", "service_key", "issuer", "kek_file"] {
            assert!(error.contains(key), "{key} in: {error}");
        }
        let own = "environment = \"production\"\nseed_secret = \"a\"\nservice_key = \"b\"\nissuer = \"https://x\"\nkek_file = \"k\"";
        assert!(layers(own).read().is_ok());
    }

    #[test]
    fn secrets_are_masked_and_sources_are_named() {
        let settings = layers("seed_secret = \"hush\"").settings().unwrap();
        let secret = settings
            .iter()
            .find(|setting| setting.key == "seed_secret")
            .unwrap();
        assert_eq!(secret.value, "********");
        let text = serde_json::to_string(&settings).unwrap();
        assert!(!text.contains("hush"), "{text}");
        assert!(!text.contains(catalog::DEVELOPMENT_SEED_SECRET), "{text}");
    }

    #[test]
    fn the_old_pause_switch_is_read_in_its_old_spellings() {
        for (spelling, paused) in [
            ("1", true),
            ("\"yes\"", true),
            ("true", true),
            ("\"0\"", false),
            ("false", false),
        ] {
            assert_eq!(
                layers(&format!("paused = {spelling}")).read().unwrap().paused,
                paused,
                "{spelling}"
            );
        }
        assert!(layers("paused = \"perhaps\"").read().is_err());
    }
}
