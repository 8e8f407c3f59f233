//! What callers are told when something fails: what is new, and who goes round in circles.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{Cause, Intent, PersonaId, TickId};
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{DAYS, History, Trouble};
use super::{Evidence, Finding, FindingKind, day_text};
use crate::queries::CallResult;

/// Characters of a fingerprint.
const FINGERPRINT_CHARS_MAX: usize = 160;

/// The days in which a failure that was never seen before is new.
const NEW_DAYS: u32 = 7;
/// Times it must have been seen to be more than an accident…
const NEW_TIMES_MIN: usize = 4;
/// …by so many personas.
const NEW_PERSONAS_MIN: usize = 2;
/// Calls of the tool before that; a tool nobody knew has only new failures.
const KNOWN_CALLS_MIN: u64 = 20;

/// Somebody who tried the same thing again and was told the same.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Confusion {
    /// The tool.
    pub tool: String,
    /// What they were told, without numbers and names.
    pub told: String,
    /// Ticks in which one persona met it twice or more.
    pub ticks: u64,
    /// Personas that did.
    pub personas_affected: u64,
    /// Calls that show it.
    pub evidence: Vec<Evidence>,
}

/// An error without what differs from call to call: numbers, ids and quoted words become `#` and `…`.
pub(super) fn fingerprint(error: &str) -> String {
    let mut print = String::new();
    let mut quoted = false;
    for word in error.to_lowercase().split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '"' && c != '\'' && c != '`');
        let opens = bare.starts_with(['"', '`']);
        let closes = bare.len() > 1 && bare.ends_with(['"', '`']);
        let shown = if quoted || opens {
            let is_first = !quoted;
            quoted = !closes;
            if !is_first {
                continue;
            }
            "…".to_owned()
        } else if word.chars().any(|c| c.is_ascii_digit()) {
            word.chars()
                .map(|c| if c.is_alphanumeric() { '#' } else { c })
                .fold(String::new(), |mut text, c| {
                    if !(c == '#' && text.ends_with('#')) {
                        text.push(c);
                    }
                    text
                })
        } else {
            word.to_owned()
        };
        if !print.is_empty() {
            print.push(' ');
        }
        print.push_str(&shown);
    }
    events::capped(&print, FINGERPRINT_CHARS_MAX)
}

/// Fingerprints of texts that come again and again, each made once.
#[derive(Debug, Default)]
struct Fingerprints<'a>(HashMap<&'a str, String>);

impl<'a> Fingerprints<'a> {
    fn of(&mut self, trouble: &'a Trouble) -> String {
        let error = trouble.error.as_deref().unwrap_or_default();
        self.0.entry(error).or_insert_with(|| fingerprint(error)).clone()
    }
}

/// Failures that nobody on record has met before this week: the same words of the same tool, four times or more, by two
/// personas or more.
pub(super) fn new_errors(history: &History) -> Vec<Finding> {
    let mut known: HashMap<&str, u64> = HashMap::new();
    for cell in history.calls.iter().filter(|cell| cell.day >= NEW_DAYS) {
        *known.entry(cell.tool.as_str()).or_default() += cell.calls;
    }
    let mut prints = Fingerprints::default();
    let mut seen: BTreeMap<(&str, String), Vec<&Trouble>> = BTreeMap::new();
    for trouble in history
        .troubles
        .iter()
        .filter(|trouble| is_not_the_caller_s(trouble))
    {
        let told = prints.of(trouble);
        seen.entry((&trouble.tool, told)).or_default().push(trouble);
    }
    let is_new = |troubles: &[&Trouble]| {
        let personas: BTreeSet<&PersonaId> = troubles.iter().map(|trouble| &trouble.persona_id).collect();
        troubles.iter().all(|trouble| trouble.day < NEW_DAYS)
            && troubles.len() >= NEW_TIMES_MIN
            && personas.len() >= NEW_PERSONAS_MIN
    };
    seen.into_iter()
        .filter(|((tool, _), troubles)| {
            known.get(tool).is_some_and(|calls| *calls >= KNOWN_CALLS_MIN) && is_new(troubles)
        })
        .map(|((tool, _), troubles)| {
            let personas: BTreeSet<&PersonaId> = troubles.iter().map(|trouble| &trouble.persona_id).collect();
            let first = troubles.iter().map(|trouble| trouble.at).min();
            let told = troubles.first().and_then(|trouble| trouble.error.clone());
            Finding {
                kind: FindingKind::NewError,
                module: troubles
                    .first()
                    .map(|trouble| trouble.module.to_string())
                    .unwrap_or_default(),
                tool: Some(tool.to_owned()),
                headline: format!("{tool} fails in a way that is new"),
                detail: format!(
                    "{} times since {}, and never in the {} days before; it says: {}",
                    troubles.len(),
                    first.map(day_text).unwrap_or_default(),
                    DAYS - NEW_DAYS,
                    told.unwrap_or_default()
                ),
                since: first,
                deploy: None,
                personas_affected: personas.len() as u64,
                p_value: None,
                false_discovery_rate: None,
                evidence: troubles
                    .into_iter()
                    .take(Evidence::MAX)
                    .map(Evidence::of_call)
                    .collect(),
            }
        })
        .collect()
}

/// A failure of an ordinary call, by the app or on the way to it.
fn is_not_the_caller_s(trouble: &Trouble) -> bool {
    trouble.intent == Intent::Valid
        && trouble.result == CallResult::Error
        && matches!(trouble.cause, Some(Cause::App | Cause::Infra))
}

/// Who was told the same twice or more in one tick, in the last `days` days: by personas, then ticks, at most `most`.
pub(super) fn confusion(history: &History, days: u32, most: usize) -> Vec<Confusion> {
    let mut prints = Fingerprints::default();
    let mut ticks: BTreeMap<(&str, String), BTreeMap<&TickId, Vec<&Trouble>>> = BTreeMap::new();
    let failed = |trouble: &&Trouble| trouble.day < days && trouble.result == CallResult::Error;
    for trouble in history.troubles.iter().filter(failed) {
        let told = prints.of(trouble);
        ticks
            .entry((&trouble.tool, told))
            .or_default()
            .entry(&trouble.tick_id)
            .or_default()
            .push(trouble);
    }
    let mut found: Vec<Confusion> = ticks
        .into_iter()
        .filter_map(|((tool, told), mut ticks)| {
            ticks.retain(|_, troubles| troubles.len() >= 2);
            let personas: BTreeSet<_> = ticks
                .values()
                .flatten()
                .map(|trouble| &trouble.persona_id)
                .collect();
            let evidence = ticks.values().flatten().take(Evidence::MAX);
            (!ticks.is_empty()).then(|| Confusion {
                tool: tool.to_owned(),
                told,
                ticks: ticks.len() as u64,
                personas_affected: personas.len() as u64,
                evidence: evidence.map(|trouble| Evidence::of_call(trouble)).collect(),
            })
        })
        .collect();
    found.sort_by(|one, other| {
        (other.personas_affected, other.ticks)
            .cmp(&(one.personas_affected, one.ticks))
            .then(one.tool.cmp(&other.tool))
    });
    found.truncate(most);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_ids_and_quoted_words_alone_have_one_fingerprint() {
        for (one, other) in [
            ("timed out after 5012 ms", "Timed out after 7 ms"),
            (
                "no task 018f0000-0000-7000-8000-000000000001 here",
                "no task 028f0000-0000-7000-8000-00000000000f here",
            ),
            (r#"field "red wine" is unknown"#, r#"field "milk" is unknown"#),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{one}");
        }
        assert_ne!(fingerprint("title: required"), fingerprint("content: required"));
        assert_eq!(fingerprint("timed out after 5012 ms"), "timed out after # ms");
        assert_eq!(fingerprint(""), "");
        assert_eq!(
            fingerprint(&"x".repeat(1_000)).chars().count(),
            FINGERPRINT_CHARS_MAX
        );
    }
}
