//! What a person should look at, from what the rooms say of themselves.

use actors::CastSnapshot;
use gateway::MountSnapshot;
use projections::{ProjectorState, ProjectorStatus};
use schemars::JsonSchema;
use serde::Serialize;

/// Events behind the log from which on the tables are told to be late.
const LAG_EVENTS: u64 = 1_000;
/// Share of a budget from which on it is told to be nearly spent.
const BUDGET_SHARE: f64 = 0.8;

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OverviewAlarm")]
pub(super) struct Alarm {
    /// `page`: a person must act now. `ticket`: soon.
    pub(super) severity: &'static str,
    /// Its stable name.
    pub(super) rule: &'static str,
    /// What is so, and what to do.
    pub(super) text: String,
    /// The page of the dashboard that shows more.
    pub(super) page: &'static str,
}

/// What alarms are judged by.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) cast: &'a CastSnapshot,
    pub(super) projector: &'a ProjectorStatus,
    pub(super) lag_events: u64,
    pub(super) mounts: &'a [MountSnapshot],
    /// Names of those whose actors stay down.
    pub(super) halted: &'a [String],
    /// Dollars spent and the budget, of the day and of the month.
    pub(super) spent: [(&'static str, f64, f64); 2],
}

/// Everything that is wrong, the worst first.
pub(super) fn of(facts: &Facts<'_>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut raise = |severity, rule, page, text: String| {
        alarms.push(Alarm {
            severity,
            rule,
            text,
            page,
        });
    };
    if facts.projector.state == ProjectorState::Halted {
        let text = "The fold has halted: the tables stand still until somebody mends what stopped it.";
        raise("page", "projection-halted", "projections", text.to_owned());
    }
    if let Some(supervisor) = &facts.cast.supervisor
        && supervisor.spent.is_some()
    {
        let text = "The cast has given up after too many restarts; the log of this process says why.";
        raise("page", "cast-spent", "overview", text.to_owned());
    }
    for (period, spent, budget) in facts.spent {
        if budget > 0.0 && spent >= budget {
            let text = format!("The budget of the {period} is spent: ${spent:.2} of ${budget:.2}.");
            raise("page", "budget-spent", "spend", text);
        } else if budget > 0.0 && spent >= budget * BUDGET_SHARE {
            let text = format!("The budget of the {period} is nearly spent: ${spent:.2} of ${budget:.2}.");
            raise("ticket", "budget-near", "spend", text);
        }
    }
    if facts.lag_events >= LAG_EVENTS {
        let text = format!("The tables are {} commits behind the log.", facts.lag_events);
        raise("ticket", "projection-lag", "projections", text);
    }
    if facts.projector.parked > 0 {
        let text = format!(
            "{} commits could not be folded; look at the reasons, then fold them again.",
            facts.projector.parked
        );
        raise("ticket", "parked", "projections", text);
    }
    for name in facts.halted {
        let text = format!("{name} stays down after failing too often; a tick by hand tries again.");
        raise("ticket", "persona-halted", "personas", text);
    }
    for mount in facts.mounts.iter().filter(|mount| !mount.is_up) {
        let text = format!("The mounted server {} does not answer.", mount.name);
        raise("ticket", "mount-down", "gateway", text);
    }
    for mount in facts.mounts.iter().filter(|mount| !mount.quarantined.is_empty()) {
        let text = format!(
            "{} tools of the mounted server {} wait for approval.",
            mount.quarantined.len(),
            mount.name
        );
        raise("ticket", "mount-quarantine", "gateway", text);
    }
    alarms.sort_by_key(|alarm| alarm.severity != "page");
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> CastSnapshot {
        CastSnapshot {
            paused: false,
            concurrency: 2,
            acting: Vec::new(),
            waiting: Vec::new(),
            stopping: false,
            scheduler: None,
            roster: None,
            supervisor: None,
        }
    }

    fn rules(
        projector: &ProjectorStatus,
        lag_events: u64,
        spent: [(&'static str, f64, f64); 2],
    ) -> Vec<&'static str> {
        let facts = Facts {
            cast: &quiet(),
            projector,
            lag_events,
            mounts: &[],
            halted: &[],
            spent,
        };
        of(&facts).iter().map(|alarm| alarm.rule).collect()
    }

    #[test]
    fn a_house_that_is_well_raises_nothing_and_the_worst_comes_first() {
        let within = [("day", 1.0, 10.0), ("month", 1.0, 100.0)];
        let mut projector = ProjectorStatus::default();
        assert!(rules(&projector, 999, within).is_empty());
        assert_eq!(
            rules(&projector, 0, [("day", 0.0, 0.0), ("month", 5.0, 0.0)]),
            Vec::<&str>::new()
        );
        projector.parked = 3;
        let over = [("day", 8.0, 10.0), ("month", 100.0, 100.0)];
        assert_eq!(
            rules(&projector, 1_000, over),
            ["budget-spent", "budget-near", "projection-lag", "parked"]
        );
        projector.state = ProjectorState::Halted;
        assert_eq!(rules(&projector, 0, within), ["projection-halted", "parked"]);
    }
}
