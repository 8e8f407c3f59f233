//! The report of a day: who did what, which tools fail, which modules chafe, what confuses a newcomer.

mod modules;
mod personas;
mod tools;

use events::StreamSeq;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint};
use crate::column;
use crate::tables::{Tables, TablesError};

/// Everything that was folded, summed up, as of one commit.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DayReport {
    /// One entry per persona, in the order of enrolment.
    pub personas: Vec<PersonaDay>,
    /// One entry per module that was used or rated, by name.
    pub modules: Vec<ModuleDay>,
    /// Every tool that failed at least once, worst first: by personas affected, then errors, then name.
    pub failing_tools: Vec<ToolFailures>,
    /// What personas got wrong on purpose, as newcomers do, and what came of it.
    pub newcomers: Vec<Stumble>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// What one persona did.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PersonaDay {
    /// The persona.
    pub persona_id: String,
    /// Its email.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Its archetype.
    pub archetype: String,
    /// Ticks begun.
    pub ticks: u64,
    /// Ticks found unfinished after a crash.
    pub interrupted: u64,
    /// Tool calls.
    pub calls: u64,
    /// Tool calls that failed, mistakes included.
    pub errors: u64,
    /// Tool calls that tried a failed one again.
    pub retries: u64,
    /// Tool calls that were wrong on purpose.
    pub mistakes: u64,
    /// How its latest tick ended; `None` while it runs or before the first.
    pub outcome: Option<String>,
    /// Its latest rating of every module it rated, by module name.
    pub ratings: Vec<ModuleStars>,
}

/// A persona's latest rating of a module.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleStars {
    /// The module.
    pub module: String,
    /// Stars, 1 to 5; `None` when the rating failed.
    pub rating: Option<u8>,
    /// Our own friction score, 0 (smooth) to 1 (hopeless).
    pub friction: Option<f64>,
    /// Why; for a failed rating, why there is none.
    pub notes: String,
}

/// What all personas together made of a module.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleDay {
    /// The module.
    pub module: String,
    /// Tool calls.
    pub calls: u64,
    /// Tool calls that failed.
    pub errors: u64,
    /// Ratings; failed ones are not counted.
    pub ratings: u64,
    /// Mean stars; `None` without ratings.
    pub stars_mean: Option<f64>,
    /// Mean friction; `None` where nobody measured it.
    pub friction_mean: Option<f64>,
}

/// A tool that failed at least once.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToolFailures {
    /// The tool's MCP name.
    pub tool: String,
    /// Calls of it.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// How many of those were mistakes made on purpose, which a tool ought to refuse.
    pub mistakes: u64,
    /// How many personas met an error.
    pub personas_affected: u64,
    /// `errors / calls`.
    pub error_rate: f64,
    /// What a caller was told: the latest error that was the app's own, else the latest.
    pub example_error: String,
    /// The call that was told so.
    pub example_call_id: String,
}

/// One mistake of one persona with one tool.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Stumble {
    /// Whose.
    pub persona_name: String,
    /// With which tool.
    pub tool: String,
    /// Which.
    pub mistake: String,
    /// How often.
    pub times: u64,
    /// How often the app took it as if it were right.
    pub accepted: u64,
    /// How often a further try of the call succeeded.
    pub recovered: u64,
    /// What the persona was told, where it was told anything.
    pub example_error: Option<String>,
}

impl Tables {
    /// Sums up what was folded from commits after `since`, in one snapshot; [`StreamSeq::ZERO`] for everything.
    pub async fn report(&self, since: StreamSeq) -> Result<DayReport, TablesError> {
        let since = column::bigint(since.0);
        let mut snapshot = self.readers().snapshot().await?;
        Ok(DayReport {
            personas: personas::days(&mut snapshot.db(), since).await?,
            modules: modules::days(&mut snapshot.db(), since).await?,
            failing_tools: tools::failures(&mut snapshot.db(), since).await?,
            newcomers: tools::stumbles(&mut snapshot.db(), since).await?,
            as_of_seq: Checkpoint::seq_of(checkpoint::read(&mut snapshot.db()).await?.as_ref()),
        })
    }
}
