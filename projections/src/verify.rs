//! Are the tables what the log says? Folds it again beside them and compares at the same commit.

use events::{Clock, EventLog, StreamSeq};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::chain::ChainReport;
use crate::checkpoint::{self, Checkpoint};
use crate::checksum::{self, TableChecksum};
use crate::database::Db;
use crate::error::FoldError;
use crate::fork;
use crate::rebuild::Progress;
use crate::row::FoldedTable;
use crate::schema::FOLDED_TABLES;
use crate::scratch::{Folding, Scratch};
use crate::seals;
use crate::tables::Tables;

/// Differing rows named per table.
const ROWS_NAMED_MAX: usize = 20;

/// What a comparison found, table by table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The commit both were compared at.
    pub seq: StreamSeq,
    /// Every folded table.
    pub tables: Vec<TableComparison>,
    /// Whether the commits in the log are the ones that were written.
    pub chain: ChainReport,
}

/// One table, live and folded anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableComparison {
    /// The table.
    pub table: String,
    /// What the live one holds.
    pub live: TableChecksum,
    /// What the log says it ought to hold.
    pub folded: TableChecksum,
    /// Ids of rows that differ or are in one of them only, at most 20; a key of several columns is joined with `/`.
    pub differing_rows: Vec<String>,
}

impl VerifyReport {
    /// Whether every table is what the log says, and the log what was written.
    pub fn agrees(&self) -> bool {
        self.chain.holds() && self.tables.iter().all(|table| table.live == table.folded)
    }
}

/// Folds the log into a copy up to where the live tables are, and compares. The live tables may go on meanwhile.
///
/// # Errors
/// [`FoldError::Halt`] when the tables were folded from another stream, so that there is nothing to compare them with;
/// [`FoldError::Retry`] when log or database do not answer for long, or the tables were rebuilt meanwhile.
pub async fn verify(
    log: &dyn EventLog,
    tables: &Tables,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<VerifyReport, FoldError> {
    let mut scratch = Scratch::fresh(tables.location(), "scratch").await?;
    let mut folding = Folding {
        log,
        clock,
        cancel: &CancellationToken::new(),
        parks_newer: true,
        progress,
    };
    let outcome = verify_with(&mut scratch, &mut folding, tables).await;
    scratch.remove().await;
    outcome
}

async fn verify_with(
    scratch: &mut Scratch,
    folding: &mut Folding<'_>,
    tables: &Tables,
) -> Result<VerifyReport, FoldError> {
    let live = tables.checkpoint().await?;
    let state = folding.log.state().await?;
    if let Some(other) = fork::other_stream(live.as_ref(), &state) {
        return Err(fork::refused(&other));
    }
    // A log that lost its end is no reason to stop: it is what is to be named.
    let fork = fork::find(folding.log, live.as_ref(), &state).await?;
    scratch
        .fold_until(folding, Checkpoint::seq_of(live.as_ref()))
        .await?;

    // From here on the live tables stand still for us: the first read pins the snapshot, and the projector that goes
    // on writing is not held up by it. What it did while the copy was folded is little, so the snapshot is not old.
    let mut snapshot = tables.readers().snapshot().await?;
    let pinned = Checkpoint::seq_of(checkpoint::read(&mut snapshot.db()).await?.as_ref());
    if pinned < Checkpoint::seq_of(live.as_ref()) {
        let reason = "the tables were rebuilt while they were compared; try again".to_owned();
        return Err(FoldError::Retry { reason, source: None });
    }
    scratch.fold_until(folding, pinned).await?;

    let mut folded = scratch.tables().readers().acquire().await?;
    let mut comparisons = Vec::with_capacity(FOLDED_TABLES.len());
    for table in FOLDED_TABLES {
        comparisons.push(compare(table, &mut snapshot.db(), &mut folded.db()).await?);
    }
    let compared = seals::compare(&mut snapshot.db(), &mut folded.db(), pinned).await?;
    let chain = ChainReport::of(&scratch.audit())
        .with_seals(&compared, folding.log, &mut snapshot.db())
        .await?
        .with_end(pinned, fork);
    Ok(VerifyReport {
        seq: pinned,
        tables: comparisons,
        chain,
    })
}

async fn compare(
    table: &FoldedTable,
    live_db: &mut Db<'_>,
    folded_db: &mut Db<'_>,
) -> Result<TableComparison, sqlx::Error> {
    let live = checksum::of_table(live_db, table).await?;
    let folded = checksum::of_table(folded_db, table).await?;
    let differing_rows = if live == folded {
        Vec::new()
    } else {
        differing(table, live_db, folded_db).await?
    };
    Ok(TableComparison {
        table: table.name.to_owned(),
        live,
        folded,
        differing_rows,
    })
}

async fn differing(
    table: &FoldedTable,
    live_db: &mut Db<'_>,
    folded_db: &mut Db<'_>,
) -> Result<Vec<String>, sqlx::Error> {
    let live = checksum::of_rows(live_db, table).await?;
    let mut folded = checksum::of_rows(folded_db, table).await?;
    let mut names: Vec<String> = live
        .into_iter()
        .filter(|(name, digest)| folded.remove(name) != Some(*digest))
        .map(|(name, _)| name)
        .collect();
    names.extend(folded.into_keys());
    names.sort_unstable();
    names.truncate(ROWS_NAMED_MAX);
    Ok(names)
}
