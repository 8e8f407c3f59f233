//! Commits to rows, a batch at a time: gathered from the stream, folded in one transaction with the checkpoint.

mod gather;

use events::{Delivery, StreamIdentity, StreamSeq, capped};
use sqlx::Connection as _;

use crate::checkpoint::{self, Checkpoint};
use crate::column::bigint;
use crate::database::{BEGIN_WRITING, DbConnection};
use crate::error::{FoldError, Stage};
use crate::fold::{events_in, fold_delivery};
use crate::tables::Tables;

pub(crate) use gather::{BATCH_COMMITS_MAX, Gather, Then};

/// Characters of a reason kept with a parked commit.
const REASON_CHARS_MAX: usize = 500;

/// What came of a batch.
#[derive(Debug)]
pub(crate) enum Folded {
    /// Its rows and its checkpoint are in the database.
    Committed {
        checkpoint: Checkpoint,
        /// Events in the commits that were folded or parked.
        events: u64,
        /// Commits that were parked.
        parked: u64,
    },
    /// Somebody else has moved the checkpoint; nothing was written.
    Overtaken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nothing but the transaction around the batch; the first commit that does not fold undoes it.
    Quick,
    /// A savepoint around each commit, so that one can be parked and the others stay.
    Savepoints,
}

/// Folds `batch`, which follows `previous`, in one transaction with its checkpoint.
///
/// # Errors
/// [`FoldError::Retry`] when the database does not take it now; nothing was written then. Commits that cannot be
/// folded are parked and are not errors.
pub(crate) async fn fold_batch(
    tables: &Tables,
    previous: StreamSeq,
    identity: &StreamIdentity,
    batch: &[Delivery],
) -> Result<Folded, FoldError> {
    match attempt(tables, previous, identity, batch, Care::Quick).await {
        Err(FoldError::Park { .. }) => attempt(tables, previous, identity, batch, Care::Savepoints).await,
        done => done,
    }
}

async fn attempt(
    tables: &Tables,
    previous: StreamSeq,
    identity: &StreamIdentity,
    batch: &[Delivery],
    care: Care,
) -> Result<Folded, FoldError> {
    let Some(last) = batch.last() else {
        return Err(FoldError::halt("a batch without commits cannot be folded"));
    };
    let checkpoint = Checkpoint {
        seq: last.seq(),
        commit_id: last.commit_id(),
        stream_name: identity.name.clone(),
        stream_created: identity.created,
    };
    let mut db = tables.writer().acquire().await?;
    let folded = fold_in_transaction(&mut db, previous, checkpoint, batch, care).await;
    if folded.is_err() {
        // On a full disk or a broken read SQLite ends the transaction itself, and the connection's own count of
        // open transactions is wrong for good. The next try gets a new connection.
        db.close_on_drop();
    }
    folded
}

async fn fold_in_transaction(
    db: &mut DbConnection,
    previous: StreamSeq,
    checkpoint: Checkpoint,
    batch: &[Delivery],
    care: Care,
) -> Result<Folded, FoldError> {
    let mut transaction = db.begin_with(BEGIN_WRITING).await?;
    // First, so that whoever was overtaken finds out before writing a row; it counts only when all of it commits.
    if !checkpoint::advance(&mut transaction, previous, &checkpoint).await? {
        transaction.rollback().await?;
        return Ok(Folded::Overtaken);
    }
    let mut parked = 0;
    for delivery in batch {
        if care == Care::Quick {
            fold_delivery(&mut transaction, delivery).await?;
            continue;
        }
        let mut savepoint = transaction.begin().await?;
        match fold_delivery(&mut savepoint, delivery).await {
            Ok(()) => savepoint.commit().await?,
            Err(FoldError::Park { stage, reason }) => {
                savepoint.rollback().await?;
                park(&mut transaction, delivery, stage, &reason).await?;
                parked += 1;
            }
            Err(error) => return Err(error),
        }
    }
    transaction.commit().await?;
    Ok(Folded::Committed {
        checkpoint,
        events: batch.iter().map(events_in).sum(),
        parked,
    })
}

async fn park(
    db: &mut DbConnection,
    delivery: &Delivery,
    stage: Stage,
    reason: &str,
) -> Result<(), FoldError> {
    let subject = match delivery {
        Delivery::Commit(recorded) => recorded.commit.subject.to_string(),
        Delivery::Undecodable(message) => message.subject.clone(),
    };
    tracing::warn!(
        stream.seq = delivery.seq().0,
        subject,
        stage = stage.as_str(),
        reason,
        "a commit was parked"
    );
    sqlx::query(
        "-- name: park
         INSERT INTO parked_events (seq, commit_id, subject, stage, reason)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(bigint(delivery.seq().0))
    .bind(delivery.commit_id().map(|id| id.to_string()))
    .bind(subject)
    .bind(stage.as_str())
    .bind(capped(reason, REASON_CHARS_MAX))
    .execute(db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::{given, id, sample_time};
    use events::{Event, RecordChanged, RecordOp, Subject};

    fn deliveries(records: u32) -> Vec<Delivery> {
        let written = |number| -> Event {
            let value = serde_json::json!("x".repeat(2_000));
            RecordChanged {
                space_id: id("space"),
                table: "notes".to_owned(),
                record_id: id(&format!("note-{number}")),
                op: RecordOp::Put,
                fields: [(
                    "content".to_owned(),
                    events::FieldWrite {
                        value,
                        at: sample_time(),
                    },
                )]
                .into(),
                actor: id("anna"),
                tool: None,
                call_id: None,
                changed_at: sample_time(),
            }
            .into()
        };
        given((0..records).map(|number| (Subject::Record(id("space")), vec![written(number)])))
            .into_iter()
            .map(Delivery::Commit)
            .collect()
    }

    #[tokio::test]
    async fn a_full_disk_is_waited_for_and_leaves_neither_rows_nor_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let identity = StreamIdentity {
            name: "log".to_owned(),
            created: sample_time(),
        };
        let before = tables.checksums().await.unwrap();
        // As many pages as there are and a few: some rows still find room.
        sqlx::query("PRAGMA max_page_count = 60")
            .execute(tables.writer())
            .await
            .unwrap();
        let batch = deliveries(200);

        let error = fold_batch(&tables, StreamSeq::ZERO, &identity, &batch)
            .await
            .unwrap_err();
        assert!(matches!(error, FoldError::Retry { .. }), "{error:?}");
        assert!(error.to_string().contains("full"), "{error}");
        assert_eq!(tables.checkpoint().await.unwrap(), None);
        assert_eq!(tables.checksums().await.unwrap(), before);

        // The limit was the connection's; a new one stands for room that was made.
        let folded = fold_batch(&tables, StreamSeq::ZERO, &identity, &batch)
            .await
            .unwrap();
        assert!(
            matches!(
                folded,
                Folded::Committed {
                    parked: 0,
                    events: 200,
                    ..
                }
            ),
            "{folded:?}"
        );
        assert_eq!(tables.counts().await.unwrap().records, 200);
    }

    #[tokio::test]
    async fn whoever_expects_another_checkpoint_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let identity = StreamIdentity {
            name: "log".to_owned(),
            created: sample_time(),
        };
        let batch = deliveries(3);
        let first = fold_batch(&tables, StreamSeq::ZERO, &identity, &batch[..2])
            .await
            .unwrap();
        assert!(matches!(first, Folded::Committed { .. }), "{first:?}");
        let before = tables.checksums().await.unwrap();
        for expected in [0, 1, 3] {
            let late = fold_batch(&tables, StreamSeq(expected), &identity, &batch)
                .await
                .unwrap();
            assert!(matches!(late, Folded::Overtaken), "{expected}: {late:?}");
        }
        assert_eq!(tables.checksums().await.unwrap(), before);
        assert_eq!(tables.checkpoint().await.unwrap().unwrap().seq, StreamSeq(2));
    }
}
