//! Folding the log again from its first commit, and putting the result in the place of the live tables.

use events::{Clock, Delivery, EventLog, StreamSeq};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::chain::ChainReport;
use crate::checkpoint::Checkpoint;
use crate::checksum::TableChecksum;
use crate::error::FoldError;
use crate::fork;
use crate::scratch::{Folding, Scratch};
use crate::seals;
use crate::swap::Held;
use crate::tables::Tables;

/// How many stretches a copy folds to come near the end of a log that grows. Each is as long as what was written during
/// the one before, so a few are enough wherever folding is faster than writing.
const CATCH_UPS_MAX: u32 = 50;
/// How long the last of these stretches may be, in sequences: what is written during it is what live tables wait for.
const WAITED_FOR_MAX: u64 = 10_000;

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

/// How to rebuild.
#[derive(Debug, Clone, Default)]
pub struct RebuildOptions {
    /// Makes a copy as of then instead of replacing the live tables.
    pub until: Option<Until>,
    /// Begins anew where an earlier rebuild was stopped, instead of going on from there.
    pub start_over: bool,
    /// Stops at the next batch; the same call later goes on from there.
    pub cancel: CancellationToken,
}

/// A moment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to the commit at that place, and with it.
    Seq(StreamSeq),
    /// Up to the first commit whose writer's clock said later than that, and without it.
    Time(Timestamp),
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// Events folded, without those of an earlier rebuild that this one went on from.
    pub events: u64,
    /// The last commit folded.
    pub seq: StreamSeq,
    /// The last commit that an earlier, unfinished rebuild had folded; 0 when this one began at the beginning.
    pub resumed_from: StreamSeq,
    /// Where the copy is, when one was asked for: a file, or a schema of the database.
    pub copy: Option<String>,
    /// What the tables hold now.
    pub tables: Vec<TableChecksum>,
    /// Whether the commits that were folded are the ones that were written. Broken chains do not keep a rebuild from
    /// going on: the log is all there is.
    pub chain: ChainReport,
}

/// Folds the whole log into a copy and replaces all live tables by it in one transaction. Readers go on and see
/// either the old tables or the new ones; a projector that runs beside continues from the new checkpoint.
///
/// # Errors
/// As [`rebuild_with`].
pub async fn rebuild(
    log: &dyn EventLog,
    tables: &Tables,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<RebuildReport, FoldError> {
    rebuild_with(log, tables, clock, RebuildOptions::default(), progress).await
}

/// As [`rebuild`], for a moment of the past, or to be stopped and gone on with.
///
/// # Errors
/// [`FoldError::Halt`] when the log is empty while the tables are not (they may be all that is left), holds what
/// a newer program wrote, or much that cannot be folded; [`FoldError::Retry`] when log or database do not answer for
/// long, or another rebuild is under way; [`FoldError::Cancelled`] when told to stop. The live tables are untouched
/// then, and what was folded is kept for the next rebuild.
pub async fn rebuild_with(
    log: &dyn EventLog,
    tables: &Tables,
    clock: &dyn Clock,
    options: RebuildOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<RebuildReport, FoldError> {
    let mut folding = Folding {
        log,
        clock,
        cancel: &options.cancel,
        parks_newer: false,
        progress,
    };
    if let Some(until) = options.until {
        let scratch = Scratch::fresh(tables.location(), "until").await?;
        return copy_until(scratch, &mut folding, tables, until).await;
    }
    let mut scratch = Scratch::for_rebuild(tables.location(), log, options.start_over).await?;
    match fold_and_swap(&mut scratch, &mut folding, tables).await {
        Ok(report) => {
            scratch.remove().await;
            Ok(report)
        }
        Err(error) => {
            // It is all the work there was; the next rebuild goes on with it.
            scratch.close().await.release().await;
            Err(error)
        }
    }
}

async fn fold_and_swap(
    scratch: &mut Scratch,
    folding: &mut Folding<'_>,
    tables: &Tables,
) -> Result<RebuildReport, FoldError> {
    catch_up(scratch, folding).await?;
    let live = tables.checkpoint().await?;
    if scratch.seq() == StreamSeq::ZERO && live.is_some() {
        return Err(FoldError::halt(
            "the log is empty and the tables are not: they may be the last copy of what happened. Check that this is \
             the right log; to start anew, move the tables away",
        ));
    }
    // Before the swap, which takes the log for what it is and replaces the seals by its own.
    let chain = held_against_seals(scratch, folding.log, tables, live.as_ref()).await?;
    scratch.tables().shrink_writer().await?;
    // That took a while, in which the live tables went on.
    catch_up(scratch, folding).await?;
    let mut held = Held::take(tables, scratch.tables().location()).await?;
    let live = held.checkpoint().await?;
    // A checkpoint on another log is no place to catch up with: it is what the rebuild is to mend.
    let state = folding.log.state().await?;
    if fork::find(folding.log, live.as_ref(), &state).await?.is_none() {
        scratch
            .fold_until(folding, Checkpoint::seq_of(live.as_ref()))
            .await?;
    }
    held.replace().await?;
    Ok(report(scratch, scratch.tables().checksums().await?, None, chain))
}

/// Folds until so little is missing that the live tables can wait for it.
///
/// # Errors
/// [`FoldError::Retry`] when more is written than can be folded.
async fn catch_up(scratch: &mut Scratch, folding: &mut Folding<'_>) -> Result<(), FoldError> {
    for _ in 0..CATCH_UPS_MAX {
        let end = folding.log.state().await?.last_seq;
        let missing = end.0.saturating_sub(scratch.seq().0);
        scratch.fold_until(folding, end).await?;
        if missing <= WAITED_FOR_MAX {
            return Ok(());
        }
    }
    Err(FoldError::Retry {
        reason: "the log grows faster than it is folded; try again when there is less to do".to_owned(),
        source: None,
    })
}

/// What the chains say of the log, and the seals that `live` tables kept of the same one.
async fn held_against_seals(
    scratch: &Scratch,
    log: &dyn EventLog,
    tables: &Tables,
    live: Option<&Checkpoint>,
) -> Result<ChainReport, FoldError> {
    let chain = ChainReport::of(&scratch.audit());
    if live.is_none() || fork::other_stream(live, &log.state().await?).is_some() {
        return Ok(chain);
    }
    let until = Checkpoint::seq_of(live).min(scratch.seq());
    let mut kept = tables.readers().snapshot().await?;
    let mut folded = scratch.tables().readers().acquire().await?;
    let compared = seals::compare(&mut kept.db(), &mut folded.db(), until).await?;
    chain.with_seals(&compared, log, &mut kept.db()).await
}

fn report(
    scratch: &Scratch,
    tables: Vec<TableChecksum>,
    copy: Option<String>,
    chain: ChainReport,
) -> RebuildReport {
    RebuildReport {
        events: scratch.events(),
        seq: scratch.seq(),
        resumed_from: scratch.began_at(),
        copy,
        tables,
        chain,
    }
}

/// Folds a copy as of `until` and leaves it beside the live tables.
async fn copy_until(
    mut scratch: Scratch,
    folding: &mut Folding<'_>,
    tables: &Tables,
    until: Until,
) -> Result<RebuildReport, FoldError> {
    match fold_copy(&mut scratch, folding, until).await {
        Ok(()) => {}
        Err(error) => {
            scratch.remove().await;
            return Err(error);
        }
    }
    let made = scratch.tables().location().clone();
    let place = tables.location().copy(&format!("as-of-{}", scratch.seq()));
    let chain = ChainReport::of(&scratch.audit());
    let checksums = scratch.tables().checksums().await?;
    let report = report(&scratch, checksums, Some(place.to_string()), chain);
    let guard = scratch.close().await;
    made.rename_to(&place).await?;
    guard.remove().await;
    Ok(report)
}

async fn fold_copy(scratch: &mut Scratch, folding: &mut Folding<'_>, until: Until) -> Result<(), FoldError> {
    let until = match until {
        Until::Seq(seq) => seq,
        Until::Time(time) => last_before(folding, time).await?,
    };
    scratch.fold_until(folding, until).await?;
    scratch.index().await
}

/// The place of the last commit before the first whose writer's clock said later than `time`.
async fn last_before(folding: &Folding<'_>, time: Timestamp) -> Result<StreamSeq, FoldError> {
    let end = folding.log.state().await?.last_seq;
    let mut commits = folding.log.read(StreamSeq::ZERO, end).await?;
    let mut at = StreamSeq::ZERO;
    while let Some(delivery) = commits.next().await {
        let delivery = delivery?;
        let is_later = matches!(&delivery, Delivery::Commit(recorded) if recorded.commit.time > time);
        if is_later || folding.cancel.is_cancelled() {
            break;
        }
        at = delivery.seq();
    }
    Ok(at)
}
