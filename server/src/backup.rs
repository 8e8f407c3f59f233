//! A copy of everything a house keeps, in a folder of its own, with a list of what is in it and a digest of each file.
//!
//! The house must be closed: then nothing is being written, and files can be copied as they are. The list is written
//! last, so that a copy without one is known to be unfinished; it is checked whole before a byte is restored.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The form of the list. One that is not known is refused.
const FORMAT: u32 = 1;
/// The list's name in the folder of a backup.
const LIST: &str = "backup.json";
/// The folder beside the list that holds the files.
const FILES: &str = "data";
/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// What is made anew at every start, or belongs to work under way.
const LEFT_OUT: [&str; 5] = [
    "lock",
    "run.json",
    "nats/nats.pid",
    "nats/nats.conf",
    "nats/viewers.json.new",
];

/// Why there is no backup, or nothing was restored from one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// Something is in the way; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// What is there is not what was backed up.
    #[error("the backup is damaged: {0}; nothing was restored from it")]
    Damaged(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    bytes: u64,
    sha256: String,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// Version of the program that made it.
    pub(crate) version: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    files: Vec<Entry>,
    /// Over all entries.
    digest: String,
}

impl Manifest {
    /// How many files there are.
    pub(crate) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).sum()
    }

    /// Digest over all that is in it: equal for equal contents.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Copies the folder `data`, which nobody writes to, to the new folder `to`.
///
/// # Errors
/// [`BackupError::Refused`] when `to` is not empty or lies in `data`, or `data` holds what cannot be copied.
pub(crate) fn back_up(data: &Path, to: &Path, now: Timestamp) -> Result<Manifest, BackupError> {
    make_empty(to)?;
    let (from, within) = (canonical(data)?, canonical(to)?);
    if within.starts_with(&from) {
        return Err(BackupError::Refused(format!(
            "{} lies in the folder that is backed up; choose another",
            to.display()
        )));
    }
    let mut paths = Vec::new();
    walk(&from, Path::new(""), &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let target = to.join(FILES).join(&path);
        let (bytes, sha256) = copy(&from.join(&path), &target)?;
        files.push(Entry {
            path: path.to_string_lossy().into_owned(),
            bytes,
            sha256,
        });
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        digest: digest_of(&files),
        files,
    };
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::Refused(error.to_string()))?;
    write(&to.join(LIST), &text)?;
    Ok(manifest)
}

/// Reads what a backup says of itself and checks every file against it.
///
/// # Errors
/// [`BackupError::Refused`] for a folder that is no finished backup, or one of a newer program;
/// [`BackupError::Damaged`] for a file that is not what was backed up.
pub(crate) fn check(from: &Path) -> Result<Manifest, BackupError> {
    let list = from.join(LIST);
    let text = fs::read(&list).map_err(|error| {
        BackupError::Refused(format!(
            "{} is no finished backup: {LIST} cannot be read ({error})",
            from.display()
        ))
    })?;
    let damaged = |reason: String| BackupError::Damaged(reason);
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let format = any["format"].as_u64().unwrap_or_default();
    let version = any["version"].as_str().unwrap_or_default();
    if format != u64::from(FORMAT) || is_newer(version, env!("CARGO_PKG_VERSION")) {
        return Err(BackupError::Refused(format!(
            "the backup was made by version {version:?} in format {format}, which version {} does not read; restore it \
             with the version that made it, or a newer one",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let manifest: Manifest = serde_json::from_value(any).map_err(|error| damaged(error.to_string()))?;
    if digest_of(&manifest.files) != manifest.digest {
        return Err(damaged(format!("{LIST} does not fit its own digest")));
    }
    for entry in &manifest.files {
        if !is_plain(Path::new(&entry.path)) {
            return Err(damaged(format!("{:?} leads out of it", entry.path)));
        }
        let path = from.join(FILES).join(&entry.path);
        let found = digest_of_file(&path, |_| Ok(())).map_err(|error| damaged(error.to_string()))?;
        if found != (entry.bytes, entry.sha256.clone()) {
            return Err(damaged(format!("{} is not what was backed up", entry.path)));
        }
    }
    Ok(manifest)
}

/// Copies a backup, which is checked first, into the folder `data`, which holds nothing but its lock.
///
/// # Errors
/// As [`check`], and [`BackupError::Refused`] when there is something in `data`.
pub(crate) fn restore(from: &Path, data: &Path) -> Result<Manifest, BackupError> {
    let manifest = check(from)?;
    let there = fs::read_dir(data).map_err(|source| file_error(data, source))?;
    for entry in there {
        let entry = entry.map_err(|source| file_error(data, source))?;
        if entry.file_name() != "lock" {
            return Err(BackupError::Refused(format!(
                "there is something in {} already ({}); restore into an empty folder, or move it away first",
                data.display(),
                entry.file_name().to_string_lossy()
            )));
        }
    }
    for entry in &manifest.files {
        let (bytes, sha256) = copy(&from.join(FILES).join(&entry.path), &data.join(&entry.path))?;
        if (bytes, &sha256) != (entry.bytes, &entry.sha256) {
            return Err(BackupError::Refused(format!(
                "{} changed while it was restored; empty {} and try again",
                entry.path,
                data.display()
            )));
        }
    }
    Ok(manifest)
}

/// Every file under `root`, by its path in it.
fn walk(root: &Path, inside: &Path, paths: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let dir = root.join(inside);
    for entry in fs::read_dir(&dir).map_err(|source| file_error(&dir, source))? {
        let entry = entry.map_err(|source| file_error(&dir, source))?;
        let path = inside.join(entry.file_name());
        let kind = entry.file_type().map_err(|source| file_error(&path, source))?;
        if is_left_out(&path) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, paths)?;
        } else if kind.is_file() && path.to_str().is_some() {
            paths.push(path);
        } else {
            return Err(BackupError::Refused(format!(
                "{} is neither a file nor a folder with a readable name; it cannot be backed up",
                root.join(&path).display()
            )));
        }
    }
    Ok(())
}

fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    LEFT_OUT.iter().any(|left_out| path == Path::new(left_out))
        // Logs of nats-server, and databases of folds that were under way.
        || path.to_string_lossy().starts_with("nats/nats.log")
        || (name.starts_with("dramatis.sqlite.") && (name.contains(".rebuild-") || name.contains(".scratch-")))
}

/// Only downwards: a list from elsewhere must not name files outside.
fn is_plain(path: &Path) -> bool {
    path.components().count() > 0 && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn make_empty(to: &Path) -> Result<(), BackupError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    made.map_err(|source| file_error(to, source))?;
    let mut there = fs::read_dir(to).map_err(|source| file_error(to, source))?;
    if there.next().is_some() {
        return Err(BackupError::Refused(format!(
            "there is something in {} already; a backup goes into a new folder",
            to.display()
        )));
    }
    Ok(())
}

fn canonical(path: &Path) -> Result<PathBuf, BackupError> {
    path.canonicalize().map_err(|source| file_error(path, source))
}

/// Copies a file, to be read by this user only, and gives its length and digest as they were read.
fn copy(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    if let Some(parent) = to.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|source| file_error(parent, source))?;
    }
    let mut writer = create(to)?;
    let read = digest_of_file(from, |part| {
        writer.write_all(part).map_err(|source| file_error(to, source))
    })?;
    writer.sync_all().map_err(|source| file_error(to, source))?;
    Ok(read)
}

fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| file_error(path, source))
}

fn write(path: &Path, text: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(text)
        .and_then(|()| file.sync_all())
        .map_err(|source| file_error(path, source))
}

/// Reads a file, handing each part to `each`, and gives its length and digest.
fn digest_of_file(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, String), BackupError> {
    let mut reader = File::open(path).map_err(|source| file_error(path, source))?;
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = reader
            .read(&mut chunk)
            .map_err(|source| file_error(path, source))?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        let part = chunk.get(..read).unwrap_or_default();
        hash.update(part);
        bytes += read as u64;
        each(part)?;
    }
}

fn digest_of(files: &[Entry]) -> String {
    let mut hash = Sha256::new();
    for entry in files {
        hash.update(format!("{}\0{}\0{}\n", entry.path, entry.bytes, entry.sha256));
    }
    hex::encode(hash.finalize())
}

/// Whether version `found` is newer than `ours`; one that cannot be read counts as newer.
fn is_newer(found: &str, ours: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let version = version.split(['-', '+']).next().unwrap_or_default();
        version.split('.').map(|part| part.parse().ok()).collect()
    };
    match (numbers(found), numbers(ours)) {
        (Some(found), Some(ours)) => found > ours,
        _ => true,
    }
}

fn file_error(path: &Path, source: std::io::Error) -> BackupError {
    BackupError::File {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a house leaves it, and one beside it for the backup.
    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("nats/store/$G")).unwrap();
        for (name, text) in [
            ("identity.sqlite", "accounts"),
            ("kek.key", "key"),
            ("nats/store/$G/1.blk", "commits"),
            ("nats/nats.log", "chatter"),
            ("nats/nats.conf", "made anew"),
            ("run.json", "gone"),
            ("lock", ""),
            ("dramatis.sqlite.rebuild-3", "half done"),
        ] {
            fs::write(data.join(name), text).unwrap();
        }
        let to = dir.path().join("backup");
        (dir, data, to)
    }

    fn emptied(dir: &tempfile::TempDir) -> PathBuf {
        let data = dir.path().join("restored");
        fs::create_dir_all(&data).unwrap();
        data
    }

    #[test]
    fn what_a_house_keeps_comes_back_byte_for_byte_and_what_it_makes_anew_does_not() {
        let (dir, data, to) = folders();
        let made = back_up(&data, &to, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(made.file_count(), 3);
        let restored = emptied(&dir);
        assert_eq!(restore(&to, &restored).unwrap(), made);
        for name in ["identity.sqlite", "kek.key", "nats/store/$G/1.blk"] {
            assert_eq!(
                fs::read(restored.join(name)).unwrap(),
                fs::read(data.join(name)).unwrap()
            );
        }
        assert!(!restored.join("run.json").exists());
        assert!(!restored.join("dramatis.sqlite.rebuild-3").exists());
    }

    #[test]
    fn a_damaged_backup_is_refused_before_a_byte_is_restored() {
        for damage in ["flip", "cut", "remove", "list", "unlist", "escape"] {
            let (dir, data, to) = folders();
            back_up(&data, &to, Timestamp::UNIX_EPOCH).unwrap();
            let (blocks, list) = (to.join("data/nats/store/$G/1.blk"), to.join(LIST));
            let text = fs::read_to_string(&list).unwrap();
            match damage {
                "flip" => fs::write(&blocks, "commitS").unwrap(),
                "cut" => fs::write(&blocks, "commit").unwrap(),
                "remove" => fs::remove_file(&blocks).unwrap(),
                "list" => fs::write(&list, &text[..text.len() / 2]).unwrap(),
                "unlist" => fs::remove_file(&list).unwrap(),
                _ => fs::write(&list, text.replace("kek.key", "../key.k")).unwrap(),
            }
            let restored = emptied(&dir);
            restore(&to, &restored).unwrap_err();
            assert_eq!(fs::read_dir(&restored).unwrap().count(), 0, "{damage}");
        }
    }

    #[test]
    fn a_backup_of_a_newer_program_and_a_folder_that_is_not_empty_are_refused() {
        let (dir, data, to) = folders();
        back_up(&data, &to, Timestamp::UNIX_EPOCH).unwrap();
        assert!(matches!(
            back_up(&data, &to, Timestamp::UNIX_EPOCH),
            Err(BackupError::Refused(_))
        ));
        assert!(matches!(restore(&to, &data), Err(BackupError::Refused(_))));
        let inside = data.join("backup");
        assert!(back_up(&data, &inside, Timestamp::UNIX_EPOCH).is_err());
        let list = to.join(LIST);
        let text = fs::read_to_string(&list).unwrap();
        let ours = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        for (from, into) in [(ours.as_str(), "\"999.0.0\""), ("\"format\": 1", "\"format\": 2")] {
            fs::write(&list, text.replace(from, into)).unwrap();
            let refused = restore(&to, &emptied(&dir)).unwrap_err();
            assert!(matches!(refused, BackupError::Refused(_)), "{refused}");
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_newer("0.10.0", "0.9.9"));
        assert!(is_newer("soon", "0.9.9"));
        assert!(!is_newer("0.9.9", "0.9.9"));
        assert!(!is_newer("0.9.8", "0.9.9-rc.1"));
    }
}
