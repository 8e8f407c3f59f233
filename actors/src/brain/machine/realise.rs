//! From a goal to a call: which tool, which object, which words, and for a newcomer which slip.

use std::collections::BTreeSet;

use events::Intent;
use serde_json::Value;

use super::{Attempt, Machine};
use crate::brain::arguments::{IdSource, Writer, is_id};
use crate::brain::dice::Dice;
use crate::brain::habits::{Act, Goal, act_of};
use crate::brain::harvest::{Harvest, SeenObject};
use crate::brain::mistakes::{self, Mistake};
use crate::brain::words::search_word;
use crate::brain::{PlannedCall, ToolInfo};

/// How often a persona turns to what it made itself rather than to what else it has seen.
const OWN_CHANCE: f64 = 0.8;

impl<'a> Machine<'a> {
    /// The calls for one batch. Goals that cannot be reached now are dropped: no tool for it, or nothing to do it to.
    pub(super) fn attempts(&mut self, batch: Vec<Goal>) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for goal in batch {
            if self.given_up.contains(&goal.module) {
                continue;
            }
            let Some(attempt) = self.attempt(goal) else {
                continue;
            };
            attempts.extend(self.slipped(attempt));
        }
        attempts
    }

    /// One call more, anything that can be done, for a tick that would end too early. Modules the persona gave up
    /// come last.
    pub(super) fn one_more(&mut self) -> Option<Attempt> {
        let (given_up, mut modules): (Vec<String>, Vec<String>) = self
            .modules
            .clone()
            .into_iter()
            .partition(|module| self.given_up.contains(module));
        modules.extend(given_up);
        let acts = [Act::Look, Act::Create, Act::Change];
        let goals = modules.into_iter().flat_map(|module| {
            acts.map(|act| Goal {
                module: module.clone(),
                act,
            })
        });
        let goals: Vec<Goal> = goals.collect();
        goals.into_iter().find_map(|goal| self.attempt(goal))
    }

    fn attempt(&mut self, goal: Goal) -> Option<Attempt> {
        let number = self.begun;
        let mut dice = self.origin.dice(&format!("attempt {number}"));
        let wanted = if goal.act == Act::Look {
            Act::Browse
        } else {
            goal.act
        };
        let mut tools: Vec<&'a ToolInfo> = self
            .tick
            .tools
            .iter()
            .filter(|tool| tool.module == goal.module && act_of(tool) == wanted)
            .collect();
        while !tools.is_empty() {
            let tool = tools.remove(dice.index(tools.len()));
            if let Some(arguments) = self.arguments(tool, goal.act, &mut dice) {
                self.begun += 1;
                let ids = arguments
                    .iter()
                    .filter(|(field, _)| is_id(field))
                    .filter_map(|(_, id)| id.as_str());
                for id in ids {
                    self.used.insert((tool.name.clone(), id.to_owned()));
                }
                let call = PlannedCall {
                    tool: tool.name.clone(),
                    arguments: Value::Object(arguments.clone()),
                    intent: Intent::Valid,
                    mistake: None,
                    retry_of: None,
                    unsent: None,
                };
                let tool = tool.name.clone();
                let (slip, slip_fields) = (None, Vec::new());
                return Some(Attempt {
                    goal,
                    tool,
                    arguments,
                    slip,
                    slip_fields,
                    call,
                    number,
                    tries: 0,
                });
            }
        }
        None
    }

    fn arguments(
        &self,
        tool: &ToolInfo,
        act: Act,
        dice: &mut Dice,
    ) -> Option<serde_json::Map<String, Value>> {
        let looking_for = self
            .created
            .get(&tool.module)
            .filter(|_| act == Act::Look)
            .map(|title| search_word(title));
        let targets = self.targets(tool, act, &[]);
        let optional_chance = if act == Act::CleanUp {
            0.0
        } else {
            self.temper.optional_chance
        };
        let writer = self.writer(tool, &targets, looking_for.as_deref(), optional_chance);
        let arguments = writer.arguments(&tool.input_schema, dice)?;
        let says_what_to_change = act != Act::Change || arguments.keys().any(|field| !is_id(field));
        if says_what_to_change {
            return Some(arguments);
        }
        // An update that updates nothing helps nobody; a tool with no other field, as `todo.complete`, keeps it.
        let writer = self.writer(tool, &targets, None, 1.0);
        let fuller = writer.arguments(&tool.input_schema, dice)?;
        let (id_of, id_now) = (|(field, _): &(&String, &Value)| is_id(field), arguments);
        let mut fuller = fuller;
        for (field, id) in id_now.iter().filter(id_of) {
            fuller.insert(field.clone(), id.clone());
        }
        Some(fuller)
    }

    pub(super) fn writer<'w>(
        &'w self,
        tool: &'w ToolInfo,
        ids: &'w Targets<'w>,
        looking_for: Option<&'w str>,
        optional_chance: f64,
    ) -> Writer<'w, Targets<'w>> {
        let (words, now) = (self.words, self.tick.started_at);
        Writer {
            module: &tool.module,
            words,
            now,
            ids,
            looking_for,
            optional_chance,
        }
    }

    /// The objects a tool may be turned on; `not` are ids that just failed.
    pub(super) fn targets<'w>(&'w self, tool: &'w ToolInfo, act: Act, not: &'w [String]) -> Targets<'w> {
        let is_own_only = act == Act::CleanUp || act_of(tool) == Act::CleanUp;
        Targets {
            harvest: &self.harvest,
            used: &self.used,
            tool,
            is_own_only,
            not,
        }
    }

    /// The attempt as it is, or, for a newcomer now and then, with a slip; what is sent twice comes again right after.
    fn slipped(&mut self, mut attempt: Attempt) -> Vec<Attempt> {
        let mut dice = self.origin.dice(&format!("slip {}", attempt.number));
        if !dice.chance(self.temper.mistake_chance) {
            return vec![attempt];
        }
        let Some(tool) = self.tool(&attempt.tool) else {
            return vec![attempt];
        };
        let Some(slip) = mistakes::slip(tool, &attempt.arguments, self.tick.tools, &mut dice) else {
            return vec![attempt];
        };
        let meant = attempt.clone();
        attempt.call = PlannedCall {
            tool: slip.tool,
            arguments: Value::Object(slip.arguments),
            intent: Intent::Mistake,
            mistake: Some(slip.mistake.name().to_owned()),
            retry_of: None,
            unsent: None,
        };
        attempt.slip = Some(slip.mistake);
        attempt.slip_fields = slip.fields;
        if slip.mistake == Mistake::DoubleSubmit {
            self.retries.push_back(attempt);
            return vec![meant];
        }
        vec![attempt]
    }
}

/// Ids out of this tick's results, for one tool.
#[derive(Debug)]
pub(super) struct Targets<'w> {
    harvest: &'w Harvest,
    used: &'w BTreeSet<(String, String)>,
    tool: &'w ToolInfo,
    is_own_only: bool,
    not: &'w [String],
}

impl IdSource for Targets<'_> {
    fn id_for(&self, field: &str, dice: &mut Dice) -> Option<String> {
        let is_fresh = |object: &&SeenObject| {
            !self.not.contains(&object.id)
                && !self.used.contains(&(self.tool.name.clone(), object.id.clone()))
        };
        let objects = self
            .harvest
            .candidates(&self.tool.module, field)
            .into_iter()
            .filter(is_fresh);
        let (before, objects): (Vec<_>, Vec<_>) = objects.partition(|object| object.is_from_before);
        if !self.is_own_only && !before.is_empty() {
            // What was begun on another day comes before anything of today.
            return dice.pick(&before).map(|object| object.id.clone());
        }
        let (own, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| object.is_own);
        let from = if self.is_own_only || others.is_empty() || (!own.is_empty() && dice.chance(OWN_CHANCE)) {
            own
        } else {
            others
        };
        dice.pick(&from).map(|object| object.id.clone())
    }
}
