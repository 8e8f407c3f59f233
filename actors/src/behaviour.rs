//! What the cast did, as one number per persona: two runs of one seed on two fresh databases have the same.
//!
//! It goes over what a persona decided and what came of it: tick number, tool, arguments without the ids the app made
//! up, intent, outcome, and stars; and what it found of what others had put into a shared space. Times, ids and latencies are left out: they are the machine's, not the persona's.

use std::collections::{BTreeMap, HashMap};

use events::{CallId, Event, PersonaId, RecordedCommit, Subject};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A fold of the log, persona by persona; it keeps one open tick of each and nothing older.
#[derive(Debug, Default)]
pub struct Behaviour(BTreeMap<PersonaId, Life>);

/// One persona's days so far.
#[derive(Debug, Clone, Default)]
struct Life {
    email: String,
    ticks: u64,
    calls: u64,
    /// Of all ticks that have ended, each over the one before.
    chain: [u8; 32],
    open: OpenTick,
}

#[derive(Debug, Clone, Default)]
struct OpenTick {
    number: u64,
    /// What each call was, and what came of it.
    calls: Vec<(String, &'static str)>,
    places: HashMap<CallId, usize>,
    /// Where it was, what it looked for, how it rated.
    notes: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviourDigest {
    /// Of all personas together.
    pub digest: String,
    /// Ticks that have ended.
    pub ticks: u64,
    /// Their calls.
    pub calls: u64,
    /// Of each persona, by email.
    pub personas: BTreeMap<String, String>,
}

impl Behaviour {
    /// Takes in one commit; what is no persona's changes nothing.
    pub fn fold(&mut self, recorded: &RecordedCommit) {
        let Subject::Persona(persona_id) = &recorded.commit.subject else {
            return;
        };
        for (_, event) in recorded.events() {
            if matches!(event, Event::PersonaErased(_)) {
                self.0.remove(persona_id);
            } else {
                self.0.entry(persona_id.clone()).or_default().fold(event);
            }
        }
    }

    /// The digest of what was folded by now. A tick that has not ended is not in it.
    pub fn digest(&self) -> BehaviourDigest {
        let lives = self.0.values().filter(|life| !life.email.is_empty());
        let personas: BTreeMap<String, String> = lives
            .map(|life| (life.email.clone(), hex::encode(life.chain)))
            .collect();
        let mut all = Sha256::new();
        for line in personas.iter().flat_map(|(email, digest)| [email, digest]) {
            part(&mut all, line);
        }
        BehaviourDigest {
            digest: hex::encode(all.finalize()),
            ticks: self.0.values().map(|life| life.ticks).sum(),
            calls: self.0.values().map(|life| life.calls).sum(),
            personas,
        }
    }
}

impl Life {
    fn fold(&mut self, event: &Event) {
        match event {
            Event::PersonaEnrolled(enrolled) => enrolled.0.email.clone_into(&mut self.email),
            Event::PersonaRevised(revised) => revised.0.email.clone_into(&mut self.email),
            Event::TickStarted(started) => {
                self.open = OpenTick {
                    number: started.number,
                    ..OpenTick::default()
                };
            }
            Event::ToolCalled(called) => {
                let arguments = called.act_hash.as_ref().unwrap_or(&called.input_hash);
                let act = format!("{} {arguments} {:?}", called.tool, called.intent);
                self.open
                    .places
                    .insert(called.call_id.clone(), self.open.calls.len());
                self.open.calls.push((act, "unknown"));
            }
            Event::ToolReturned(returned) => self.open.outcome(&returned.call_id, "ok"),
            Event::ToolFailed(failed) => self.open.outcome(&failed.call_id, failed.cause.as_str()),
            Event::Rated(rated) => {
                let counts = rated.unsupported.is_none();
                let rating = format!("{} {} {counts}", rated.module, rated.rating);
                self.open.notes.push(rating);
            }
            Event::RatingFailed(failed) => self.open.notes.push(format!("{} failed", failed.module)),
            Event::SpaceEntered(entered) => self.open.notes.push(format!("in a {}", entered.space_type)),
            Event::TwinRated(rated) => {
                let (twin, stars) = (rated.twin.as_str(), rated.rating.unwrap_or_default());
                self.open.notes.push(format!("{twin} twin {stars}"));
            }
            Event::EdgeTried(tried) => {
                let (tool, field, class, verdict) =
                    (&tried.tool, &tried.field, &tried.class, tried.verdict.as_str());
                self.open.notes.push(format!("{tool} {field} {class} {verdict}"));
            }
            Event::ExpectationChecked(checked) => {
                let (thing, outcome) = (&checked.thing, checked.outcome.as_str());
                let looked = format!("{} {} {outcome}", thing.module, thing.kind);
                self.open.notes.push(looked);
            }
            Event::TickFinished(finished) => self.end(finished.outcome.as_str()),
            Event::TickInterrupted(_) => self.end("interrupted"),
            _ => {}
        }
    }

    fn end(&mut self, outcome: &str) {
        let tick = std::mem::take(&mut self.open);
        let mut hash = Sha256::new_with_prefix(self.chain);
        part(&mut hash, &tick.number.to_string());
        for (act, outcome) in &tick.calls {
            part(&mut hash, act);
            part(&mut hash, outcome);
        }
        for note in &tick.notes {
            part(&mut hash, note);
        }
        part(&mut hash, outcome);
        self.chain = hash.finalize().into();
        self.ticks += 1;
        self.calls += tick.calls.len() as u64;
    }
}

impl OpenTick {
    fn outcome(&mut self, call_id: &CallId, outcome: &'static str) {
        if let Some(call) = self.places.get(call_id).and_then(|at| self.calls.get_mut(*at)) {
            call.1 = outcome;
        }
    }
}

/// With its length in front, so that it matters where one part ends.
fn part(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use events::testing::{given, id, samples};

    use super::*;

    /// The sample tick, lived by `persona`, after `change`.
    fn lived(persona: &str, change: impl Fn(&mut Event)) -> Vec<RecordedCommit> {
        let mut events = samples();
        events.retain(|event| !matches!(event, Event::PersonaErased(_)));
        for event in &mut events {
            if let Event::PersonaEnrolled(enrolled) = event {
                enrolled.0.email = format!("{persona}@mana.test");
            }
            if let Event::PersonaRevised(revised) = event {
                revised.0.email = format!("{persona}@mana.test");
            }
            change(event);
        }
        given([(Subject::Persona(id(persona)), events)])
    }

    fn digest(commits: &[Vec<RecordedCommit>]) -> BehaviourDigest {
        let mut behaviour = Behaviour::default();
        commits
            .iter()
            .flatten()
            .for_each(|recorded| behaviour.fold(recorded));
        behaviour.digest()
    }

    #[test]
    fn ids_and_times_of_the_machine_do_not_count() {
        let plain = digest(&[lived("anna", |_| {})]);
        let other = digest(&[lived("anna", |event| match event {
            Event::ToolCalled(called) => called.input_hash = "of other ids".to_owned(),
            Event::ToolReturned(returned) => returned.latency_ms = Some(999),
            Event::TickStarted(started) => started.started_at += jiff::SignedDuration::from_secs(5),
            _ => {}
        })]);
        assert_eq!(plain, other);
        assert!(plain.ticks > 0 && plain.calls > 0, "{plain:?}");
    }

    #[test]
    fn another_act_outcome_or_star_does() {
        let plain = digest(&[lived("anna", |_| {})]).digest;
        let act = digest(&[lived("anna", |event| {
            if let Event::ToolCalled(called) = event {
                called.act_hash = Some("another".to_owned());
            }
        })]);
        let star = digest(&[lived("anna", |event| {
            if let Event::Rated(rated) = event {
                rated.rating = 6 - rated.rating;
            }
        })]);
        let outcome = digest(&[lived("anna", |event| {
            if let Event::ToolFailed(failed) = event {
                failed.cause = events::Cause::App;
            }
        })]);
        for other in [act, star, outcome] {
            assert_ne!(plain, other.digest);
        }
    }

    #[test]
    fn another_persona_changes_the_whole_and_nobody_else() {
        let (anna, ben) = (lived("anna", |_| {}), lived("ben", |_| {}));
        let (alone, both) = (digest(std::slice::from_ref(&anna)), digest(&[ben, anna]));
        assert_ne!(alone.digest, both.digest);
        assert_eq!(alone.personas["anna@mana.test"], both.personas["anna@mana.test"]);
    }
}
