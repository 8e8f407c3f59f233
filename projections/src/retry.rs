//! Folding parked commits again, once what kept them out is mended.

use events::{Delivery, EventLog, StreamSeq};
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint;
use crate::column::bigint;
use crate::database::{DbTransaction, query};
use crate::error::FoldError;
use crate::fold::fold_delivery;
use crate::fork;
use crate::queries::ParkedRow;
use crate::tables::Tables;
use crate::working_set::{Wanted, WorkingSet};

/// What came of one parked commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Retried {
    /// Its place.
    pub seq: StreamSeq,
    /// The subject it stands under.
    pub subject: String,
    /// What came of it.
    pub outcome: RetryOutcome,
}

/// What came of folding a parked commit again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum RetryOutcome {
    /// Its rows are in the tables, and it is not parked any more.
    Folded,
    /// It cannot be folded yet.
    Parked {
        /// Why.
        reason: String,
    },
    /// It is not in the log any more: it was erased. It is not parked any more either.
    Gone,
}

/// Folds every parked commit again, oldest first, each in a transaction of its own. A projector may run beside.
///
/// A commit that is folded late was passed by those after it: where these would have come out otherwise,
/// [`verify`](crate::verify) names the rows, and a [`rebuild`](crate::rebuild) puts everything in the log's order.
///
/// # Errors
/// [`FoldError::Halt`] when the tables were folded from another log; [`FoldError::Retry`] when log or database do not
/// answer. What was folded until then stays folded.
pub async fn retry_parked(log: &dyn EventLog, tables: &Tables) -> Result<Vec<Retried>, FoldError> {
    let live = tables.checkpoint().await?;
    fork::check(log, live.as_ref(), &log.state().await?).await?;
    let mut retried = Vec::new();
    for parked in tables.parked().await? {
        let there = log.at(parked.seq).await?;
        let outcome = match there.filter(|there| there.commit_id() == parked.commit_id) {
            Some(delivery) => fold_late(tables, &delivery).await,
            None => remove(tables, parked.seq).await.map(|()| RetryOutcome::Gone),
        };
        retried.push(as_retried(parked, outcome)?);
    }
    Ok(retried)
}

fn as_retried(parked: ParkedRow, outcome: Result<RetryOutcome, FoldError>) -> Result<Retried, FoldError> {
    let outcome = match outcome {
        // Refused by the rules or by the tables; the reason it was parked for stays in its row.
        Err(FoldError::Park { reason, .. }) => RetryOutcome::Parked { reason },
        outcome => outcome?,
    };
    Ok(Retried {
        seq: parked.seq,
        subject: parked.subject,
        outcome,
    })
}

async fn remove(tables: &Tables, seq: StreamSeq) -> Result<(), FoldError> {
    query("DELETE FROM parked_events WHERE seq = $1")
        .bind(bigint(seq.0))
        .execute(tables.writer())
        .await?;
    Ok(())
}

async fn fold_late(tables: &Tables, delivery: &Delivery) -> Result<RetryOutcome, FoldError> {
    let mut connection = tables.writer().acquire().await?;
    let mut transaction = connection.begin().await?;
    let outcome = fold_in(&mut transaction, delivery).await;
    if outcome.is_ok() {
        transaction.commit().await?;
    } else {
        drop(transaction);
        // As in a fold: the connection may not know that its transaction is over.
        connection.close_on_drop();
    }
    outcome
}

async fn fold_in(
    transaction: &mut DbTransaction<'_>,
    delivery: &Delivery,
) -> Result<RetryOutcome, FoldError> {
    let batch = std::slice::from_ref(delivery);
    // The projector waits meanwhile, so that the rows stay as they are read.
    checkpoint::hold(&mut transaction.db()).await?;
    let unparked = query("DELETE FROM parked_events WHERE seq = $1")
        .bind(bigint(delivery.seq().0))
        .execute(&mut transaction.db())
        .await?;
    if unparked == 0 {
        // Erased, or folded by another, since it was listed.
        return Ok(RetryOutcome::Gone);
    }
    let mut set = WorkingSet::load(&mut transaction.db(), &Wanted::of(batch)).await?;
    fold_delivery(&mut set, delivery)?;
    set.write(&mut transaction.db()).await?;
    Ok(RetryOutcome::Folded)
}
