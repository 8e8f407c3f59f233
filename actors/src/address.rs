//! Where an actor is reached, across restarts: a restarted actor is a new one, its address stays.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::watch;

use crate::error::CastError;

/// How long an actor may take to answer. All of ours answer from memory; longer means a restart is under way.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The place one of the tree's fixed actors is reached at. Cheap to clone; the supervisor keeps it up to date.
pub(crate) struct Address<M> {
    name: &'static str,
    current: Arc<watch::Sender<Option<ActorRef<M>>>>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            current: self.current.clone(),
        }
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.name).finish()
    }
}

impl<M: ractor::Message> Address<M> {
    /// An address nobody lives at yet. `name` is what an operator calls the actor.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            current: Arc::new(watch::Sender::new(None)),
        }
    }

    /// What an operator calls the actor.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// From now on `actor` lives here.
    pub(crate) fn set(&self, actor: ActorRef<M>) {
        self.current.send_replace(Some(actor));
    }

    /// Hands over a message that is owed no reply; says whether somebody took it. What is lost in a restart is
    /// found again by the next poll.
    pub(crate) fn cast(&self, message: M) -> bool {
        let current = self.current.borrow().clone();
        current.is_some_and(|actor| actor.cast(message).is_ok())
    }

    /// Asks and waits for the answer, for a new actor too if one is just being started.
    ///
    /// # Errors
    /// [`CastError::NoAnswer`] when none comes in time.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> Result<T, CastError> {
        self.ask_within(Some(ANSWER_WITHIN), question).await
    }

    /// As [`Self::ask`], for as long as it takes: for answers that wait for ticks. A restart ends the wait.
    pub(crate) async fn ask_patiently<T: Send + 'static>(
        &self,
        question: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> Result<T, CastError> {
        self.ask_within(None, question).await
    }

    async fn ask_within<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        question: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> Result<T, CastError> {
        let no_answer = || CastError::NoAnswer(self.name);
        let mut current = self.current.subscribe();
        let actor = tokio::time::timeout(ANSWER_WITHIN, current.wait_for(Option::is_some))
            .await
            .map_err(|_| no_answer())?
            .map_err(|_| no_answer())?
            .clone()
            .ok_or_else(no_answer)?;
        match actor.call(question, limit).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            _ => Err(no_answer()),
        }
    }
}
