//! A log in memory, tables on SQLite, and a list of plain operations done to them in turn. After each the tables must be
//! what a fold of the log from its first commit gives, and nothing may be there twice.
//!
//! A list that failed is printed as JSON; put into `tests/simulation/`, it is tried for ever.

pub mod stutter;
mod world;

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

use world::World;

/// What may happen. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Op {
    /// Somebody does something.
    Append { who: u8, what: u8 },
    /// An earlier commit is appended once more.
    AppendAgain { which: u8 },
    /// Somebody does something, the answer is lost, and it is tried again.
    LoseAck { who: u8, what: u8 },
    /// A message nobody can read.
    Garbage { who: u8 },
    /// The projector runs to the log's end, on a stream that begins so many commits too early.
    Fold { batch: u8, too_early: u8 },
    /// The projector runs, and is killed after so many steps.
    KillFold { batch: u8, steps: u8 },
    /// The tables are closed and opened.
    Restart,
    /// The tables are rebuilt.
    Rebuild,
    /// The tables are rebuilt, and that is killed after so many steps.
    KillRebuild { steps: u8 },
    /// Somebody is erased from log and tables.
    Erase { who: u8 },
    /// What was parked is folded once more.
    RetryParked,
}

fn op() -> impl Strategy<Value = Op> {
    let (who, what) = (0u8..3, 0u8..12);
    prop_oneof![
        8 => (who.clone(), what.clone()).prop_map(|(who, what)| Op::Append { who, what }),
        1 => any::<u8>().prop_map(|which| Op::AppendAgain { which }),
        1 => (who.clone(), what).prop_map(|(who, what)| Op::LoseAck { who, what }),
        1 => who.clone().prop_map(|who| Op::Garbage { who }),
        3 => (1u8..9, 0u8..5).prop_map(|(batch, too_early)| Op::Fold { batch, too_early }),
        2 => (1u8..5, 1u8..30).prop_map(|(batch, steps)| Op::KillFold { batch, steps }),
        1 => Just(Op::Restart),
        1 => Just(Op::Rebuild),
        2 => (1u8..60).prop_map(|steps| Op::KillRebuild { steps }),
        1 => who.prop_map(|who| Op::Erase { who }),
        1 => Just(Op::RetryParked),
    ]
}

/// Does `ops` in turn in a world of their own.
async fn simulate(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut world = World::new().await;
    for (step, op) in ops.iter().enumerate() {
        world.apply(*op).await;
        if let Err(fault) = world.check().await {
            let list = serde_json::to_string(&ops[..=step]).unwrap();
            return Err(TestCaseError::fail(format!("{fault}\nafter {list}")));
        }
    }
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn whatever_is_done_in_whatever_order_the_tables_are_the_fold_of_the_log() {
    let runtime = runtime();
    let config = ProptestConfig {
        cases: 5,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(op(), 1..16), |ops| {
            runtime.block_on(simulate(&ops))
        })
        .unwrap();
}

#[test]
fn every_list_that_is_kept_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation");
    let mut lists = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let ops: Vec<Op> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let outcome = runtime().block_on(simulate(&ops));
        assert!(outcome.is_ok(), "{}: {outcome:?}", path.display());
        lists += 1;
    }
    assert!(lists >= 3, "{lists} lists");
}

#[test]
fn a_fold_that_forgets_is_noticed() {
    runtime().block_on(async {
        let mut world = World::new().await;
        for op in [
            Op::Append { who: 0, what: 0 },
            Op::Append { who: 0, what: 1 },
            Op::Fold {
                batch: 5,
                too_early: 0,
            },
        ] {
            world.apply(op).await;
        }
        assert_eq!(world.check().await, Ok(()));
        world.forget_ticks().await;
        assert!(world.check().await.is_err());
    });
}
