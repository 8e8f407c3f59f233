//! What a process that died left in the journal.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{BYTES_MAX, Line, segment};

/// Segments of an earlier process, oldest first. They stay until [`Left::forget`].
#[derive(Debug)]
pub(crate) struct Left {
    segments: Vec<(u64, PathBuf)>,
    gone: CancellationToken,
}

impl Left {
    pub(super) fn find(folder: &Path) -> io::Result<Self> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(segment::number) {
                segments.push((number, entry.path()));
            }
        }
        segments.sort_unstable();
        let gone = CancellationToken::new();
        if segments.is_empty() {
            gone.cancel();
        }
        Ok(Self { segments, gone })
    }

    /// Cancelled once they are forgotten.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// The first number that no segment has.
    pub(super) fn next(&self) -> u64 {
        self.segments.last().map_or(1, |(number, _)| number + 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Every note that was wholly written, in the order it was.
    pub(in crate::call_log) fn lines(&self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for (_, path) in &self.segments {
            read(path, &mut lines)?;
        }
        Ok(lines)
    }

    /// Deletes them: all of it is in the log, or belongs nowhere any more.
    pub(in crate::call_log) fn forget(&self) -> io::Result<()> {
        for (_, path) in &self.segments {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.gone.cancel();
        Ok(())
    }
}

/// A process dies in the middle of a line, or the power goes and the end of the file is anything: what is whole counts.
fn read(path: &Path, lines: &mut Vec<Line>) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?).take(2 * BYTES_MAX);
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let Some(text) = segment::read(&line) else {
            tracing::warn!(path = %path.display(), "the journal of calls ends in the middle of a line; nobody was answered about that");
            return Ok(());
        };
        // What was written whole and cannot be read was written by a newer program: it stays for that.
        lines.push(serde_json::from_slice(text)?);
    }
}
