//! A copy of the tables beside the live file, folded from sequence 1 and thrown away afterwards.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{Clock, EventLog, LogError, StreamSeq};
use tokio_util::sync::CancellationToken;

use crate::batch::{BATCH_COMMITS_MAX, Folded, Gather, Then, fold_batch};
use crate::checkpoint::Checkpoint;
use crate::error::FoldError;
use crate::fork;
use crate::rebuild::Progress;
use crate::tables::Tables;

/// Failures in a row, without a commit folded between them, after which folding is given up.
const FAILURES_MAX: u32 = 8;
/// Pause after the first failure; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the stream may say nothing while more is known to come.
const SILENCE: Duration = Duration::from_secs(2);

/// Makes names of several copies in one process differ.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// See the module. Its file is removed on drop; one that a killed process left behind may be deleted.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    tables: Tables,
    checkpoint: Option<Checkpoint>,
    events: u64,
}

/// What the folding of a copy tells the one who waits for it.
pub(crate) type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

impl Scratch {
    /// An empty copy next to `live`, on the same disk: who has room for the tables there mostly has it twice.
    pub(crate) async fn beside(live: &Path) -> Result<Self, FoldError> {
        let copy = COPIES.fetch_add(1, Ordering::Relaxed);
        let mut name = live.file_name().unwrap_or_default().to_owned();
        name.push(format!(".scratch-{}-{copy}", std::process::id()));
        let path = live.with_file_name(name);
        remove(&path);
        let tables = Tables::open(&path).await?;
        Ok(Self {
            path,
            tables,
            checkpoint: None,
            events: 0,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn seq(&self) -> StreamSeq {
        Checkpoint::seq_of(self.checkpoint.as_ref())
    }

    /// Folds on until `until`, or until the log holds nothing more before it.
    pub(crate) async fn fold_until(
        &mut self,
        log: &dyn EventLog,
        clock: &dyn Clock,
        until: StreamSeq,
        progress: OnProgress<'_>,
    ) -> Result<(), FoldError> {
        let (mut failures, mut pause) = (0, PAUSE);
        loop {
            let before = self.seq();
            let stretch = self.fold_stretch(log, clock, until, progress).await;
            if self.seq() > before {
                (failures, pause) = (0, PAUSE);
            }
            let reason = match stretch {
                Ok(Then::Reached) => return Ok(()),
                Ok(_) => "the log has more but nothing arrives".to_owned(),
                Err(FoldError::Retry { reason, .. }) if failures < FAILURES_MAX => reason,
                Err(error) => return Err(error),
            };
            if failures >= FAILURES_MAX {
                return Err(FoldError::Retry { reason, source: None });
            }
            tracing::warn!(reason, pause_ms = pause.as_millis(), "folding a copy waits");
            failures += 1;
            clock.sleep(pause).await;
            pause *= 2;
        }
    }

    async fn fold_stretch(
        &mut self,
        log: &dyn EventLog,
        clock: &dyn Clock,
        until: StreamSeq,
        progress: OnProgress<'_>,
    ) -> Result<Then, FoldError> {
        // A batch may have been folded in part before it failed.
        self.checkpoint = self.tables.checkpoint().await?;
        let state = log.state().await?;
        fork::check(log, self.checkpoint.as_ref(), &state).await?;
        let Some(until) = last_commit_between(log, self.seq(), until.min(state.last_seq)).await? else {
            return Ok(Then::Reached);
        };
        let mut commits = log.follow(self.seq()).await?;
        let cancel = CancellationToken::new();
        let gather = Gather {
            clock,
            cancel: &cancel,
            commits_max: BATCH_COMMITS_MAX,
            log_end: state.last_seq,
            stop_at: until,
            silence: SILENCE,
        };
        loop {
            let (batch, then) = gather.next(&mut commits, self.seq()).await;
            if !batch.is_empty() {
                match fold_batch(&self.tables, self.seq(), &state.identity, &batch).await? {
                    Folded::Committed {
                        checkpoint, events, ..
                    } => {
                        self.checkpoint = Some(checkpoint);
                        self.events += events;
                    }
                    Folded::Overtaken => {
                        return Err(FoldError::halt("somebody else writes the scratch copy"));
                    }
                }
                progress(Progress {
                    seq: self.seq(),
                    target: until,
                    events: self.events,
                });
            }
            match then? {
                Then::Continue => {}
                over => return Ok(over),
            }
        }
    }

    /// Closes it and removes its file.
    pub(crate) async fn remove(self) {
        self.tables.close().await;
    }
}

/// The last commit after `after` and up to `until` that is still there. Erasing a persona purges its commits, and a
/// stream waits for ever for an end that was purged.
pub(crate) async fn last_commit_between(
    log: &dyn EventLog,
    after: StreamSeq,
    until: StreamSeq,
) -> Result<Option<StreamSeq>, LogError> {
    for seq in (after.next().0..=until.0).rev().map(StreamSeq) {
        if log.at(seq).await?.is_some() {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        // Mostly it is not there; one that cannot be removed is in nobody's way.
        let _ = std::fs::remove_file(file);
    }
}
