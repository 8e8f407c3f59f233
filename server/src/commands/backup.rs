//! `dramatis backup` and `dramatis restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, SystemClock};
use serde_json::json;

use crate::backup::{BackupError, Manifest, back_up, restore};
use crate::config::Config;
use crate::exit::CommandError;
use crate::nats_child::end_leftover;
use crate::output::{Format, Out, count_of, seconds_text};
use crate::run_file::FolderLock;

/// Copy everything this server keeps into a new folder; stop it first
///
/// The copy holds the key-encryption key where that is in the data folder: keep it as safe as the server itself.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BackupArgs {
    /// The folder to make
    to: PathBuf,
    /// Leave out accounts that are in Postgres: they are backed up there
    #[arg(long)]
    without_accounts: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Bring a backup back into an empty data folder
///
/// The backup is checked whole before a byte is written. `dramatis verify` then says whether tables and log agree.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup's folder
    from: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Makes a backup.
///
/// # Errors
/// [`CommandError::Unavailable`] while a server runs on the folder, [`CommandError::NotFound`] when there is nothing to
/// back up, [`CommandError::Usage`] when the log is on a server of its own.
pub(crate) async fn run_backup(
    args: &BackupArgs,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    refuse_other_servers(config)?;
    refuse_accounts_elsewhere(args, config)?;
    let is_there =
        config.identity_file().exists() || (config.database.is_some() && config.nats_dir().exists());
    if !is_there {
        return Err(CommandError::NotFound(format!(
            "there is nothing in {} yet; name a folder with --data",
            config.data.display()
        )));
    }
    let lock = FolderLock::take(&config.data)?;
    // What a killed server left behind still writes.
    end_leftover(&config.nats_dir(), &*clock).await?;
    let begin = clock.monotonic();
    let made = back_up(&config.data, &args.to, clock.now())?;
    drop(lock);
    let took = clock.monotonic().saturating_sub(begin);
    print("backed up", &args.to, &made, took, out)?;
    let is_key_elsewhere = config
        .kek_file
        .as_ref()
        .is_some_and(|file| !file.starts_with(&config.data));
    if out.format() == Format::Text {
        out.text(if is_key_elsewhere {
            "the key-encryption key is not in it: it is where `kek_file` says; without it no encrypted text can be read"
        } else {
            "the key-encryption key is in it: who has the copy can read everything"
        })?;
    }
    Ok(())
}

/// Restores one.
///
/// # Errors
/// [`CommandError::Unavailable`] while a server runs on the folder, [`CommandError::Failed`] for a damaged backup, one
/// of a newer program, or a folder that is not empty.
pub(crate) fn run_restore(
    args: &RestoreArgs,
    config: &Config,
    clock: &SystemClock,
    out: &mut Out,
) -> Result<(), CommandError> {
    refuse_other_servers(config)?;
    let lock = FolderLock::take(&config.data)?;
    let begin = clock.monotonic();
    let restored = restore(&args.from, &config.data)?;
    drop(lock);
    let took = clock.monotonic().saturating_sub(begin);
    print("restored", &config.data, &restored, took, out)
}

/// A copy without the accounts must not look like a whole one.
fn refuse_accounts_elsewhere(args: &BackupArgs, config: &Config) -> Result<(), CommandError> {
    if config.database.is_none() || args.without_accounts {
        return Ok(());
    }
    Err(CommandError::Usage(format!(
        "accounts are in {}: back them up there (`pg_dump --schema=dramatis_identity`), then copy the rest with \
         --without-accounts",
        config.tables_place()
    )))
}

/// Of what is elsewhere a copy of the data folder would hold nothing.
fn refuse_other_servers(config: &Config) -> Result<(), CommandError> {
    if config.nats.is_none() {
        return Ok(());
    }
    Err(CommandError::Usage(
        "the log is on a NATS server of its own: back it up there (`nats stream backup DRAMATIS FOLDER`), together with \
         the accounts (identity.sqlite, or `pg_dump --schema=dramatis_identity`) and the key-encryption key; tables can be made again"
            .to_owned(),
    ))
}

fn print(
    done: &str,
    place: &Path,
    manifest: &Manifest,
    took: Duration,
    out: &mut Out,
) -> Result<(), CommandError> {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if out.format() == Format::Json {
        return out.json(&json!({
            "place": place, "files": manifest.file_count(), "bytes": manifest.bytes(), "digest": manifest.digest(),
            "version": manifest.version, "createdAt": manifest.created_at, "tookMs": took_ms,
        }));
    }
    out.text(format!(
        "{done}: {}, {} bytes, in {} ({}); made {} by version {}",
        count_of(manifest.file_count() as u64, "file"),
        manifest.bytes(),
        place.display(),
        seconds_text(took_ms),
        manifest.created_at,
        manifest.version
    ))
}

impl From<BackupError> for CommandError {
    fn from(error: BackupError) -> Self {
        Self::Failed(error.to_string())
    }
}
