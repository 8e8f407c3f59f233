//! One tick, from folding the persona's subject to `TickFinished`.
//!
//! The order is the safety: nothing is spent before `TickStarted` is in the log, no call is sent before its
//! `ToolCalled` is, and when the log cannot be written the tick stops where it is, to be found unfinished later.

mod ask;
mod calibrate;
mod chaos;
mod live;
mod look;
mod rating;
pub(crate) mod record;
pub(crate) mod recover;
mod span;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::spans::Span;
use events::{
    ERROR_CHARS_MAX, Event, PersonaId, SpaceEntered, TickFinished, TickId, TickStarted, TickTrigger, capped,
};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::attribution::Ledger;
use crate::brain::{
    Brain, BrainIdentity, PastCall, PersonaView, RateStep, RatingDraft, TickView, ToolInfo, remember,
};
use crate::cadence;
use crate::diary::Diary;
use crate::digest::{ModuleDigest, digest};
use crate::login::log_in;
use crate::mcp_client::{McpSession, Place};
use crate::model::Conversation;
use crate::report::{TickProgress, TickReport};
use crate::roster::RosterEntry;
use crate::snapshot::PersonaSnapshot;
use crate::spaces::{self, SharedSpace};
use crate::stage::Stage;
use ask::Spending;
pub(crate) use live::panic_text;
use live::{Ending, guarded, millis};
use rating::Rater;
use record::{RecordError, Recorder};

/// A tick somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TickOrder {
    pub(crate) persona_id: PersonaId,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) trigger: TickTrigger,
    /// Since when it is due; by hand, when it was asked for.
    pub(crate) due_at: Timestamp,
    /// Where it came from the work queue: which tick it is.
    pub(crate) taken: Option<Taken>,
}

/// A tick that was taken from the work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its number.
    pub(crate) number: u64,
    /// Whoever took it before is taken for dead.
    pub(crate) was_taken_before: bool,
}

impl TickOrder {
    /// The order to let the persona of `entry` act.
    pub(crate) fn new(entry: &RosterEntry, trigger: TickTrigger, due_at: Timestamp) -> Self {
        let who = &entry.description;
        let (persona_id, email, name) = (who.persona_id.clone(), who.email.clone(), who.name.clone());
        Self {
            persona_id,
            email,
            name,
            trigger,
            due_at,
            taken: None,
        }
    }

    /// A report that no tick came of this order, or none that ended.
    pub(crate) fn report(&self, outcome: &str, reason: impl Into<String>) -> TickReport {
        TickReport {
            persona_id: self.persona_id.clone(),
            email: self.email.clone(),
            name: self.name.clone(),
            tick_id: None,
            outcome: outcome.to_owned(),
            reason: Some(reason.into()),
            calls: 0,
            errors: 0,
            ratings: 0,
            duration_ms: 0,
        }
    }
}

/// What does not change while a tick runs.
#[derive(Debug)]
struct Facts {
    persona: PersonaView,
    diary: Diary,
    /// It may share a space with others.
    has_partners: bool,
    number: u64,
    seed: u64,
    started_at: Timestamp,
    /// The instant it counts for, which is all the brain is told of the time.
    present: Timestamp,
    /// The space it acts in, where that is shared with others; known once it has logged in.
    space: Option<SharedSpace>,
}

impl Facts {
    fn view<'a>(&'a self, tools: &'a [ToolInfo], past: &'a [PastCall], calls_left: u32) -> TickView<'a> {
        let (tick_number, seed, started_at) = (self.number, self.seed, self.present);
        TickView {
            persona: &self.persona,
            tick_number,
            seed,
            started_at,
            tools,
            past,
            calls_left,
            diary: &self.diary,
            space: self.space.as_ref().map(|space| &space.view),
        }
    }
}

/// A tick that has begun.
#[derive(Debug)]
struct Tick<'a> {
    // Dependencies.
    stage: &'a Stage,
    status: &'a watch::Sender<PersonaSnapshot>,
    brain: Arc<dyn Brain>,
    // What it is.
    identity: BrainIdentity,
    id: TickId,
    facts: Facts,
    /// On the clock's monotonic scale.
    deadline: Duration,
    // What has happened.
    ledger: Ledger,
    conversation: Conversation,
    spending: Spending,
    recorder: Recorder<'a>,
    span: Span,
    /// A calibration twin is visited: nothing of it is the app's.
    visiting: bool,
}

/// Lets the persona act once, if the order still holds. Always ends in a report.
///
/// Cancelling the stage's `cut` ends it between two steps: the session is closed and the tick is left unfinished.
pub(crate) async fn run(
    stage: &Stage,
    order: &TickOrder,
    status: &watch::Sender<PersonaSnapshot>,
    cut: &tokio_util::sync::CancellationToken,
) -> TickReport {
    let begun = stage.clock.monotonic();
    let mut report = match cut.run_until_cancelled(begin(stage, order, status)).await {
        None => order.report("stood-down", "the runner is stopping"),
        Some(Err(RecordError::Overtaken(reason))) => order.report("stood-down", reason),
        Some(Err(error @ RecordError::Elsewhere)) => order.report("busy", error.to_string()),
        Some(Err(error @ RecordError::Log(_))) => order.report("failed", error.to_string()),
        Some(Ok(mut tick)) => Box::pin(tick.end_with_report(order, cut)).await,
    };
    let took = stage.clock.monotonic().saturating_sub(begun);
    report.duration_ms = millis(took);
    metrics::counter!("cast_ticks_total", "outcome" => report.outcome.clone()).increment(1);
    metrics::histogram!("cast_tick_duration_seconds").record(took.as_secs_f64());
    stage.tell(TickProgress::Finished(report.clone()));
    report
}

/// Folds the subject, closes what was left unfinished, and appends `TickStarted` where the fold ended.
async fn begin<'a>(
    stage: &'a Stage,
    order: &TickOrder,
    status: &'a watch::Sender<PersonaSnapshot>,
) -> Result<Tick<'a>, RecordError> {
    let stood_down = |reason: String| RecordError::Overtaken(reason);
    let Some((entry, mut diary)) = recover::close_unfinished(stage, &order.persona_id, order.taken).await?
    else {
        return Err(stood_down("the persona is not enrolled any more".to_owned()));
    };
    if order.taken.is_some_and(|taken| entry.last_number >= taken.number) {
        return Err(stood_down("that tick has begun already".to_owned()));
    }
    if order.trigger == TickTrigger::Schedule {
        // The roster that ordered this may lag behind the log; the subject itself does not.
        if let Some(reason) = &entry.halted {
            return Err(stood_down(format!("the persona is halted: {reason}")));
        }
        if entry.next_due(stage.settings.seed) > stage.clock.now() {
            return Err(stood_down("it is not due any more".to_owned()));
        }
    }
    let who = &entry.description;
    let number = entry.last_number + 1;
    let tick_id = TickId::derived(&[order.persona_id.as_str(), &number.to_string()]);
    let brain = stage.brains.of(&who.email);
    let started_at = stage.clock.now();
    let identity = brain.identity();
    let span = span::of(stage, who, &identity, &tick_id, number);
    diary.enter(None);
    let ledger = ledger_of(&tick_id, &diary);
    let mut tick = Tick {
        stage,
        status,
        identity,
        brain,
        id: tick_id.clone(),
        facts: Facts {
            persona: PersonaView {
                persona_id: who.persona_id.clone(),
                name: who.name.clone(),
                archetype: who.archetype.clone(),
                system_prompt: who.system_prompt.clone(),
                module_mix: who.module_mix.clone(),
            },
            diary,
            has_partners: !who.partners.is_empty(),
            number,
            seed: stage.settings.seed,
            started_at,
            present: cadence::counted_at(order.trigger, order.due_at, started_at),
            space: None,
        },
        deadline: stage.clock.monotonic() + stage.settings.tick_deadline,
        ledger,
        conversation: Conversation::default(),
        spending: Spending::default(),
        recorder: Recorder::new(
            stage,
            order.persona_id.clone(),
            tick_id,
            span.traceparent(),
            entry.last_seq,
        ),
        span,
        visiting: false,
    };
    let started = tick.started(order);
    if let Err(error) = tick.recorder.begin(started).await {
        span::end(&mut tick.span, "stood-down");
        return Err(error);
    }
    let (tick_id, number) = (tick.id.clone(), tick.facts.number);
    tick.tell(|persona_id, name| TickProgress::Started {
        persona_id,
        name,
        tick_id,
        number,
    });
    Ok(tick)
}

/// A ledger that knows what the persona remembers of the space it is in.
fn ledger_of(tick_id: &TickId, diary: &Diary) -> Ledger {
    let known = diary.open().iter().map(|known| known.id.clone());
    Ledger::new(tick_id.clone(), known)
}

impl Tick<'_> {
    fn started(&self, order: &TickOrder) -> Event {
        let brain = self.identity.clone();
        TickStarted {
            tick_id: self.id.clone(),
            persona_id: order.persona_id.clone(),
            number: self.facts.number,
            due_at: order.due_at,
            started_at: self.facts.started_at,
            trigger: order.trigger,
            brain: brain.name.to_owned(),
            model: brain.model,
            prompt_version: brain.prompt_version,
            seed: self.facts.seed,
        }
        .into()
    }

    async fn end_with_report(
        &mut self,
        order: &TickOrder,
        cut: &tokio_util::sync::CancellationToken,
    ) -> TickReport {
        self.tell_status("logging in");
        let ended = match cut.run_until_cancelled(Box::pin(self.open_session(order))).await {
            None => None,
            Some(Err(reason)) => {
                cut.run_until_cancelled(self.finish(Ending::failed(reason), Vec::new()))
                    .await
            }
            Some(Ok(session)) => {
                let ended = cut.run_until_cancelled(self.act_and_finish(&session)).await;
                // Also when cut, so that the gateway is not left with a session that nobody owns.
                session.close().await;
                ended
            }
        };
        let (outcome, reason, ratings) = match ended {
            None => (
                "cut".to_owned(),
                Some("the runner stopped; the tick is left unfinished".to_owned()),
                0,
            ),
            Some(Ok(finished)) => finished,
            Some(Err(RecordError::Overtaken(reason))) => ("stood-down".to_owned(), Some(reason), 0),
            Some(Err(error)) => ("failed".to_owned(), Some(error.to_string()), 0),
        };
        span::end(&mut self.span, &outcome);
        TickReport {
            tick_id: Some(self.id.clone()),
            reason,
            calls: self.ledger.made(),
            errors: self.ledger.errors(),
            ratings,
            ..order.report(&outcome, "")
        }
    }

    async fn open_session(&mut self, order: &TickOrder) -> Result<McpSession, String> {
        let (stage, id) = (self.stage, &order.persona_id);
        let deadline = stage.settings.tick_deadline;
        if let Some(token) = stage.passes.get(id, stage.clock.now(), deadline) {
            let opened = self.open_session_with(&token, order).await;
            let Err(error) = opened else {
                return opened;
            };
            // Revoked meanwhile, or of a house that is another one now. Nothing was done with it yet.
            tracing::debug!(persona.id = %id, error, "a kept token opens nothing; logging in anew");
            stage.passes.forget(id);
        }
        let token = log_in(stage, id, &order.email)
            .await
            .map_err(|error| error.to_string())?;
        stage.passes.keep(id, &token, stage.clock.now());
        self.open_session_with(&token, order).await
    }

    async fn open_session_with(
        &mut self,
        token: &SecretString,
        order: &TickOrder,
    ) -> Result<McpSession, String> {
        if self.facts.has_partners && self.facts.space.is_none() {
            let number = self.facts.number;
            if let Some(space) =
                spaces::of_tick(self.stage, token, &order.persona_id, &order.email, number).await?
            {
                self.enter(space);
            }
        }
        let space = self.facts.space.as_ref().map(|space| &space.id);
        McpSession::open(self.stage, token, space, Place::App)
            .await
            .map_err(|error| error.to_string())
    }

    /// What is remembered of other spaces is not to be had in this one.
    fn enter(&mut self, space: SharedSpace) {
        self.facts.diary.enter(Some(&space.id));
        self.ledger = ledger_of(&self.id, &self.facts.diary);
        self.recorder.hold([Event::from(SpaceEntered {
            tick_id: self.id.clone(),
            space_id: space.id.clone(),
            space_type: space.view.space_type.clone(),
        })]);
        self.facts.space = Some(space);
    }

    async fn act_and_finish(&mut self, session: &McpSession) -> Result<Finished, RecordError> {
        Box::pin(self.look(session)).await?;
        let ending = self.live(session).await?;
        Box::pin(self.bring_edges(session, &ending)).await?;
        let ratings = self.rate(session, &ending).await?;
        let remembered = remember(&self.id, session.tools(), &self.ledger.past());
        let mut last_words = ratings;
        if let Some(written) = remembered {
            let raised = self.raised(session, &written);
            last_words.push(written.into());
            last_words.extend(raised);
        }
        if ending.can_be_rated() {
            last_words.extend(Box::pin(self.calibrate(session)).await?);
        }
        self.finish(ending, last_words).await
    }

    /// The ratings of what was used, in the tick's own view of things, or why there are none.
    async fn rate(&mut self, session: &McpSession, ending: &Ending) -> Result<Vec<Event>, RecordError> {
        let past = self.past_as_rated();
        let used = digest(&past);
        if used.is_empty() {
            return Ok(Vec::new());
        }
        self.tell_status("rating");
        let drafts = if ending.can_be_rated() {
            self.drafts(session, &past, &used).await?
        } else {
            Err(ending.reason.clone().unwrap_or_default())
        };
        let rater = Rater {
            identity: self.identity.clone(),
            source: self.brain.source(),
        };
        let events = rating::verdicts(&self.id, &rater, &used, drafts);
        for event in &events {
            span::rated(&mut self.span, event);
            let (module, rating) = match event {
                Event::Rated(opinion) => {
                    let counts = opinion.unsupported.is_none();
                    (opinion.module.clone(), counts.then_some(opinion.rating))
                }
                Event::RatingFailed(failed) => (failed.module.clone(), None),
                _ => continue,
            };
            self.tell(|persona_id, name| TickProgress::Rated {
                persona_id,
                name,
                module,
                rating,
            });
        }
        Ok(events)
    }

    /// The brain's calls as it rates them: without what slowness says, where that counts for nothing.
    fn past_as_rated(&self) -> Vec<PastCall> {
        let mut past = self.ledger.past();
        if !self.stage.rates_slowness.load(Ordering::SeqCst) {
            past.iter_mut().for_each(PastCall::forget_latency);
        }
        past
    }

    /// What the brain says of the modules it used; it may ask a model first.
    async fn drafts(
        &mut self,
        session: &McpSession,
        past: &[PastCall],
        used: &[ModuleDigest],
    ) -> Result<Result<Vec<RatingDraft>, String>, RecordError> {
        loop {
            let view = self.facts.view(session.tools(), past, 0);
            let limit = self.time_left();
            let rate = guarded(self.brain.rate(&view, used, &mut self.conversation));
            let request = match self.stage.within(limit, rate).await {
                None => return Ok(Err("the tick's time was over".to_owned())),
                Some(Err(reason)) => return Ok(Err(reason)),
                Some(Ok(RateStep::Drafts(drafts))) => return Ok(Ok(drafts)),
                Some(Ok(RateStep::Ask(request))) => request,
            };
            if let Err(ending) = Box::pin(self.ask(&request)).await? {
                return Ok(Err(ending.reason.unwrap_or_default()));
            }
        }
    }

    /// Appends ratings and diary and the tick's end as one commit.
    async fn finish(&mut self, ending: Ending, last_words: Vec<Event>) -> Result<Finished, RecordError> {
        let rated = last_words
            .iter()
            .filter(|event| matches!(event, Event::Rated(rated) if rated.unsupported.is_none()))
            .count();
        let reason = ending.reason.map(|reason| capped(&reason, ERROR_CHARS_MAX));
        let finished = TickFinished {
            tick_id: self.id.clone(),
            outcome: ending.outcome,
            reason: reason.clone(),
            calls: self.ledger.made(),
            errors: self.ledger.errors(),
            retries: self.ledger.retries(),
            cost_micro_usd: self.spending.cost(),
            resume_at: ending.resume_at,
            finished_at: self.stage.clock.now(),
        };
        let mut events = last_words;
        events.push(finished.into());
        self.recorder.append(events).await?;
        Ok((
            ending.outcome.as_str().to_owned(),
            reason,
            u32::try_from(rated).unwrap_or(u32::MAX),
        ))
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.stage.clock.monotonic())
    }

    fn tell(&self, progress: impl FnOnce(PersonaId, String) -> TickProgress) {
        self.stage.tell(progress(
            self.facts.persona.persona_id.clone(),
            self.facts.persona.name.clone(),
        ));
    }

    fn tell_status(&self, doing: &'static str) {
        let in_flight = u32::try_from(self.ledger.open().len()).unwrap_or(u32::MAX);
        self.status.send_replace(PersonaSnapshot {
            persona_id: Some(self.facts.persona.persona_id.clone()),
            name: self.facts.persona.name.clone(),
            tick_id: Some(self.id.clone()),
            number: self.facts.number,
            doing,
            calls: self.ledger.made(),
            errors: self.ledger.errors(),
            in_flight,
        });
    }
}

/// Outcome, reason and the number of ratings.
type Finished = (String, Option<String>, u32);
