//! The key-encryption keys: 32 bytes each in base64, with a name in front where the operator gave one (`NAME:BASE64`).
//! Losing one loses every key it seals.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::Ids;
use identity::{KeyEncryptionKey, KeyRing, RunnerKey};
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::exit::CommandError;
use crate::nats_child::write_private;

/// Characters a key's own name may have.
const NAME_CHARS_MAX: usize = 60;

/// All keys that are configured, the one that seals first; in development it is made at the first start.
///
/// # Errors
/// [`CommandError::Usage`] when one is missing in production, does not hold 32 bytes in base64, or has the name of
/// another.
pub(crate) fn key_ring(config: &Config, ids: &dyn Ids) -> Result<KeyRing, CommandError> {
    let active = match &config.kek {
        Some(_) if config.kek_file.is_some() => {
            return Err(CommandError::Usage(
                "kek and kek_file are both set; keep one of them".to_owned(),
            ));
        }
        Some(key) => parse("kek", key.expose_secret())?,
        None => of_file(config, ids)?,
    };
    let mut ring = KeyRing::new(active);
    let mut older = Vec::new();
    for file in &config.kek_older_files {
        older.push(read(file)?);
    }
    let listed = config.kek_older.as_ref().map(ExposeSecret::expose_secret);
    for key in listed.into_iter().flat_map(|keys| keys.split([',', '\n'])) {
        if !key.trim().is_empty() {
            older.push(parse("kek_older", key)?);
        }
    }
    for key in older {
        ring = ring
            .try_with(key)
            .map_err(|error| CommandError::Usage(error.to_string()))?;
    }
    Ok(ring)
}

/// The public key that grants' data keys are wrapped to; `None` where none is configured.
///
/// # Errors
/// [`CommandError::Usage`] for a file that holds no RSA public key of 2,048 bits or more.
pub(crate) fn runner_key(config: &Config) -> Result<Option<Arc<RunnerKey>>, CommandError> {
    let Some(file) = &config.runner_key_file else {
        return Ok(None);
    };
    let unusable =
        |reason: String| CommandError::Usage(format!("runner_key_file {}: {reason}", file.display()));
    let pem = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let key = RunnerKey::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
    Ok(Some(Arc::new(key)))
}

/// The key of `kek_file`, or of the data folder, where it is made when there is nothing yet that it could have sealed.
fn of_file(config: &Config, ids: &dyn Ids) -> Result<KeyEncryptionKey, CommandError> {
    let own = config.data.join("kek.key");
    let file = config.kek_file.as_deref().unwrap_or(&own);
    if !file.exists() {
        if config.kek_file.is_some() {
            return Err(CommandError::Usage(format!(
                "kek_file {}: no such file",
                file.display()
            )));
        }
        // Accounts without their key would be unreadable; making a new one would hide that.
        if config.identity_file().exists() {
            return Err(CommandError::Failed(format!(
                "{} is missing but {} is there; restore the key from your backup",
                file.display(),
                config.identity_file().display()
            )));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        ids.fill(bytes.as_mut_slice());
        write_private(file, &STANDARD.encode(bytes.as_slice()))?;
    }
    read(file)
}

fn read(file: &Path) -> Result<KeyEncryptionKey, CommandError> {
    let place = format!("key file {}", file.display());
    let text = fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| CommandError::Usage(format!("{place}: {error}")))?;
    parse(&place, &text)
}

/// `[NAME:]BASE64`. Without a name the key is called after the hash of its bytes.
fn parse(place: &str, text: &str) -> Result<KeyEncryptionKey, CommandError> {
    let refused = |reason: &str| CommandError::Usage(format!("{place}: {reason}"));
    let text = text.trim();
    let (name, encoded) = match text.split_once(':') {
        Some((name, encoded)) => (Some(name.trim()), encoded.trim()),
        None => (None, text),
    };
    let decoded = STANDARD.decode(encoded).map(Zeroizing::new).unwrap_or_default();
    let mut bytes = Zeroizing::new([0; 32]);
    if decoded.len() != bytes.len() {
        return Err(refused("must hold 32 bytes in base64, or NAME:BASE64"));
    }
    bytes.copy_from_slice(&decoded);
    let name = match name {
        None => {
            let hash = hex::encode(Sha256::digest(bytes.as_slice()));
            format!("kek-{}", hash.get(..8).unwrap_or_default())
        }
        Some(name) => {
            let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(is_name_byte) {
                return Err(refused(
                    "a key's name has 1 to 60 letters, digits, `-`, `_` and `.`",
                ));
            }
            name.to_owned()
        }
    };
    Ok(KeyEncryptionKey::new(name, *bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SystemIds;
    use secrecy::SecretString;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn keys_come_from_file_and_environment_and_are_named_or_called_after_their_hash() {
        let dir = tempfile::tempdir().unwrap();
        let older = dir.path().join("older.key");
        fs::write(&older, format!("winter:{}\n", key(2))).unwrap();
        let config = Config {
            kek: Some(SecretString::from(key(1))),
            kek_older_files: vec![older],
            kek_older: Some(SecretString::from(format!("a:{}, b:{}", key(3), key(4)))),
            ..Config::default()
        };
        let ring = key_ring(&config, &SystemIds).unwrap();
        assert_eq!(ring.ids(), ["kek-72cd6e84", "winter", "a", "b"]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for bad in ["", "AAAA", "name:", ":AAAA", "not base64 at all"] {
            let error = parse("kek", bad).unwrap_err().to_string();
            assert!(error.contains("32 bytes"), "{error}");
        }
        for name in ["two words", "", &"x".repeat(61)] {
            let error = parse("kek", &format!("{name}:{}", key(1)))
                .unwrap_err()
                .to_string();
            assert!(error.contains("name") && !error.contains(&key(1)), "{error}");
        }
        let twice = Config {
            kek: Some(SecretString::from(format!("a:{}", key(1)))),
            kek_older: Some(SecretString::from(format!("a:{}", key(2)))),
            ..Config::default()
        };
        assert!(key_ring(&twice, &SystemIds).is_err());
    }
}
