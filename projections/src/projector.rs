//! The fold loop: follows the log from the checkpoint and keeps the tables up with it, whatever comes and goes.

mod handle;
mod standby;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Clock, CommitStream, Delivery, EventLog, LogState, StreamSeq};
use futures::future::{Either, select};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::batch::{BATCH_COMMITS_MAX, Folded, Gather, PARKED_FREE, Rest, Then, fold_batch, is_many_of};
use crate::checkpoint::Checkpoint;
use crate::error::{FoldError, HaltCause};
use crate::fork;
use crate::tables::Tables;
use crate::waiting::Waiting;

pub use handle::{FoldedBatch, ProjectorHandle, ProjectorState, ProjectorStatus, WaitTimeout};

/// How long a batch stays open while more is known to come: somebody may wait for its first commit.
const BATCH_AGE_MAX: Duration = Duration::from_millis(20);
/// From one batch to the next while nobody waits: a transaction costs as much as folding some fifty events, and commits
/// that come one by one would each have their own.
const REST: Duration = Duration::from_millis(10);
/// Pause after the first failure; doubled after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a stream may say nothing before the log is asked whether there is more.
const SILENCE_MIN: Duration = Duration::from_secs(2);
/// The same, once asking has led to nothing several times: the log's end may have been purged.
const SILENCE_MAX: Duration = Duration::from_secs(64);
/// How old the last fork check may be when a batch is folded. A log that restarts shows it in no other way.
const FORK_CHECK_AGE_MAX: Duration = Duration::from_secs(2);

/// Batches that are kept for whoever looks on and is slower than the fold; beyond it the oldest is missed.
const FOLDED_KEPT: usize = 16;

/// Keeps the tables equal to a fold of the log. Any number may run on one database, in any number of processes: one of
/// them folds, and the others stand by and take over when it stops.
#[derive(Debug)]
pub struct Projector {
    // dependencies
    log: Arc<dyn EventLog>,
    tables: Tables,
    clock: Arc<dyn Clock>,
    // configuration
    batch_commits_max: usize,
    parked_free: u64,
    // state
    pause: Duration,
    silence: Duration,
    /// Commits this run has folded or parked.
    commits_here: u64,
    /// Those of them it has parked.
    parked_here: u64,
    status: watch::Sender<ProjectorStatus>,
    folded: broadcast::Sender<FoldedBatch>,
    waiting: Arc<Waiting>,
}

/// Why following ended without an error.
#[derive(Debug)]
enum Ended {
    Cancelled,
    /// The stream stalled, or the checkpoint is not where the stream continues.
    Anew,
    /// Another projector folds.
    Overtaken,
}

/// One stretch of following: from a fork check until the stream is given up.
struct Following {
    checkpoint: Option<Checkpoint>,
    state: LogState,
    checked_at: Duration,
}

impl Following {
    fn seq(&self) -> StreamSeq {
        Checkpoint::seq_of(self.checkpoint.as_ref())
    }
}

impl Projector {
    /// A projector and the handle others watch it by. It does nothing until [`Projector::run`].
    pub fn new(log: Arc<dyn EventLog>, tables: Tables, clock: Arc<dyn Clock>) -> (Self, ProjectorHandle) {
        handle::describe_metrics();
        let status = watch::Sender::new(ProjectorStatus::default());
        let folded = broadcast::Sender::new(FOLDED_KEPT);
        let waiting = Arc::new(Waiting::default());
        let handle = ProjectorHandle::new(status.subscribe(), folded.downgrade(), waiting.clone());
        let projector = Self {
            log,
            tables,
            clock,
            batch_commits_max: BATCH_COMMITS_MAX,
            parked_free: PARKED_FREE,
            pause: PAUSE_MIN,
            silence: SILENCE_MIN,
            commits_here: 0,
            parked_here: 0,
            status,
            folded,
            waiting,
        };
        (projector, handle)
    }

    /// Sets how many commits one transaction holds at most; 2,000 unless said otherwise, at least 1.
    #[must_use]
    pub fn with_batch_commits_max(mut self, commits: usize) -> Self {
        self.batch_commits_max = commits.max(1);
        self
    }

    /// Sets at how many parked commits it halts, if they are more than one in a hundred; 100 unless said otherwise.
    #[must_use]
    pub fn with_parked_max(mut self, commits: u64) -> Self {
        self.parked_free = commits;
        self
    }

    /// Never folds, but lets its handle follow the tables that another process folds.
    pub async fn watch(mut self, cancel: CancellationToken) {
        loop {
            match self.stand_by(&cancel, false).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "the tables cannot be watched");
                    self.status
                        .send_modify(|status| status.reason = Some(error.to_string()));
                }
            }
            tokio::select! {
                // Nothing is lost with the pause.
                () = cancel.cancelled() => return,
                () = self.clock.sleep(PAUSE_MAX) => {}
            }
        }
    }

    /// Folds until `cancel`, then commits what it has and returns. An absent log or a busy database is waited for.
    ///
    /// # Errors
    /// [`FoldError::Halt`] when going on would make the tables wrong: the log is another one, was written by a newer
    /// program, or the tables are damaged. The reason says what to do.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), FoldError> {
        loop {
            let ended = match Box::pin(self.follow(&cancel)).await {
                Ok(Ended::Overtaken) => Box::pin(self.stand_by(&cancel, true)).await,
                ended => ended,
            };
            let error = match ended {
                Ok(Ended::Cancelled) => return Ok(()),
                Ok(Ended::Anew | Ended::Overtaken) => continue,
                Err(error) => error,
            };
            if !matches!(error, FoldError::Retry { .. }) {
                tracing::error!(%error, "folding halted");
                self.status.send_modify(|status| status.halt(&error));
                handle::show_halted();
                return Err(error);
            }
            tracing::warn!(%error, pause_ms = self.pause.as_millis(), "folding waits");
            self.status
                .send_modify(|status| status.reason = Some(error.to_string()));
            tokio::select! {
                // Nothing is lost with the pause.
                () = cancel.cancelled() => return Ok(()),
                () = self.clock.sleep(self.pause) => self.pause = (self.pause * 2).min(PAUSE_MAX),
            }
        }
    }

    /// Follows the log from the checkpoint as long as that goes well. While one batch is folded the next is gathered:
    /// reading and folding are this program's work, writing is the database's.
    async fn follow(&mut self, cancel: &CancellationToken) -> Result<Ended, FoldError> {
        let (mut following, mut commits) = tokio::select! {
            biased;
            // Nothing was begun that would have to be ended.
            () = cancel.cancelled() => return Ok(Ended::Cancelled),
            begun = self.begin() => begun?,
        };
        let (clock, waiting) = (self.clock.clone(), self.waiting.clone());
        let mut gathered = None;
        loop {
            let rest = Rest {
                until: clock.monotonic() + REST,
                waiting: &waiting,
            };
            let gather = Gather {
                clock: clock.as_ref(),
                cancel,
                commits_max: self.batch_commits_max,
                log_end: following.state.last_seq,
                is_bounded: false,
                parks_newer: false,
                age_max: BATCH_AGE_MAX,
                rest: Some(rest),
                silence: self.silence,
            };
            let (batch, then) = match gathered.take() {
                Some(gathered) => gathered,
                None => gather.next(&mut commits, following.seq()).await,
            };
            match (batch.last().map(Delivery::seq), &then) {
                (Some(last), Ok(Then::Continue)) => {
                    let folding = pin!(self.fold(&mut following, batch));
                    let gathering = pin!(gather.next(&mut commits, last));
                    // Whoever waits for this batch is told when it is folded, however long the next takes to come.
                    gathered = match select(folding, gathering).await {
                        Either::Left((folded, gathering)) => match folded? {
                            Some(ended) => return Ok(ended),
                            None => Some(gathering.await),
                        },
                        Either::Right((next, folding)) => match folding.await? {
                            Some(ended) => return Ok(ended),
                            None => Some(next),
                        },
                    };
                }
                (Some(_), _) => {
                    if let Some(ended) = self.fold(&mut following, batch).await? {
                        return Ok(ended);
                    }
                }
                (None, _) => {}
            }
            match then? {
                Then::Continue | Then::Reached => {}
                Then::Cancelled => return Ok(Ended::Cancelled),
                Then::Silent => {
                    self.check_fork(&mut following).await?;
                    if following.state.last_seq > following.seq() {
                        tracing::warn!(
                            checkpoint = following.seq().0,
                            log_end = following.state.last_seq.0,
                            "the log has more but nothing arrives; following it anew"
                        );
                        self.silence = (self.silence * 2).min(SILENCE_MAX);
                        return Ok(Ended::Anew);
                    }
                }
            }
        }
    }

    async fn begin(&self) -> Result<(Following, CommitStream), FoldError> {
        let checkpoint = self.tables.checkpoint().await?;
        let parked = self.tables.parked_count().await?;
        let state = self.log.state().await?;
        fork::check(self.log.as_ref(), checkpoint.as_ref(), &state).await?;
        let seq = Checkpoint::seq_of(checkpoint.as_ref());
        let commits = self.log.follow(seq).await?;
        self.status.send_modify(|status| status.run_at(seq, parked));
        handle::show(seq, state.last_seq, parked);
        let following = Following {
            checkpoint,
            state,
            checked_at: self.clock.monotonic(),
        };
        Ok((following, commits))
    }

    async fn check_fork_at_times(&self, following: &mut Following) -> Result<(), FoldError> {
        let age = self.clock.monotonic().saturating_sub(following.checked_at);
        if age < FORK_CHECK_AGE_MAX {
            Ok(())
        } else {
            self.check_fork(following).await
        }
    }

    async fn check_fork(&self, following: &mut Following) -> Result<(), FoldError> {
        following.state = self.log.state().await?;
        fork::check(self.log.as_ref(), following.checkpoint.as_ref(), &following.state).await?;
        following.checked_at = self.clock.monotonic();
        handle::show(
            following.seq(),
            following.state.last_seq,
            self.status.borrow().parked,
        );
        Ok(())
    }

    /// Folds `batch`, unless another projector was quicker: then that one folds, and this one stands by.
    async fn fold(
        &mut self,
        following: &mut Following,
        batch: Vec<Delivery>,
    ) -> Result<Option<Ended>, FoldError> {
        self.check_fork_at_times(following).await?;
        let after = following.seq();
        match fold_batch(&self.tables, after, &following.state.identity, &batch).await? {
            Folded::Committed {
                checkpoint, parked, ..
            } => {
                following.checkpoint = Some(checkpoint);
                self.passed(following, parked);
                self.parked_here += parked;
                self.commits_here += batch.len() as u64;
                // Without an onlooker it goes nowhere.
                let _ = self.folded.send(FoldedBatch::new(after, batch));
                if self.parked_here >= self.parked_free && is_many_of(self.parked_here, self.commits_here) {
                    return Err(FoldError::halt_because(
                        HaltCause::TooManyParked,
                        format!(
                            "{} commits could not be folded since this program began, the last before {}; the reasons are in the table \
                         parked_events (`dramatis parked list`). Once the cause is mended, `dramatis parked retry` or \
                         `dramatis rebuild` folds them; a restart folds on without them",
                            self.parked_here,
                            following.seq()
                        ),
                    ));
                }
                Ok(None)
            }
            // Nobody folds on after a rebuild but whoever folded before.
            Folded::Overtaken if self.tables.were_rebuilt().await? => Ok(Some(Ended::Anew)),
            Folded::Overtaken => Ok(Some(Ended::Overtaken)),
        }
    }

    /// Tells whoever waits that the tables hold everything up to the checkpoint.
    fn passed(&mut self, following: &Following, newly_parked: u64) {
        (self.pause, self.silence) = (PAUSE_MIN, SILENCE_MIN);
        let seq = following.seq();
        self.status
            .send_modify(|status| status.run_at(seq, status.parked + newly_parked));
        handle::show(seq, following.state.last_seq, self.status.borrow().parked);
    }
}
