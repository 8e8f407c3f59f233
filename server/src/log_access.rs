//! How commands beside the server reach the log: through the running server's NATS, the one that is configured, or
//! a child of their own when nothing runs.

use std::sync::Arc;

use events::{EventLog, JetStreamLog, SystemClock, SystemIds};
use secrecy::SecretString;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{connect_for_readers, open_log};
use crate::nats_child::NatsChild;
use crate::run_file::{FolderLock, RunFile};

/// The log, for as long as one command needs it.
#[derive(Debug)]
pub(crate) struct LogAccess {
    log: JetStreamLog,
    client: async_nats::Client,
    own: Option<(NatsChild, FolderLock)>,
}

impl LogAccess {
    /// Finds or starts the log's server.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] with what to do, [`CommandError::NotFound`] when there is no log yet.
    pub(crate) async fn open(config: &Config, clock: Arc<SystemClock>) -> Result<Self, CommandError> {
        let running = RunFile::find(config).map(|run| run.nats);
        if let Some(url) = config.nats.clone().or(running) {
            let url = SecretString::from(url);
            return Ok(Self {
                log: open_log(config, &url).await?,
                client: connect_for_readers(&url).await?,
                own: None,
            });
        }
        if !config.nats_dir().exists() {
            return Err(CommandError::NotFound(format!(
                "there is no log in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
                config.data.display()
            )));
        }
        let lock = FolderLock::take(&config.data)?;
        let child = NatsChild::start(config, clock, &SystemIds).await?;
        let log = open_log(config, child.url()).await?;
        Ok(Self {
            log,
            client: connect_for_readers(child.url()).await?,
            own: Some((child, lock)),
        })
    }

    /// The log.
    pub(crate) fn log(&self) -> &dyn EventLog {
        &self.log
    }

    /// A connection to tell others over, beside the log's.
    pub(crate) fn client(&self) -> async_nats::Client {
        self.client.clone()
    }

    /// Ends what was started for this command.
    pub(crate) async fn close(self) {
        if let Some((child, _lock)) = self.own {
            child.end().await;
        }
    }
}
