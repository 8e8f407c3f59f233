//! Which rows a batch will look at. It must name at least those the folds in `fold/` ask for.

use std::collections::HashSet;

use events::{Delivery, Event, RecordedCommit, Subject, TickId};

use crate::fold::{action_id, feedback_id, fits_key};

/// Keys by table, each once.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(super) personas: HashSet<&'a str>,
    pub(super) ticks: HashSet<&'a str>,
    /// Calls by row id.
    pub(super) action_ids: HashSet<String>,
    /// Calls by tick and call id.
    pub(super) calls: HashSet<(&'a str, &'a str)>,
    /// Ticks whose pending calls are to be settled.
    pub(super) ending_ticks: HashSet<&'a str>,
    pub(super) feedback: HashSet<String>,
    /// Tick and calibration twin.
    pub(super) twins: HashSet<[&'a str; 2]>,
    /// Persona, tool, field, edge class.
    pub(super) edges: HashSet<[&'a str; 4]>,
    /// Space, thing, partner.
    pub(super) expectations: HashSet<(&'a str, &'a str, &'a str)>,
    /// Space, table, record.
    pub(super) records: HashSet<(&'a str, &'a str, &'a str)>,
    pub(super) sessions: HashSet<&'a str>,
    /// Calls at the door, by the gateway's own id.
    pub(super) gateway_calls: HashSet<&'a str>,
    /// Deployments by name.
    pub(super) deploys: HashSet<&'a str>,
}

impl<'a> Wanted<'a> {
    /// What folding `batch` needs.
    pub(crate) fn of(batch: &'a [Delivery]) -> Self {
        let mut wanted = Self::default();
        for delivery in batch {
            if let Delivery::Commit(RecordedCommit { commit, .. }) = delivery {
                let subject = &commit.subject;
                commit.events.iter().for_each(|event| wanted.add(subject, event));
            }
        }
        wanted
    }

    fn add(&mut self, subject: &'a Subject, event: &'a Event) {
        match event {
            Event::PersonaEnrolled(enrolled) => {
                self.personas.insert(enrolled.0.persona_id.as_str());
            }
            Event::PersonaRevised(revised) => {
                self.personas.insert(revised.0.persona_id.as_str());
            }
            Event::PersonaHalted(halted) => {
                self.personas.insert(halted.persona_id.as_str());
            }
            Event::TickStarted(started) => {
                self.personas.insert(started.persona_id.as_str());
                self.ticks.insert(started.tick_id.as_str());
            }
            Event::TickFinished(finished) => self.add_end_of(finished.tick_id.as_str()),
            Event::TickInterrupted(interrupted) => self.add_end_of(interrupted.tick_id.as_str()),
            Event::SpaceEntered(entered) => {
                self.ticks.insert(entered.tick_id.as_str());
            }
            Event::ToolCalled(called) => {
                if fits_key(&called.tool) {
                    self.action_ids.insert(action_id(called));
                }
                self.calls
                    .insert((called.tick_id.as_str(), called.call_id.as_str()));
            }
            Event::ToolReturned(returned) => {
                self.calls
                    .insert((returned.tick_id.as_str(), returned.call_id.as_str()));
            }
            Event::ToolFailed(failed) => {
                self.calls
                    .insert((failed.tick_id.as_str(), failed.call_id.as_str()));
            }
            Event::Rated(rated) => {
                self.add_feedback(&rated.tick_id, &rated.module);
            }
            Event::RatingFailed(failed) => {
                self.add_feedback(&failed.tick_id, &failed.module);
            }
            Event::TwinRated(rated) => {
                self.twins.insert([rated.tick_id.as_str(), rated.twin.as_str()]);
            }
            Event::EdgeTried(tried)
                if [&tried.tool, &tried.field, &tried.class]
                    .into_iter()
                    .all(|name| fits_key(name)) =>
            {
                if let Subject::Persona(persona) = subject {
                    self.edges
                        .insert([persona.as_str(), &tried.tool, &tried.field, &tried.class]);
                }
            }
            Event::ExpectationRaised(raised) if fits_key(&raised.thing.id) => {
                for partner in &raised.partners {
                    let (space, thing) = (raised.space_id.as_str(), raised.thing.id.as_str());
                    self.expectations.insert((space, thing, partner.as_str()));
                }
            }
            Event::ExpectationChecked(checked) if fits_key(&checked.thing.id) => {
                if let Subject::Persona(looker) = subject {
                    let (space, thing) = (checked.space_id.as_str(), checked.thing.id.as_str());
                    self.expectations.insert((space, thing, looker.as_str()));
                }
            }
            Event::RecordChanged(changed) if fits_key(&changed.table) => {
                self.records.insert((
                    changed.space_id.as_str(),
                    &changed.table,
                    changed.record_id.as_str(),
                ));
            }
            Event::SessionOpened(opened) => {
                self.sessions.insert(opened.session_id.as_str());
            }
            Event::SessionClosed(closed) => {
                self.sessions.insert(closed.session_id.as_str());
            }
            Event::CallStarted(started) => {
                self.gateway_calls.insert(started.call_id.as_str());
            }
            Event::CallEnded(ended) => {
                self.gateway_calls.insert(ended.call_id.as_str());
            }
            Event::DeployMarked(marked) => {
                self.deploys.insert(marked.name.as_str());
            }
            // Names no key may have are refused before anything is looked for.
            Event::RecordChanged(_)
            | Event::EdgeTried(_)
            | Event::ExpectationRaised(_)
            | Event::ExpectationChecked(_)
            | Event::PersonaErased(_)
            | Event::SpaceErased(_)
            | Event::CallRefused(_)
            | Event::ModelAsked(_)
            | Event::ModelCalled(_)
            | Event::DiaryWritten(_)
            | Event::Unknown(_) => {}
        }
    }

    fn add_feedback(&mut self, tick: &TickId, module: &str) {
        if fits_key(module) {
            self.feedback.insert(feedback_id(tick, module));
        }
    }

    fn add_end_of(&mut self, tick: &'a str) {
        self.ticks.insert(tick);
        self.ending_ticks.insert(tick);
    }
}
