//! `run.json` in the data folder: how commands on the same machine find the server that runs, and the lock that
//! keeps two servers off one folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::exit::CommandError;
use crate::nats_child::write_private;

/// What a running server tells the commands beside it. Readable by its user only: the NATS address holds a password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Its HTTP address.
    pub(crate) api: String,
    /// Where its log is, credentials included.
    pub(crate) nats: String,
    /// When it began.
    pub(crate) started_at: Timestamp,
    /// How far its clock is ahead of the machine's while it lives virtual days and after; behind it, when negative.
    pub(crate) ahead_ms: i64,
}

impl RunFile {
    /// The server that runs on `config`'s data folder, if one does.
    pub(crate) fn find(config: &Config) -> Option<Self> {
        let run: Self = serde_json::from_str(&fs::read_to_string(path(&config.data)).ok()?).ok()?;
        // A lock that can be taken means that the file is what a killed server left.
        FolderLock::is_held(&config.data).then_some(run)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the folder cannot be written to.
    pub(crate) fn write(&self, data: &Path) -> Result<(), CommandError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| CommandError::Failed(error.to_string()))?;
        write_private(&path(data), &text)
    }

    /// Removes it; a file that is already gone is fine.
    pub(crate) fn remove(data: &Path) {
        if let Err(error) = fs::remove_file(path(data)) {
            tracing::debug!(%error, "the run file was already gone");
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("run.json")
}

/// Held by the one server of a data folder, and let go by the system however it ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when another process holds it, [`CommandError::Failed`] when the folder cannot
    /// be made.
    pub(crate) fn take(data: &Path) -> Result<Self, CommandError> {
        let file = open(data).map_err(|error| {
            CommandError::Failed(format!("cannot use data folder {}: {error}", data.display()))
        })?;
        file.try_lock().map_err(|_| {
            CommandError::Unavailable(format!(
                "another server is running on {}; stop it, or choose another folder with --data",
                data.display()
            ))
        })?;
        Ok(Self { _file: file })
    }

    fn is_held(data: &Path) -> bool {
        open(data).is_ok_and(|file| file.try_lock().is_err())
    }
}

fn open(data: &Path) -> std::io::Result<File> {
    fs::create_dir_all(data)?;
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(data.join("lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_and_is_free_again_when_it_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        assert!(matches!(
            FolderLock::take(dir.path()),
            Err(CommandError::Unavailable(_))
        ));
        drop(lock);
        assert!(FolderLock::take(dir.path()).is_ok());
    }
}
