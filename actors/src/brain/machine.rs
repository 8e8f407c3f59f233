//! One simulated tick as a machine: it proposes calls, reads their outcomes, proposes the next.
//!
//! Nothing of it is kept between two questions. For each it is built anew and shown the past from the beginning, so
//! that the answer follows from the [`TickView`] alone.

mod realise;
mod retry;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use events::{CallId, Intent, TickOutcome};
use serde_json::{Map, Value};

use super::dice::Origin;
use super::habits::{self, Act, Goal, Plan};
use super::harvest::Harvest;
use super::mistakes::Mistake;
use super::temper::{self, Temper};
use super::words::Words;
use super::{CallOutcome, PastCall, PlannedCall, Step, TickView, ToolInfo};

/// Calls every persona makes in a tick, as long as the tools allow it.
const CALLS_MIN: usize = 3;

/// The state of a tick, as far as it has been shown.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    tick: &'a TickView<'a>,
    temper: &'static Temper,
    words: &'static Words,
    origin: Origin,
    /// Modules taken up, then the others of the mix.
    modules: Vec<String>,
    plan: Plan,
    retries: VecDeque<Attempt>,
    in_flight: Vec<Attempt>,
    harvest: Harvest,
    /// Objects each tool was already used on.
    used: BTreeSet<(String, String)>,
    /// The title of what was last created, by module: what a search would look for.
    created: BTreeMap<String, String>,
    given_up: BTreeSet<String>,
    /// Attempts begun, for the label of each one's own dice.
    begun: u32,
    sent: usize,
    errors: u32,
    calls_max: usize,
}

/// A goal on its way, with all it takes to try again.
#[derive(Debug, Clone)]
struct Attempt {
    goal: Goal,
    /// What the persona meant to send: the tool and arguments that satisfy its schema.
    tool: String,
    arguments: Map<String, Value>,
    slip: Option<Mistake>,
    /// The fields a helpful refusal of the slip would name.
    slip_fields: Vec<String>,
    call: PlannedCall,
    /// Which attempt this is, for dice; and how often it was tried before.
    number: u32,
    tries: u32,
}

/// What the tick does next: all of its past is shown to a new machine, whose next proposal is the answer.
pub(super) fn decide(tick: &TickView<'_>) -> Step {
    let mut machine = Machine::new(tick);
    let mut past = tick.past;
    loop {
        let step = machine.propose();
        let Step::Calls(calls) = &step else { return step };
        if past.is_empty() {
            return step;
        }
        let (outcomes, later) = past.split_at(calls.len().min(past.len()));
        machine.read(outcomes);
        past = later;
    }
}

impl<'a> Machine<'a> {
    fn new(tick: &'a TickView<'a>) -> Self {
        let origin = Origin::of(tick);
        let temper = temper::of(&tick.persona.archetype);
        let (mut modules, others) = habits::modules(tick, temper, origin);
        let resumed = habits::resumed(tick);
        let plan = habits::plan(&modules, resumed.as_deref(), temper, origin);
        modules.extend(others);
        let mut harvest = Harvest::default();
        for known in tick.diary.open() {
            harvest.remember(known);
        }
        Self {
            tick,
            temper,
            words: Words::of(&tick.persona.archetype),
            origin,
            modules,
            plan,
            retries: VecDeque::new(),
            in_flight: Vec::new(),
            harvest,
            used: BTreeSet::new(),
            created: BTreeMap::new(),
            given_up: BTreeSet::new(),
            begun: 0,
            sent: 0,
            errors: 0,
            calls_max: tick.past.len() + tick.calls_left as usize,
        }
    }

    fn propose(&mut self) -> Step {
        if self.modules.is_empty() {
            let note = "none of the persona's modules has a tool".to_owned();
            return Step::Done {
                outcome: TickOutcome::Failed,
                note: Some(note),
            };
        }
        if self.sent >= self.calls_max {
            return Step::Done {
                outcome: TickOutcome::Limit,
                note: None,
            };
        }
        let has_had_enough = self.temper.errors_max.is_some_and(|most| self.errors >= most);
        if has_had_enough && self.sent >= CALLS_MIN {
            let note = format!("left after {} errors", self.errors);
            return Step::Done {
                outcome: TickOutcome::Abandoned,
                note: Some(note),
            };
        }
        if let Some(again) = self.retries.pop_front() {
            return self.send(vec![again]);
        }
        while let Some(batch) = self.plan.pop_front() {
            let attempts = self.attempts(batch);
            if !attempts.is_empty() {
                return self.send(attempts);
            }
        }
        if self.sent < CALLS_MIN
            && let Some(attempt) = self.one_more()
        {
            return self.send(vec![attempt]);
        }
        self.done()
    }

    fn send(&mut self, mut attempts: Vec<Attempt>) -> Step {
        attempts.truncate(self.calls_max - self.sent);
        self.sent += attempts.len();
        let calls = attempts.iter().map(|attempt| attempt.call.clone()).collect();
        self.in_flight = attempts;
        Step::Calls(calls)
    }

    fn done(&self) -> Step {
        if self.given_up.is_empty() {
            return Step::Done {
                outcome: TickOutcome::Completed,
                note: None,
            };
        }
        let modules: Vec<&str> = self.given_up.iter().map(String::as_str).collect();
        let note = format!("gave up on {}", modules.join(", "));
        Step::Done {
            outcome: TickOutcome::Abandoned,
            note: Some(note),
        }
    }

    /// Takes in what became of the calls in flight.
    fn read(&mut self, outcomes: &[PastCall]) {
        let mut outcomes: Vec<&PastCall> = outcomes.iter().collect();
        for attempt in std::mem::take(&mut self.in_flight) {
            let is_of = |past: &&PastCall| {
                past.tool == attempt.call.tool
                    && past.intent == attempt.call.intent
                    && past.arguments == attempt.call.arguments
            };
            // A call that was planned and is not in the past was never made: its goal is dropped.
            let Some(at) = outcomes.iter().position(is_of) else {
                continue;
            };
            let past = outcomes.remove(at);
            match &past.outcome {
                CallOutcome::Ok { structured, .. } => self.succeeded(&attempt, &past.module, structured),
                CallOutcome::Error { message, .. } => self.failed(&attempt, &past.call_id, message),
            }
        }
    }

    fn succeeded(&mut self, attempt: &Attempt, module: &str, result: &Value) {
        let is_creation = self
            .tool(&attempt.call.tool)
            .is_some_and(|tool| habits::act_of(tool) == Act::Create);
        self.harvest.take(module, result, is_creation);
        let Some(arguments) = attempt.call.arguments.as_object() else {
            return;
        };
        if is_creation {
            let named = ["title", "name", "subject"]
                .iter()
                .find_map(|field| arguments.get(*field)?.as_str());
            if let Some(title) = named {
                self.created.insert(module.to_owned(), title.to_owned());
            }
        }
        if attempt.goal.act == Act::CleanUp
            && let Some(id) = arguments.get("id").and_then(Value::as_str)
        {
            self.harvest.forget(id);
        }
    }

    fn failed(&mut self, attempt: &Attempt, call_id: &CallId, message: &str) {
        self.errors += 1;
        let is_mere_tidying = attempt.goal.act == Act::CleanUp && attempt.slip.is_none();
        if is_mere_tidying || attempt.slip == Some(Mistake::DoubleSubmit) {
            // Nobody insists on tidying up, and what was sent twice is there already.
        } else if attempt.tries < self.temper.retries_max {
            let again = self.again(attempt, call_id, message);
            self.retries.push_back(again);
        } else {
            self.given_up.insert(attempt.goal.module.clone());
        }
    }

    fn tool(&self, name: &str) -> Option<&'a ToolInfo> {
        self.tick.tools.iter().find(|tool| tool.name == name)
    }
}

impl Attempt {
    /// The call that says what was meant.
    fn as_meant(&self, retry_of: Option<CallId>) -> PlannedCall {
        PlannedCall {
            tool: self.tool.clone(),
            arguments: Value::Object(self.arguments.clone()),
            intent: Intent::Valid,
            mistake: None,
            retry_of,
            unsent: None,
        }
    }
}
