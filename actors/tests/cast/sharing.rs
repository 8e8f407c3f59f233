//! Runners that share one work queue on one real stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::{Brains, Cast, CastHandle, CastSettings};
use async_trait::async_trait;
use events::testing::{id, sample_time};
use events::{
    Claim, Clock as _, DueTick, Event, EventLog, JetStreamLog, JetStreamSettings, JetStreamTicks, LogError,
    MemoryLog, SeededIds, StreamSeq, SystemClock, TakenTick, TickId, TickQueue, read_to_end,
};
use secrecy::SecretString;
use serde_json::json;
use testkit::{NatsServer, wait_until_async};

use crate::door::{Door, SEED_SECRET};
use crate::house::{SOON, append, enrol, start_cast, tick};
use crate::logs::Losable;
use crate::scripted::{Scripted, call, gated};

/// How long a tick stays with a runner that says nothing.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

async fn log(server: &NatsServer) -> Arc<dyn EventLog> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let log = JetStreamLog::open(client, JetStreamSettings::default()).await;
    Arc::new(log.unwrap())
}

async fn queue(server: &NatsServer) -> JetStreamTicks {
    let client = async_nats::connect(server.url()).await.unwrap();
    let queue = JetStreamTicks::open(client, &JetStreamSettings::default(), KEPT_FOR).await;
    queue.unwrap()
}

/// A runner that looks for who is due five times a second.
async fn sharing(
    door: &Door,
    log: Arc<dyn EventLog>,
    queue: Arc<dyn TickQueue>,
    brain: Scripted,
    number: u64,
) -> CastHandle {
    let settings = CastSettings {
        base_url: door.base_url.clone(),
        seed_secret: SecretString::from(SEED_SECRET),
        tick_interval: Duration::from_millis(200),
        ..CastSettings::default()
    };
    Cast::start_sharing(
        settings,
        log,
        Some(queue),
        Brains::all(Arc::new(brain)),
        Arc::new(SystemClock::new()),
        Arc::new(SeededIds::new(number)),
    )
    .await
    .unwrap()
}

/// How many ticks began, and how many ended in which way.
async fn told(log: &dyn EventLog) -> (BTreeMap<TickId, u32>, BTreeMap<String, u32>) {
    let (mut begun, mut ended) = (BTreeMap::new(), BTreeMap::new());
    let read = read_to_end(log, StreamSeq::ZERO, |delivery| -> Result<(), LogError> {
        for (_, event) in delivery.into_commit()?.events() {
            match event {
                Event::TickStarted(started) => *begun.entry(started.tick_id.clone()).or_default() += 1,
                Event::TickFinished(finished) => {
                    *ended.entry(finished.outcome.as_str().to_owned()).or_default() += 1;
                }
                Event::TickInterrupted(_) => *ended.entry("interrupted".to_owned()).or_default() += 1,
                _ => {}
            }
        }
        Ok(())
    });
    read.await.unwrap();
    (begun, ended)
}

/// The negative control: let `recover::close_unfinished` close what others live (leave out the question whether ticks
/// are shared), and ticks that are being lived end as interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_three_runners_one_dies_and_no_tick_is_lived_twice_and_no_call_sent_twice() {
    const PERSONAS: u32 = 24;
    let (server, door) = (NatsServer::start(), Door::start().await);
    let one_call = || Scripted::rounds(vec![vec![call("todo.create", json!({"title": "Milch"}))]]);
    let in_the_dark = Scripted::rounds(vec![vec![gated("notes.create", "never")]]);
    let log = log(&server).await;
    for number in 0..PERSONAS {
        enrol(log.as_ref(), &format!("persona-{number}")).await;
    }
    let held = Arc::new(Mutex::new(Vec::new()));
    let watched = Watched {
        inner: queue(&server).await,
        held: held.clone(),
    };
    let doomed = sharing(&door, log.clone(), Arc::new(watched), in_the_dark, 1).await;
    let hangs = || async {
        door.seen()
            .iter()
            .filter(|seen| seen.tool == "notes.create")
            .count()
            == 2
    };
    assert!(
        wait_until_async(PATIENCE, hangs).await,
        "two ticks hang in a call"
    );
    let (two, three) = (queue(&server).await, queue(&server).await);
    let others = (
        sharing(&door, log.clone(), Arc::new(two), one_call(), 2).await,
        sharing(&door, log.clone(), Arc::new(three), one_call(), 3).await,
    );
    // As a crash does it: nothing is written any more, and the queue is told nothing.
    doomed.stop(Duration::ZERO).await;
    // As the queue does it when a tick's time is over; that it does is shown where the queue is tried.
    let left_behind = held.lock().unwrap().clone();
    for claim in left_behind {
        claim.give_back(Duration::ZERO).await;
    }
    let all_ended = || async { told(log.as_ref()).await.1.values().sum::<u32>() == PERSONAS };
    let is_over = wait_until_async(PATIENCE, all_ended).await;
    let (begun, ended) = told(log.as_ref()).await;
    assert!(is_over, "{ended:?}");
    let expected = BTreeMap::from([("completed".to_owned(), 22), ("interrupted".to_owned(), 2)]);
    assert_eq!(ended, expected);
    assert_eq!(begun.len(), PERSONAS as usize, "each began one");
    assert!(begun.values().all(|times| *times == 1), "{begun:?}");
    let seen: Vec<String> = door.seen().into_iter().map(|seen| seen.call_id).collect();
    assert_eq!(seen.len(), PERSONAS as usize);
    assert_eq!(
        seen.iter().collect::<BTreeSet<_>>().len(),
        PERSONAS as usize,
        "no call went out twice"
    );
    others.0.stop(SOON).await;
    others.1.stop(SOON).await;
}

/// Remembers who holds what.
#[derive(Debug)]
struct Watched<Q> {
    inner: Q,
    held: Arc<Mutex<Vec<Arc<dyn Claim>>>>,
}

#[derive(Debug)]
struct Shared(Arc<dyn Claim>);

#[async_trait]
impl<Q: TickQueue> TickQueue for Watched<Q> {
    async fn offer(&self, ticks: &[DueTick]) -> Result<u64, LogError> {
        self.inner.offer(ticks).await
    }

    async fn take(&self, max: usize, within: Duration) -> Result<Vec<TakenTick>, LogError> {
        let mut taken = self.inner.take(max, within).await?;
        for tick in &mut taken {
            let claim: Arc<dyn Claim> = Arc::from(std::mem::replace(&mut tick.claim, Box::new(Nobody)));
            self.held.lock().unwrap().push(claim.clone());
            tick.claim = Box::new(Shared(claim));
        }
        Ok(taken)
    }

    fn keep_every(&self) -> Duration {
        self.inner.keep_every()
    }
}

#[async_trait]
impl Claim for Shared {
    async fn keep(&self) {
        self.0.keep().await;
    }

    async fn done(&self) {
        self.0.done().await;
    }

    async fn give_back(&self, pause: Duration) {
        self.0.give_back(pause).await;
    }
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Claim for Nobody {
    async fn keep(&self) {}
    async fn done(&self) {}
    async fn give_back(&self, _: Duration) {}
}

/// Hands out one tick, and counts what its taker says.
#[derive(Debug, Default)]
struct OneTick {
    is_out: AtomicBool,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    kept: AtomicU32,
    done: AtomicU32,
    given_back: AtomicU32,
}

#[async_trait]
impl TickQueue for OneTick {
    async fn offer(&self, _: &[DueTick]) -> Result<u64, LogError> {
        Ok(0)
    }

    async fn take(&self, _: usize, _: Duration) -> Result<Vec<TakenTick>, LogError> {
        if self.is_out.swap(true, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let tick = DueTick {
            persona_id: id("anna"),
            number: 1,
            email: "anna@mana.test".to_owned(),
            name: "anna".to_owned(),
            due_at: sample_time(),
        };
        Ok(vec![TakenTick {
            tick,
            was_taken_before: false,
            claim: Box::new(Counting(self.said.clone())),
        }])
    }

    fn keep_every(&self) -> Duration {
        Duration::from_millis(10)
    }
}

#[derive(Debug)]
struct Counting(Arc<Said>);

#[async_trait]
impl Claim for Counting {
    async fn keep(&self) {
        self.0.kept.fetch_add(1, Ordering::SeqCst);
    }

    async fn done(&self) {
        self.0.done.fetch_add(1, Ordering::SeqCst);
    }

    async fn give_back(&self, _: Duration) {
        self.0.given_back.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_tick_is_kept_for_as_long_as_it_is_lived_and_then_done_with() {
    let (log, door, queue) = (
        Arc::new(MemoryLog::new()),
        Door::start().await,
        OneTick::default(),
    );
    let said = queue.said.clone();
    enrol(log.as_ref(), "anna").await;
    let brain = Scripted::rounds(vec![vec![gated("todo.create", "open")]]);
    let cast = sharing(&door, log.clone(), Arc::new(queue), brain, 1).await;
    let is_kept = || async { said.kept.load(Ordering::SeqCst) >= 3 && door.seen().len() == 1 };
    assert!(wait_until_async(PATIENCE, is_kept).await, "{said:?}");
    assert_eq!(said.done.load(Ordering::SeqCst), 0);
    door.open("open");
    let is_done = || async { said.done.load(Ordering::SeqCst) == 1 };
    assert!(wait_until_async(PATIENCE, is_done).await, "{said:?}");
    assert_eq!(said.given_back.load(Ordering::SeqCst), 0);
    assert_eq!(
        told(log.as_ref()).await.1,
        BTreeMap::from([("completed".to_owned(), 1)])
    );
    cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_that_another_runner_lives_is_given_back_and_not_closed() {
    let (log, door, queue) = (
        Arc::new(MemoryLog::new()),
        Door::start().await,
        OneTick::default(),
    );
    let said = queue.said.clone();
    let anna = enrol(log.as_ref(), "anna").await;
    // By hand, somewhere else: no offer of the queue stands for it.
    let mut by_hand = events::testing::samples();
    by_hand.retain(|event| matches!(event, Event::TickStarted(_)));
    for event in &mut by_hand {
        if let Event::TickStarted(started) = event {
            (started.number, started.started_at) = (0, SystemClock::new().now());
        }
    }
    append(log.as_ref(), &anna, "elsewhere", by_hand).await;
    let brain = Scripted::rounds(vec![vec![call("todo.create", json!({}))]]);
    let cast = sharing(&door, log.clone(), Arc::new(queue), brain, 1).await;
    let is_given_back = || async { said.given_back.load(Ordering::SeqCst) == 1 };
    assert!(wait_until_async(PATIENCE, is_given_back).await, "{said:?}");
    assert_eq!(
        (told(log.as_ref()).await.1, door.seen().len()),
        (BTreeMap::new(), 0)
    );
    cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_that_lost_its_log_is_closed_when_the_log_is_back_and_not_at_the_next_look() {
    let (log, door) = (Arc::new(Losable::default()), Door::start().await);
    let brain = Scripted::rounds(vec![
        vec![gated("todo.create", "open")],
        vec![call("todo.list", json!({}))],
    ]);
    let anna = enrol(log.as_ref(), "anna").await;
    let rarely = |settings: &mut CastSettings| settings.tick_interval = Duration::from_hours(1);
    let cast = start_cast(&door, log.clone(), Arc::new(brain), 1, rarely).await;
    let (report, ()) = tokio::join!(tick(&cast, &anna), async {
        let hangs = || async { door.seen().len() == 1 };
        assert!(
            wait_until_async(PATIENCE, hangs).await,
            "the tick hangs in its call"
        );
        log.is_lost.store(true, Ordering::SeqCst);
        door.open("open");
    });
    assert_eq!(report.outcome, "failed", "{report:?}");
    assert_eq!(told(log.as_ref()).await.1, BTreeMap::new());
    log.is_lost.store(false, Ordering::SeqCst);
    let is_closed = || async { told(log.as_ref()).await.1.contains_key("interrupted") };
    assert!(wait_until_async(PATIENCE, is_closed).await);
    assert_eq!(door.seen().len(), 1, "nothing more was sent");
    cast.stop(SOON).await;
}
