//! One file of the journal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of a line's digest that stand before it.
const DIGEST_CHARS: usize = 32;

/// See the module. Its file is there as long as it is.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    /// Whether something was written since it was last brought to the disk.
    pub(super) needs_sync: bool,
    /// How many of its lines are not in the log yet.
    pub(super) kept: usize,
}

impl Segment {
    pub(super) fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path(folder, number);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self {
            file: Arc::new(options.open(&path)?),
            path,
            bytes: 0,
            needs_sync: false,
            kept: 0,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(line)?;
        self.bytes += line.len() as u64;
        self.needs_sync = true;
        self.kept += 1;
        Ok(())
    }

    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.bytes = 0;
        self.needs_sync = false;
        self.file.set_len(0)
    }

    /// Its file, if something was written since it was last asked for.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.needs_sync).then(|| self.file.clone())
    }

    pub(super) fn delete(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            // What stands there is in the log: the next start finds that out and tries again.
            tracing::warn!(%error, path = %self.path.display(), "a segment of the journal of calls is not deleted");
        }
    }
}

/// Where the segment of that number is.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("calls-{number:012}.journal"))
}

/// The number of the segment in a file of that name, if it is one.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("calls-")?
        .strip_suffix(".journal")?
        .parse()
        .ok()
}

/// Writes `line` as it stands in a segment.
pub(super) fn spell(into: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    into.extend([b' '; DIGEST_CHARS + 1]);
    serde_json::to_writer(&mut *into, line)?;
    let (before, text) = into.split_at_mut(DIGEST_CHARS + 1);
    hex::encode_to_slice(digest(text), &mut before[..DIGEST_CHARS]).map_err(io::Error::other)?;
    into.push(b'\n');
    Ok(())
}

/// The text of a line that stands as it was written.
pub(super) fn read(line: &[u8]) -> Option<&[u8]> {
    let (before, text) = line.split_at_checked(DIGEST_CHARS + 1)?;
    let (text, end) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let mut said = [0; DIGEST_CHARS / 2];
    hex::decode_to_slice(&before[..DIGEST_CHARS], &mut said).ok()?;
    (end == b"\n" && before.ends_with(b" ") && said == digest(text)).then_some(text)
}

fn digest(text: &[u8]) -> [u8; DIGEST_CHARS / 2] {
    let mut half = [0; DIGEST_CHARS / 2];
    let whole: [u8; 32] = Sha256::digest(text).into();
    half.copy_from_slice(&whole[..DIGEST_CHARS / 2]);
    half
}
