//! What findings are made from: rows of the tables, summed up as far as a test can do with sums.
//!
//! Time runs backwards here: day 0 is the last 24 hours before the report's moment, week 0 the last seven days. So a rule
//! that looks at the last weeks needs no calendar, and the same history seen a week later is the same but for a shift.

use std::sync::Arc;

use events::{CallId, Cause, Intent, PersonaId, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Evidence;
use super::expectations::ExpectationFigures;
use super::stats::Share;
use crate::queries::{CallResult, DeployRow, EdgeRow};

/// Days that are looked back: eleven weeks, as long as the longest rule needs.
pub(crate) const DAYS: u32 = 77;
/// The same in weeks.
pub(crate) const WEEKS: u32 = DAYS / 7;

/// What happened in the last [`DAYS`] days before `as_of`.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Calls, summed up.
    pub(crate) calls: Vec<CallCell>,
    /// Every call that failed or tried a failed one again, latest first.
    pub(crate) troubles: Vec<Trouble>,
    /// Ratings, summed up.
    pub(crate) ratings: Vec<RatingCell>,
    /// Single ratings worth a look: the lowest of the last three weeks, and those that are kinder than what happened.
    pub(crate) remarkable: Vec<RatingRow>,
    /// Who rated, and since when.
    pub(crate) raters: Vec<RaterSpan>,
    /// Ratings that failed, by module.
    pub(crate) failed_ratings: Vec<(String, u64)>,
    /// Answering times per tool, within the report's own time.
    pub(crate) latencies: Vec<Latency>,
    /// Mistakes that were taken as if they were right, latest first, within the report's own time. Sending the same twice
    /// is not among them: two of a kind may be meant.
    pub(crate) accepted: Vec<AcceptedMistake>,
    /// What became of what personas expected of one another in shared spaces, by module, within the report's own time.
    pub(crate) expectations: Vec<ExpectationFigures>,
    /// What was not there for others, latest first, within the same time.
    pub(crate) broken_expectations: Vec<BrokenExpectation>,
    /// Edge input that a tool did not stand, latest first, within the same time.
    pub(crate) bad_edges: Vec<BadEdge>,
    /// The whole ledger of edge input.
    pub(crate) edges: Vec<EdgeRow>,
    /// Ratings of the calibration twins, summed up.
    pub(crate) twins: Vec<TwinCell>,
    /// There were more troubles than are kept; older ones are missing.
    pub(crate) is_shortened: bool,
}

/// Calls of one tool by one archetype on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallCell {
    /// The tool.
    pub(crate) tool: String,
    /// Its module.
    pub(crate) module: String,
    /// Of those who called.
    pub(crate) archetype: String,
    /// Days before the report's moment.
    pub(crate) day: u32,
    /// All calls.
    pub(crate) calls: u64,
    /// All that succeeded.
    pub(crate) ok: u64,
    /// All that failed, for whatever reason.
    pub(crate) errors: u64,
    /// Ordinary calls that the app answered, well or not.
    pub(crate) answered: u64,
    /// Ordinary calls that the app refused or broke on.
    pub(crate) app_errors: u64,
    /// Calls that got no answer.
    pub(crate) infra_errors: u64,
    /// Calls that tried a failed one again.
    pub(crate) retries: u64,
    /// Calls that were wrong on purpose and taken as if they were right.
    pub(crate) accepted_mistakes: u64,
}

/// A call that failed, or that tried a failed one again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    /// The row.
    pub(crate) action_id: String,
    /// The call.
    pub(crate) call_id: CallId,
    /// Its tick.
    pub(crate) tick_id: TickId,
    /// Who called.
    pub(crate) persona_id: PersonaId,
    /// The tool.
    pub(crate) tool: Arc<str>,
    /// Its module.
    pub(crate) module: Arc<str>,
    /// What it was meant to be.
    pub(crate) intent: Intent,
    /// The failed call it tried again.
    pub(crate) retry_of: Option<CallId>,
    /// What came of it.
    pub(crate) result: CallResult,
    /// What the caller was told.
    pub(crate) error: Option<String>,
    /// Whose fault it was.
    pub(crate) cause: Option<Cause>,
    /// Days before the report's moment.
    pub(crate) day: u32,
    /// When.
    pub(crate) at: Timestamp,
    /// Place of the commit that holds its `ToolCalled`.
    pub(crate) stream_seq: StreamSeq,
}

/// Who gives stars, and by which rules: ratings of two of these are never compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Rater {
    /// `model`, `simulated` or `external`.
    pub source: String,
    /// Which brain; nobody says for older ratings and for runners outside.
    pub brain: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Version of its prompt or rules.
    pub prompt_version: Option<i64>,
    /// Version of the rules the stars are given by.
    pub rubric_version: i64,
}

/// A deliberate mistake that the app took as if it were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptedMistake {
    /// The tool.
    pub(crate) tool: String,
    /// Its module.
    pub(crate) module: String,
    /// Which mistake.
    pub(crate) mistake: String,
    /// When.
    pub(crate) at: Timestamp,
    /// The call.
    pub(crate) evidence: Evidence,
}

/// One rater's stars for the calibration twins in one week.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TwinCell {
    /// Who.
    pub(crate) rater: Rater,
    /// Weeks before the report's moment.
    pub(crate) week: u32,
    /// Ratings of the good one.
    pub(crate) good: u64,
    /// Their stars together.
    pub(crate) good_stars: f64,
    /// Ratings of the bad one.
    pub(crate) bad: u64,
    /// Their stars together.
    pub(crate) bad_stars: f64,
    /// Visits to either of which no usable rating came.
    pub(crate) failed: u64,
}

/// Edge input that a tool did not stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadEdge {
    /// The tool.
    pub(crate) tool: String,
    /// Its module.
    pub(crate) module: String,
    /// The field.
    pub(crate) field: String,
    /// The edge class.
    pub(crate) class: String,
    /// `altered`, `broke` or `unanswered`.
    pub(crate) verdict: String,
    /// What was wrong.
    pub(crate) detail: Option<String>,
    /// When.
    pub(crate) at: Timestamp,
    /// The call.
    pub(crate) evidence: Evidence,
}

/// A thing in a shared space that another member did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokenExpectation {
    /// The module.
    pub(crate) module: String,
    /// What it is.
    pub(crate) kind: String,
    /// The call that made it.
    pub(crate) made: Evidence,
    /// The call of another account that did not show it.
    pub(crate) looked: Evidence,
    /// When.
    pub(crate) looked_at: Timestamp,
}

/// When one rater rated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RaterSpan {
    /// Who.
    pub(crate) rater: Rater,
    /// Its first rating on record.
    pub(crate) first_at: Timestamp,
}

/// One persona's ratings of one module in one week, by one rater.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RatingCell {
    /// The module.
    pub(crate) module: String,
    /// By whom.
    pub(crate) rater: Rater,
    /// Whose.
    pub(crate) persona_id: String,
    /// Its archetype.
    pub(crate) archetype: String,
    /// Weeks before the report's moment.
    pub(crate) week: u32,
    /// How many of one star, two, up to five.
    pub(crate) stars: [u64; 5],
    /// Stars that rest on nothing that happened; they count nowhere else.
    pub(crate) unsupported: u64,
    /// Friction beside those stars that have it: how many, sum, sum of squares, and sum of stars times friction.
    pub(crate) friction: Moments,
}

/// Sums that mean, deviation and correlation follow from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    /// How many.
    pub(crate) count: u64,
    /// Stars of these.
    pub(crate) stars: f64,
    /// Their squares.
    pub(crate) stars_squared: f64,
    /// Friction.
    pub(crate) friction: f64,
    /// Its squares.
    pub(crate) friction_squared: f64,
    /// Stars times friction.
    pub(crate) product: f64,
}

/// A single rating.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RatingRow {
    /// The row.
    pub id: String,
    /// Who rated.
    pub persona_id: PersonaId,
    /// The module.
    pub module: String,
    /// By whom.
    pub rater: Rater,
    /// Stars.
    pub rating: u8,
    /// Our own friction of the module in that tick.
    pub friction: Option<f64>,
    /// Why.
    pub notes: String,
    /// When.
    #[schemars(with = "events::Moment")]
    pub at: Timestamp,
    /// Place of the commit that holds its `Rated`.
    pub stream_seq: StreamSeq,
}

/// How long a tool's callers waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Latency {
    /// The tool.
    pub(crate) tool: String,
    /// Half of them at most so long, in milliseconds.
    pub(crate) p50_ms: u64,
    /// All but a twentieth of them.
    pub(crate) p95_ms: u64,
}

/// What happened before and after a deployment.
#[derive(Debug, Clone)]
pub(crate) struct AroundDeploy {
    /// The deployment.
    pub(crate) deploy: DeployRow,
    /// Each tool's ordinary calls: failed, of those answered.
    pub(crate) tools: Vec<BeforeAfter<Share>>,
    /// Each persona's mean stars of a module by one rater.
    pub(crate) stars: Vec<(Rater, BeforeAfter<f64>)>,
}

/// The same thing before and after.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BeforeAfter<T> {
    /// Which tool or module.
    pub(crate) name: String,
    /// Up to 28 days before.
    pub(crate) before: T,
    /// Since.
    pub(crate) after: T,
}

impl RatingCell {
    /// How many stars were given.
    pub(crate) fn count(&self) -> u64 {
        self.stars.iter().sum()
    }

    /// All stars together.
    pub(crate) fn sum(&self) -> f64 {
        (1_u64..)
            .zip(self.stars)
            .map(|(stars, count)| (stars * count) as f64)
            .sum()
    }
}

impl Moments {
    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            stars: self.stars + other.stars,
            stars_squared: self.stars_squared + other.stars_squared,
            friction: self.friction + other.friction,
            friction_squared: self.friction_squared + other.friction_squared,
            product: self.product + other.product,
        }
    }
}
