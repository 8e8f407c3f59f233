//! Requests from outside to end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failed;
use crate::exit::CommandError;

/// Requests to end: Ctrl-C, or `SIGTERM` from whoever manages the process.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on such signals no longer end the process by themselves.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the system does not let us listen.
    pub(crate) fn listen() -> Result<Self, CommandError> {
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
