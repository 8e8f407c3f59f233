//! What can be asked of the tables. Every question is answered from one snapshot.

mod actions;
mod calls;
mod changes;
mod counts;
pub(crate) mod deploys;
mod feedback;
mod findings;
pub(crate) mod operators;
mod parked;
mod personas;
mod records;
mod report;
mod stored;

pub use actions::{ActionRow, CallResult};
pub use calls::{CallAgreement, CallDifference, TakenCall, UnfinishedCall};
pub use changes::{ChangePlace, ChangedField, ChangedRecord};
pub use counts::TableCounts;
pub use deploys::DeployRow;
pub use feedback::ModuleFeedback;
pub use operators::{
    ActionFilter, CastLine, Cursor, EdgeLedger, EdgeRow, ExpectationRow, GatewayStats, Heatmap, HeatmapCell,
    InvalidCursor, ModuleScore, ModuleScores, OutcomeCount, PAGE_MAX, Page, PageRequest, RatingFilter,
    RatingRow, RecentAction, RefusalRow, RuleCount, ScoreDay, SessionRow, SourceCount, Spend, SpendDay,
    SpendPersona, StoryTick, ToolStats, ToolStatsReport, Trace, TraceCall,
};
pub use parked::ParkedRow;
pub use personas::PersonaRow;
pub use records::RecordRow;
pub use report::{DayReport, ModuleDay, ModuleStars, PersonaDay, Stumble, ToolFailures};
pub use stored::{StoredPlace, StoredRecord};
