//! `dramatis vault`: which key-encryption key seals what, and sealing everything anew with the active one.

use std::sync::Arc;

use events::{SystemClock, SystemIds};
use identity::{Identity, IdentityError};
use serde::Serialize;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_identity;
use crate::output::{Format, Out, count_of};

/// Keys at rest
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum VaultCommand {
    /// Show how many keys each key-encryption key seals
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new key that signs tokens, beside a running server
    ///
    /// It is published at once and signs three minutes later; the one before verifies until its last token has ended.
    /// Nobody's token is refused for it.
    RotateSigning {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal every key anew with the active key-encryption key, beside a running server
    ///
    /// Interrupted, it goes on where it stopped when it is run again. Afterwards the older key-encryption keys can be
    /// taken out of the configuration.
    Rewrap {
        /// Keys sealed anew in one transaction
        #[arg(long, value_name = "NUMBER", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        batch: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl VaultCommand {
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Status { json } | Self::Rewrap { json, .. } | Self::RotateSigning { json } => *json,
        }
    }
}

/// What one key-encryption key seals.
#[derive(Debug, Serialize)]
struct Sealing {
    kek: String,
    active: bool,
    keys: u64,
}

#[derive(Debug, Serialize)]
struct Status {
    rewrapped: u64,
    sealing: Vec<Sealing>,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] when there are no accounts yet; [`CommandError::Failed`] when a key-encryption key that
/// sealed something is not configured.
pub(crate) async fn run(
    command: &VaultCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    if !config.has_accounts() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {} yet; start with `dramatis up`, or name a folder with --data",
            config.data.display()
        )));
    }
    let identity = open_identity(config, "", clock, Arc::new(SystemIds)).await?;
    if let VaultCommand::RotateSigning { .. } = command {
        let rotated = identity.rotate_signing_key().await.map_err(failed)?;
        if out.format() == Format::Json {
            return out.json(&rotated);
        }
        return out.text(format!(
            "key {} signs from {} on; {} before it, {} destroyed",
            rotated.kid,
            rotated.signs_from,
            count_of(rotated.overlapping as u64, "key"),
            rotated.destroyed
        ));
    }
    let mut rewrapped = 0;
    if let VaultCommand::Rewrap { batch, .. } = command {
        loop {
            let step = identity.rewrap(*batch).await.map_err(failed)?;
            rewrapped += step.done;
            if step.is_complete {
                break;
            }
        }
    }
    let status = Status {
        rewrapped,
        sealing: sealing(&identity).await?,
    };
    if out.format() == Format::Json {
        return out.json(&status);
    }
    if matches!(command, VaultCommand::Rewrap { .. }) {
        out.text(format!("{} sealed anew", count_of(status.rewrapped, "key")))?;
    }
    for sealing in &status.sealing {
        let role = if sealing.active { "active" } else { "older" };
        out.text(format!(
            "{:<24} {role:<8} seals {}",
            sealing.kek,
            count_of(sealing.keys, "key")
        ))?;
    }
    Ok(())
}

async fn sealing(identity: &Identity) -> Result<Vec<Sealing>, CommandError> {
    let active = identity.active_kek();
    let by_key = identity.sealed_by_key().await.map_err(failed)?;
    Ok(by_key
        .into_iter()
        .map(|(kek, keys)| Sealing {
            active: kek == active,
            kek,
            keys,
        })
        .collect())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: IdentityError) -> CommandError {
    CommandError::Failed(error.to_string())
}
