//! Folding the log again from its first commit, and putting the result in the place of the live tables.

use std::path::Path;

use events::{Clock, EventLog, StreamSeq};
use serde::Serialize;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::checkpoint::{self, Checkpoint};
use crate::checksum::TableChecksum;
use crate::database::{Db, query, query_text, sqlite};
use crate::error::FoldError;
use crate::fork;
use crate::schema::FOLDED_TABLES;
use crate::scratch::{OnProgress, Scratch, last_commit_between};
use crate::tables::Tables;

/// How often a projector that runs beside may get ahead of the copy before the rebuild is given up. Each further
/// stretch is as short as the moment between its end and the swap, so a few are enough.
const CATCH_UPS_MAX: u32 = 50;

/// How far folding a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The last commit folded.
    pub seq: StreamSeq,
    /// The commit it goes up to.
    pub target: StreamSeq,
    /// Events folded so far.
    pub events: u64,
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// Events folded.
    pub events: u64,
    /// The last commit folded.
    pub seq: StreamSeq,
    /// What the tables hold now.
    pub tables: Vec<TableChecksum>,
}

/// Folds the whole log into a copy and replaces all live tables by it in one transaction. Readers go on and see
/// either the old tables or the new ones; a projector that runs beside continues from the new checkpoint.
///
/// # Errors
/// [`FoldError::Halt`] when the log is empty while the tables are not (they may be all that is left), or holds what
/// a newer program wrote; [`FoldError::Retry`] when log or database do not answer for long. The live tables are
/// untouched then.
pub async fn rebuild(
    log: &dyn EventLog,
    tables: &Tables,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<RebuildReport, FoldError> {
    let mut scratch = Scratch::beside(tables.path()).await?;
    let outcome = rebuild_with(&mut scratch, log, tables, clock, progress).await;
    scratch.remove().await;
    outcome
}

async fn rebuild_with(
    scratch: &mut Scratch,
    log: &dyn EventLog,
    tables: &Tables,
    clock: &dyn Clock,
    progress: OnProgress<'_>,
) -> Result<RebuildReport, FoldError> {
    for _ in 0..CATCH_UPS_MAX {
        let state = log.state().await?;
        scratch.fold_until(log, clock, state.last_seq, progress).await?;
        let live = tables.checkpoint().await?;
        if scratch.seq() == StreamSeq::ZERO && live.is_some() {
            return Err(FoldError::halt(
                "the log is empty and the tables are not: they may be the last copy of what happened. Check that \
                 this is the right log; to start anew, move the tables' file away",
            ));
        }
        // A checkpoint on another log is no place to catch up with: it is what the rebuild is to mend. Nor is one
        // with nothing before it that could still be folded.
        let live_seq = Checkpoint::seq_of(live.as_ref());
        let is_reached = fork::find(log, live.as_ref(), &state).await?.is_some()
            || last_commit_between(log, scratch.seq(), live_seq).await?.is_none();
        if swap(tables.path(), scratch, live.filter(|_| is_reached).as_ref()).await? {
            let tables = scratch.tables().checksums().await?;
            return Ok(RebuildReport {
                events: scratch.events(),
                seq: scratch.seq(),
                tables,
            });
        }
    }
    Err(FoldError::Retry {
        reason: "the live tables keep getting ahead of the copy; try again when there is less to do"
            .to_owned(),
        source: None,
    })
}

/// Replaces the live tables unless they are ahead of the copy, at another checkpoint than `reached`; says whether it
/// did.
async fn swap(live: &Path, scratch: &Scratch, reached: Option<&Checkpoint>) -> Result<bool, FoldError> {
    let mut connection = sqlite::options(live).connect().await?;
    query("ATTACH DATABASE $1 AS scratch")
        .bind(scratch.path().to_string_lossy().into_owned())
        .execute(&mut Db::Sqlite(&mut connection))
        .await?;
    let mut transaction = connection.begin_with(sqlite::BEGIN_WRITING).await?;
    let now = checkpoint::read(&mut Db::Sqlite(&mut transaction)).await?;
    let is_ahead = Checkpoint::seq_of(now.as_ref()) > scratch.seq();
    if is_ahead && now.as_ref() != reached {
        transaction.rollback().await?;
        return Ok(false);
    }
    replace_all(&mut Db::Sqlite(&mut transaction)).await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(true)
}

async fn replace_all(db: &mut Db<'_>) -> Result<(), sqlx::Error> {
    for table in FOLDED_TABLES {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        replace(db, table.name, &columns).await?;
    }
    replace(
        db,
        "projection_checkpoints",
        &["name", "seq", "commit_id", "stream_name", "stream_created"],
    )
    .await
}

async fn replace(db: &mut Db<'_>, table: &str, columns: &[&str]) -> Result<(), sqlx::Error> {
    let columns = columns.join(", ");
    query_text(format!("DELETE FROM main.{table}"))
        .execute(&mut *db)
        .await?;
    query_text(format!(
        "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM scratch.{table}"
    ))
    .execute(db)
    .await?;
    Ok(())
}
