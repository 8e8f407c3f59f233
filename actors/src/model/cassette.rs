//! Conversations with a model, kept to be played again: a night's test that costs nothing and shows what changed.
//!
//! ```text
//! record        request ─▶ server ─▶ answer, both put down      one line of JSON each
//! replay        request ─▶ the tape: the same request, or a miss that names the nearest and where it differs
//! replay-model  request ─▶ the tape: the same turn of the same conversation; what differs is told, and play goes on
//! ```
//!
//! Played again, nothing is opened towards a model's server. The app is live: its ids are others than those on the tape, so
//! an id is known by where it first appears, and the answer's ids are put in the place of the recorded ones. Days and
//! times are left out of comparisons.
//!
//! No key is ever on a tape: headers are not recorded, and what looks like a key keeps the whole entry off it.

mod canonical;
mod tape;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use canonical::{Canonical, first_difference, rebound};
pub use tape::CassetteError;
use tape::{Entry, HEADER, Place};

/// What a cassette does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CassetteMode {
    /// Ask the model, and put down what was asked and answered.
    Record,
    /// Answer from the tape the very requests that are on it.
    Replay,
    /// Answer from the tape turn by turn, whatever the app says.
    ReplayModel,
}

/// See the module.
pub struct Cassette {
    mode: CassetteMode,
    state: Mutex<State>,
}

struct State {
    /// Open while recording.
    file: Option<File>,
    entries: Vec<Entry>,
    /// Which entries were played.
    played: Vec<bool>,
    /// Conversations begun, by who has them.
    begun: BTreeMap<String, u64>,
    /// What differed from the tape, in the order it came.
    differences: Vec<String>,
    /// Entries that were kept off the tape.
    withheld: u64,
}

/// Differences that are kept.
const DIFFERENCES_MAX: usize = 1_000;

impl fmt::Debug for Cassette {
    /// Without what was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassette")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Cassette {
    /// Opens a tape: a new one to record on, or one to play.
    ///
    /// # Errors
    /// [`CassetteError`] when there is a tape already where one is to be recorded, none where one is to be played, or it
    /// is not one of ours.
    pub fn open(path: &Path, mode: CassetteMode) -> Result<Self, CassetteError> {
        let failed = |source| CassetteError::Io {
            path: path.display().to_string(),
            source,
        };
        let (file, entries) = if mode == CassetteMode::Record {
            let mut file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(path)
                .map_err(failed)?;
            writeln!(file, "{HEADER}").map_err(failed)?;
            (Some(file), Vec::new())
        } else {
            (None, tape::read(path)?)
        };
        Ok(Self {
            mode,
            state: Mutex::new(State {
                file,
                played: vec![false; entries.len()],
                entries,
                begun: BTreeMap::new(),
                differences: Vec::new(),
                withheld: 0,
            }),
        })
    }

    /// What it does.
    pub fn mode(&self) -> CassetteMode {
        self.mode
    }

    /// Whether it answers in the place of a server.
    pub fn plays(&self) -> bool {
        self.mode != CassetteMode::Record
    }

    /// What differed from the tape so far, and was played all the same.
    pub fn differences(&self) -> Vec<String> {
        self.state().differences.clone()
    }

    /// Entries that were kept off the tape because they hold what looks like a key.
    pub fn withheld(&self) -> u64 {
        self.state().withheld
    }

    /// Puts down what was asked and answered; `key` is looked for and keeps the entry off the tape.
    ///
    /// # Errors
    /// When the tape cannot be written.
    pub(super) fn record(&self, request: &Value, response: &Value, key: Option<&str>) -> std::io::Result<()> {
        let mut state = self.state();
        let place = state.place_of(request);
        let canonical = Canonical::of(request);
        let entry = Entry {
            key: canonical.key(),
            place,
            request: canonical.value,
            ids: canonical.ids,
            response: response.clone(),
        };
        let line = serde_json::to_string(&entry)?;
        if tape::holds_secret(&line, key) {
            state.withheld += 1;
            tracing::warn!(
                "an answer is kept off the cassette: the request or the answer holds what looks like a key"
            );
            return Ok(());
        }
        match &mut state.file {
            Some(file) => writeln!(file, "{line}"),
            None => Ok(()),
        }
    }

    /// The recorded answer to `request`, with the ids of today in the place of those on the tape.
    ///
    /// # Errors
    /// What is missing, and where the nearest entry differs.
    pub(super) fn play(&self, request: &Value) -> Result<Value, String> {
        let mut state = self.state();
        let place = state.place_of(request);
        let canonical = Canonical::of(request);
        let found = match self.mode {
            CassetteMode::ReplayModel => state.turn(&place),
            _ => state.same(&canonical.key()),
        };
        let Some(at) = found else {
            return Err(state.miss(&canonical, &place));
        };
        state.played[at] = true;
        let entry = &state.entries[at];
        let answer = rebound(&entry.response, &entry.ids, &canonical.ids);
        if let Some(pointer) = first_difference(&entry.request, &canonical.value) {
            let said = format!(
                "turn {} of conversation {} differs from entry {} at {pointer}",
                place.turn + 1,
                place.conversation + 1,
                at + 1
            );
            tracing::warn!("{said}");
            metrics::counter!("cast_cassette_differences_total").increment(1);
            if state.differences.len() < DIFFERENCES_MAX {
                state.differences.push(said);
            }
        }
        Ok(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Which turn of which conversation of whom a request is. One without a word of the model's begins a conversation.
    fn place_of(&mut self, request: &Value) -> Place {
        let who = canonical::who(request);
        let turn = canonical::turns(request);
        let begun = self.begun.entry(who.clone()).or_default();
        if turn == 0 {
            *begun += 1;
        }
        Place {
            who,
            conversation: begun.saturating_sub(1),
            turn,
        }
    }

    /// The first entry of that request that was not played yet, or the last that was.
    fn same(&self, key: &str) -> Option<usize> {
        let mut same = (0..self.entries.len()).filter(|at| self.entries[*at].key == key);
        let first_fresh = same.clone().find(|at| !self.played[*at]);
        first_fresh.or_else(|| same.next_back())
    }

    fn turn(&self, place: &Place) -> Option<usize> {
        self.entries.iter().position(|entry| entry.place == *place)
    }

    fn miss(&self, request: &Canonical, place: &Place) -> String {
        let nearest = self.entries.iter().enumerate().max_by_key(|(at, entry)| {
            let is_same_turn = entry.place.who == place.who && entry.place.turn == place.turn;
            (is_same_turn, request.agreement(&entry.request), usize::MAX - at)
        });
        let Some((at, entry)) = nearest else {
            return "the cassette is empty".to_owned();
        };
        match first_difference(&entry.request, &request.value) {
            Some(pointer) => format!(
                "the cassette has no such request; the nearest is entry {}, which differs at {pointer}",
                at + 1
            ),
            None => format!(
                "the cassette has no such turn; entry {} is the same request elsewhere",
                at + 1
            ),
        }
    }
}
