//! The questions behind the dashboard, each at `/api/v1/queries/<name>`.
//!
//! One table holds them all: routing, `/openapi.json` and the dashboard's "copy as curl" come from it. The answers are
//! the plain functions of `projections`, and of the rooms' own snapshots; every one says with `as_of_seq` up to which
//! commit the tables were folded. Lists take `limit` and `cursor`, and give `next_cursor` while there is more.
//!
//! **To add a question**: a line in [`QUERIES`] and an arm in [`answer`].

mod alarms;
mod event;
mod overview;
mod params;
mod system;

use axum::Json;
use axum::extract::{Query as UrlQuery, State};
use events::{Clock as _, StreamSeq};
use gateway::{GatewaySnapshot, MountSnapshot};
use projections::findings::{FindingsQuery, FindingsReport};
use projections::{
    ActionFilter, CastLine, Checkpoint, EdgeLedger, ExpectationRow, GatewayStats, Heatmap, ModuleFeedback,
    ModuleScores, Page, PageRequest, ParkedRow, PersonaRow, ProjectorStatus, RatingFilter, RatingRow,
    RecentAction, RefusalRow, SessionRow, Spend, StoryTick, TableCounts, ToolStatsReport, Trace,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::App;
use super::answer::Describes;
use super::endpoint::{Access, Endpoint};
use super::operators::{Budgets, Operator, ReadLine};
use super::personas::unknown_persona;
use super::problem::Problem;
use super::replay::ReplayStatus;
pub(crate) use event::{EventShown, shown};
use params::Params;

/// Rows of a page where nobody says how many.
const ROWS: u32 = 50;
/// Ticks of a story where nobody says how many: each comes with all its calls.
const TICKS: u32 = 10;

/// One question.
#[derive(Debug)]
struct Query {
    name: &'static str,
    paths: &'static [&'static str],
    reads: &'static [&'static str],
    about: &'static str,
    refuses: &'static [u16],
    gives: fn(&mut SchemaGenerator) -> Option<Schema>,
}

macro_rules! queries {
    ($($name:literal ($($reads:literal),*) -> $answer:ty, $about:literal $(refuses $refusal:literal)?;)*) => {
        const QUERIES: &[Query] = &[$(Query {
            name: $name,
            paths: &[concat!("/api/v1/queries/", $name)],
            reads: &[$($reads),*],
            about: $about,
            refuses: &[400 $(, $refusal)?],
            gives: <Json<$answer> as Describes>::schema,
        }),*];
    };
}

queries! {
    "overview" () -> overview::Overview, "Who acts, how modules fare, what it costs, what is wrong: the first page in one answer";
    "alarms.list" () -> overview::Alarms, "What a person should look at";
    "personas.list" ("cursor", "limit", "days") -> Page<CastLine>, "The cast with what each did lately";
    "personas.get" ("persona") -> PersonaAnswer, "One persona and how it rates the modules" refuses 404;
    "personas.story" ("persona", "cursor", "limit") -> Page<StoryTick>, "A persona's ticks, newest first, with calls and ratings" refuses 404;
    "ticks.trace" ("tick") -> Trace, "One tick as the persona and as the gateway tell it" refuses 404;
    "events.get" ("seq") -> event::CommitShown, "One commit of the log, without app data and sealed arguments" refuses 404;
    "expectations.recent" ("cursor", "limit", "state") -> Page<ExpectationRow>, "What one persona put into a shared space and whether its partners found it, newest first";
    "findings.report" () -> FindingsAnswer, "What got worse, since when, what changed then, and the rows that show it";
    "feedback.summary" ("days") -> ModuleScores, "Ratings of each module, day by day";
    "feedback.heatmap" ("days", "source") -> Heatmap, "Module by archetype: mean stars with their 95 % interval";
    "feedback.recent" ("cursor", "limit", "persona", "module", "archetype") -> Page<RatingRow>, "Ratings with what was said, newest first";
    "actions.recent" ("cursor", "limit", "persona", "tool", "result") -> Page<RecentAction>, "Tool calls of personas, newest first";
    "tools.stats" ("days") -> ToolStatsReport, "Errors, latency and confusion of each tool";
    "tools.edges" () -> EdgeLedger, "Which edge input each field of each tool has seen, and how it stood it";
    "gateway.stats" ("days") -> GatewayAnswer, "What came through the door, and what is open now";
    "gateway.sessions" ("cursor", "limit") -> Page<SessionRow>, "MCP sessions, newest first";
    "gateway.refusals" ("cursor", "limit") -> Page<RefusalRow>, "Calls that policy refused or would have, newest first";
    "spend.summary" ("days") -> SpendAnswer, "What models cost, by day and by persona, beside the budgets";
    "projections.status" () -> ProjectionsAnswer, "How far the tables are, how many rows they hold, and what is parked";
    "replay.status" () -> ReplayStatus, "The rebuild that is under way, or the last one";
    "system.status" () -> system::SystemStatus, "Versions, health and every setting with its source; secrets are masked";
    "audit.recent" () -> AuditAnswer, "Which operator read or did what lately";
}

/// Shows nothing-yet as nothing-yet.
pub(crate) fn describe_metrics() {
    for name in QUERIES.iter().map(|query| query.name).chain(["feed"]) {
        metrics::counter!("dramatis_operator_reads_total", "query" => name).increment(0);
    }
}

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    QUERIES.iter().map(endpoint).collect()
}

fn endpoint(query: &'static Query) -> Endpoint {
    let handler = async move |Operator(caller): Operator,
                              State(app): State<App>,
                              UrlQuery(pairs): UrlQuery<Vec<(String, String)>>| {
        let mut params = Params::new(pairs, query.reads)?;
        let about = params.about();
        app.operators.audit.read(
            &caller,
            query.name,
            &about,
            app.clock.now(),
            app.clock.monotonic(),
        );
        answer(&app, query.name, &mut params).await.map(Json)
    };
    Endpoint::get(query.paths, handler)
        .about(Access::Admin, query.about)
        .reads(query.reads)
        .refuses(query.refuses)
        .gives_what(query.gives)
}

/// Asks the tables and the rooms.
async fn answer(app: &App, name: &str, params: &mut Params) -> Result<Value, Problem> {
    let now = app.clock.now();
    let tables = &app.tables;
    match name {
        "overview" => json_of(&overview::show(app).await?),
        "alarms.list" => json_of(&overview::alarms(app).await?),
        "personas.list" => {
            let (since, page) = (params.since(now, 30)?, params.page(ROWS)?);
            json_of(&tables.cast(since, &page).await?)
        }
        "personas.get" => json_of(&persona(app, params).await?),
        "personas.story" => {
            let (persona, page) = (params.persona()?, params.page(TICKS)?);
            tables.persona(&persona).await?.ok_or_else(unknown_persona)?;
            json_of(&tables.story(&persona, &page).await?)
        }
        "ticks.trace" => {
            let unknown = || Problem::not_found("TICK_NOT_FOUND", "there is no tick of that id");
            let tick = params.required("tick")?.parse().map_err(|_| unknown())?;
            json_of(&tables.trace(&tick).await?.ok_or_else(unknown)?)
        }
        "events.get" => json_of(&event::show(app, params.seq()?).await?),
        "expectations.recent" => {
            let state = params.take("state");
            json_of(&tables.expectations(state.as_deref(), &params.page(ROWS)?).await?)
        }
        "findings.report" => json_of(&findings(app).await?),
        "feedback.summary" => json_of(&tables.module_scores(now, params.days(7)?).await?),
        "feedback.heatmap" => {
            let (since, source) = (params.since(now, 30)?, params.source()?);
            json_of(&tables.heatmap(since, source).await?)
        }
        "feedback.recent" => {
            let filter = RatingFilter {
                persona: params.optional_persona()?,
                module: params.take("module"),
                archetype: params.take("archetype"),
            };
            json_of(&tables.recent_ratings(&filter, &params.page(ROWS)?).await?)
        }
        "actions.recent" => {
            let filter = ActionFilter {
                persona: params.optional_persona()?,
                tool: params.take("tool"),
                result: params.result()?,
            };
            json_of(&tables.recent_actions_page(&filter, &params.page(ROWS)?).await?)
        }
        "tools.stats" => json_of(&tables.tool_stats(params.since(now, 30)?).await?),
        "tools.edges" => json_of(&tables.edge_ledger().await?),
        "gateway.stats" => {
            let stats = tables.gateway_stats(params.since(now, 30)?).await?;
            json_of(&GatewayAnswer {
                stats,
                now: app.gateway.observe(),
                mounts: app.gateway.mounts(),
            })
        }
        "gateway.sessions" => json_of(&tables.recent_sessions(&params.page(ROWS)?).await?),
        "gateway.refusals" => json_of(&tables.recent_refusals(&params.page(ROWS)?).await?),
        "spend.summary" => {
            let spend = tables.spend(params.since(now, 30)?, now).await?;
            let budgets = app.operators.budgets;
            json_of(&SpendAnswer { spend, budgets })
        }
        "projections.status" => json_of(&projections_status(app).await?),
        "replay.status" => json_of(&app.operators.replay.status(app.clock.monotonic())),
        "system.status" => json_of(&system::show(app).await?),
        "audit.recent" => json_of(&AuditAnswer {
            items: app.operators.audit.lines(),
            as_of_seq: app.projector.seq(),
        }),
        _ => Err(Problem::not_found("NOT_FOUND", "there is no such question")),
    }
}

/// A page of one moment's rows, for a function that takes no cursor from outside.
fn first(limit: u32) -> PageRequest {
    PageRequest::first(limit)
}

fn json_of(answer: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(answer).map_err(|error| Problem::internal("an answer cannot be written", &error))
}

/// What got worse.
#[derive(Debug, Serialize, JsonSchema)]
struct FindingsAnswer {
    /// Null before the first tick.
    report: Option<FindingsReport>,
    as_of_seq: StreamSeq,
}

async fn findings(app: &App) -> Result<FindingsAnswer, Problem> {
    let offered = gateway::tools()
        .into_iter()
        .filter(|tool| tool.scope != gateway::Scope::Admin);
    let asked = FindingsQuery {
        since: None,
        as_of: None,
        offered_tools: offered.map(|tool| tool.name.to_owned()).collect(),
    };
    let report = Box::pin(app.tables.findings(&asked)).await?;
    let as_of_seq = app.projector.seq();
    Ok(FindingsAnswer { report, as_of_seq })
}

/// One persona.
#[derive(Debug, Serialize, JsonSchema)]
struct PersonaAnswer {
    persona: PersonaRow,
    feedback: Vec<ModuleFeedback>,
    as_of_seq: StreamSeq,
}

async fn persona(app: &App, params: &mut Params) -> Result<PersonaAnswer, Problem> {
    let id = params.persona()?;
    Ok(PersonaAnswer {
        persona: app.tables.persona(&id).await?.ok_or_else(unknown_persona)?,
        feedback: app.tables.feedback_by_module(&id).await?,
        as_of_seq: app.projector.seq(),
    })
}

/// What came through the door, and what is open now.
#[derive(Debug, Serialize, JsonSchema)]
struct GatewayAnswer {
    #[serde(flatten)]
    stats: GatewayStats,
    now: GatewaySnapshot,
    mounts: Vec<MountSnapshot>,
}

/// What models cost, beside what they may.
#[derive(Debug, Serialize, JsonSchema)]
struct SpendAnswer {
    #[serde(flatten)]
    spend: Spend,
    budgets: Budgets,
}

/// Who read or did what, newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct AuditAnswer {
    items: Vec<ReadLine>,
    as_of_seq: StreamSeq,
}

/// How far the tables are.
#[derive(Debug, Serialize, JsonSchema)]
struct ProjectionsAnswer {
    status: ProjectorStatus,
    log: LogSize,
    lag_events: u64,
    checkpoint: Option<Checkpoint>,
    counts: TableCounts,
    parked: Vec<ParkedRow>,
    as_of_seq: StreamSeq,
}

/// What the log holds.
#[derive(Debug, Serialize, JsonSchema)]
struct LogSize {
    last_seq: StreamSeq,
    messages: u64,
    bytes: u64,
}

async fn projections_status(app: &App) -> Result<ProjectionsAnswer, Problem> {
    let (status, log) = (app.projector.status(), app.log.state().await?);
    let counts = app.tables.counts().await?;
    Ok(ProjectionsAnswer {
        status,
        lag_events: log.last_seq.0.saturating_sub(counts.as_of_seq.0),
        log: LogSize {
            last_seq: log.last_seq,
            messages: log.messages,
            bytes: log.bytes,
        },
        checkpoint: app.tables.checkpoint().await?,
        counts,
        parked: app.tables.parked().await?,
        as_of_seq: counts.as_of_seq,
    })
}
