//! What operators ask: the same plain functions answer over HTTP and over NATS.
//!
//! Every answer is of one snapshot and names its place in `as_of_seq`. Lists come in pages: the cursor of the next one
//! is a place in the log and an id there, so a page never skips or repeats a row because others were added.

mod cast;
pub(crate) mod edges;
mod expectations;
mod gateway;
mod heatmap;
mod page;
mod ratings;
mod recent;
mod scores;
mod spend;
mod story;
mod tool_stats;
mod trace;

pub use cast::CastLine;
pub use edges::{EdgeLedger, EdgeRow};
pub use expectations::ExpectationRow;
pub use gateway::{GatewayStats, OutcomeCount, RefusalRow, RuleCount, SessionRow};
pub use heatmap::{Heatmap, HeatmapCell, SourceCount};
pub use page::{Cursor, InvalidCursor, PAGE_MAX, Page, PageRequest};
pub use ratings::{RatingFilter, RatingRow};
pub use recent::{ActionFilter, RecentAction};
pub use scores::{ModuleScore, ModuleScores, ScoreDay};
pub use spend::{Spend, SpendDay, SpendPersona};
pub use story::StoryTick;
pub use tool_stats::{ToolStats, ToolStatsReport};
pub use trace::{Trace, TraceCall};
