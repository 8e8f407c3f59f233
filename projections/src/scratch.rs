//! A copy of the tables beside the live ones, folded from the log: what rebuild swaps in and verify compares with.

mod guard;
pub(crate) mod indexes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{AuditReport, ChainAudit, Clock, Delivery, EventLog, LogError, LogState, StreamSeq};
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::batch::{BATCH_COMMITS_MAX, Folded, Gather, PARKED_FREE, Then, fold_batch, is_many_of};
use crate::checkpoint::Checkpoint;
use crate::error::{FoldError, HaltCause};
use crate::fold::FOLD_VERSION;
use crate::fork;
use crate::location::Location;
use crate::rebuild::Progress;
use crate::tables::Tables;
use guard::Guard;
use indexes::SecondaryIndexes;

/// Failures in a row, without a commit folded between them, after which folding is given up.
const FAILURES_MAX: u32 = 8;
/// Pause after the first failure; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a batch stays open: nobody waits for its first commit, and it is gathered while another is folded.
const BATCH_AGE_MAX: Duration = Duration::from_millis(250);
/// How long the stream may say nothing while more is known to come.
const SILENCE: Duration = Duration::from_secs(2);

/// The name of the copy a rebuild folds into. Another version of the folds does not go on with it.
fn rebuild_name() -> String {
    format!("rebuild-{FOLD_VERSION}")
}
/// What the names of copies in the making begin with; others beside the tables are not ours to sweep.
const MAKING_PREFIXES: &[&str] = &["rebuild-", "scratch-", "until-"];
/// What the names of all copies begin with, finished ones of the past included.
const COPY_PREFIXES: &[&str] = &["rebuild-", "scratch-", "until-", "as-of-"];

/// What sweeping leaves where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// What a rebuild goes on with, and copies of the past that were asked for.
    Wanted,
    /// Nothing that nobody is at.
    Nothing,
}

/// Makes names of several copies in one process differ.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// See the module.
#[derive(Debug)]
pub(crate) struct Scratch {
    tables: Tables,
    guard: Guard,
    indexes: SecondaryIndexes,
    checkpoint: Option<Checkpoint>,
    /// Where it stood when it was opened.
    began_at: StreamSeq,
    events: u64,
    commits: u64,
    parked: u64,
    audit: ChainAudit,
    audited: StreamSeq,
}

/// What the folding of a copy tells the one who waits for it.
pub(crate) type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// What folding needs beside the copy.
pub(crate) struct Folding<'a> {
    pub(crate) log: &'a dyn EventLog,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) cancel: &'a CancellationToken,
    /// Whether commits of a newer program are parked in the copy, which is only looked at then.
    pub(crate) parks_newer: bool,
    pub(crate) progress: OnProgress<'a>,
}

impl Scratch {
    /// An empty copy beside `live` that nobody else uses.
    pub(crate) async fn fresh(live: &Location, purpose: &str) -> Result<Self, FoldError> {
        Self::sweep(live, Leave::Wanted).await?;
        loop {
            let number = COPIES.fetch_add(1, Ordering::Relaxed);
            let location = live.copy(&format!("{purpose}-{}-{number}", std::process::id()));
            // Another machine may share the database and the process id.
            if let Some(guard) = Guard::take(&location).await? {
                location.remove().await?;
                return Self::open(location, guard).await;
            }
        }
    }

    /// The copy that a rebuild of `live` folds into: where an earlier one left it, if it still stands on this log and
    /// `start_over` is not wanted.
    ///
    /// # Errors
    /// [`FoldError::Retry`] while another rebuild is at it.
    pub(crate) async fn for_rebuild(
        live: &Location,
        log: &dyn EventLog,
        start_over: bool,
    ) -> Result<Self, FoldError> {
        let location = live.copy(&rebuild_name());
        let Some(guard) = Guard::take(&location).await? else {
            return Err(FoldError::Retry {
                reason: "another rebuild of these tables is under way".to_owned(),
                source: None,
            });
        };
        Self::sweep(live, Leave::Wanted).await?;
        if start_over {
            location.remove().await?;
        }
        let scratch = match Self::open(location.clone(), guard).await? {
            scratch if scratch.stands_on(log).await? => return Ok(scratch),
            scratch => scratch,
        };
        tracing::warn!("an unfinished rebuild is of another log; beginning anew");
        let guard = scratch.close().await;
        location.remove().await?;
        Self::open(location, guard).await
    }

    async fn stands_on(&self, log: &dyn EventLog) -> Result<bool, FoldError> {
        let state = log.state().await?;
        Ok(fork::find(log, self.checkpoint.as_ref(), &state).await?.is_none())
    }

    async fn open(location: Location, guard: Guard) -> Result<Self, FoldError> {
        let tables = Tables::at(location).await?;
        let mut writer = tables.writer().acquire().await?;
        let indexes = indexes::drop_secondary(&mut writer.db(), tables.location()).await?;
        drop(writer);
        let checkpoint = tables.checkpoint().await?;
        let parked = tables.parked_count().await?;
        Ok(Self {
            indexes,
            guard,
            began_at: Checkpoint::seq_of(checkpoint.as_ref()),
            checkpoint,
            tables,
            events: 0,
            commits: 0,
            parked,
            audit: ChainAudit::new(),
            audited: StreamSeq::ZERO,
        })
    }

    /// Removes copies that nobody is at, but for what is to be left; says whether somebody is at one.
    pub(crate) async fn sweep(live: &Location, leave: Leave) -> Result<bool, sqlx::Error> {
        let prefixes = match leave {
            Leave::Wanted => MAKING_PREFIXES,
            Leave::Nothing => COPY_PREFIXES,
        };
        let mut is_any_in_use = false;
        for name in live.copies(prefixes).await? {
            let location = live.copy(&name);
            if leave == Leave::Wanted && name == rebuild_name() {
                continue;
            }
            if let Some(guard) = Guard::take(&location).await? {
                tracing::info!(copy = %location, "removing a copy that was left behind");
                location.remove().await?;
                guard.remove().await;
            } else {
                is_any_in_use = true;
            }
        }
        Ok(is_any_in_use)
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn began_at(&self) -> StreamSeq {
        self.began_at
    }

    pub(crate) fn seq(&self) -> StreamSeq {
        Checkpoint::seq_of(self.checkpoint.as_ref())
    }

    /// Folds on until `until`, or until the log holds nothing more before it.
    ///
    /// # Errors
    /// [`FoldError::Cancelled`] when told to stop; what was folded stays in the copy.
    pub(crate) async fn fold_until(
        &mut self,
        folding: &mut Folding<'_>,
        until: StreamSeq,
    ) -> Result<(), FoldError> {
        let (mut failures, mut pause) = (0, PAUSE);
        loop {
            let before = self.seq();
            let stretch = self.fold_stretch(folding, until).await;
            if self.seq() > before {
                (failures, pause) = (0, PAUSE);
            }
            let reason = match stretch {
                Ok(Then::Reached) => return Ok(()),
                Ok(Then::Cancelled) => return Err(FoldError::Cancelled { reached: self.seq() }),
                Ok(_) => "the log has more but nothing arrives".to_owned(),
                Err(FoldError::Retry { reason, .. }) if failures < FAILURES_MAX => reason,
                Err(error) => return Err(error),
            };
            if failures >= FAILURES_MAX {
                return Err(FoldError::Retry { reason, source: None });
            }
            tracing::warn!(reason, pause_ms = pause.as_millis(), "folding a copy waits");
            failures += 1;
            folding.clock.sleep(pause).await;
            pause *= 2;
        }
    }

    async fn fold_stretch(&mut self, folding: &mut Folding<'_>, until: StreamSeq) -> Result<Then, FoldError> {
        // A batch may have been folded in part before it failed.
        self.checkpoint = self.tables.checkpoint().await?;
        let state = folding.log.state().await?;
        fork::check(folding.log, self.checkpoint.as_ref(), &state).await?;
        let until = until.min(state.last_seq);
        let mut commits = folding.log.read(self.seq(), until).await?;
        let gather = Gather {
            clock: folding.clock,
            cancel: folding.cancel,
            commits_max: BATCH_COMMITS_MAX,
            log_end: state.last_seq,
            is_bounded: true,
            parks_newer: folding.parks_newer,
            age_max: BATCH_AGE_MAX,
            rest: None,
            silence: SILENCE,
        };
        let mut gathered = gather.next(&mut commits, self.seq()).await;
        loop {
            let (batch, then) = gathered;
            let (next, then) = self
                .fold_and_gather(&state, &gather, &mut commits, batch, then)
                .await?;
            let is_over = next.is_none() && then == Then::Reached;
            (folding.progress)(Progress {
                seq: self.seq(),
                // What stood last may be purged; then the end is where the rest ends.
                target: if is_over { self.seq() } else { until },
                events: self.events,
            });
            match (next, then) {
                (Some(next), _) => gathered = next,
                (None, then) => return Ok(then),
            }
        }
    }

    /// Folds `batch` and meanwhile gathers the next, if there is to be one.
    async fn fold_and_gather(
        &mut self,
        state: &LogState,
        gather: &Gather<'_>,
        commits: &mut BoxStream<'_, Result<Delivery, LogError>>,
        batch: Vec<Delivery>,
        then: Result<Then, FoldError>,
    ) -> Result<(Option<Gathered>, Then), FoldError> {
        let Some(last) = batch.last().map(Delivery::seq) else {
            return Ok((None, then?));
        };
        // A batch that is read again after a failure was checked already.
        for delivery in batch.iter().filter(|delivery| delivery.seq() > self.audited) {
            self.audit.observe(delivery);
        }
        self.audited = self.audited.max(last);
        let previous = self.seq();
        let fold = fold_batch(&self.tables, previous, &state.identity, &batch);
        let (folded, next) = if matches!(then, Ok(Then::Continue)) {
            let (folded, next) = tokio::join!(fold, gather.next(commits, last));
            (folded?, Some(next))
        } else {
            (fold.await?, None)
        };
        let Folded::Committed {
            checkpoint,
            events,
            parked,
        } = folded
        else {
            return Err(FoldError::halt("somebody else writes the copy"));
        };
        self.checkpoint = Some(checkpoint);
        self.events += events;
        self.commits += batch.len() as u64;
        self.parked += parked;
        if self.parked > PARKED_FREE && is_many_of(self.parked, self.commits) {
            return Err(FoldError::halt_because(
                HaltCause::TooManyParked,
                format!(
                    "{} of the commits up to {} cannot be folded, which is more than a few bad ones; the live tables stand \
                 as they were. Find out why before folding again: the reasons are in the table parked_events of the copy that was begun",
                    self.parked,
                    self.seq()
                ),
            ));
        }
        Ok((next, then?))
    }

    /// What the chains of the commits that were folded say, as far as this copy has seen them.
    pub(crate) fn audit(&self) -> AuditReport {
        self.audit.clone().finish()
    }

    /// Gives it the indexes that live tables have.
    pub(crate) async fn index(&self) -> Result<(), FoldError> {
        let mut writer = self.tables.writer().acquire().await?;
        Ok(self.indexes.create(&mut writer.db()).await?)
    }

    /// Closes its connections and leaves it where it is.
    pub(crate) async fn close(self) -> Guard {
        self.tables.close().await;
        self.guard
    }

    /// Closes and removes it.
    pub(crate) async fn remove(self) {
        let location = self.tables.location().clone();
        let guard = self.close().await;
        if let Err(error) = location.remove().await {
            // The next one that makes a copy sweeps it.
            tracing::warn!(%error, copy = %location, "a copy of the tables could not be removed");
        }
        guard.remove().await;
    }
}

/// A batch and what is to happen after it.
type Gathered = (Vec<Delivery>, Result<Then, FoldError>);
