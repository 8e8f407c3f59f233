//! What a tick sets out to do: browse, create, look again, change, clean up, module by module.

use std::collections::{BTreeSet, VecDeque};

use super::dice::{Dice, Origin};
use super::remember::takes_an_id;
use super::temper::Temper;
use super::{TickView, ToolInfo};

/// What a persona wants of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// See what is there.
    Browse,
    /// Make something new.
    Create,
    /// See whether it is there now.
    Look,
    /// Update or complete something.
    Change,
    /// Archive or delete something of its own.
    CleanUp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) module: String,
    pub(super) act: Act,
}

/// Goals in order; those of one batch are sent together.
pub(super) type Plan = VecDeque<Vec<Goal>>;

const READ_VERBS: [&str; 12] = [
    "list", "search", "get", "find", "show", "read", "query", "browse", "count", "fetch", "view", "export",
];
const CREATE_VERBS: [&str; 9] = [
    "create", "add", "new", "make", "insert", "log", "record", "write", "post",
];
const CLEAN_UP_VERBS: [&str; 8] = [
    "archive", "delete", "remove", "clear", "trash", "purge", "destroy", "cancel",
];

/// What a tool is for: by its annotations, else by the verb in its name. A writing tool whose verb is in no list
/// changes something.
pub(super) fn act_of(tool: &ToolInfo) -> Act {
    let verb = verb_of(&tool.name);
    let is = |verbs: &[&str]| verbs.contains(&verb.as_str());
    if tool.read_only {
        Act::Browse
    } else if is(&CREATE_VERBS) {
        // Before the next: a tool that says nothing of itself counts as one that may destroy.
        Act::Create
    } else if tool.destructive || is(&CLEAN_UP_VERBS) {
        Act::CleanUp
    } else if is(&READ_VERBS) {
        Act::Browse
    } else {
        Act::Change
    }
}

/// `create` in `todo.create`, `todo.createTask` and `todo.create_task`.
fn verb_of(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let end = last
        .find(|c: char| c.is_uppercase() || !c.is_alphanumeric())
        .unwrap_or(last.len());
    last.get(..end).unwrap_or(last).to_lowercase()
}

/// The modules of the mix that have tools, the ones taken up in this tick first, each in drawn order.
pub(super) fn modules(tick: &TickView<'_>, temper: &Temper, origin: Origin) -> (Vec<String>, Vec<String>) {
    let offered: BTreeSet<&str> = tick.tools.iter().map(|tool| tool.module.as_str()).collect();
    let mut weights: Vec<(&str, f64)> = tick
        .persona
        .module_mix
        .iter()
        .map(|(module, weight)| (module.as_str(), *weight))
        .filter(|(module, weight)| *weight > 0.0 && offered.contains(module))
        .collect();
    let mut dice = origin.dice("modules");
    let wanted = usize::try_from(dice.between(temper.modules.0, temper.modules.1)).unwrap_or(1);
    let mut drawn = Vec::new();
    while !weights.is_empty() {
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut left = dice.share() * sum;
        let at = weights.iter().position(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        drawn.push(weights.remove(at.unwrap_or(0)).0.to_owned());
    }
    // Whoever left something open comes back to it first.
    if let Some(at) = resumed(tick).and_then(|open| drawn.iter().position(|module| *module == open)) {
        let module = drawn.remove(at);
        drawn.insert(0, module);
    }
    let others = drawn.split_off(wanted.min(drawn.len()));
    (drawn, others)
}

/// The module of the newest thing that was left open on another day and that can be changed.
pub(super) fn resumed(tick: &TickView<'_>) -> Option<String> {
    let can_change = |module: &str| {
        let mut tools = tick.tools.iter().filter(|tool| tool.module == module);
        tools.any(|tool| act_of(tool) == Act::Change && takes_an_id(tool))
    };
    let open = tick.diary.open().iter().rev();
    open.map(|known| known.module.as_str())
        .find(|module| can_change(module))
        .map(str::to_owned)
}

/// The goals for `modules`; what was left open in `resumed` is seen to before anything else there.
pub(super) fn plan(modules: &[String], resumed: Option<&str>, temper: &Temper, origin: Origin) -> Plan {
    let mut routines: Vec<Plan> = modules
        .iter()
        .map(|module| {
            let mut plan = routine(module, temper, &mut origin.dice(&format!("routine {module}")));
            if resumed == Some(module) {
                let (module, act) = (module.clone(), Act::Change);
                plan.push_front(vec![Goal { module, act }]);
            }
            plan
        })
        .collect();
    if temper.is_parallel {
        look_around_at_once(&mut routines);
    }
    let mut plan = Plan::new();
    let Some(forget_chance) = temper.hops else {
        plan.extend(routines.into_iter().flatten());
        return plan;
    };
    let mut dice = origin.dice("hops");
    while !routines.is_empty() {
        let at = dice.index(routines.len());
        match routines.get_mut(at).and_then(VecDeque::pop_front) {
            Some(batch) => plan.push_back(batch),
            None => drop(routines.remove(at)),
        }
        if routines.len() > 1 && dice.chance(forget_chance) {
            routines.remove(dice.index(routines.len()));
        }
    }
    plan
}

/// Looks around in the first two modules together, where both begin with that.
fn look_around_at_once(routines: &mut [Plan]) {
    let [first, second, ..] = routines else {
        return;
    };
    let begins = |plan: &Plan| {
        plan.front()
            .is_some_and(|batch| batch.iter().all(|goal| goal.act == Act::Browse))
    };
    if begins(first)
        && begins(second)
        && let (Some(here), Some(there)) = (first.front_mut(), second.pop_front())
    {
        here.extend(there);
    }
}

/// One module's habit.
fn routine(module: &str, temper: &Temper, dice: &mut Dice) -> Plan {
    let goal = |act| Goal {
        module: module.to_owned(),
        act,
    };
    let mut plan = Plan::new();
    if dice.chance(temper.browse_chance) {
        plan.push_back(vec![goal(Act::Browse)]);
    }
    let creations = dice.between(temper.creations.0, temper.creations.1);
    let changes = if dice.chance(temper.change_chance) {
        creations.min(2)
    } else {
        0
    };
    for (act, count) in [(Act::Create, creations), (Act::Look, 1), (Act::Change, changes)] {
        // Never two creations: which of them the app takes first is chance, and shows in every list from then on.
        let at_once = if temper.is_parallel && act != Act::Create {
            2
        } else {
            1
        };
        let mut left = count;
        while left > 0 {
            plan.push_back((0..left.min(at_once)).map(|_| goal(act)).collect());
            left -= at_once;
        }
    }
    if dice.chance(temper.tidy_chance) {
        plan.push_back(vec![goal(Act::CleanUp)]);
        plan.push_back(vec![goal(Act::Look)]);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(name: &str, read_only: bool, destructive: bool) -> ToolInfo {
        ToolInfo {
            name: name.to_owned(),
            module: name.split('.').next().unwrap_or_default().to_owned(),
            description: String::new(),
            input_schema: json!({}),
            read_only,
            destructive,
        }
    }

    #[test]
    fn annotations_count_before_the_verb() {
        assert_eq!(act_of(&tool("todo.create", true, false)), Act::Browse);
        assert_eq!(act_of(&tool("todo.update", false, true)), Act::CleanUp);
    }

    #[test]
    fn without_annotations_the_verb_decides() {
        let acts = [
            "habits.list",
            "notes.search",
            "journal.add",
            "todo.createTask",
            "todo.complete",
            "x.delete_all",
        ]
        .map(|name| act_of(&tool(name, false, false)));
        assert_eq!(
            acts,
            [
                Act::Browse,
                Act::Browse,
                Act::Create,
                Act::Create,
                Act::Change,
                Act::CleanUp
            ]
        );
    }
}
