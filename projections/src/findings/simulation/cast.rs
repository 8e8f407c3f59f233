//! A cast that plays recorded ticks, and what of it would be in the tables.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use events::testing::{id, sample_time};
use events::{CallId, Cause, Intent, StreamSeq, TickId};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::findings::history::{
    CallCell, DAYS, History, Moments, Rater, RaterSpan, RatingCell, RatingRow, Trouble,
};
use crate::findings::modules::judged;
use crate::findings::{Finding, Moment, crossed};
use crate::queries::CallResult;

/// How often an ordinary call of a sound app fails all the same.
const FAILS_ANYWAY: f64 = 0.01;
/// The cast of the catalog; each lives one tick a day here.
const PERSONAS: [(&str, &str); 10] = [
    ("anna", "adhd-student"),
    ("ben", "solo-dev"),
    ("maya", "creative-parent"),
    ("kai", "researcher"),
    ("lucia", "ceo-busy"),
    ("tiago", "freelancer"),
    ("giulia", "overwhelmed-newbie"),
    ("piotr", "solo-dev"),
    ("emre", "overwhelmed-newbie"),
    ("vera", "ceo-busy"),
];

/// What is wrong with the app.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// So many of a tool's calls fail.
    ToolFails(&'static str, f64),
    /// A module's refusals do not say which field is meant.
    ErrorsNameNoField(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cast {
    chance: ChaCha8Rng,
    shapes: HashMap<String, Vec<String>>,
    faults: Vec<Fault>,
    day: u32,
    seq: u64,
    /// By day lived, the latest last.
    days: VecDeque<Day>,
}

/// What of one day would be in the tables.
#[derive(Debug, Default)]
struct Day {
    /// By tool; no rule asks who called.
    cells: BTreeMap<String, CallCell>,
    troubles: Vec<Trouble>,
    ratings: Vec<RatingRow>,
}

/// A module's share of a tick, as the friction index counts it.
#[derive(Debug, Default)]
struct Counts {
    calls: f64,
    errors: f64,
    helped: f64,
    retries: f64,
    repeats: f64,
    gave_up: bool,
}

impl Counts {
    /// The friction index of `docs/ratings.md`, without slowness.
    fn friction(&self) -> f64 {
        (0.5 * (self.errors - 0.8 * self.helped) + 0.1 * self.retries + 0.1 * self.repeats) / self.calls
            + if self.gave_up { 0.2 } else { 0.0 }
    }

    fn stars(&self) -> u8 {
        [(0.05, 5), (0.15, 4), (0.35, 3), (0.6, 2)]
            .into_iter()
            .find(|(below, _)| self.friction() < *below)
            .map_or(1, |(_, stars)| stars)
    }
}

fn rater() -> Rater {
    Rater {
        source: "simulated".to_owned(),
        brain: Some("simulated".to_owned()),
        model: None,
        prompt_version: Some(1),
        rubric_version: 1,
    }
}

fn module_of(tool: &str) -> &str {
    tool.split('.').next().unwrap_or_default()
}

/// One tick under way.
struct Tick<'a> {
    name: &'a str,
    id: TickId,
    at: Timestamp,
    made: u64,
    modules: BTreeMap<String, Counts>,
}

impl Cast {
    pub(super) fn new(seed: u64) -> Self {
        let shapes = include_str!("../../../tests/fixtures/tick_shapes.json");
        Self {
            chance: ChaCha8Rng::seed_from_u64(seed),
            shapes: serde_json::from_str(shapes).unwrap(),
            faults: Vec::new(),
            day: 0,
            seq: 0,
            days: VecDeque::new(),
        }
    }

    /// From now on the app is broken so.
    pub(super) fn break_app(&mut self, faults: &[Fault]) {
        self.faults = faults.to_vec();
    }

    /// Everybody lives one tick.
    pub(super) fn live_a_day(&mut self) {
        let noon = sample_time() + SignedDuration::from_hours(24 * i64::from(self.day) + 12);
        self.days.push_back(Day::default());
        if self.days.len() > DAYS as usize {
            self.days.pop_front();
        }
        for (name, archetype) in PERSONAS {
            let shapes = &self.shapes[archetype];
            let shape = shapes[self.chance.random_range(0..shapes.len())].clone();
            let mut tick = Tick {
                name,
                id: id(&format!("{name}-{}", self.day)),
                at: noon,
                made: 0,
                modules: BTreeMap::new(),
            };
            for call in shape.split(' ') {
                match call.split_once('?') {
                    None => self.ordinary(&mut tick, call),
                    Some((tool, "double-submit")) => self.ordinary(&mut tick, tool),
                    Some((tool, mistake)) => self.mistaken(&mut tick, tool, mistake),
                }
            }
            self.rate(&tick);
        }
        self.day += 1;
    }

    /// An ordinary call, tried once more when it fails.
    fn ordinary(&mut self, tick: &mut Tick<'_>, tool: &str) {
        let answer = self.breaks(tool);
        let Err(failed) = self.call(tick, tool, Intent::Valid, None, answer) else {
            return;
        };
        let answer = self.breaks(tool);
        let again = self.call(tick, tool, Intent::Valid, Some(&failed), answer);
        let counts = tick.modules.get_mut(module_of(tool)).unwrap();
        counts.repeats += 1.0;
        counts.gave_up = again.is_err();
    }

    /// A newcomer's mistake: mended at once when the refusal names the field, else sent again three times.
    fn mistaken(&mut self, tick: &mut Tick<'_>, tool: &str, mistake: &str) {
        let module = module_of(tool).to_owned();
        let names_no_field = self
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::ErrorsNameNoField(broken) if *broken == module));
        let told = if names_no_field {
            "invalid input".to_owned()
        } else {
            format!("field-{mistake}: is not what it must be")
        };
        let mut last = self
            .call(tick, tool, Intent::Mistake, None, Some(told.clone()))
            .unwrap_err();
        if names_no_field {
            for _ in 0..3 {
                last = self
                    .call(tick, tool, Intent::Mistake, Some(&last), Some(told.clone()))
                    .unwrap_err();
                tick.modules.get_mut(&module).unwrap().repeats += 1.0;
            }
            tick.modules.get_mut(&module).unwrap().gave_up = true;
            return;
        }
        let answer = self.breaks(tool);
        let mended = self.call(tick, tool, Intent::Valid, Some(&last), answer);
        let counts = tick.modules.get_mut(&module).unwrap();
        counts.helped += 1.0;
        counts.gave_up = mended.is_err();
    }

    /// What an ordinary call is told, if it fails.
    fn breaks(&mut self, tool: &str) -> Option<String> {
        let fault = self.faults.iter().find_map(|fault| match fault {
            Fault::ToolFails(broken, rate) if *broken == tool => Some(*rate),
            _ => None,
        });
        if fault.is_some_and(|rate| self.chance.random_bool(rate)) {
            return Some("upstream connect error 503".to_owned());
        }
        self.chance.random_bool(FAILS_ANYWAY).then(|| {
            ["timed out after 5000 ms", "conflict: somebody else was faster"][self.chance.random_range(0..2)]
                .to_owned()
        })
    }

    /// Makes one call and keeps what the tables would; the id of the call where it fails.
    fn call(
        &mut self,
        tick: &mut Tick<'_>,
        tool: &str,
        intent: Intent,
        retry_of: Option<&CallId>,
        error: Option<String>,
    ) -> Result<(), CallId> {
        self.seq += 1;
        let call_id: CallId = id(&format!("{}-{}", tick.id, tick.made));
        tick.made += 1;
        let counts = tick.modules.entry(module_of(tool).to_owned()).or_default();
        counts.calls += 1.0;
        counts.retries += f64::from(u8::from(retry_of.is_some()));
        counts.errors += f64::from(u8::from(error.is_some()));
        counts.gave_up = false;
        let day = self.days.back_mut().unwrap();
        let is_valid = intent == Intent::Valid;
        let cell = day.cells.entry(tool.to_owned()).or_insert_with(|| CallCell {
            tool: tool.to_owned(),
            module: module_of(tool).to_owned(),
            ..CallCell::default()
        });
        cell.calls += 1;
        cell.ok += u64::from(error.is_none());
        cell.errors += u64::from(error.is_some());
        cell.answered += u64::from(is_valid);
        cell.app_errors += u64::from(is_valid && error.is_some());
        cell.retries += u64::from(retry_of.is_some());
        let is_error = error.is_some();
        if is_error || retry_of.is_some() {
            day.troubles.push(Trouble {
                action_id: format!("{call_id}-{tool}"),
                call_id: call_id.clone(),
                tick_id: tick.id.clone(),
                persona_id: id(tick.name),
                tool: Arc::from(tool),
                module: Arc::from(module_of(tool)),
                intent,
                retry_of: retry_of.cloned(),
                result: if is_error {
                    CallResult::Error
                } else {
                    CallResult::Ok
                },
                error,
                cause: is_error.then_some(if is_valid { Cause::App } else { Cause::Persona }),
                day: 0,
                at: tick.at,
                stream_seq: StreamSeq(self.seq),
            });
        }
        if is_error { Err(call_id) } else { Ok(()) }
    }

    fn rate(&mut self, tick: &Tick<'_>) {
        let day = self.days.back_mut().unwrap();
        for (module, counts) in &tick.modules {
            self.seq += 1;
            day.ratings.push(RatingRow {
                id: format!("{}-{module}", tick.id),
                persona_id: id(tick.name),
                module: module.clone(),
                rater: rater(),
                rating: counts.stars(),
                friction: Some(counts.friction()),
                notes: String::new(),
                at: tick.at,
                stream_seq: StreamSeq(self.seq),
            });
        }
    }

    /// What this morning's report begins with.
    pub(super) fn morning(&self) -> Vec<Finding> {
        let history = self.history();
        let moment = Moment(sample_time() + SignedDuration::from_hours(24 * i64::from(self.day)));
        crossed(&history, &judged(&history), &[], &moment)
    }

    fn history(&self) -> History {
        let mut history = History {
            raters: vec![RaterSpan {
                rater: rater(),
                first_at: sample_time(),
            }],
            ..History::default()
        };
        let mut ratings: BTreeMap<(&str, &str, u32), RatingCell> = BTreeMap::new();
        for (day, lived) in (0..).zip(self.days.iter().rev()) {
            history
                .calls
                .extend(lived.cells.values().map(|cell| CallCell { day, ..cell.clone() }));
            let troubles = lived.troubles.iter().rev();
            history.troubles.extend(troubles.map(|trouble| Trouble {
                day,
                ..trouble.clone()
            }));
            for row in &lived.ratings {
                let (name, week) = (row.persona_id.as_str(), day / 7);
                let cell = ratings
                    .entry((&row.module, name, week))
                    .or_insert_with(|| RatingCell {
                        module: row.module.clone(),
                        rater: rater(),
                        persona_id: name.to_owned(),
                        archetype: String::new(),
                        week,
                        stars: [0; 5],
                        unsupported: 0,
                        friction: Moments::default(),
                    });
                cell.stars[usize::from(row.rating) - 1] += 1;
            }
            if day < 21 {
                let low = lived.ratings.iter().filter(|row| row.rating <= 3);
                history.remarkable.extend(low.cloned());
            }
        }
        history.ratings = ratings.into_values().collect();
        history
    }
}
