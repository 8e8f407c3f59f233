//! Pins in a file, for a house that shares them with nobody.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::{Known, Mark, Pins};

/// The file of one mount.
#[derive(Debug, Clone)]
pub(super) struct PinFile {
    path: PathBuf,
}

impl PinFile {
    pub(super) fn of(folder: &Path, name: &str) -> Self {
        Self {
            path: folder.join(format!("{name}.json")),
        }
    }

    /// What it says; nothing where it is not there.
    pub(super) fn read(&self) -> io::Result<Pins> {
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pins::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn known(&self) -> io::Result<Known> {
        // First, so that what is written in between is read again.
        let mark = self.mark();
        let pins = self.read()?;
        Ok(Known { pins, mark })
    }

    /// When it was last written.
    pub(super) fn mark(&self) -> Mark {
        let written = fs::metadata(&self.path).and_then(|file| file.modified()).ok()?;
        let since = written.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    }

    /// One change at a time, by the server and by `dramatis mounts approve` beside it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Pins) -> T) -> io::Result<(T, Known)> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let lock = File::create(self.path.with_extension("lock"))?;
        lock.lock()?;
        let before = self.read()?;
        let mut pins = before.clone();
        let answer = change(&mut pins);
        if pins != before {
            let text = serde_json::to_vec_pretty(&pins).map_err(io::Error::other)?;
            let beside = self.path.with_extension("new");
            fs::write(&beside, text)?;
            fs::rename(&beside, &self.path)?;
        }
        let mark = self.mark();
        Ok((answer, Known { pins, mark }))
    }
}
