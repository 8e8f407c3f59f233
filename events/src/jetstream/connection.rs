//! Whether there is a connection, and real time around it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use tokio::time::timeout;

use super::JetStreamLog;
use crate::log::LogError;

/// How long an append waits for a connection that is just being made again.
const RECONNECT_WITHIN: Duration = Duration::from_millis(500);
/// How often it looks.
const CONNECTED_EVERY: Duration = Duration::from_millis(10);
/// How often a wait for an answer looks whether its connection is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is left of the time something may take, counted by those who wait.
#[derive(Debug)]
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
}

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole }
    }

    /// Takes `wait` off; says whether anything is left.
    pub(super) fn bears(&mut self, wait: Duration) -> bool {
        self.left = self.left.saturating_sub(wait);
        !self.left.is_zero()
    }
}

impl JetStreamLog {
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns at once with a connection, soon without one: what the client is given meanwhile it would keep and send
    /// later, long after its caller was told that it failed.
    pub(super) async fn connected(&self) -> Result<(), LogError> {
        let again = async {
            while !self.is_connected() {
                pause(CONNECTED_EVERY).await;
            }
        };
        if self.is_connected() || timeout(RECONNECT_WITHIN, again).await.is_ok() {
            return Ok(());
        }
        Err(LogError::Unavailable("not connected to NATS".to_owned()))
    }

    /// Waits for the answer to what is asked now: it comes on the connection it was asked on, or never. One timer, however
    /// long it takes.
    ///
    /// # Errors
    /// That the connection broke, or that patience ended. What became of the question is not known.
    pub(super) async fn answer_of<A>(
        &self,
        answer: impl Future<Output = A>,
        patience: &mut Patience,
    ) -> Result<A, LogError> {
        let connects = self.connects();
        let mut answer = std::pin::pin!(answer);
        loop {
            if let Ok(answer) = timeout(LOOK_EVERY, &mut answer).await {
                return Ok(answer);
            }
            if self.connects() != connects || !self.is_connected() {
                return Err(LogError::Unavailable("the connection to NATS broke".to_owned()));
            }
            if !patience.bears(LOOK_EVERY) {
                let within_ms = patience.whole.as_millis();
                return Err(LogError::Unavailable(format!("no answer within {within_ms} ms")));
            }
        }
    }

    /// How often a connection was made.
    pub(super) fn connects(&self) -> u64 {
        let statistics = self.client.statistics();
        statistics.connects.load(Ordering::Relaxed)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a network retry waits in real time, whatever the virtual day"
)]
pub(super) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
