//! Several projectors on one database: one folds, the others follow it and take over.

use std::time::Duration;

use events::{Clock as _, EventLog as _, StreamSeq, SystemClock};
use projections::{FoldError, HaltCause, Projector, ProjectorState, Tables};
use testkit::wait_until_async;
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn one_folds_the_other_stands_by_and_takes_over_when_it_stops() {
    let bench = Bench::new().await;
    let elsewhere = Tables::open(bench.tables.path().unwrap()).await.unwrap();
    let log = log_of(day_of("anna")).await;
    let (first_stops, second_stops) = (CancellationToken::new(), CancellationToken::new());
    let (first, first_handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let (second, second_handle) = Projector::new(log.clone(), elsewhere, clock());
    let work = async {
        // Both begin alike; whoever loses a race for the checkpoint stands by.
        let one_stands_by = || {
            let both = [first_handle.status().state, second_handle.status().state];
            let stands_by = both.contains(&ProjectorState::Standby);
            let log = log.clone();
            async move {
                happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
                stands_by
            }
        };
        assert!(wait_until_async(LIMIT, one_stands_by).await);
        // Who stands by answers for what the other folds.
        for _ in 0..20 {
            let seq = happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
            first_handle.wait_for(seq, LIMIT).await.unwrap();
            second_handle.wait_for(seq, LIMIT).await.unwrap();
        }
        let second_stands_by = second_handle.status().state == ProjectorState::Standby;
        let (stop, left, handle) = if second_stands_by {
            (&first_stops, &second_stops, &second_handle)
        } else {
            (&second_stops, &first_stops, &first_handle)
        };
        stop.cancel();
        let watch = SystemClock::new();
        let seq = happen(log.as_ref(), of_persona("cleo"), vec![enrolled("cleo")]).await;
        handle.wait_for(seq, LIMIT).await.unwrap();
        assert!(watch.monotonic() < LIMIT, "{:?}", watch.monotonic());
        assert_eq!(handle.status().state, ProjectorState::Running);
        left.cancel();
    };
    let (first, second, ()) = tokio::join!(
        first.run(first_stops.clone()),
        second.run(second_stops.clone()),
        work
    );
    first.unwrap();
    second.unwrap();
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(log).await);
}

#[tokio::test]
async fn a_process_that_never_folds_waits_for_what_another_folds() {
    let bench = Bench::new().await;
    let elsewhere = Tables::open(bench.tables.path().unwrap()).await.unwrap();
    let log = log_of(day_of("anna")).await;
    let cancel = CancellationToken::new();
    let (folder, _) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let (watcher, handle) = Projector::new(log.clone(), elsewhere, clock());
    let work = async {
        let mut waits = Vec::new();
        for _ in 0..30 {
            let seq = happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
            let watch = SystemClock::new();
            assert_eq!(handle.wait_for(seq, LIMIT).await, Ok(seq));
            waits.push(watch.monotonic());
        }
        cancel.cancel();
        waits
    };
    let (done, (), mut waits) = tokio::join!(folder.run(cancel.clone()), watcher.watch(cancel.clone()), work);
    done.unwrap();
    // At the pace it looks at when nobody waits, each would take a tenth of a second and more. The fastest third is
    // asked: what else the machine does makes waits longer, never shorter.
    waits.sort_unstable();
    assert!(waits[10] < Duration::from_millis(80), "{waits:?}");
}

#[tokio::test]
async fn too_many_parked_commits_halt_the_fold_and_say_why() {
    let log = log_of(day_of("anna")).await;
    for _ in 0..5 {
        log.append_garbage("dramatis.persona.anna", b"{}");
    }
    let bench = Bench::new().await;
    let (projector, handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let ran = projector
        .with_parked_max(4)
        .with_batch_commits_max(1)
        .run(CancellationToken::new());
    let error = tokio::time::timeout(LIMIT, ran).await.unwrap().unwrap_err();
    assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    assert!(error.to_string().contains("`dramatis parked list`"), "{error}");
    assert_eq!(handle.status().state, ProjectorState::Halted);
    assert_eq!(handle.status().halted_by, Some(HaltCause::TooManyParked));
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!((counts.parked, counts.as_of_seq), (4, StreamSeq(11)));

    // Somebody looked at it and started the program again.
    fold_to_end(log.clone(), &bench.tables, 100).await.unwrap();
    assert_eq!(bench.tables.counts().await.unwrap().parked, 5);
    assert_eq!(log.state().await.unwrap().last_seq, StreamSeq(12));
}

#[tokio::test]
async fn one_in_a_hundred_may_be_parked_however_many_that_are() {
    let log = log_of(Vec::new()).await;
    for number in 0..1_000 {
        if number % 110 == 109 {
            log.append_garbage("dramatis.persona.anna", b"{}");
        }
        happen(log.as_ref(), of_persona("anna"), vec![enrolled("anna")]).await;
    }
    let bench = Bench::new().await;
    let (projector, handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let cancel = CancellationToken::new();
    let end = log.state().await.unwrap().last_seq;
    let reach = async {
        let reached = handle.wait_for(end, LIMIT).await;
        cancel.cancel();
        reached
    };
    // Four at once would be too many, nine among a thousand are not.
    let (ran, reached) = tokio::join!(projector.with_parked_max(4).run(cancel.clone()), reach);
    ran.unwrap();
    reached.unwrap();
    assert_eq!(bench.tables.counts().await.unwrap().parked, 9);
}
