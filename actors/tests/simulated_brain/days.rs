//! Days that follow one another: what was begun on one is seen to on the next, and the same seed lives the same days.

use std::collections::BTreeMap;

use actors::{Diary, remember};
use events::TickId;
use sha2::{Digest as _, Sha256};

use super::*;

/// What one persona did over `days` days, as the digest counts it: (tick, tool, arguments, outcome, stars), with ids
/// by the order in which they were first seen.
fn life(who: &PersonaView, seed: u64, days: u64, ids_from: u128) -> (Vec<String>, Vec<Day>) {
    let mut app = App::new(Manners::Helpful);
    app.ids_from(ids_from);
    let (mut diary, mut known, mut lines, mut lived) =
        (Diary::default(), BTreeMap::new(), Vec::new(), Vec::new());
    for number in 1..=days {
        let day = live_tick(who, seed, number, &tools(), &mut app, &diary);
        let tick_id = TickId::derived(&[who.persona_id.as_str(), &number.to_string()]);
        if let Some(written) = remember(&tick_id, &tools(), &day.past) {
            diary.remember(&written);
        }
        for call in &day.past {
            let mut arguments = call.arguments.to_string();
            for text in texts(&call.arguments) {
                if let Ok(id) = text.parse::<uuid::Uuid>() {
                    let next = known.len();
                    let name = known.entry(id).or_insert_with(|| format!("id-{next}"));
                    arguments = arguments.replace(&text, name);
                }
            }
            let outcome = call.outcome.error().unwrap_or("ok");
            lines.push(format!("{number} {} {arguments} {outcome}", call.tool));
        }
        for digest in digest(&day.past) {
            lines.push(format!(
                "{number} {} {}",
                digest.module,
                stars_for(friction(&digest))
            ));
        }
        lived.push(day);
    }
    (lines, lived)
}

fn texts(value: &Value) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(_, value)| value.as_str().map(str::to_owned))
        .collect()
}

fn hash(lines: &[String]) -> String {
    hex::encode(Sha256::digest(lines.join("\n")))
}

#[test]
fn the_same_seed_on_two_fresh_databases_gives_the_same_digest_of_every_life() {
    for who in cast() {
        let ((one, _), (other, _)) = (life(&who, 7, 6, 0), life(&who, 7, 6, 1 << 64));
        assert_eq!(one, other, "{}", who.name);
        assert_eq!(hash(&one), hash(&other));
        assert_ne!(
            hash(&one),
            hash(&life(&who, 8, 6, 0).0),
            "{}: another seed is another life",
            who.name
        );
    }
}

#[test]
fn what_was_made_on_one_day_is_completed_on_the_next() {
    let anna = cast().into_iter().find(|who| who.name.contains("Anna")).unwrap();
    let (_, days) = life(&anna, 1, 10, 0);
    let ids_in = |day: &Day, tool: &str| -> Vec<String> {
        let calls = day
            .past
            .iter()
            .filter(|call| call.tool == tool && call.outcome.error().is_none());
        calls
            .filter_map(|call| match &call.outcome {
                CallOutcome::Ok { structured, .. } if tool == "todo.create" => structured
                    .pointer("/made/id")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                _ => call.arguments["id"].as_str().map(str::to_owned),
            })
            .collect()
    };
    let continued = days.windows(2).filter(|pair| {
        let made = ids_in(&pair[0], "todo.create");
        ids_in(&pair[1], "todo.complete")
            .iter()
            .any(|id| made.contains(id))
    });
    assert!(continued.count() >= 2, "Anna comes back to what she began");
}
