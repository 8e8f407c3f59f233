//! What a catalog must hold to: each persona by itself, and all of them together.

use std::collections::BTreeMap;

use crate::draft::{Draft, member};
use crate::faults::Faults;
use crate::persona::{ARCHETYPES, EMAIL_DOMAIN, NAME_CHARS_MAX, PROMPT_CHARS_MAX};

/// Notes every rule that one of `drafts` breaks.
pub(crate) fn check(drafts: &[Draft], known_modules: &[&str], faults: &mut Faults<'_>) {
    for (index, draft) in drafts.iter().enumerate() {
        check_email(index, draft, faults);
        check_words(index, draft, faults);
        check_module_mix(index, draft, known_modules, faults);
    }
    check_unique(drafts, ".email", |draft| draft.email.as_deref(), faults);
    check_unique(drafts, ".name", |draft| draft.name.as_deref(), faults);
    check_partners(drafts, faults);
}

fn check_email(index: usize, draft: &Draft, faults: &mut Faults<'_>) {
    let Some(email) = draft.email.as_deref() else {
        return;
    };
    let Some(local) = email.strip_suffix(EMAIL_DOMAIN) else {
        let reason = format!("{email:?} must end in {EMAIL_DOMAIN}, the domain reserved for personas");
        return faults.persona(index, ".email", reason);
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if local.is_empty() || !local.chars().all(is_plain) {
        let reason = format!("{email:?} must have only a-z, 0-9, '.', '-' and '_' before {EMAIL_DOMAIN}");
        faults.persona(index, ".email", reason);
    }
}

fn check_words(index: usize, draft: &Draft, faults: &mut Faults<'_>) {
    if let Some(name) = draft.name.as_deref() {
        check_length(index, ".name", name, NAME_CHARS_MAX, faults);
    }
    if let Some(prompt) = draft.system_prompt.as_deref() {
        check_length(index, ".systemPrompt", prompt, PROMPT_CHARS_MAX, faults);
    }
    if let Some(archetype) = draft
        .archetype
        .as_deref()
        .filter(|known| !ARCHETYPES.contains(known))
    {
        let reason = format!("{archetype:?} is not one of {}", ARCHETYPES.join(", "));
        faults.persona(index, ".archetype", reason);
    }
    if let Some(language) = draft
        .language
        .as_deref()
        .filter(|language| !is_language_tag(language))
    {
        faults.persona(
            index,
            ".language",
            format!("{language:?} is not a language tag such as de or pt-BR"),
        );
    }
    if let Some(zone) = draft
        .time_zone
        .as_deref()
        .filter(|zone| jiff::tz::TimeZone::get(zone).is_err())
    {
        faults.persona(
            index,
            ".timeZone",
            format!("{zone:?} is not an IANA time zone such as Europe/Berlin"),
        );
    }
}

fn check_length(index: usize, path: &str, text: &str, chars_max: usize, faults: &mut Faults<'_>) {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > chars_max {
        faults.persona(
            index,
            path,
            format!("must have 1 to {chars_max} characters, has {chars}"),
        );
    }
}

/// A primary subtag of two or three letters, then subtags of two to eight letters or digits.
fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let is_primary =
        |subtag: &str| matches!(subtag.len(), 2 | 3) && subtag.chars().all(|c| c.is_ascii_lowercase());
    let is_further =
        |subtag: &str| (2..=8).contains(&subtag.len()) && subtag.chars().all(|c| c.is_ascii_alphanumeric());
    subtags.next().is_some_and(is_primary) && subtags.all(is_further)
}

fn check_module_mix(index: usize, draft: &Draft, known_modules: &[&str], faults: &mut Faults<'_>) {
    let Some(mix) = draft.module_mix.as_ref() else {
        return;
    };
    for (module, weight) in mix {
        let path = format!(".moduleMix{}", member(module));
        if !known_modules.contains(&module.as_str()) {
            let reason = format!(
                "there is no module {module:?}; there are {}",
                known_modules.join(", ")
            );
            faults.persona(index, &path, reason);
        }
        if !weight.is_finite() || *weight < 0.0 {
            faults.persona(index, &path, format!("weight {weight} must be 0 or more"));
        }
    }
    if mix.values().all(|weight| *weight == 0.0) {
        faults.persona(index, ".moduleMix", "at least one weight must be above 0");
    }
}

fn check_unique(drafts: &[Draft], path: &str, of: fn(&Draft) -> Option<&str>, faults: &mut Faults<'_>) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, value) in drafts
        .iter()
        .enumerate()
        .filter_map(|(index, draft)| Some((index, of(draft)?)))
    {
        match first.get(value) {
            Some(earlier) => {
                faults.persona(
                    index,
                    path,
                    format!("{value:?} is already personas[{earlier}]{path}"),
                );
            }
            None => {
                first.insert(value, index);
            }
        }
    }
}

fn check_partners(drafts: &[Draft], faults: &mut Faults<'_>) {
    for (index, draft) in drafts.iter().enumerate() {
        let named = draft
            .partners
            .iter()
            .enumerate()
            .filter_map(|(at, partner)| Some((at, partner.as_deref()?)));
        for (at, partner) in named {
            let own = draft.email.as_deref();
            let found = drafts
                .iter()
                .find(|other| other.email.as_deref() == Some(partner));
            let is_named_before = draft.partners[..at]
                .iter()
                .any(|earlier| earlier.as_deref() == Some(partner));
            let reason = match found {
                _ if own == Some(partner) => "a persona cannot be its own partner".to_owned(),
                _ if is_named_before => format!("{partner:?} is named twice"),
                None => format!("there is no persona {partner:?} in this catalog"),
                Some(other)
                    if !other
                        .partners
                        .iter()
                        .any(|back| back.is_some() && back.as_deref() == own) =>
                {
                    format!(
                        "{partner:?} does not name {:?} back",
                        own.unwrap_or("this persona")
                    )
                }
                Some(_) => continue,
            };
            faults.persona(index, &format!(".partners[{at}]"), reason);
        }
    }
}
