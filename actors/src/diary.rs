//! What a persona remembers of earlier ticks: a bounded diary, folded from its own events.
//!
//! It holds what it did by tool, and the ids of things it made and left open; no text it wrote or read. That text may
//! be encrypted where the app keeps it, and must not turn up in the log by this way. What a thing says is shown again
//! when its owner lists it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use events::{DiaryWritten, Event, KnownObject, RecordedCommit, SpaceId, TickId};
use jiff::Timestamp;

/// Ticks it goes back to.
const TICKS_MAX: usize = 5;
/// Open things it keeps of each space, the newest.
const OPEN_MAX: usize = 20;
/// Spaces it keeps them of.
const SPACES_MAX: usize = 6;
/// Characters shown to a model.
pub(crate) const DIARY_CHARS_MAX: usize = 1_500;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diary {
    ticks: VecDeque<Entry>,
    /// By the space it is in; `None` is one's own.
    open: BTreeMap<Option<SpaceId>, Vec<KnownObject>>,
    here: Option<SpaceId>,
    /// When it last rated a calibration twin.
    calibrated_at: Option<Timestamp>,
}

/// One tick, as it is remembered.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    tick_id: TickId,
    number: u64,
    started_at: Timestamp,
    /// The tool of each call that has no outcome yet, by call id.
    pending: BTreeMap<String, String>,
    /// Calls that succeeded and that failed, by tool.
    calls: BTreeMap<String, (u32, u32)>,
    outcome: Option<&'static str>,
}

impl Diary {
    /// Takes in one commit of the persona's own subject.
    pub fn fold(&mut self, recorded: &RecordedCommit) {
        for (_, event) in recorded.events() {
            self.fold_event(event);
        }
    }

    fn fold_event(&mut self, event: &Event) {
        match event {
            Event::PersonaEnrolled(_) | Event::PersonaErased(_) => *self = Self::default(),
            Event::TickStarted(started) => {
                self.here = None;
                self.ticks.push_back(Entry {
                    tick_id: started.tick_id.clone(),
                    number: started.number,
                    started_at: started.started_at,
                    pending: BTreeMap::new(),
                    calls: BTreeMap::new(),
                    outcome: None,
                });
                if self.ticks.len() > TICKS_MAX {
                    self.ticks.pop_front();
                }
            }
            Event::TwinRated(rated) => self.calibrated_at = self.calibrated_at.max(Some(rated.rated_at)),
            Event::SpaceEntered(entered) => self.enter(Some(&entered.space_id)),
            Event::ToolCalled(called) => {
                if let Some(entry) = self.entry(&called.tick_id) {
                    entry
                        .pending
                        .insert(called.call_id.to_string(), called.tool.clone());
                }
            }
            Event::ToolReturned(returned) => self.settled(&returned.tick_id, returned.call_id.as_str(), true),
            Event::ToolFailed(failed) => self.settled(&failed.tick_id, failed.call_id.as_str(), false),
            Event::DiaryWritten(written) => self.remember(written),
            Event::TickFinished(finished) => {
                if let Some(entry) = self.entry(&finished.tick_id) {
                    entry.outcome = Some(finished.outcome.as_str());
                }
            }
            Event::TickInterrupted(interrupted) => {
                if let Some(entry) = self.entry(&interrupted.tick_id) {
                    entry.outcome = Some("interrupted");
                }
            }
            _ => {}
        }
    }

    /// Turns to what is in `space`, its own where there is none. What was left open elsewhere is not to be had here.
    pub fn enter(&mut self, space: Option<&SpaceId>) {
        self.here = space.cloned();
    }

    /// Takes in what a tick left behind in the space it is turned to.
    pub fn remember(&mut self, written: &DiaryWritten) {
        let open = self.open.entry(self.here.clone()).or_default();
        open.retain(|known| !written.closed.contains(&known.id));
        for object in &written.made {
            if !open.iter().any(|known| known.id == object.id) {
                open.push(object.clone());
            }
        }
        let too_many = open.len().saturating_sub(OPEN_MAX);
        open.drain(..too_many);
        if self.open.len() > SPACES_MAX
            && let Some(other) = self
                .open
                .keys()
                .find(|space| space.is_some() && **space != self.here)
        {
            let other = other.clone();
            self.open.remove(&other);
        }
    }

    fn entry(&mut self, tick_id: &TickId) -> Option<&mut Entry> {
        self.ticks
            .iter_mut()
            .rev()
            .find(|entry| entry.tick_id == *tick_id)
    }

    fn settled(&mut self, tick_id: &TickId, call_id: &str, is_ok: bool) {
        let Some(entry) = self.entry(tick_id) else {
            return;
        };
        let Some(tool) = entry.pending.remove(call_id) else {
            return;
        };
        let (ok, failed) = entry.calls.entry(tool).or_default();
        *ok += u32::from(is_ok);
        *failed += u32::from(!is_ok);
    }

    /// When it last rated a calibration twin.
    pub(crate) fn calibrated_at(&self) -> Option<Timestamp> {
        self.calibrated_at
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.open().is_empty()
    }

    /// Things it made here and has not come back to, oldest first.
    pub fn open(&self) -> &[KnownObject] {
        self.open.get(&self.here).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Display for Diary {
    /// As a model reads it, the newest first, in at most 1,500 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open().iter().rev();
        let open = open.map(|known| format!("- still open: {} {} in {}", known.kind, known.id, known.module));
        let ticks = self.ticks.iter().rev().map(Entry::line);
        // What is open comes first: it says what to do next. The past is told for as long as there is room.
        let mut left = DIARY_CHARS_MAX;
        let mut lines = Vec::new();
        for line in open.take(8).chain(ticks) {
            let chars = line.chars().count() + 1;
            if chars > left {
                break;
            }
            left -= chars;
            lines.push(line);
        }
        f.write_str(&lines.join("\n"))
    }
}

impl Entry {
    fn line(&self) -> String {
        let calls: Vec<String> = self
            .calls
            .iter()
            .map(|(tool, (ok, failed))| match failed {
                0 => format!("{tool} {ok}×"),
                _ => format!("{tool} {ok}× and {failed}× failed"),
            })
            .collect();
        let did = if calls.is_empty() {
            "nothing".to_owned()
        } else {
            calls.join(", ")
        };
        let outcome = self.outcome.unwrap_or("unfinished");
        format!(
            "- visit {} on {}: {did}; {outcome}",
            self.number,
            self.started_at.strftime("%Y-%m-%d")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Subject;
    use events::testing::{given, id, samples};

    fn known(number: usize) -> KnownObject {
        KnownObject {
            module: "todo".to_owned(),
            kind: "task".to_owned(),
            id: format!("018f0000-0000-7000-8000-{number:012}"),
        }
    }

    /// The sample tick, without what befell its persona.
    fn a_tick() -> Vec<Event> {
        let is_other = |event: &Event| {
            matches!(
                event.type_name(),
                "TickInterrupted" | "PersonaEnrolled" | "PersonaErased"
            )
        };
        samples().into_iter().filter(|event| !is_other(event)).collect()
    }

    fn written(made: Vec<KnownObject>, closed: &[&KnownObject]) -> DiaryWritten {
        DiaryWritten {
            tick_id: id("t"),
            made,
            closed: closed.iter().map(|known| known.id.clone()).collect(),
        }
    }

    #[test]
    fn what_was_left_open_stays_until_it_is_closed() {
        let mut diary = Diary::default();
        diary.remember(&written(vec![known(1), known(2)], &[]));
        diary.remember(&written(vec![known(3)], &[&known(1)]));
        assert_eq!(diary.open(), [known(2), known(3)]);
        assert!(
            diary
                .to_string()
                .starts_with("- still open: task 018f0000-0000-7000-8000-000000000003 in todo")
        );
    }

    #[test]
    fn what_was_left_open_in_one_space_is_not_looked_for_in_another() {
        let mut diary = Diary::default();
        diary.remember(&written(vec![known(1)], &[]));
        let shared = id("shared");
        diary.enter(Some(&shared));
        assert_eq!(diary.open(), []);
        diary.remember(&written(vec![known(2)], &[&known(1)]));
        assert_eq!(diary.open(), [known(2)]);
        diary.enter(None);
        assert_eq!(diary.open(), [known(1)]);
    }

    #[test]
    fn it_stays_bounded_however_long_the_life() {
        let mut diary = Diary::default();
        for number in 0..500 {
            let mut events = a_tick();
            for event in &mut events {
                if let Event::TickStarted(started) = event {
                    started.number = number;
                }
            }
            for recorded in given([(Subject::Persona(id("anna")), events)]) {
                diary.fold(&recorded);
            }
            diary.remember(&written((0..30).map(known).collect(), &[]));
        }
        assert!(diary.to_string().chars().count() <= DIARY_CHARS_MAX);
        assert_eq!((diary.open().len(), diary.ticks.len()), (OPEN_MAX, TICKS_MAX));
    }

    #[test]
    fn a_tick_is_told_by_tools_and_counts_and_the_newest_first() {
        let mut diary = Diary::default();
        for recorded in given([(Subject::Persona(id("anna")), a_tick())]) {
            diary.fold(&recorded);
        }
        let text = diary.to_string();
        assert!(
            text.contains("visit 1 on 2026-01-05: todo.create 1×; completed"),
            "{text}"
        );
    }
}
