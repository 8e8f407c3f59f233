//! Many commits at once: history that was kept elsewhere comes in by JetStream's atomic batches, a thousand commits
//! stored together or not at all.
//!
//! A batch knows no duplicates and no guard but one per subject, and a refusal does not say which commit it is about.
//! So an import first reads which commits the log holds, keeps up with it, and whatever the server answers, looks
//! into the log before it tries again.

mod batch;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt as _;

use super::JetStreamLog;
use super::connection::pause;
use super::headers::Outgoing;
use crate::chain::ChainHash;
use crate::commit::{Commit, StreamSeq};
use crate::ids::CommitId;
use crate::log::{EventLog, LogError};

/// Commits in a batch; the server takes no more.
const BATCH_MAX: usize = 1_000;
/// Bytes of bodies in a batch, unless a single one is larger: a batch is held in memory on both sides.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often one batch is tried.
const TRIES_MAX: u32 = 8;
/// Pause before the second try; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(50);

/// What an import did.
#[must_use]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Commits stored.
    pub stored: u64,
    /// Commits that were in the log already, and left alone.
    pub known: u64,
    /// Atomic batches they were stored in.
    pub batches: u64,
}

/// Brings commits into the log, knowing what it holds. Made by [`JetStreamLog::importer`].
#[derive(Debug)]
pub struct Importer<'a> {
    log: &'a JetStreamLog,
    /// How far the log was read.
    seen: StreamSeq,
    ids: HashSet<CommitId>,
    tails: HashMap<String, Tail>,
}

/// The end of a subject.
#[derive(Debug, Clone, Copy)]
struct Tail {
    seq: StreamSeq,
    link: Option<ChainHash>,
}

impl JetStreamLog {
    /// Reads which commits the log holds (some 40 bytes of memory each), to import others.
    ///
    /// # Errors
    /// What reading says.
    pub async fn importer(&self) -> Result<Importer<'_>, LogError> {
        let mut importer = Importer {
            log: self,
            seen: StreamSeq::ZERO,
            ids: HashSet::new(),
            tails: HashMap::new(),
        };
        importer.catch_up().await?;
        Ok(importer)
    }

    /// Brings `commits` into the log, in their order, each once; see [`Importer::import`].
    ///
    /// # Errors
    /// As there.
    pub async fn import(&self, commits: &[Commit]) -> Result<Imported, LogError> {
        self.importer().await?.import(commits).await
    }
}

impl Importer<'_> {
    /// Brings `commits` into the log, in their order, each once: whatever is there already stays as it is. Guards hold
    /// as for appends, so commits others append meanwhile are never overwritten or forked; imported ones come after.
    /// Live dashboards are told of them once the tables hold them.
    ///
    /// # Errors
    /// After bounded tries. Batches before the one that failed are stored; importing the same again completes it.
    pub async fn import(&mut self, commits: &[Commit]) -> Result<Imported, LogError> {
        let mut imported = Imported::default();
        let mut batch: Vec<(CommitId, Outgoing)> = Vec::new();
        let mut bytes = 0;
        for commit in commits {
            let outgoing = Outgoing::new(commit)?;
            let is_full = batch.len() >= BATCH_MAX || bytes + outgoing.body.len() > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                self.store(std::mem::take(&mut batch), &mut imported).await?;
                bytes = 0;
            }
            bytes += outgoing.body.len();
            batch.push((commit.id, outgoing));
        }
        self.store(batch, &mut imported).await?;
        Ok(imported)
    }

    /// Stores what the log does not hold of one batch.
    async fn store(
        &mut self,
        mut batch: Vec<(CommitId, Outgoing)>,
        imported: &mut Imported,
    ) -> Result<(), LogError> {
        let (mut backoff, mut tried) = (BACKOFF, 0);
        loop {
            let before = batch.len();
            let mut in_batch = HashSet::new();
            batch.retain(|(id, _)| !self.ids.contains(id) && in_batch.insert(*id));
            let gone = (before - batch.len()) as u64;
            // After a try the log holds all of the batch when it was stored and the answer was lost.
            if tried > 0 && batch.is_empty() {
                imported.stored += gone;
                imported.batches += 1;
                return Ok(());
            }
            imported.known += gone;
            if batch.is_empty() {
                return Ok(());
            }
            match self.publish(&batch).await {
                Ok(()) => {
                    imported.stored += batch.len() as u64;
                    imported.batches += 1;
                    return Ok(());
                }
                Err(error) if tried + 1 >= TRIES_MAX => return Err(error),
                Err(error) => tracing::info!(
                    %error,
                    batch.commits = batch.len(),
                    "a batch of an import was not stored; the log is read before it is tried again"
                ),
            }
            tried += 1;
            pause(backoff).await;
            backoff *= 2;
            // Without a connection there is nothing to read; the next try says so.
            if let Err(error) = self.catch_up().await
                && tried + 1 >= TRIES_MAX
            {
                return Err(error);
            }
        }
    }

    /// Reads what was appended since.
    async fn catch_up(&mut self) -> Result<(), LogError> {
        let end = self.log.state().await?.last_seq;
        let mut deliveries = self.log.read(self.seen, end).await?;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            self.ids.extend(delivery.commit_id());
            if let Some((subject, link)) = delivery.link() {
                let link = link.stamp.map(|stamp| stamp.own);
                let seq = delivery.seq();
                self.tails.insert(subject, Tail { seq, link });
            }
        }
        drop(deliveries);
        self.seen = self.seen.max(end);
        Ok(())
    }
}
