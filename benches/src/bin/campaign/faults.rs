//! Planted faults, lived: thirty virtual weeks of ten personas against a mounted app, through the whole program.
//!
//! Each life is `dramatis demo --days` on a folder of its own, again and again, with an app of four modules mounted; the
//! morning's findings are asked for at the end of every week. From the planted week on one tool fails three calls in ten,
//! and the refusals of another module name no field any more: both must be reported within three weeks, nothing else may
//! be, and every piece of evidence must be a row and an event at its place in the log. In lives without a fault at most one
//! finding may be reported in all of them together.

mod app;
mod life;
mod upstream;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::app::{MODULES, Planted};
use self::life::{Life, Plot};
use crate::trial::Trial;

/// Weeks in which a fault must be found.
const FOUND_WITHIN_WEEKS: u32 = 3;
/// Findings that all lives without a fault may be told together.
const FALSE_ALARMS_MAX: usize = 1;
/// The tools a fault is planted in: those that everybody calls every week.
const BREAKABLE: [&str; 3] = ["list", "search", "create"];

/// What is to be tried.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// Lives without a fault.
    pub(crate) sound: u32,
    /// Lives with two.
    pub(crate) broken: u32,
    pub(crate) weeks: u32,
    /// The week at whose end faults are planted.
    pub(crate) planted_week: u32,
    /// Lives at once.
    pub(crate) at_once: usize,
    pub(crate) seed: u64,
}

/// Lives them all.
///
/// # Errors
/// When the program cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let mut trial = Trial::new("faults", plan.seed);
    let broken = (0..plan.broken).map(|number| {
        let seed = plan.seed + u64::from(number);
        (seed, Some(planted(seed)))
    });
    let sound = (0..plan.sound).map(|number| (plan.seed + u64::from(number), None));
    let mut lives = stream::iter(broken.chain(sound))
        .map(|(seed, planted)| async move {
            let plot = Plot {
                program: &plan.program,
                seed,
                weeks: plan.weeks,
                planted: planted.clone().map(|planted| (plan.planted_week, planted)),
            };
            let life = life::live(&plot).await;
            (seed, planted, life)
        })
        .buffer_unordered(plan.at_once);
    let mut false_alarms = Vec::new();
    while let Some((seed, planted, life)) = lives.next().await {
        let life = life?;
        tell(seed, planted.as_ref(), &life);
        let count = |trial: &mut Trial, what: &str, number: u64| {
            *trial.by.entry(what.to_owned()).or_default() += number;
        };
        count(&mut trial, "ticks", life.ticks);
        count(&mut trial, "calls of the app", life.calls);
        count(&mut trial, "pieces of evidence that resolve", life.evidence);
        if let Some(planted) = planted {
            let faults = judged(&life, &planted, plan.planted_week);
            trial.add(
                "lives with two faults",
                (!faults.is_empty()).then(|| format!("seed {seed}: {}", faults.join("; "))),
            );
        } else {
            let faults = life.unresolved.join("; ");
            trial.add(
                "lives without a fault",
                (!faults.is_empty()).then(|| format!("seed {seed}: {faults}")),
            );
            count(&mut trial, "findings without a fault", life.first.len() as u64);
            false_alarms.extend(life.first.keys().map(|finding| format!("seed {seed}: {finding}")));
        }
    }
    if false_alarms.len() > FALSE_ALARMS_MAX {
        trial.failed += 1;
        trial
            .faults
            .push(format!("without a fault: {}", false_alarms.join(", ")));
    }
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

/// The tool and the module that break in the life of this seed, two modules in any case.
fn planted(seed: u64) -> Planted {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let failing = dice.random_range(0..MODULES.len());
    let curt = (failing + dice.random_range(1..MODULES.len())) % MODULES.len();
    Planted {
        fails: Some((
            MODULES[failing].name,
            BREAKABLE[dice.random_range(0..BREAKABLE.len())],
        )),
        is_curt: Some(MODULES[curt].name),
    }
}

/// Everything that is wrong with what a life with these faults was told.
fn judged(life: &Life, planted: &Planted, planted_week: u32) -> Vec<String> {
    let (module, verb) = planted.fails.unwrap_or_default();
    let (tool, curt) = (format!("{module}.{verb}"), planted.is_curt.unwrap_or_default());
    let mut faults = life.unresolved.clone();
    let in_time = planted_week + 1..=planted_week + FOUND_WITHIN_WEEKS;
    for finding in [
        format!("regression of {tool}"),
        format!("unhelpful-errors of {curt}"),
    ] {
        match life.first.get(&finding) {
            Some(week) if in_time.contains(week) => {}
            Some(week) => faults.push(format!("{finding} is reported in week {week}")),
            None => faults.push(format!("{finding} is never reported")),
        }
    }
    // What else is said may be said of the same two: the new words of the tool, the stars of its module.
    let meant = BTreeSet::from([module, tool.as_str(), curt]);
    for (finding, week) in &life.first {
        let about = finding.rsplit(' ').next().unwrap_or_default();
        if !meant.contains(about) || *week <= planted_week {
            faults.push(format!("{finding} is reported in week {week}"));
        }
    }
    faults
}

/// One line on stderr for each life that is over.
fn tell(seed: u64, planted: Option<&Planted>, life: &Life) {
    let kind = planted.map_or_else(
        || "no fault".to_owned(),
        |planted| {
            let (module, verb) = planted.fails.unwrap_or_default();
            format!(
                "{module}.{verb} fails, {} is curt",
                planted.is_curt.unwrap_or_default()
            )
        },
    );
    eprintln!(
        "seed {seed}, {kind}: {} ticks, {} calls, {} s; {:?}",
        life.ticks, life.calls, life.seconds, life.first
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(first: &[(&str, u32)]) -> Life {
        let first = first.iter().map(|(finding, week)| ((*finding).to_owned(), *week));
        Life {
            first: first.collect(),
            ..Life::default()
        }
    }

    #[test]
    fn a_life_is_good_when_the_two_are_told_of_in_time_and_nothing_else_is() {
        let planted = Planted {
            fails: Some(("plants", "list")),
            is_curt: Some("chores"),
        };
        let both = [
            ("regression of plants.list", 13),
            ("unhelpful-errors of chores", 14),
        ];
        let with = |more: &[(&str, u32)]| judged(&life(&[&both[..], more].concat()), &planted, 12);
        assert_eq!(with(&[]), Vec::<String>::new());
        assert_eq!(
            with(&[("new-error of plants.list", 13), ("rated-worse of plants", 15)]),
            Vec::<String>::new()
        );
        assert_eq!(
            with(&[("regression of recipes.list", 20)]).len(),
            1,
            "another tool"
        );
        assert_eq!(
            with(&[("rated-worse of chores", 9)]).len(),
            1,
            "before there was a fault"
        );
        let late = [
            ("regression of plants.list", 16),
            ("unhelpful-errors of chores", 14),
        ];
        assert_eq!(judged(&life(&late), &planted, 12).len(), 1, "too late");
        assert_eq!(judged(&life(&both[..1]), &planted, 12).len(), 1, "one is missing");
    }

    #[test]
    fn what_is_planted_is_in_two_modules() {
        for seed in 0..50 {
            let planted = planted(seed);
            assert_ne!(planted.fails.unwrap().0, planted.is_curt.unwrap(), "seed {seed}");
        }
    }
}
