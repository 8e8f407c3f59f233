//! Texts that stand nowhere but where a persona put them, and the search for them in every form a file may hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::life::Persona;

/// Where a persona leaves text.
const PLACES: [&str; 13] = [
    "name", "email", "prompt", "habit", "rating", "error", "client", "call", "todo", "note", "content",
    "journal", "tool",
];

/// One text for each place.
pub(super) struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    /// Texts that differ from those of every other test run. They look like chance, so that a compressed file holds
    /// them as they are.
    pub(super) fn new(whose: &str) -> Self {
        let run = format!(
            "{whose} {} {}",
            std::process::id(),
            tempfile::tempdir().unwrap().path().display()
        );
        let text = |place: &&'static str| {
            let digest = Sha256::digest(format!("{run} {place}"));
            (*place, format!("cq{}", hex::encode(&digest[..12])))
        };
        Self(PLACES.iter().map(text).collect())
    }

    pub(super) fn of(&self, place: &str) -> &str {
        &self.0[place]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(place, canary)| (*place, canary.as_str()))
    }

    /// The persona's address, with its canary in front of the `@`.
    pub(super) fn email(&self) -> String {
        format!("persona.{}@mana.test", self.of("email"))
    }
}

/// The files below `dir` that hold `canary` in any form.
pub(super) fn files_with(dir: &Path, canary: &str) -> Vec<PathBuf> {
    let forms = forms(canary);
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A file may go while it is looked for; then it holds nothing any more.
            let bytes = fs::read(&path).unwrap_or_default();
            let name = path.to_string_lossy().into_owned().into_bytes();
            if forms.iter().any(|form| holds(&bytes, form) || holds(&name, form)) {
                found.push(path);
            }
        }
    }
    found
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    let Some((first, rest)) = form.split_first() else {
        return false;
    };
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| byte == first && bytes[at + 1..].starts_with(rest))
}

/// The text as it is, in capitals, in UTF-16 of both orders, hexadecimal, percent-encoded, JSON-escaped, and in
/// Base64 wherever in a group of three bytes it begins.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let bytes = canary.as_bytes();
    let each = |write: fn(&mut String, u8)| {
        let mut text = String::new();
        for byte in bytes {
            write(&mut text, *byte);
        }
        text.into_bytes()
    };
    let mut forms = vec![
        bytes.to_vec(),
        canary.to_uppercase().into_bytes(),
        canary.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        canary.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        hex::encode(bytes).into_bytes(),
        hex::encode_upper(bytes).into_bytes(),
        each(|text, byte| write!(text, "%{byte:02X}").unwrap()),
        each(|text, byte| write!(text, "%{byte:02x}").unwrap()),
        each(|text, byte| write!(text, "\\u{byte:04x}").unwrap()),
        each(|text, byte| write!(text, "\\u{byte:04X}").unwrap()),
    ];
    for before in 0..3 {
        let shifted = [&b"xx"[..before], bytes].concat();
        // Characters that hold bits of what stands before or after are left out.
        let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(text.as_bytes()[first..last].to_vec());
        }
    }
    forms
}

/// Every row in the tables that names the persona or its space, as text.
pub(super) fn rows_of(data: &Path, persona: &Persona) -> String {
    let script = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
tables = sorted(name for (name,) in db.execute(\"SELECT name FROM sqlite_master WHERE type = 'table'\"))
for table in tables:
    for row in sorted(map(repr, db.execute(f'SELECT * FROM \"{table}\"'))):
        if any(id in row for id in sys.argv[2:]):
            print(table, row)
";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(data.join("dramatis.sqlite"))
        .args([&persona.id, &persona.space])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
