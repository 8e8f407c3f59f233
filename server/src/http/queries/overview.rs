//! The first page in one answer: who acts, how it goes, what is wrong.

use actors::{CastSnapshot, PersonaSnapshot};
use events::{Clock as _, PersonaId, StreamSeq};
use jiff::{SignedDuration, Timestamp};
use projections::{CastLine, ModuleScores, PAGE_MAX, Page};
use schemars::JsonSchema;
use serde::Serialize;

use super::alarms::Alarm;
use super::{alarms, first};
use crate::http::App;
use crate::http::operators::Budgets;
use crate::http::problem::Problem;

/// Days of the spark lines.
const DAYS: u32 = 7;
/// Days a month's budget looks back, at most.
const MONTH_DAYS: i64 = 31;

/// The first page.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Overview {
    #[schemars(with = "events::Moment")]
    now: Timestamp,
    version: &'static str,
    /// `production` or `development`.
    environment: &'static str,
    log_seq: StreamSeq,
    lag_events: u64,
    /// Of the last half minute; null until somebody has looked twice.
    commits_per_second: Option<f64>,
    cast: CastSeen,
    day: DaySeen,
    scores: ModuleScores,
    spend: SpendSeen,
    alarms: Vec<Alarm>,
    as_of_seq: StreamSeq,
}

/// Who acts.
#[derive(Debug, Serialize, JsonSchema)]
struct CastSeen {
    paused: bool,
    /// Ticks that may run at once.
    concurrency: usize,
    acting: Vec<PersonaSnapshot>,
    waiting: Vec<PersonaId>,
    personas: usize,
    /// Names of those whose actors stay down.
    halted: Vec<String>,
    next_due: Option<NextDue>,
}

/// Who acts next.
#[derive(Debug, Serialize, JsonSchema)]
struct NextDue {
    name: String,
    persona_id: PersonaId,
    #[schemars(with = "events::Moment")]
    at: Timestamp,
}

/// Calls of the last day.
#[derive(Debug, Serialize, JsonSchema)]
struct DaySeen {
    calls: u64,
    errors: u64,
}

/// What models cost.
#[derive(Debug, Serialize, JsonSchema)]
struct SpendSeen {
    today_micro_usd: u64,
    month_micro_usd: u64,
    budgets: Budgets,
}

/// What a person should look at.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Alarms {
    /// The worst first.
    items: Vec<Alarm>,
    as_of_seq: StreamSeq,
}

/// The answer of `overview`.
pub(super) async fn show(app: &App) -> Result<Overview, Problem> {
    let now = app.clock.now();
    let seen = Seen::look(app, now).await?;
    let scores = app.tables.module_scores(now, DAYS).await?;
    let commits_per_second = app.operators.pace.look(app.clock.monotonic(), seen.log_seq);
    let (calls, errors) = seen
        .cast_lines
        .items
        .iter()
        .fold((0, 0), |(calls, errors), line| {
            (calls + line.calls, errors + line.errors)
        });
    Ok(Overview {
        now,
        version: env!("CARGO_PKG_VERSION"),
        environment: app.settings.environment(),
        log_seq: seen.log_seq,
        lag_events: seen.lag_events,
        commits_per_second,
        cast: CastSeen {
            next_due: next_due(&seen.cast),
            paused: seen.cast.paused,
            concurrency: seen.cast.concurrency,
            acting: seen.cast.acting,
            waiting: seen.cast.waiting,
            personas: seen.cast_lines.items.len(),
            halted: seen.halted,
        },
        day: DaySeen { calls, errors },
        spend: SpendSeen {
            today_micro_usd: seen.today_micro_usd,
            month_micro_usd: seen.month_micro_usd,
            budgets: app.operators.budgets,
        },
        alarms: seen.alarms,
        as_of_seq: scores.as_of_seq,
        scores,
    })
}

/// The answer of `alarms.list`.
pub(super) async fn alarms(app: &App) -> Result<Alarms, Problem> {
    let seen = Seen::look(app, app.clock.now()).await?;
    Ok(Alarms {
        items: seen.alarms,
        as_of_seq: app.projector.seq(),
    })
}

/// What a look around the house shows.
struct Seen {
    cast: CastSnapshot,
    cast_lines: Page<CastLine>,
    halted: Vec<String>,
    log_seq: StreamSeq,
    lag_events: u64,
    today_micro_usd: u64,
    month_micro_usd: u64,
    alarms: Vec<Alarm>,
}

impl Seen {
    async fn look(app: &App, now: Timestamp) -> Result<Self, Problem> {
        let day = now
            .saturating_sub(SignedDuration::from_hours(24))
            .unwrap_or(Timestamp::MIN);
        let (cast, log) = tokio::join!(app.cast.observe(), app.log.state());
        let log_seq = log?.last_seq;
        let cast_lines = app.tables.cast(day, &first(PAGE_MAX)).await?;
        let month = month_of(now);
        let spend = app.tables.spend(month, now).await?;
        let projector = app.projector.status();
        let lag_events = log_seq.0.saturating_sub(app.projector.seq().0);
        let halted: Vec<String> = cast_lines
            .items
            .iter()
            .filter(|line| line.halted.is_some())
            .map(|line| line.name.clone())
            .collect();
        let budgets = app.operators.budgets;
        let mounts = app.gateway.mounts();
        let facts = alarms::Facts {
            cast: &cast,
            projector: &projector,
            lag_events,
            mounts: &mounts,
            halted: &halted,
            spent: [
                ("day", dollars(spend.today_micro_usd), budgets.day_usd),
                ("month", dollars(spend.total_micro_usd), budgets.month_usd),
            ],
        };
        let alarms = alarms::of(&facts);
        Ok(Self {
            cast,
            cast_lines,
            halted,
            log_seq,
            lag_events,
            today_micro_usd: spend.today_micro_usd,
            month_micro_usd: spend.total_micro_usd,
            alarms,
        })
    }
}

fn dollars(micro_usd: u64) -> f64 {
    micro_usd as f64 / 1e6
}

/// The first instant of the month of UTC that `now` is in.
fn month_of(now: Timestamp) -> Timestamp {
    let day = now.to_zoned(jiff::tz::TimeZone::UTC).day();
    let midnight = now.as_second().div_euclid(86_400) * 86_400;
    let back = i64::from(day - 1).min(MONTH_DAYS) * 86_400;
    Timestamp::from_second(midnight - back).unwrap_or(now)
}

fn next_due(cast: &CastSnapshot) -> Option<NextDue> {
    let roster = cast.roster.as_ref()?;
    let next = roster
        .personas
        .iter()
        .filter(|line| line.halted.is_none())
        .min_by_key(|line| line.next_due)?;
    Some(NextDue {
        name: next.name.clone(),
        persona_id: next.persona_id.clone(),
        at: next.next_due,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_its_first_midnight() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(month_of(at("2026-03-31T23:59:59Z")), at("2026-03-01T00:00:00Z"));
        assert_eq!(month_of(at("2026-03-01T00:00:00Z")), at("2026-03-01T00:00:00Z"));
    }
}
