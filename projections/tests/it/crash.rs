//! Rows and checkpoint stand or fall together, wherever the fold is cut.

use crate::support::*;

/// Drops the projector at each of its awaits in turn: before the rows, between rows and checkpoint, before the commit.
#[tokio::test]
async fn cut_anywhere_the_tables_are_those_of_their_checkpoint_and_folding_on_loses_and_doubles_nothing() {
    let commits = [day_of("anna"), day_of("ben")].concat();
    let mut expected = Vec::new();
    for folded in 0..=commits.len() {
        expected.push(reference(log_of(commits[..folded].to_vec()).await).await);
    }
    let log = log_of(commits).await;

    let mut cuts_between_batches = 0;
    for polls in 1.. {
        let bench = Bench::new().await;
        let is_done = fold_cut_after(log.clone(), &bench.tables, 5, polls).await;
        let seq = bench
            .tables
            .checkpoint()
            .await
            .unwrap()
            .map_or(0, |checkpoint| checkpoint.seq.0);
        let folded = usize::try_from(seq).unwrap();
        assert_eq!(
            bench.tables.checksums().await.unwrap(),
            expected[folded],
            "cut after {polls} polls, checkpoint {seq}"
        );
        if is_done {
            break;
        }
        cuts_between_batches += u32::from(folded > 0);
        fold_to_end(log.clone(), &bench.tables, 5).await.unwrap();
        assert_eq!(
            bench.tables.checksums().await.unwrap(),
            expected[14],
            "folded on after {polls} polls"
        );
    }
    assert!(cuts_between_batches > 0, "no cut fell behind the first batch");
}
