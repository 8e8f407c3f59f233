//! Keeps the [`Roster`] up to date with the log and answers who is due.
//!
//! A reader task follows the log unfiltered and hands over one batch at a time, waiting until it is folded: the
//! mailbox never holds more than one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{Delivery, DueTick, LogError, RecordedCommit, StreamSeq, TickTrigger};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::error::CastError;
use crate::report::Who;
use crate::roster::{Roster, RosterEntry};
use crate::snapshot::{RosterLine, RosterSnapshot};
use crate::stage::Stage;
use crate::tick::{TickOrder, panic_text, recover};

/// Commits handed over at once.
const BATCH_MAX: usize = 256;
/// Failed tries to follow the log, without progress in between, after which the actor gives up.
const TRIES_MAX: u32 = 20;
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the roster takes.
#[derive(Debug)]
pub(crate) enum RosterMsg {
    /// From its reader: the next commits and how far they go. A reply is owed once they are folded.
    Fold(Vec<RecordedCommit>, StreamSeq, RpcReplyPort<()>),
    /// From the scheduler: whose turn it is now, where nobody was let act until the second instant, and who left a tick
    /// unfinished. An answer is owed at once.
    Due(Timestamp, Timestamp, RpcReplyPort<DueList>),
    /// From the handle: the orders for those meant. An answer is owed at once; none for an unknown persona.
    Select(Who, Timestamp, RpcReplyPort<Option<Vec<TickOrder>>>),
    /// From the handle: when somebody is due next. An answer is owed at once.
    NextDue(RpcReplyPort<Option<Timestamp>>),
    /// From whoever looks on. A snapshot is owed at once.
    Observe(RpcReplyPort<RosterSnapshot>),
}

/// See [`RosterMsg::Due`].
#[derive(Debug, Default)]
pub(crate) struct DueList {
    pub(crate) due: Vec<TickOrder>,
    /// The same for the work queue.
    pub(crate) offers: Vec<DueTick>,
    pub(crate) unfinished: Vec<TickOrder>,
}

/// How far the roster has read; shared over restarts, and back at the beginning after one.
#[derive(Debug, Clone)]
pub(crate) struct ReadUpTo(Arc<watch::Sender<StreamSeq>>);

impl Default for ReadUpTo {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(StreamSeq::ZERO)))
    }
}

impl ReadUpTo {
    /// Waits until the roster has read what is in the log by now.
    ///
    /// # Errors
    /// [`CastError::Behind`] when that takes longer than `limit`; what the log says when it cannot be asked.
    pub(crate) async fn the_end(&self, stage: &Stage, limit: Duration) -> Result<(), CastError> {
        let end = stage
            .within(limit, stage.log.state())
            .await
            .unwrap_or_else(|| Err(LogError::Unavailable("its state took too long".to_owned())))?
            .last_seq;
        let mut read = self.0.subscribe();
        let reached = stage
            .within(limit, read.wait_for(|read| *read >= end))
            .await
            .is_some();
        if reached {
            Ok(())
        } else {
            Err(CastError::Behind {
                at: self.0.borrow().0,
                end: end.0,
            })
        }
    }
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct RosterState {
    stage: Arc<Stage>,
    seed: u64,
    roster: Roster,
    read: ReadUpTo,
    _reader: DropGuard,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RosterActor;

impl RosterActor {
    /// Starts it under `supervisor`; it reads the log from its beginning.
    pub(crate) async fn spawn_under(
        supervisor: ActorCell,
        stage: Arc<Stage>,
        read: ReadUpTo,
    ) -> Result<ActorRef<RosterMsg>, ractor::SpawnErr> {
        Self::spawn_linked(None, Self, (stage, read), supervisor)
            .await
            .map(|(actor, _)| actor)
    }
}

/// Follows the log for as long as the roster lives, and ends the roster when that cannot be done: the supervisor
/// starts it anew, from the beginning of the log.
async fn read(stage: Arc<Stage>, roster: ActorRef<RosterMsg>) {
    let reason = match AssertUnwindSafe(keep_following(&stage, &roster))
        .catch_unwind()
        .await
    {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("its reader panicked: {}", panic_text(panic.as_ref())),
    };
    roster.stop(Some(reason));
}

/// Follows the log, over failures too, until there were too many of them (`Err`) or the roster is gone (`Ok`).
async fn keep_following(stage: &Stage, roster: &ActorRef<RosterMsg>) -> Result<(), LogError> {
    let (mut at, mut tries) = (StreamSeq::ZERO, 0);
    loop {
        let before = at;
        let Err(error) = follow(stage, roster, &mut at).await else {
            return Ok(());
        };
        tries = if at > before { 1 } else { tries + 1 };
        if tries >= TRIES_MAX {
            return Err(error);
        }
        tracing::warn!(%error, stream.seq = at.0, tries, "the roster lost the log and follows it anew");
        stage
            .clock
            .sleep(PAUSE_MAX.min(Duration::from_millis(50) * 2u32.pow(tries.min(10))))
            .await;
    }
}

/// Hands over batches until the log fails (`Err`) or the roster is gone (`Ok`).
async fn follow(stage: &Stage, roster: &ActorRef<RosterMsg>, at: &mut StreamSeq) -> Result<(), LogError> {
    let mut deliveries = stage.log.follow(*at).await?.ready_chunks(BATCH_MAX);
    while let Some(chunk) = deliveries.next().await {
        let (mut batch, mut error) = (Vec::new(), None);
        let mut upto = *at;
        for delivery in chunk {
            match delivery {
                Ok(Delivery::Commit(recorded)) => {
                    upto = recorded.seq;
                    batch.push(recorded);
                }
                Ok(Delivery::Undecodable(message)) => {
                    upto = message.seq;
                    tracing::warn!(stream.seq = upto.0, subject = message.subject, error = %message.error, "the roster cannot read a message and goes on without it");
                }
                Err(failure) => {
                    error = Some(failure);
                    break;
                }
            }
        }
        let folded = roster
            .call(|reply| RosterMsg::Fold(batch, upto, reply), None)
            .await;
        if !matches!(folded, Ok(ractor::rpc::CallResult::Success(()))) {
            return Ok(());
        }
        *at = upto;
        if let Some(error) = error {
            return Err(error);
        }
    }
    Err(LogError::Unavailable("following it ended".to_owned()))
}

/// The orders for those who are due.
fn scheduled<'a>(due: impl IntoIterator<Item = (&'a RosterEntry, Timestamp)>) -> Vec<TickOrder> {
    due.into_iter()
        .map(|(entry, since)| TickOrder::new(entry, TickTrigger::Schedule, since))
        .collect()
}

impl RosterState {
    fn due(&self, now: Timestamp, back_since: Timestamp) -> DueList {
        let mut turns = self.roster.due(now, self.seed);
        turns.retain(|(entry, since)| entry.made_up_at(*since, back_since, self.seed) <= now);
        DueList {
            offers: self.offers(&turns),
            due: scheduled(turns),
            unfinished: self
                .abandoned()
                .map(|entry| TickOrder::new(entry, TickTrigger::Schedule, now))
                .collect(),
        }
    }

    /// The same for the work queue, where runners share it.
    fn offers(&self, turns: &[(&RosterEntry, Timestamp)]) -> Vec<DueTick> {
        if !self.stage.shares_ticks() {
            return Vec::new();
        }
        let due = turns.iter().copied();
        due.map(|(entry, due_at)| DueTick {
            persona_id: entry.description.persona_id.clone(),
            number: entry.last_number + 1,
            email: entry.description.email.clone(),
            name: entry.description.name.clone(),
            due_at,
        })
        .collect()
    }

    /// Whose tick nobody lives any more: alone on the log all that are unfinished, else those too old to be lived.
    fn abandoned(&self) -> impl Iterator<Item = &RosterEntry> {
        let is_abandoned = |entry: &&RosterEntry| {
            let open = entry.unfinished.as_ref();
            !self.stage.shares_ticks() || open.is_some_and(|open| recover::is_overdue(&self.stage, open))
        };
        self.roster.unfinished().filter(is_abandoned)
    }

    fn select(&self, who: &Who, now: Timestamp) -> Option<Vec<TickOrder>> {
        let by_hand = |entry: &RosterEntry| TickOrder::new(entry, TickTrigger::Manual, now);
        match who {
            Who::Due => Some(scheduled(self.roster.due(now, self.seed))),
            Who::FirstDue => Some(scheduled(self.roster.due(now, self.seed).into_iter().take(1))),
            Who::All => Some(
                self.roster
                    .entries()
                    .filter(|entry| entry.halted.is_none())
                    .map(by_hand)
                    .collect(),
            ),
            Who::Persona(persona_id) => self.roster.get(persona_id).map(|entry| vec![by_hand(entry)]),
        }
    }

    fn snapshot(&self) -> RosterSnapshot {
        let mut personas: Vec<RosterLine> = self.roster.entries().map(|entry| self.line(entry)).collect();
        personas.sort_by(|a, b| a.email.cmp(&b.email));
        RosterSnapshot {
            seq: *self.read.0.borrow(),
            personas,
        }
    }

    fn line(&self, entry: &RosterEntry) -> RosterLine {
        RosterLine {
            persona_id: entry.description.persona_id.clone(),
            email: entry.description.email.clone(),
            name: entry.description.name.clone(),
            cadence: entry.description.cadence,
            time_zone: entry.description.time_zone.clone(),
            last_number: entry.last_number,
            last_started_at: entry.last_started_at,
            next_due: entry.next_due(self.seed),
            halted: entry.halted.clone(),
        }
    }
}

#[async_trait]
impl Actor for RosterActor {
    type Msg = RosterMsg;
    type State = RosterState;
    type Arguments = (Arc<Stage>, ReadUpTo);

    async fn pre_start(
        &self,
        myself: ActorRef<RosterMsg>,
        (stage, upto): (Arc<Stage>, ReadUpTo),
    ) -> Result<RosterState, ActorProcessingErr> {
        upto.0.send_replace(StreamSeq::ZERO);
        stage.purse.fold_anew();
        stage.expectations.fold_anew();
        let end = stage.cut.child_token();
        let (seed, reader) = (stage.settings.seed, end.clone().drop_guard());
        stage.tracker.spawn({
            let stage = stage.clone();
            async move { end.run_until_cancelled(read(stage, myself)).await }
        });
        Ok(RosterState {
            stage,
            seed,
            roster: Roster::default(),
            read: upto,
            _reader: reader,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<RosterMsg>,
        message: RosterMsg,
        state: &mut RosterState,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asked may have stopped waiting: that a reply finds nobody is no concern.
        match message {
            RosterMsg::Fold(batch, upto, reply) => {
                for recorded in &batch {
                    state.roster.apply(recorded);
                    state.stage.purse.fold(recorded);
                    state.stage.expectations.fold(recorded);
                }
                state.read.0.send_replace(upto);
                let _ = reply.send(());
            }
            RosterMsg::Due(now, back_since, reply) => {
                let _ = reply.send(state.due(now, back_since));
            }
            RosterMsg::Select(who, now, reply) => {
                let _ = reply.send(state.select(&who, now));
            }
            RosterMsg::NextDue(reply) => {
                let _ = reply.send(state.roster.next_due(state.seed));
            }
            RosterMsg::Observe(reply) => {
                let _ = reply.send(state.snapshot());
            }
        }
        Ok(())
    }
}
