//! Commits to rows, a batch at a time: gathered from the stream, folded in memory, and written in one transaction
//! with the checkpoint.

mod gather;
mod weight;

use events::{Delivery, StreamIdentity, StreamSeq};

use crate::checkpoint::{self, Checkpoint};
use crate::database::{Db, DbConnection};
use crate::error::{FoldError, Stage};
use crate::fold::{events_in, fold_or_park, park};
use crate::seals;
use crate::tables::Tables;
use crate::working_set::{Wanted, WorkingSet};

pub(crate) use gather::{BATCH_COMMITS_MAX, Gather, Rest, Then};

/// What is written where the tables refused a commit: their own words differ between databases and would make equal
/// tables look different. Those words are in the program's log.
const REFUSED_BY_TABLES: &str = "the tables refuse a row of it";

/// Parked commits that are put up with however few were folded.
pub(crate) const PARKED_FREE: u64 = 100;
/// Of so many commits one may be parked beyond that. More is no bad commit but a bad program or a foreign log, and
/// going on would leave tables that look whole and are not.
const COMMITS_PER_PARKED: u64 = 100;

/// Whether more than one in a hundred of `commits` is parked.
pub(crate) fn is_many_of(parked: u64, commits: u64) -> bool {
    parked.saturating_mul(COMMITS_PER_PARKED) > commits
}

/// How often a commit that the tables refused is tried again before it is parked. One that the fold itself refuses is
/// parked at once: the same rows would be refused for ever.
const REFUSED_TRIES_MAX: u32 = 2;

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
    /// Somebody else has moved the checkpoint; nothing more was written.
    Overtaken,
}

/// What to make of the commits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    /// Rows, parking what does not fit.
    Rows,
    /// One parked commit: the tables refused its rows.
    Parked,
}

/// Folds `batch`, which follows `previous`, in one transaction with its checkpoint.
///
/// A row that the tables refuse although the fold made it is looked for by halving: each half then has a transaction
/// and a checkpoint of its own, and the commit that is left alone with the refusal is parked.
///
/// # Errors
/// [`FoldError::Retry`] when the database does not take it now; commits before the one it stumbled over may have been
/// written then, with their checkpoint. Commits that cannot be folded are parked and are not errors.
pub(crate) async fn fold_batch(
    tables: &Tables,
    previous: StreamSeq,
    identity: &StreamIdentity,
    batch: &[Delivery],
) -> Result<Folded, FoldError> {
    let (mut at, mut events, mut parked) = (previous, 0, 0);
    let mut tries = 0;
    let mut parts = vec![batch];
    let mut reached = None;
    while let Some(part) = parts.pop() {
        let folded = match attempt(tables, at, identity, part, Make::Rows).await {
            // A refusal may be the connection's; each try has a new one.
            Err(FoldError::Park { .. }) if part.len() == 1 && tries < REFUSED_TRIES_MAX => {
                tries += 1;
                parts.push(part);
                continue;
            }
            Err(FoldError::Park { reason, .. }) if part.len() == 1 => {
                tries = 0;
                tracing::warn!(stream.seq = part[0].seq().0, reason, "the tables refuse a commit");
                attempt(tables, at, identity, part, Make::Parked).await?
            }
            Err(FoldError::Park { .. }) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            folded => folded?,
        };
        match folded {
            Folded::Committed {
                checkpoint,
                events: part_events,
                parked: part_parked,
            } => {
                at = checkpoint.seq;
                events += part_events;
                parked += part_parked;
                reached = Some(checkpoint);
            }
            Folded::Overtaken => return Ok(Folded::Overtaken),
        }
    }
    let checkpoint = reached.ok_or_else(|| FoldError::halt("a batch without commits cannot be folded"))?;
    Ok(Folded::Committed {
        checkpoint,
        events,
        parked,
    })
}

async fn attempt(
    tables: &Tables,
    previous: StreamSeq,
    identity: &StreamIdentity,
    batch: &[Delivery],
    make: Make,
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
    let mut connection = tables.writer().acquire().await?;
    let folded = fold_in_transaction(&mut connection, previous, checkpoint, batch, make).await;
    if folded.is_err() {
        // On a full disk or a broken read SQLite ends the transaction itself, and the connection's own count of
        // open transactions is wrong for good. The next try gets a new connection.
        connection.close_on_drop();
    }
    folded
}

async fn fold_in_transaction(
    connection: &mut DbConnection,
    previous: StreamSeq,
    checkpoint: Checkpoint,
    batch: &[Delivery],
    make: Make,
) -> Result<Folded, FoldError> {
    let mut transaction = connection.begin().await?;
    // First, so that whoever was overtaken finds out before reading a row; it counts only when all of it commits.
    if !checkpoint::advance(&mut transaction.db(), previous, &checkpoint).await? {
        transaction.rollback().await?;
        return Ok(Folded::Overtaken);
    }
    let parked = match make {
        Make::Rows => fold_rows(&mut transaction.db(), batch).await?,
        Make::Parked => park_all(&mut transaction.db(), batch).await?,
    };
    seals::keep(&mut transaction.db(), previous, batch).await?;
    transaction.commit().await?;
    Ok(Folded::Committed {
        checkpoint,
        events: batch.iter().map(events_in).sum(),
        parked,
    })
}

/// Loads what `batch` needs, folds it and writes what came of it; says how many commits were parked.
async fn fold_rows(db: &mut Db<'_>, batch: &[Delivery]) -> Result<u64, FoldError> {
    let mut set = WorkingSet::load(db, &Wanted::of(batch)).await?;
    let mut parked = 0;
    for delivery in batch {
        if !fold_or_park(&mut set, delivery)? {
            parked += 1;
        }
    }
    set.write(db).await?;
    Ok(parked)
}

async fn park_all(db: &mut Db<'_>, batch: &[Delivery]) -> Result<u64, FoldError> {
    let mut set = WorkingSet::default();
    for delivery in batch {
        park(&mut set, delivery, Stage::Fold, REFUSED_BY_TABLES);
    }
    set.write(db).await?;
    Ok(batch.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::query;
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
                synced: None,
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
        query("PRAGMA max_page_count = 60")
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
