//! Whatever happened, in whatever order: the size of batches and the moments of restarts leave no trace.

use events::testing::id;
use events::{Event, PersonaErased, RecordOp, Subject, TickInterrupted};
use projections::rebuild;
use proptest::prelude::*;

use crate::support::*;

/// One thing that happens; most orders of them make sense, and those that do not are to be parked alike.
pub fn happening() -> impl Strategy<Value = (Subject, Vec<Event>)> {
    let persona = prop::sample::select(vec!["anna", "ben"]);
    let number = 0u32..3;
    (0u8..12, persona, number.clone(), number, 0i64..9).prop_map(|(kind, name, tick, call, second)| {
        let tick = &format!("{name}-{tick}");
        let call_id = &format!("call-{call}");
        let value = &format!("v{call}");
        let interrupted = TickInterrupted {
            tick_id: id(tick),
            reason: "r".to_owned(),
            found_at: at(second),
        };
        let record_op = if second == 0 {
            RecordOp::Delete
        } else {
            RecordOp::Put
        };
        match kind {
            0 => (of_persona(name), vec![enrolled(name)]),
            1 => (of_persona(name), vec![began(name, tick)]),
            2 => (
                of_persona(name),
                vec![began(name, tick), called(tick, call_id, call)],
            ),
            3 | 4 => (of_persona(name), vec![called(tick, call_id, call)]),
            5 => (of_persona(name), vec![returned(tick, call_id)]),
            6 => (of_persona(name), vec![failed(tick, call_id, value)]),
            7 => (
                of_persona(name),
                vec![rated(tick, "todo", u8::try_from(call).unwrap())],
            ),
            8 => (of_persona(name), vec![finished(tick)]),
            9 => (of_persona(name), vec![interrupted.into()]),
            10 => (
                of_space(name),
                vec![record(name, call_id, record_op, &[("title", value, second)])],
            ),
            _ if second == 0 => (
                of_persona(name),
                vec![
                    PersonaErased {
                        persona_id: id(name),
                        spaces: vec![id(name)],
                    }
                    .into(),
                ],
            ),
            _ => (
                of_persona(name),
                vec![
                    called(tick, call_id, call),
                    returned(tick, call_id),
                    finished(tick),
                ],
            ),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_size_and_any_restarts_give_the_same_tables(
        commits in prop::collection::vec(happening(), 1..60),
        batch in 1usize..12,
        cuts in prop::collection::vec(1usize..40, 0..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = log_of(commits).await;
            let expected = reference(log.clone()).await;
            let bench = Bench::new().await;
            for polls in cuts {
                fold_cut_after(log.clone(), &bench.tables, batch, polls).await;
            }
            fold_to_end(log.clone(), &bench.tables, batch).await.unwrap();
            prop_assert_eq!(bench.tables.checksums().await.unwrap(), expected.clone());
            let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet).await.unwrap();
            prop_assert_eq!(report.tables, expected.clone());
            prop_assert_eq!(bench.tables.checksums().await.unwrap(), expected);
            Ok(())
        })?;
    }
}
