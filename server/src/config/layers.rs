//! Where settings come from: defaults, a file, the environment and the command line, the later ones first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::{Figment, Source};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{BrainKind, Config, secrets};
use crate::exit::CommandError;

/// The environment's names that are older than this program, and the keys they set: those of the system before it, and
/// those that everything with OpenTelemetry in it goes by.
const KEPT_NAMES: [(&str, &str); 15] = [
    ("PERSONA_SEED_SECRET", "seed_secret"),
    ("PERSONA_CONCURRENCY", "concurrency"),
    ("TICK_INTERVAL_MS", "tick_interval_ms"),
    ("RUNNER_PAUSED", "paused"),
    ("MANA_SERVICE_KEY", "service_key"),
    ("ANTHROPIC_API_KEY", "anthropic_api_key"),
    ("OPENAI_API_KEY", "openai_api_key"),
    ("DRAMATIS_ENV", "environment"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp_traces_endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otlp_headers"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "otlp_protocol"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otlp_timeout_ms"),
    ("OTEL_SERVICE_NAME", "otlp_service_name"),
    ("OTEL_TRACES_SAMPLER_ARG", "otlp_sampled"),
];
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
    /// Keep the tables in Postgres at this address instead of SQLite in the data folder
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
                Some((*key).into())
            });
        let files = secrets::file_names();
        let own = Env::prefixed("DRAMATIS_").filter(move |name| {
            name != "env" && !files.iter().any(|file| name.as_str().eq_ignore_ascii_case(file))
        });
        let mut figment =
            Figment::from(Serialized::defaults(unmasked_defaults())).merge(Toml::file(&flags.config));
        for secret in secrets::from_files(&Env::raw())? {
            figment = figment.merge(secret);
        }
        let mut figment = figment.merge(own).merge(kept).merge(Serialized::globals(flags));
        if let Some(house) = house {
            figment = figment.merge(Serialized::globals(house));
        }
        Ok(Self(figment))
    }

    /// Reads and checks every key, for a command that opens accounts or one that does not.
    ///
    /// # Errors
    /// [`CommandError::Usage`] naming each key that is unknown, mistyped or refused in production, and its source.
    pub(crate) fn read_for(&self, opens_accounts: bool) -> Result<Config, CommandError> {
        self.refuse_passwords_on_the_command_line()?;
        let config = self.extract()?;
        let faults = config.faults(opens_accounts);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(CommandError::Usage(faults.join("\n")))
        }
    }

    /// As [`Layers::read_for`], for a command that opens accounts.
    ///
    /// # Errors
    /// As there.
    #[cfg(test)]
    pub(crate) fn read(&self) -> Result<Config, CommandError> {
        self.read_for(true)
    }

    fn extract(&self) -> Result<Config, CommandError> {
        self.0.extract().map_err(|errors| {
            let lines: Vec<String> = errors.into_iter().map(|error| describe(&error)).collect();
            CommandError::Usage(format!("configuration: {}", lines.join("; ")))
        })
    }

    /// Whoever is on the machine can read the arguments of every process.
    fn refuse_passwords_on_the_command_line(&self) -> Result<(), CommandError> {
        let is_production = self
            .0
            .extract_inner::<String>("environment")
            .is_ok_and(|environment| environment == "production");
        for key in ["database", "nats"] {
            let value = self.0.extract_inner::<String>(key).unwrap_or_default();
            let has_password = value
                .split_once("://")
                .and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'))
                .is_some_and(|(user, _)| user.contains(':'));
            if is_production && has_password && self.source(key).starts_with("--") {
                let name = environment_name(key);
                return Err(CommandError::Usage(format!(
                    "--{key}: production takes no password on the command line, where everybody on the machine reads \
                     it; set {name}, or {name}_FILE for a database"
                )));
            }
        }
        Ok(())
    }

    /// Every key with its value and source.
    ///
    /// # Errors
    /// As [`Layers::read_for`].
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, CommandError> {
        let config = self.extract()?;
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
        let own = "environment = \"production\"\nseed_secret = \"7f3a9c51d2e84b60\"\nservice_key = \"0e6b1d94c7a25f38\"\n\
            issuer = \"https://x\"\nkek_file = \"k\"";
        layers(own).read().unwrap();
        let shared = own.replace("0e6b1d94c7a25f38", "7f3a9c51d2e84b60");
        let error = layers(&shared).read().unwrap_err().to_string();
        assert!(
            error.contains("service_key") && error.contains("same as seed_secret"),
            "{error}"
        );
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
    fn a_mount_is_a_table_of_its_own_and_its_environment_is_not_shown() {
        let memory = "[mounts.memory]\ncommand = [\"memory\"]\nenvironment = { KEY = \"hush\" }\n\
            [mounts.memory.tools.\"wipe.all\"]\nhint = \"destructive\"";
        assert!(layers(memory).read().is_ok());
        let shown = serde_json::to_string(&layers(memory).settings().unwrap()).unwrap();
        assert!(shown.contains("KEY") && !shown.contains("hush"), "{shown}");
        let exchange = "[mounts.shop]\nurl = \"https://a\"\n[mounts.shop.token_exchange]\nendpoint = \"https://b\"\n\
            client_id = \"c\"\nclient_secret_file = \"d\"\nsubject = \"caller\"\nresource = [\"https://a/mcp\"]";
        assert!(layers(exchange).read().is_ok());
        for wrong in [
            "[mounts.none]",
            "[mounts.both]\nurl = \"http://a\"\ncommand = [\"b\"]",
            "[mounts.child]\ncommand = [\"a\"]\ntoken_exchange = { endpoint = \"https://a\", client_id = \"b\", client_secret_file = \"c\" }",
            "[mounts.unsecret]\nurl = \"http://a\"\ntoken_exchange = { endpoint = \"https://a\", client_id = \"b\" }",
            "[mounts.plain]\nurl = \"http://a\"\ntoken_exchange = { endpoint = \"https://a\", client_id = \"b\", client_secret = \"c\" }",
            "[mounts.odd]\nurl = \"http://a\"\nprefx = \"b\"",
        ] {
            let error = layers(wrong).read().unwrap_err().to_string();
            assert!(error.contains("mounts."), "{error}");
        }
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
