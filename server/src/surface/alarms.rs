//! Alarms: what a person should look at, raised once and cleared once.
//!
//! The rules are a pure function of what was observed. The same names are in `docs/operations.md`, with what to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::{ALARM_PREFIX, Clock as _};
use jiff::Timestamp;
use metrics::gauge;
use projections::ProjectorState;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Surface;
use crate::http::App;

/// How often the house is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the log may take to say how far it is.
const LOG_WITHIN: Duration = Duration::from_secs(5);
/// Events the tables may be behind, two looks in a row.
const LAG_EVENTS_MAX: u64 = 1_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// The log does not answer.
    LogDown,
    /// The fold has halted.
    ProjectionHalted,
    /// The tables are far behind the log.
    ProjectionLag,
    /// Commits could not be folded.
    EventsParked,
    /// The cast has given up.
    CastDown,
}

impl Rule {
    pub(crate) const ALL: [Self; 5] = [
        Self::LogDown,
        Self::ProjectionHalted,
        Self::ProjectionLag,
        Self::EventsParked,
        Self::CastDown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::LogDown => "log-down",
            Self::ProjectionHalted => "projection-halted",
            Self::ProjectionLag => "projection-lag",
            Self::EventsParked => "events-parked",
            Self::CastDown => "cast-down",
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::LogDown | Self::ProjectionHalted | Self::CastDown => Severity::Critical,
            Self::ProjectionLag | Self::EventsParked => Severity::Warning,
        }
    }

    /// Where it is raised and cleared.
    pub(crate) fn subject(self) -> String {
        format!("{ALARM_PREFIX}.{}.{}", self.severity().as_str(), self.as_str())
    }
}

/// An alarm, as it is told when it is raised and when it is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Alarm {
    rule: Rule,
    severity: Severity,
    /// `raised` or `cleared`.
    state: String,
    /// For people.
    summary: String,
    /// Since when it stands, or stood.
    #[schemars(with = "String")]
    since: Timestamp,
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Observed {
    is_log_up: bool,
    is_halted: bool,
    lag_events: u64,
    /// How far the tables were behind at the look before.
    lag_events_before: u64,
    parked: u64,
    is_cast_down: bool,
}

/// Which rules are broken, each with a line for people.
fn broken(observed: Observed) -> BTreeMap<Rule, String> {
    let mut broken = BTreeMap::new();
    if !observed.is_log_up {
        broken.insert(Rule::LogDown, "the log does not answer".to_owned());
    }
    if observed.is_halted {
        broken.insert(
            Rule::ProjectionHalted,
            "the fold has halted; the tables stand still".to_owned(),
        );
    }
    if observed.lag_events.min(observed.lag_events_before) > LAG_EVENTS_MAX {
        broken.insert(
            Rule::ProjectionLag,
            format!("the tables are {} events behind the log", observed.lag_events),
        );
    }
    if observed.parked > 0 {
        broken.insert(
            Rule::EventsParked,
            format!("{} commits could not be folded", observed.parked),
        );
    }
    if observed.is_cast_down {
        broken.insert(Rule::CastDown, "the cast has given up; nobody acts".to_owned());
    }
    broken
}

/// The alarms that stand. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarms(Arc<Mutex<BTreeMap<Rule, Alarm>>>);

impl Alarms {
    /// Those that stand now, the worst first.
    pub(crate) fn standing(&self) -> Vec<Alarm> {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alarms: Vec<Alarm> = standing.values().cloned().collect();
        alarms.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(&b.rule)));
        alarms
    }

    /// Takes what is broken now, and gives what is to be told: what is new, and what is over.
    fn take(&self, broken: &BTreeMap<Rule, String>, now: Timestamp) -> Vec<Alarm> {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for (rule, summary) in broken {
            if let Some(alarm) = standing.get_mut(rule) {
                alarm.summary.clone_from(summary);
                continue;
            }
            let alarm = Alarm {
                rule: *rule,
                severity: rule.severity(),
                state: "raised".to_owned(),
                summary: summary.clone(),
                since: now,
            };
            told.push(alarm.clone());
            standing.insert(*rule, alarm);
        }
        standing.retain(|rule, alarm| {
            let stands = broken.contains_key(rule);
            if !stands {
                told.push(Alarm {
                    state: "cleared".to_owned(),
                    ..alarm.clone()
                });
            }
            stands
        });
        told
    }
}

/// Looks at the house again and again, until `stop`, and tells what changes.
pub(super) async fn watch(surface: Surface, stop: CancellationToken) -> Result<(), String> {
    show(&BTreeMap::new());
    let mut lag_events_before = 0;
    loop {
        let observed = observe(&surface.app, lag_events_before).await;
        lag_events_before = observed.lag_events;
        let broken = broken(observed);
        show(&broken);
        for alarm in surface.alarms.take(&broken, surface.app.clock.now()) {
            let Ok(body) = serde_json::to_vec(&alarm) else {
                continue;
            };
            tracing::warn!(
                alarm.rule = alarm.rule.as_str(),
                alarm.state = alarm.state,
                "{}",
                alarm.summary
            );
            let told = surface.client.publish(alarm.rule.subject(), body.into());
            if let Err(error) = told.await {
                tracing::debug!(%error, "an alarm was not told over NATS");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = surface.app.clock.sleep(LOOK_EVERY) => {}
        }
    }
}

fn show(broken: &BTreeMap<Rule, String>) {
    for rule in Rule::ALL {
        let stands = if broken.contains_key(&rule) { 1.0 } else { 0.0 };
        gauge!("dramatis_alarm", "rule" => rule.as_str(), "severity" => rule.severity().as_str()).set(stands);
    }
}

async fn observe(app: &App, lag_events_before: u64) -> Observed {
    let status = app.projector.status();
    let state = tokio::time::timeout(LOG_WITHIN, app.log.state()).await;
    let end = state.ok().and_then(Result::ok).map(|state| state.last_seq.0);
    let cast = app.cast.observe().await;
    Observed {
        is_log_up: end.is_some(),
        is_halted: status.state == ProjectorState::Halted,
        lag_events: end.map_or(lag_events_before, |end| end.saturating_sub(status.seq.0)),
        lag_events_before,
        parked: status.parked,
        is_cast_down: cast
            .supervisor
            .as_ref()
            .is_some_and(|supervisor| supervisor.spent.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Observed = Observed {
        is_log_up: true,
        is_halted: false,
        lag_events: 0,
        lag_events_before: 0,
        parked: 0,
        is_cast_down: false,
    };

    fn rules(observed: Observed) -> Vec<Rule> {
        broken(observed).into_keys().collect()
    }

    #[test]
    fn each_rule_is_broken_by_its_own_fault_and_by_nothing_else() {
        assert_eq!(rules(WELL), []);
        assert_eq!(
            rules(Observed {
                is_log_up: false,
                ..WELL
            }),
            [Rule::LogDown]
        );
        assert_eq!(
            rules(Observed {
                is_halted: true,
                ..WELL
            }),
            [Rule::ProjectionHalted]
        );
        assert_eq!(rules(Observed { parked: 1, ..WELL }), [Rule::EventsParked]);
        assert_eq!(
            rules(Observed {
                is_cast_down: true,
                ..WELL
            }),
            [Rule::CastDown]
        );
    }

    #[test]
    fn a_short_lag_is_no_alarm_and_a_long_one_is() {
        let burst = Observed {
            lag_events: LAG_EVENTS_MAX + 1,
            ..WELL
        };
        assert_eq!(rules(burst), []);
        let lasting = Observed {
            lag_events_before: LAG_EVENTS_MAX + 1,
            ..burst
        };
        assert_eq!(rules(lasting), [Rule::ProjectionLag]);
    }

    #[test]
    fn an_alarm_is_told_once_when_it_is_raised_and_once_when_it_is_cleared() {
        let alarms = Alarms::default();
        let parked = broken(Observed { parked: 2, ..WELL });
        let told = alarms.take(&parked, Timestamp::UNIX_EPOCH);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].state, "raised");
        assert_eq!(alarms.take(&parked, Timestamp::MAX), []);
        assert_eq!(alarms.standing()[0].since, Timestamp::UNIX_EPOCH);
        let told = alarms.take(&broken(WELL), Timestamp::MAX);
        assert_eq!((told.len(), told[0].state.as_str()), (1, "cleared"));
        assert_eq!(alarms.standing(), []);
        assert_eq!(alarms.take(&broken(WELL), Timestamp::MAX), []);
    }
}
