//! Mistakes: what becomes of those who err, and whose refusals have stopped helping them.
//!
//! A mistake that was meant as one and is refused is the app working. Whether the refusal says what to mend shows in what
//! follows: those who read it mend their call, the others try the same again or leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{CallId, Cause, Intent, PersonaId, TickId};
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{AcceptedMistake, History, Trouble};
use super::stats::{Interval, Share, false_discovery_rates, fisher_greater, step_of};
use super::{Evidence, Finding, FindingKind, Moment, percent};
use crate::queries::CallResult;

/// Further tries within which a mistake that was well explained is mended.
const TRIES_MAX: u32 = 2;
/// The days of mistakes that are held against the ones before.
const HELP_NOW_DAYS: u32 = 14;
/// The days before them.
const HELP_BEFORE_DAYS: u32 = 42;
/// Fewer mistakes in either say nothing.
const HELP_MISTAKES_MIN: u64 = 8;
/// The rate of false discovery over all modules. It is strict because nobody looks a second time.
const HELP_RATE: f64 = 0.001;
/// A fall of fewer percentage points is nobody's morning news.
const HELP_FALL_MIN: f64 = 0.3;

/// What becomes of those who are refused.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Recovery {
    /// The module.
    pub module: String,
    /// Mistakes that were mended within two further tries, of those the app refused.
    pub recovered: Share,
    /// Where the rate may well lie (95 %).
    pub interval: Option<Interval>,
    /// Mistakes that the app took as if they were right.
    pub accepted: u64,
}

/// A mistake that the app refused, and whether it was mended within two further tries.
#[derive(Debug)]
struct Refused<'a> {
    trouble: &'a Trouble,
    is_recovered: bool,
}

/// Every first refusal of a deliberate mistake. What follows it belongs to it.
fn refused(history: &History) -> Vec<Refused<'_>> {
    let retries: HashMap<(&TickId, &CallId), &Trouble> = history
        .troubles
        .iter()
        .filter_map(|trouble| Some(((&trouble.tick_id, trouble.retry_of.as_ref()?), trouble)))
        .collect();
    let is_recovered = |first: &Trouble| {
        let mut call = &first.call_id;
        for _ in 0..TRIES_MAX {
            match retries.get(&(&first.tick_id, call)) {
                Some(next) if next.result == CallResult::Ok => return true,
                Some(next) => call = &next.call_id,
                None => return false,
            }
        }
        false
    };
    let is_first_refusal = |trouble: &&Trouble| {
        trouble.intent != Intent::Valid
            && trouble.result == CallResult::Error
            && trouble.cause == Some(Cause::Persona)
            && trouble.retry_of.is_none()
    };
    history
        .troubles
        .iter()
        .filter(is_first_refusal)
        .map(|trouble| Refused {
            trouble,
            is_recovered: is_recovered(trouble),
        })
        .collect()
}

/// One finding for each tool and mistake that it took as if it were right. Nobody who errs there ever learns of it.
pub(super) fn accepted(history: &History) -> Vec<Finding> {
    let mut kinds: BTreeMap<(&str, &str), Vec<&AcceptedMistake>> = BTreeMap::new();
    for accepted in &history.accepted {
        let kind = (accepted.tool.as_str(), accepted.mistake.as_str());
        kinds.entry(kind).or_default().push(accepted);
    }
    kinds
        .into_iter()
        .map(|((tool, mistake), accepted)| {
            let people: BTreeSet<&str> = accepted
                .iter()
                .map(|accepted| accepted.evidence.persona_id.as_str())
                .collect();
            let module = accepted.first().map(|accepted| accepted.module.clone());
            let evidence = accepted.iter().take(Evidence::MAX);
            Finding {
                kind: FindingKind::AcceptedMistake,
                module: module.unwrap_or_default(),
                tool: Some(tool.to_owned()),
                headline: format!(
                    "{tool} takes a mistake as if it were right: {}",
                    mistake.replace('-', " ")
                ),
                detail: format!(
                    "{} such calls, wrong on purpose, were answered as if they had worked",
                    accepted.len()
                ),
                since: accepted.iter().map(|accepted| accepted.at).min(),
                deploy: None,
                personas_affected: people.len() as u64,
                p_value: None,
                false_discovery_rate: None,
                evidence: evidence.map(|accepted| accepted.evidence.clone()).collect(),
            }
        })
        .collect()
}

/// Per module, what became of the mistakes of the last `days` days.
pub(super) fn recoveries(history: &History, days: u32) -> Vec<Recovery> {
    let mut modules: BTreeMap<&str, (Share, u64)> = BTreeMap::new();
    for refused in refused(history)
        .iter()
        .filter(|refused| refused.trouble.day < days)
    {
        let (share, _) = modules.entry(&refused.trouble.module).or_default();
        *share = Share::new(share.of + u64::from(refused.is_recovered), share.total + 1);
    }
    for cell in history
        .calls
        .iter()
        .filter(|cell| cell.day < days && cell.accepted_mistakes > 0)
    {
        modules.entry(&cell.module).or_default().1 += cell.accepted_mistakes;
    }
    modules
        .into_iter()
        .map(|(module, (recovered, accepted))| Recovery {
            module: module.to_owned(),
            recovered,
            interval: recovered.interval(),
            accepted,
        })
        .collect()
}

/// Modules whose refusals have stopped helping: mistakes that are not mended, the last two weeks against the six before.
pub(super) fn unhelpful(history: &History, moment: &Moment) -> Vec<Finding> {
    let all = refused(history);
    let mut modules: BTreeMap<&str, BTreeMap<u32, Share>> = BTreeMap::new();
    for refused in &all {
        let days = modules.entry(&refused.trouble.module).or_default();
        let day = days.entry(refused.trouble.day).or_default();
        *day = Share::new(day.of + u64::from(!refused.is_recovered), day.total + 1);
    }
    let sum = |days: &BTreeMap<u32, Share>, from: u32, to: u32| {
        days.range(from..to).fold(Share::default(), |sum, (_, day)| {
            Share::new(sum.of + day.of, sum.total + day.total)
        })
    };
    let compared: Vec<_> = modules
        .iter()
        .map(|(module, days)| {
            let now = sum(days, 0, HELP_NOW_DAYS);
            let before = sum(days, HELP_NOW_DAYS, HELP_NOW_DAYS + HELP_BEFORE_DAYS);
            (*module, days, now, before)
        })
        .filter(|(_, _, now, before)| now.total >= HELP_MISTAKES_MIN && before.total >= HELP_MISTAKES_MIN)
        .collect();
    let p_values: Vec<f64> = compared
        .iter()
        .map(|(_, _, now, before)| fisher_greater(*now, *before))
        .collect();
    let rates = false_discovery_rates(&p_values);
    let mut found = Vec::new();
    for (at, (module, days, now, before)) in compared.into_iter().enumerate() {
        if rates[at] > HELP_RATE || now.rate() - before.rate() < HELP_FALL_MIN {
            continue;
        }
        let in_vain: Vec<&Trouble> = all
            .iter()
            .filter(|refused| !refused.is_recovered && refused.trouble.day < HELP_NOW_DAYS)
            .map(|refused| refused.trouble)
            .filter(|trouble| &*trouble.module == module)
            .collect();
        let personas: BTreeSet<&PersonaId> = in_vain.iter().map(|trouble| &trouble.persona_id).collect();
        let span = HELP_NOW_DAYS + HELP_BEFORE_DAYS;
        let oldest_first: Vec<Share> = (0..span)
            .rev()
            .map(|day| days.get(&day).copied().unwrap_or_default())
            .collect();
        let since = step_of(&oldest_first)
            .map(|place| moment.days_ago((span - 1).saturating_sub(u32::try_from(place).unwrap_or(span))));
        let told = in_vain
            .first()
            .and_then(|trouble| trouble.error.clone())
            .unwrap_or_default();
        let told_before = all
            .iter()
            .find(|refused| refused.is_recovered && &*refused.trouble.module == module)
            .and_then(|refused| refused.trouble.error.clone())
            .unwrap_or_default();
        found.push(Finding {
            kind: FindingKind::UnhelpfulErrors,
            module: module.to_owned(),
            tool: None,
            headline: format!(
                "{module} no longer says what to mend: {} of mistakes are not recovered from, before {}",
                percent(now.rate()),
                percent(before.rate())
            ),
            detail: format!(
                "{} of {} mistakes in the last {HELP_NOW_DAYS} days, {} of {} in the {HELP_BEFORE_DAYS} before; it says: {told}; \
                 what helped said: {told_before}",
                now.of, now.total, before.of, before.total
            ),
            since,
            deploy: None,
            personas_affected: personas.len() as u64,
            p_value: p_values.get(at).copied(),
            false_discovery_rate: rates.get(at).copied(),
            evidence: in_vain.into_iter().take(Evidence::MAX).map(Evidence::of_call).collect(),
        });
    }
    found
}
