//! Requests from outside to end the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::failed;
use crate::exit::CommandError;

/// Requests to end: Ctrl-C, or `SIGTERM` from whoever manages the process. A clone has yet to see what this one has
/// yet to see.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    asked: watch::Receiver<()>,
}

impl Signals {
    /// From here on such signals no longer end the process by themselves.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the system does not let us listen.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is there before any tracker, and there is nothing to wait for"
    )]
    pub(crate) fn listen() -> Result<Self, CommandError> {
        let listen = |kind| signal(kind).map_err(failed);
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let (ask, asked) = watch::channel(());
        // Ends with the last receiver, or with the process.
        drop(tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => ask.send_replace(()),
                    _ = terminate.recv() => ask.send_replace(()),
                    () = ask.closed() => return,
                }
            }
        }));
        Ok(Self { asked })
    }

    /// Waits for the next one, or gives one that has come since.
    pub(crate) async fn next(&mut self) {
        if self.asked.changed().await.is_err() {
            // Nobody listens any more: the process is about to end by itself.
            std::future::pending::<()>().await;
        }
    }
}
