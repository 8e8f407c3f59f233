//! The key-encryption key's file: 32 bytes in base64, for this user only. Losing it loses every master key.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::Ids;
use identity::KeyEncryptionKey;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::exit::CommandError;
use crate::nats_child::write_private;

/// Reads the key, or in development makes it at the first start.
///
/// # Errors
/// [`CommandError::Usage`] when the file is missing in production or does not hold 32 bytes in base64.
pub(crate) fn key_encryption_key(config: &Config, ids: &dyn Ids) -> Result<KeyEncryptionKey, CommandError> {
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
        let mut bytes = [0; 32];
        ids.fill(&mut bytes);
        write_private(file, &STANDARD.encode(bytes))?;
    }
    read(file)
}

fn read(file: &Path) -> Result<KeyEncryptionKey, CommandError> {
    let refused = |reason: String| CommandError::Usage(format!("key file {}: {reason}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let bytes: [u8; 32] = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| refused("must hold 32 bytes in base64".to_owned()))?;
    let name = hex::encode(Sha256::digest(bytes));
    Ok(KeyEncryptionKey::new(
        format!("kek-{}", name.get(..8).unwrap_or_default()),
        bytes,
    ))
}
