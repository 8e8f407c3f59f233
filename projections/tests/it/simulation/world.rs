//! Log and tables, what is done to them, and what must hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use events::testing::{id, sample_time};
use events::{
    Commit, CommitId, Delivery, Event, EventLog, ExpectedSeq, MemoryLog, PersonaErased, RecordOp, StreamSeq,
    Subject,
};
use futures::StreamExt as _;
use projections::{
    RebuildOptions, RetryOutcome, TableChecksum, Tables, Until, rebuild, rebuild_with, retry_parked,
};

use super::Op;
use super::stutter::Stutter;
use crate::support::*;

pub(super) struct World {
    bench: Bench,
    log: Arc<MemoryLog>,
    /// Every commit that was appended, with its place.
    appended: Vec<(Commit, StreamSeq)>,
    /// A parked commit was folded after those that came later: only a rebuild puts it in the log's order.
    has_late_rows: bool,
}

fn name(who: u8) -> &'static str {
    ["anna", "ben", "cleo"][usize::from(who) % 3]
}

/// What somebody does; outcomes without their calls are among it, and are to be parked.
fn doing(who: u8, what: u8) -> (Subject, Vec<Event>) {
    let name = name(who);
    let tick = &format!("{name}-{}", what % 2);
    match what {
        0 => (of_persona(name), vec![enrolled(name)]),
        1 | 2 => (
            of_persona(name),
            vec![began(name, tick), called(tick, "call-0", 0)],
        ),
        3 => (of_persona(name), vec![called(tick, "call-1", 1)]),
        4 => (of_persona(name), vec![returned(tick, "call-0")]),
        5 => (of_persona(name), vec![failed(tick, "call-1", "title: required")]),
        6 => (of_persona(name), vec![rated(tick, "todo", 3)]),
        7 => (of_persona(name), vec![finished(tick)]),
        8 => (
            of_space(name),
            vec![record(name, "r", RecordOp::Put, &[("title", "a", 5)])],
        ),
        9 => (
            of_space(name),
            vec![record(name, "r", RecordOp::Delete, &[("title", "b", 7)])],
        ),
        _ => session_of(name).remove(0),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self {
            bench: Bench::new().await,
            log: Arc::new(MemoryLog::new()),
            appended: Vec::new(),
            has_late_rows: false,
        }
    }

    fn troubled(&self, too_early: u8, loses_answer: bool) -> Arc<Stutter> {
        Arc::new(Stutter {
            log: self.log.clone(),
            too_early: too_early.into(),
            loses_answer: AtomicBool::new(loses_answer),
        })
    }

    pub(super) async fn apply(&mut self, op: Op) {
        match op {
            Op::Append { who, what } => {
                let commit = self.commit(doing(who, what));
                let appended = self.log.append(&commit, ExpectedSeq::Any).await.unwrap().unwrap();
                assert!(!appended.duplicate);
                self.appended.push((commit, appended.seq));
            }
            Op::AppendAgain { which } => {
                if let Some((commit, seq)) =
                    self.appended.get(usize::from(which) % self.appended.len().max(1))
                {
                    let again = self.log.append(commit, ExpectedSeq::Any).await.unwrap().unwrap();
                    assert_eq!((again.seq, again.duplicate), (*seq, true));
                }
            }
            Op::LoseAck { who, what } => {
                let (commit, lossy) = (self.commit(doing(who, what)), self.troubled(0, true));
                assert!(lossy.append(&commit, ExpectedSeq::Any).await.is_err());
                let again = lossy.append(&commit, ExpectedSeq::Any).await.unwrap().unwrap();
                assert!(again.duplicate);
                self.appended.push((commit, again.seq));
            }
            Op::Garbage { who } => {
                self.log.append_garbage(&of_persona(name(who)).to_string(), b"{}");
            }
            Op::Fold { batch, too_early } => self.fold(batch, too_early).await,
            Op::KillFold { batch, steps } => {
                let log = self.log.clone();
                fold_cut_after(log, &self.bench.tables, batch.into(), steps.into()).await;
            }
            Op::Restart => {
                let path = self.bench.tables.path().unwrap().to_owned();
                self.bench.tables.close().await;
                self.bench.tables = Tables::open(&path).await.unwrap();
            }
            Op::Rebuild => {
                rebuild(
                    self.log.as_ref(),
                    &self.bench.tables,
                    clock().as_ref(),
                    &mut quiet,
                )
                .await
                .unwrap();
                self.has_late_rows = false;
            }
            Op::KillRebuild { steps } => {
                rebuild_cut_after(self.log.as_ref(), &self.bench.tables, steps.into()).await;
            }
            Op::Erase { who } => self.erase(name(who)).await,
            Op::RetryParked => {
                let retried = retry_parked(self.log.as_ref(), &self.bench.tables).await.unwrap();
                self.has_late_rows |= retried
                    .iter()
                    .any(|retried| retried.outcome == RetryOutcome::Folded);
            }
        }
    }

    fn commit(&self, (subject, events): (Subject, Vec<Event>)) -> Commit {
        let id = CommitId::derived(&["simulated", &self.appended.len().to_string()]);
        Commit::new(id, subject, sample_time(), events)
    }

    async fn fold(&self, batch: u8, too_early: u8) {
        fold_to_end(self.troubled(too_early, false), &self.bench.tables, batch.into())
            .await
            .unwrap();
    }

    /// As the house does it: on record, in the tables, out of the log, out of the files.
    async fn erase(&mut self, name: &str) {
        let erased = PersonaErased {
            persona_id: id(name),
            spaces: vec![id(name)],
        };
        let commit = self.commit((of_persona(name), vec![erased.into()]));
        let at = append(self.log.as_ref(), &commit).await;
        self.appended.push((commit, at));
        self.fold(100, 0).await;
        let before = Some(StreamSeq(at.0 - 1));
        for (subject, up_to) in [
            (of_space(name), None),
            (Subject::Session(id(name)), None),
            (of_persona(name), before),
        ] {
            self.log.purge(&subject, up_to).await.unwrap();
        }
        self.bench.tables.scrub().await.unwrap();
    }

    /// Takes something out of the tables behind everybody's back.
    pub(super) async fn forget_ticks(&self) {
        assert!(self.bench.by_hand("DELETE FROM ticks").await > 0);
    }

    /// What must hold after each step.
    pub(super) async fn check(&self) -> Result<(), String> {
        self.nothing_is_twice().await?;
        let seq = self
            .bench
            .tables
            .checkpoint()
            .await
            .unwrap()
            .map_or(StreamSeq::ZERO, |checkpoint| checkpoint.seq);
        let found = self.bench.tables.checksums().await.unwrap();
        let expected = self.fold_up_to(seq).await;
        if found == expected || self.has_late_rows {
            return Ok(());
        }
        Err(format!(
            "at {seq} the tables are {found:#?}, the log gives {expected:#?}"
        ))
    }

    async fn nothing_is_twice(&self) -> Result<(), String> {
        let end = self.log.state().await.unwrap().last_seq;
        let mut deliveries = self.log.read(StreamSeq::ZERO, end).await.unwrap();
        let mut ids = BTreeSet::new();
        while let Some(delivery) = deliveries.next().await {
            if let Delivery::Commit(recorded) = delivery.unwrap()
                && !ids.insert(recorded.commit.id.to_string())
            {
                return Err(format!("commit {} is in the log twice", recorded.commit.id));
            }
        }
        Ok(())
    }

    /// The log as it is now, folded from its first commit into tables of their own.
    async fn fold_up_to(&self, seq: StreamSeq) -> Vec<TableChecksum> {
        let apart = Bench::new().await;
        let options = RebuildOptions {
            until: Some(Until::Seq(seq)),
            ..RebuildOptions::default()
        };
        let copied = rebuild_with(
            self.log.as_ref(),
            &apart.tables,
            clock().as_ref(),
            options,
            &mut quiet,
        )
        .await;
        copied.unwrap().tables
    }
}
