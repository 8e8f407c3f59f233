//! Who exists, when each is due next, and what lies unfinished: a pure fold of persona subjects.

use std::collections::BTreeMap;

use events::{
    Event, PersonaDescription, PersonaId, RecordedCommit, StreamSeq, Subject, TickId, TickOutcome,
    TickTrigger,
};
use jiff::Timestamp;

use crate::cadence::{self, Slot};

/// A tick that began and has not ended, as far as the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedTick {
    /// The tick.
    pub tick_id: TickId,
    /// When it began.
    pub started_at: Timestamp,
}

/// A tick that was put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferral {
    /// When it may be tried again; `None` leaves it to the cadence.
    pub resume_at: Option<Timestamp>,
    /// Deferred ticks in a row, this one included.
    pub in_a_row: u32,
}

/// One persona as its own subject tells it. The roster keeps one per persona; a persona actor folds its own.
#[derive(Debug, Clone, PartialEq)]
pub struct RosterEntry {
    /// Who it is, as of the latest revision.
    pub description: PersonaDescription,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// Its last tick's number, 0 before the first.
    pub last_number: u64,
    /// When its last tick began, whoever ran it.
    pub last_started_at: Option<Timestamp>,
    /// The instant its last tick counts for: when it was due, unless it began much later.
    pub last_counted_at: Option<Timestamp>,
    /// The tick of this program's own that has not ended.
    pub unfinished: Option<UnfinishedTick>,
    /// Its last tick was deferred: until when, and how many were in a row.
    pub deferred: Option<Deferral>,
    /// Why it stays down. A revision lifts it.
    pub halted: Option<String>,
    /// Its subject's last commit.
    pub last_seq: StreamSeq,
}

impl RosterEntry {
    /// When it is due next.
    pub fn next_due(&self, seed: u64) -> Timestamp {
        let slot = Slot::of(&self.description.email, seed);
        let zone = cadence::zone(&self.description.time_zone);
        let by_cadence = cadence::next_due(
            self.description.cadence,
            &zone,
            self.enrolled_at,
            self.last_counted_at,
            slot,
        );
        let deferral = self
            .deferred
            .and_then(|deferral| Some((deferral.resume_at?, deferral.in_a_row)));
        match (deferral, self.last_started_at) {
            (Some((resume_at, in_a_row)), Some(last)) => {
                cadence::after_deferral(last, resume_at, in_a_row, slot)
            }
            _ => by_cadence,
        }
    }

    /// When the schedule lets it act that is due since `since`, where nobody let anybody act until `back_since`. A first
    /// tick is not made up for.
    pub(crate) fn made_up_at(&self, since: Timestamp, back_since: Timestamp, seed: u64) -> Timestamp {
        if self.last_started_at.is_none() {
            return since;
        }
        cadence::made_up_at(since, back_since, Slot::of(&self.description.email, seed))
    }

    fn enrolled(description: &PersonaDescription, recorded: &RecordedCommit) -> Self {
        Self {
            description: description.clone(),
            enrolled_at: recorded.commit.time,
            last_number: 0,
            last_started_at: None,
            last_counted_at: None,
            unfinished: None,
            deferred: None,
            halted: None,
            last_seq: recorded.seq,
        }
    }

    fn revise(&mut self, description: &PersonaDescription) {
        self.description = description.clone();
        self.halted = None;
    }

    fn close(&mut self, tick_id: &TickId) {
        if self
            .unfinished
            .as_ref()
            .is_some_and(|open| open.tick_id == *tick_id)
        {
            self.unfinished = None;
        }
    }
}

/// Folds one commit of a persona's subject over what was known before; `None` is a persona that is not there.
pub(crate) fn fold(entry: Option<RosterEntry>, recorded: &RecordedCommit) -> Option<RosterEntry> {
    let mut entry = entry;
    for (_, event) in recorded.events() {
        entry = fold_event(entry, event, recorded);
    }
    if let Some(entry) = &mut entry {
        entry.last_seq = recorded.seq;
    }
    entry
}

fn fold_event(entry: Option<RosterEntry>, event: &Event, recorded: &RecordedCommit) -> Option<RosterEntry> {
    match (event, entry) {
        (Event::PersonaEnrolled(enrolled), None) => Some(RosterEntry::enrolled(&enrolled.0, recorded)),
        (Event::PersonaRevised(revised), None) => Some(RosterEntry::enrolled(&revised.0, recorded)),
        (Event::PersonaErased(_), _) | (_, None) => None,
        (event, Some(mut entry)) => {
            match event {
                Event::PersonaEnrolled(enrolled) => entry.revise(&enrolled.0),
                Event::PersonaRevised(revised) => entry.revise(&revised.0),
                Event::PersonaHalted(halted) => entry.halted = Some(halted.reason.clone()),
                Event::TickStarted(started) => {
                    entry.last_number = entry.last_number.max(started.number);
                    entry.last_started_at = entry.last_started_at.max(Some(started.started_at));
                    let counted_at = cadence::counted_at(started.trigger, started.due_at, started.started_at);
                    entry.last_counted_at = entry.last_counted_at.max(Some(counted_at));
                    if started.trigger != TickTrigger::External {
                        let (tick_id, started_at) = (started.tick_id.clone(), started.started_at);
                        entry.unfinished = Some(UnfinishedTick { tick_id, started_at });
                        // Somebody let it act again; should it fail as before, its budget halts it as before.
                        entry.halted = None;
                    }
                }
                Event::TickFinished(finished) => {
                    entry.close(&finished.tick_id);
                    entry.deferred = (finished.outcome == TickOutcome::Deferred).then(|| Deferral {
                        resume_at: finished.resume_at,
                        in_a_row: entry.deferred.map_or(0, |earlier| earlier.in_a_row) + 1,
                    });
                }
                Event::TickInterrupted(interrupted) => entry.close(&interrupted.tick_id),
                _ => {}
            }
            Some(entry)
        }
    }
}

/// Everybody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roster {
    entries: BTreeMap<PersonaId, RosterEntry>,
}

impl Roster {
    /// Folds one commit of any subject; those of others change nothing.
    pub fn apply(&mut self, recorded: &RecordedCommit) {
        let Subject::Persona(persona_id) = &recorded.commit.subject else {
            return;
        };
        match fold(self.entries.remove(persona_id), recorded) {
            Some(entry) => self.entries.insert(persona_id.clone(), entry),
            None => None,
        };
    }

    /// Everybody, by id.
    pub fn entries(&self) -> impl Iterator<Item = &RosterEntry> {
        self.entries.values()
    }

    /// One persona.
    pub fn get(&self, persona_id: &PersonaId) -> Option<&RosterEntry> {
        self.entries.get(persona_id)
    }

    /// Who is due at `now` with the instant since when, those that waited longest first. Who is halted is not due.
    pub fn due(&self, now: Timestamp, seed: u64) -> Vec<(&RosterEntry, Timestamp)> {
        let mut due: Vec<_> = self
            .entries()
            .filter(|entry| entry.halted.is_none())
            .map(|entry| (entry, entry.next_due(seed)))
            .filter(|(_, since)| *since <= now)
            .collect();
        // Those that never ran go first, as the old system's clients expect of it; among them the email decides, so that
        // days that are lived again begin alike, whoever was enrolled a moment earlier this time.
        due.sort_by_key(|(entry, since)| {
            let has_run = entry.last_started_at.is_some();
            (has_run, has_run.then_some(*since), &entry.description.email)
        });
        due
    }

    /// When somebody is due next, now or in the past if somebody is due already; `None` when nobody ever is.
    pub fn next_due(&self, seed: u64) -> Option<Timestamp> {
        let entries = self.entries().filter(|entry| entry.halted.is_none());
        entries.map(|entry| entry.next_due(seed)).min()
    }

    /// Who has a tick that has not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = &RosterEntry> {
        self.entries().filter(|entry| entry.unfinished.is_some())
    }
}

#[cfg(test)]
mod tests;
