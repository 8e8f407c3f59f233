//! Where secrets may come from beside the environment, and which of them are too weak to be any.
//!
//! `NAME_FILE` names a file that holds the secret `NAME`; a service manager's credentials (systemd's
//! `LoadCredential=`) are files named like their keys in `$CREDENTIALS_DIRECTORY`. Neither shows in a list of processes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use figment::providers::Env;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, Source};
use secrecy::{ExposeSecret as _, SecretString};

use super::Config;
use crate::exit::CommandError;

/// The keys that hold secrets, and the names their values have in the environment.
const SECRETS: [(&str, &[&str]); 8] = [
    ("seed_secret", &["PERSONA_SEED_SECRET", "DRAMATIS_SEED_SECRET"]),
    ("service_key", &["MANA_SERVICE_KEY", "DRAMATIS_SERVICE_KEY"]),
    (
        "anthropic_api_key",
        &["ANTHROPIC_API_KEY", "DRAMATIS_ANTHROPIC_API_KEY"],
    ),
    ("openai_api_key", &["OPENAI_API_KEY", "DRAMATIS_OPENAI_API_KEY"]),
    ("database", &["DRAMATIS_DATABASE"]),
    // `DRAMATIS_KEK_FILE` is the key `kek_file`, which does the same.
    ("kek", &[]),
    ("kek_older", &["DRAMATIS_KEK_OLDER"]),
    (
        "otlp_headers",
        &["OTEL_EXPORTER_OTLP_HEADERS", "DRAMATIS_OTLP_HEADERS"],
    ),
];
/// Where a service manager puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Bytes a secret's file may have.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters a secret that machines make should have, and how many different ones.
const CHARS_MIN: usize = 16;
const DIFFERENT_MIN: usize = 6;

/// One secret out of a file: a layer of the configuration.
#[derive(Debug)]
pub(super) struct SecretFile {
    key: &'static str,
    path: PathBuf,
    secret: SecretString,
}

impl Provider for SecretFile {
    fn metadata(&self) -> Metadata {
        Metadata::from("secret file", Source::File(self.path.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = Value::from(self.secret.expose_secret());
        Ok(Profile::Default.collect(Dict::from([(self.key.to_owned(), value)])))
    }
}

/// The environment's names that name files of secrets, in lower case without the prefix: they are no keys.
pub(super) fn file_names() -> Vec<String> {
    SECRETS
        .iter()
        .flat_map(|(_, names)| *names)
        .filter_map(|name| name.strip_prefix("DRAMATIS_"))
        .map(|name| format!("{}_file", name.to_lowercase()))
        .collect()
}

/// The secrets that files hold: those of the credentials folder first, those named in the environment over them.
///
/// # Errors
/// [`CommandError::Usage`] for a file that cannot be read, and for a secret given in two ways.
pub(super) fn from_files(environment: &Env) -> Result<Vec<SecretFile>, CommandError> {
    let given: std::collections::BTreeMap<String, String> = environment
        .iter()
        .map(|(name, value)| (name.as_str().to_uppercase(), value))
        .collect();
    let mut files = Vec::new();
    if let Some(folder) = given.get(CREDENTIALS) {
        for (key, _) in SECRETS {
            let path = Path::new(folder).join(key);
            if path.exists() {
                files.push(read(key, path)?);
            }
        }
    }
    for (key, names) in SECRETS {
        for name in names {
            let file = format!("{name}_FILE");
            let Some(path) = given.get(&file) else { continue };
            if names.iter().any(|name| given.contains_key(*name)) {
                return Err(CommandError::Usage(format!(
                    "{name} and {file} are both set; keep one of them"
                )));
            }
            files.push(read(key, PathBuf::from(path))?);
        }
    }
    Ok(files)
}

fn read(key: &'static str, path: PathBuf) -> Result<SecretFile, CommandError> {
    let refused =
        |reason: String| CommandError::Usage(format!("{key}: secret file {}: {reason}", path.display()));
    let metadata = std::fs::metadata(&path).map_err(|error| refused(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(refused(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| refused(error.to_string()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(refused("is empty".to_owned()));
    }
    Ok(SecretFile {
        key,
        secret: SecretString::from(secret),
        path,
    })
}

/// What is wrong with the secrets that are set, by key: too short, too uniform, or one secret in two places. The
/// development ones are known to everybody and are told apart elsewhere.
pub(crate) fn weaknesses(config: &Config) -> Vec<(&'static str, String)> {
    let set: Vec<(&'static str, &str)> = [
        ("seed_secret", Some(&config.seed_secret)),
        ("service_key", config.service_key.as_ref()),
        ("anthropic_api_key", config.anthropic_api_key.as_ref()),
        ("openai_api_key", config.openai_api_key.as_ref()),
    ]
    .into_iter()
    .filter_map(|(key, secret)| Some((key, secret?.expose_secret())))
    .collect();
    let mut weak = Vec::new();
    // A model's key is whatever its maker says it is.
    for (key, secret) in set
        .iter()
        .filter(|(key, _)| matches!(*key, "seed_secret" | "service_key"))
    {
        if secret.chars().count() < CHARS_MIN {
            weak.push((*key, format!("shorter than {CHARS_MIN} characters")));
        } else if secret.chars().collect::<HashSet<_>>().len() < DIFFERENT_MIN {
            weak.push((*key, format!("fewer than {DIFFERENT_MIN} different characters")));
        }
    }
    for (at, (key, secret)) in set.iter().enumerate() {
        if let Some((other, _)) = set.iter().take(at).find(|(_, other)| other == secret) {
            weak.push((*key, format!("the same as {other}")));
        }
    }
    weak
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(seed_secret: &str, service_key: &str) -> Config {
        Config {
            seed_secret: SecretString::from(seed_secret),
            service_key: Some(SecretString::from(service_key)),
            ..Config::default()
        }
    }

    #[test]
    fn short_uniform_and_shared_secrets_are_named_by_their_keys() {
        let keys = |config: &Config| {
            weaknesses(config)
                .into_iter()
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        let good = "7f3a9c51d2e84b60";
        assert!(keys(&config(good, "0e6b1d94c7a25f38")).is_empty());
        assert_eq!(keys(&config("short", good)), ["seed_secret"]);
        assert_eq!(keys(&config(good, &"ab".repeat(20))), ["service_key"]);
        assert_eq!(keys(&config(good, good)), ["service_key"]);
    }

    #[test]
    fn a_secret_s_file_is_read_without_its_line_end_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed_secret");
        std::fs::write(&path, "hush hush hush\n").unwrap();
        let file = read("seed_secret", path).unwrap();
        assert_eq!(file.secret.expose_secret(), "hush hush hush");
        assert!(!format!("{file:?}").contains("hush"));
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        for bad in ["empty", "missing"] {
            let error = read("service_key", dir.path().join(bad)).unwrap_err();
            assert!(error.to_string().contains("service_key"), "{error}");
        }
    }
}
