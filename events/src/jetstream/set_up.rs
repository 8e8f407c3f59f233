//! Making what a cluster keeps for all: tried again for as long as its servers choose a leader or wait for one another.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{
    AccountError, AccountErrorKind, CreateStreamError, CreateStreamErrorKind, GetStreamError,
    GetStreamErrorKind, RequestError, RequestErrorKind,
};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use tokio::time::timeout;

use super::connection::pause;
use crate::log::LogError;

/// How long a cluster may take to have a leader and all its servers.
const SET_UP_WITHIN: Duration = Duration::from_secs(45);
/// Pause between two tries.
const AGAIN_EVERY: Duration = Duration::from_millis(250);

/// Tries to set `what` up until it is done, refused for good, or the time is over. An attempt says
/// [`LogError::Unavailable`] when another may do better ([`refused`]).
pub(super) async fn until_set_up<T, F>(what: &str, attempt: impl Fn() -> F) -> Result<T, LogError>
where
    F: Future<Output = Result<T, LogError>>,
{
    let mut reason = None;
    let trying = async {
        loop {
            match attempt().await {
                Err(LogError::Unavailable(why)) => {
                    if reason.is_none() {
                        tracing::warn!(what, why, "nats-server cannot set this up yet; it is tried again");
                    }
                    reason = Some(why);
                }
                decided => return decided,
            }
            pause(AGAIN_EVERY).await;
        }
    };
    if let Ok(decided) = timeout(SET_UP_WITHIN, trying).await {
        return decided;
    }
    let reason = reason.unwrap_or_else(|| "no answer".to_owned());
    let within_s = SET_UP_WITHIN.as_secs();
    Err(LogError::Unavailable(format!(
        "{what} cannot be set up, tried for {within_s} s: {reason}; are all servers of the cluster there, and may this \
         user manage streams?"
    )))
}

/// What an attempt says of a server's refusal.
pub(super) fn refused(what: &str, error: &(dyn Error + 'static)) -> LogError {
    if passes(error) {
        return LogError::Unavailable(error.to_string());
    }
    LogError::Unfit(format!(
        "{what} cannot be set up: {error}; is JetStream on and may this user manage streams?"
    ))
}

/// Whether servers say so while their cluster is not whole: another moment may bring another answer.
fn passes(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |error| Error::source(*error)).any(|cause| {
        if let Some(error) = cause.downcast_ref::<RequestError>() {
            matches!(error.kind(), RequestErrorKind::TimedOut | RequestErrorKind::Other)
        } else if let Some(error) = cause.downcast_ref::<GetStreamError>() {
            matches!(error.kind(), GetStreamErrorKind::JetStream(error) if is_not_whole(&error))
        } else if let Some(error) = cause.downcast_ref::<CreateStreamError>() {
            match error.kind() {
                CreateStreamErrorKind::TimedOut => true,
                CreateStreamErrorKind::JetStream(error) => is_not_whole(&error),
                _ => false,
            }
        } else if let Some(error) = cause.downcast_ref::<ConsumerError>() {
            match error.kind() {
                ConsumerErrorKind::TimedOut => true,
                ConsumerErrorKind::JetStream(error) => is_not_whole(&error),
                _ => false,
            }
        } else if let Some(error) = cause.downcast_ref::<AccountError>() {
            match error.kind() {
                AccountErrorKind::TimedOut => true,
                AccountErrorKind::JetStream(error) => is_not_whole(&error),
                _ => false,
            }
        } else {
            false
        }
    })
}

/// No leader, or not enough servers that could keep a copy.
fn is_not_whole(error: &jetstream::Error) -> bool {
    matches!(
        error.error_code(),
        ErrorCode::CLUSTER_INCOMPLETE
            | ErrorCode::CLUSTER_NO_PEERS
            | ErrorCode::CLUSTER_NOT_ACTIVE
            | ErrorCode::CLUSTER_NOT_ASSIGNED
            | ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::INSUFFICIENT_RESOURCES
    )
}
