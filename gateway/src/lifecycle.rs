//! How sessions begin and end, each once and each on the record.

use std::sync::{Arc, Weak};
use std::time::Duration;

use events::{Clock, Commit, CommitId, Event, ExpectedSeq, LogError, SessionClosed, SessionOpened, Subject};
use tokio_util::sync::CancellationToken;

use crate::call::Principal;
use crate::door::Opened;
use crate::gateway::Inner;
use crate::sessions::{Owner, Session};
use crate::settings::GatewaySettings;
use crate::telemetry;

/// Characters of a client's own name kept in events.
const CLIENT_CHARS_MAX: usize = 120;

impl Inner {
    /// Gives a new session to its owner and records it. One that cannot be recorded is not opened.
    pub(crate) async fn begin_session(
        &self,
        handle: &str,
        owner: Owner,
        Opened(hello): Opened,
        opened_by: Arc<Principal>,
    ) -> Result<(), LogError> {
        let client = format!("{} {}", hello.client_info.name, hello.client_info.version);
        let session = self.sessions.bind(handle, owner, Box::new(hello), opened_by);
        let opened_at = self.clock.now();
        let event = SessionOpened {
            session_id: session.id.clone(),
            user_id: session.owner.user_id.clone(),
            space_id: session.owner.space_id.clone(),
            client: events::capped(&client, CLIENT_CHARS_MAX),
            protocol: session.protocol().to_owned(),
            opened_at,
        };
        telemetry::sessions(self.sessions.len());
        match self.append_about(&session, "session-opened", event.into()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.sessions.remove(&session);
                telemetry::sessions(self.sessions.len());
                Err(error)
            }
        }
    }

    /// Ends a session once, whoever asks first.
    pub(crate) async fn end_session(&self, session: &Session, reason: &'static str) {
        if self.sessions.remove(session) {
            self.record_end(session, reason).await;
        }
    }

    /// Closes and records a session that was already taken out of the table.
    pub(crate) async fn record_end(&self, session: &Session, reason: &'static str) {
        telemetry::sessions(self.sessions.len());
        session.desk.clear(self.clock.monotonic());
        self.mounts.end_session(&session.id);
        let closed_at = self.clock.now();
        let event = SessionClosed {
            session_id: session.id.clone(),
            reason: reason.to_owned(),
            closed_at,
        };
        if let Err(error) = self.append_about(session, "session-closed", event.into()).await {
            tracing::error!(session.id = %session.id, reason, error = %error, "the end of a session could not be recorded");
        }
    }

    async fn append_about(&self, session: &Session, what: &str, event: Event) -> Result<(), LogError> {
        let id = CommitId::derived(&[what, session.id.as_str()]);
        let subject = Subject::Session(session.owner.user_id.clone());
        let mut commit = Commit::new(id, subject, self.clock.now(), vec![event]);
        commit.correlation = session.id.to_string();
        self.append_unguarded(&commit).await
    }

    /// Appends where the order among writers does not matter, so that only size could be a reason to refuse.
    pub(crate) async fn append_unguarded(&self, commit: &Commit) -> Result<(), LogError> {
        match self.log.append(commit, ExpectedSeq::Any).await? {
            Ok(_) => Ok(()),
            Err(rejection) => Err(LogError::Unfit(rejection.to_string())),
        }
    }

    async fn reap_once(&self) {
        for session in self.sessions.take_rested(self.settings.session_idle) {
            self.record_end(&session, "idle").await;
        }
        self.records.keys.sweep();
        self.sessions.forget_streams();
        self.rates.prune(self.clock.monotonic());
    }
}

/// How often idle sessions are looked for.
pub(crate) fn reap_every(settings: &GatewaySettings) -> Duration {
    (settings.session_idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(30))
}

/// Ends idle sessions and forgets old calls, until the gateway stops or is gone.
pub(crate) async fn reap(
    inner: Weak<Inner>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    every: Duration,
) {
    loop {
        // Whichever is first; a sleep given up loses nothing.
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(every) => {}
        }
        match inner.upgrade() {
            Some(inner) => inner.reap_once().await,
            None => return,
        }
    }
}
