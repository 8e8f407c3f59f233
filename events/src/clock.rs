//! The clock and the source of ids. Nothing else reads the wall clock or random numbers.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rand::{Rng as _, SeedableRng as _, TryRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use uuid::Uuid;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Time since some fixed start. It never goes back, so differences of it are latencies.
    fn monotonic(&self) -> Duration;

    /// Returns after `duration` of this clock's time.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock, which can be moved to live virtual days: [`SystemClock::set`] says where they begin,
/// [`SystemClock::advance`] lets time pass that nobody waited for.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
    /// What [`Clock::now`] is ahead of the machine; behind it, when negative.
    ahead_us: AtomicI64,
    /// What passed without being waited for.
    skipped_us: AtomicU64,
}

impl SystemClock {
    /// Starts at the machine's time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn new() -> Self {
        Self {
            started: std::time::Instant::now(),
            ahead_us: AtomicI64::new(0),
            skipped_us: AtomicU64::new(0),
        }
    }

    /// Lets `by` pass at once, for all who share this clock: windows that count calls move on, what is kept for a
    /// while runs out. Waiting is not shortened, and whatever is being timed meanwhile seems to take that much longer:
    /// call this when nothing is.
    pub fn advance(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.ahead_us.fetch_add(by_us, Ordering::SeqCst);
        self.skipped_us.fetch_add(by_us.unsigned_abs(), Ordering::SeqCst);
    }

    /// Lets the time until `at` pass at once; nothing happens when that is over already.
    pub fn advance_to(&self, at: Timestamp) {
        if let Ok(by) = Duration::try_from(at.duration_since(self.now())) {
            self.advance(by);
        }
    }

    /// Makes it `at` now, earlier or later. No time passes by that: [`Clock::monotonic`] notices nothing.
    pub fn set(&self, at: Timestamp) {
        let by_us = i64::try_from(at.duration_since(self.now()).as_micros()).unwrap_or(i64::MAX);
        self.ahead_us.fetch_add(by_us, Ordering::SeqCst);
    }

    /// How far [`Clock::now`] is ahead of the machine; negative when it is behind.
    pub fn ahead(&self) -> SignedDuration {
        SignedDuration::from_micros(self.ahead_us.load(Ordering::SeqCst))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
            .saturating_add(self.ahead())
            .unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed() + Duration::from_micros(self.skipped_us.load(Ordering::SeqCst))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits on the machine's clock"
    )]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    start: Timestamp,
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// Stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            now: watch::Sender::new(start),
        }
    }

    /// Moves ahead by `by` and wakes whoever waited for less.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| {
            *now = SignedDuration::try_from(by)
                .ok()
                .and_then(|by| now.checked_add(by).ok())
                .unwrap_or(Timestamp::MAX);
        });
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn monotonic(&self) -> Duration {
        self.now().duration_since(self.start).unsigned_abs()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.monotonic() + duration;
        let mut now = self.now.subscribe();
        let start = self.start;
        // The sender lives as long as `self`, which this future borrows, so the wait cannot fail.
        let _ = now
            .wait_for(|now| now.duration_since(start).unsigned_abs() >= until)
            .await;
    }
}

/// Makes ids and random bytes for what has no natural key.
pub trait Ids: fmt::Debug + Send + Sync + 'static {
    /// A fresh UUID.
    fn uuid(&self) -> Uuid;

    /// Fills `bytes` with random bytes fit for keys, if this source is fit for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh UUID of version 7, which sorts behind those of earlier milliseconds. For what is made all the time: rows
    /// keyed by random ids are strewn over a table, and a batch of them writes a page for each.
    fn uuid_at(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Ids from the operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that draws ids from the system"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn fill(&self, bytes: &mut [u8]) {
        // Unwrap safety: without the operating system's randomness no key may be made; stopping is the only
        // safe answer, and it does not happen after start-up on the systems we run on.
        #[expect(clippy::expect_used, reason = "a weak key must never be made")]
        rand::rngs::SysRng
            .try_fill_bytes(bytes)
            .expect("the operating system gives randomness");
    }
}

/// Ids that follow from a seed. For tests and simulations; never for keys.
#[derive(Debug)]
pub struct SeededIds(Mutex<ChaCha8Rng>);

impl SeededIds {
    /// The sequence of ids that `seed` names.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rng.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn ids_of_a_time_sort_by_it_and_are_told_apart_within_it() {
        let ids = SeededIds::new(1);
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let (one, same, later) = (ids.uuid_at(at(1)), ids.uuid_at(at(1)), ids.uuid_at(at(2)));
        assert_ne!(one, same);
        assert!(one.to_string() < later.to_string() && same.to_string() < later.to_string());
        assert_eq!(one.get_version_num(), 7);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_a_sleeper_when_its_time_has_come() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let sleeper = clock.clone();
        let sleep = async move { sleeper.sleep(Duration::from_secs(10)).await };
        let mover = async {
            clock.advance(Duration::from_secs(4));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(6));
        };
        tokio::join!(sleep, mover);
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
    }

    #[test]
    fn time_that_is_let_pass_counts_for_everybody_and_time_that_is_set_passes_for_nobody() {
        let clock = SystemClock::new();
        let monday: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
        let before = clock.monotonic();
        clock.set(monday);
        assert!(clock.now() >= monday && clock.now() < monday + SignedDuration::from_hours(1));
        assert!(clock.monotonic() < before + Duration::from_hours(1));
        let tuesday = monday + SignedDuration::from_hours(24);
        clock.advance_to(tuesday);
        clock.advance_to(monday);
        assert!(clock.now() >= tuesday);
        assert!(clock.monotonic() >= before + Duration::from_hours(23));
    }

    #[test]
    fn seeded_ids_repeat_with_their_seed_and_differ_without() {
        assert_eq!(SeededIds::new(1).uuid(), SeededIds::new(1).uuid());
        assert_ne!(SeededIds::new(1).uuid(), SeededIds::new(2).uuid());
    }
}
