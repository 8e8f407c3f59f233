//! A cast with its log and its door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actors::{Brain, Brains, Cast, CastHandle, CastSettings, TickReport, Who};
use events::testing::{id, sample_time};
use events::{
    Cadence, Commit, CommitId, Event, EventLog, ExpectedSeq, MemoryLog, PersonaDescription, PersonaEnrolled,
    PersonaId, SeededIds, Subject, SystemClock,
};
use secrecy::SecretString;

use crate::door::{Door, SEED_SECRET};

/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// See the module. The scheduler is paused unless a test says otherwise.
pub(crate) struct House {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) door: Door,
    pub(crate) cast: CastHandle,
}

impl House {
    pub(crate) async fn start(brain: impl Brain, change: impl FnOnce(&mut CastSettings)) -> Self {
        Self::start_with(Brains::all(Arc::new(brain)), change).await
    }

    pub(crate) async fn start_with(brains: Brains, change: impl FnOnce(&mut CastSettings)) -> Self {
        let (log, door) = (Arc::new(MemoryLog::new()), Door::start().await);
        let cast = start_brains(&door, log.clone(), brains, 1, change).await;
        Self { log, door, cast }
    }

    pub(crate) async fn enrol(&self, name: &str) -> PersonaId {
        enrol(self.log.as_ref(), name).await
    }

    pub(crate) async fn tick(&self, persona_id: &PersonaId) -> TickReport {
        tick(&self.cast, persona_id).await
    }

    /// The persona's events in order, without enrolment.
    pub(crate) fn story(&self, persona_id: &PersonaId) -> Vec<Event> {
        self.commits(persona_id).into_iter().flatten().collect()
    }

    /// The same, commit by commit.
    pub(crate) fn commits(&self, persona_id: &PersonaId) -> Vec<Vec<Event>> {
        let subject = Subject::Persona(persona_id.clone());
        let commits = self
            .log
            .commits()
            .into_iter()
            .filter(|recorded| recorded.commit.subject == subject);
        commits.map(|recorded| recorded.commit.events).skip(1).collect()
    }
}

pub(crate) async fn tick(cast: &CastHandle, persona_id: &PersonaId) -> TickReport {
    cast.tick(Who::Persona(persona_id.clone()))
        .await
        .unwrap()
        .remove(0)
}

pub(crate) async fn start_cast(
    door: &Door,
    log: Arc<dyn EventLog>,
    brain: Arc<dyn Brain>,
    ids: u64,
    change: impl FnOnce(&mut CastSettings),
) -> CastHandle {
    start_brains(door, log, Brains::all(brain), ids, change).await
}

pub(crate) async fn start_brains(
    door: &Door,
    log: Arc<dyn EventLog>,
    brains: Brains,
    ids: u64,
    change: impl FnOnce(&mut CastSettings),
) -> CastHandle {
    let mut settings = CastSettings {
        base_url: door.base_url.clone(),
        seed_secret: SecretString::from(SEED_SECRET),
        paused: true,
        tick_interval: Duration::from_millis(20),
        ..CastSettings::default()
    };
    change(&mut settings);
    let clock = Arc::new(SystemClock::new());
    Cast::start(settings, log, brains, clock, Arc::new(SeededIds::new(ids)))
        .await
        .unwrap()
}

/// Enrols a persona whose id is its name.
pub(crate) async fn enrol(log: &dyn EventLog, name: &str) -> PersonaId {
    let persona_id: PersonaId = id(name);
    append(
        log,
        &persona_id,
        "enrolled",
        vec![PersonaEnrolled(described(name)).into()],
    )
    .await;
    persona_id
}

pub(crate) fn described(name: &str) -> PersonaDescription {
    PersonaDescription {
        persona_id: id(name),
        email: format!("{name}@mana.test"),
        name: name.to_owned(),
        archetype: "solo-dev".to_owned(),
        system_prompt: "You are a test.".to_owned(),
        module_mix: BTreeMap::from([("todo".to_owned(), 1.0)]),
        cadence: Cadence::Daily,
        time_zone: "Europe/Berlin".to_owned(),
        partners: Vec::new(),
    }
}

/// Appends as the admin API does: after whatever is there.
pub(crate) async fn append(log: &dyn EventLog, persona_id: &PersonaId, key: &str, events: Vec<Event>) {
    let subject = Subject::Persona(persona_id.clone());
    let id = CommitId::derived(&["test", persona_id.as_str(), key]);
    let commit = Commit::new(id, subject, sample_time(), events);
    let _ = log.append(&commit, ExpectedSeq::Any).await.unwrap().unwrap();
}

pub(crate) fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::type_name).collect()
}

/// Waits until `condition` holds.
pub(crate) async fn arrives<F: Future<Output = bool>>(condition: impl FnMut() -> F) {
    assert!(
        testkit::wait_until_async(SOON, condition).await,
        "it never came to that"
    );
}
