//! Carrying a plain call out: to its end whether or not its client stays, and behind a stream when it takes its time.

use std::sync::Arc;

use axum::response::Response;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use rmcp::model::{ErrorData, RequestId};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{as_is, called, failed, message};
use super::{Answer, Asked};
use crate::call::{OnlyAnswer, Principal};
use crate::door::sse;
use crate::gateway::Inner;
use crate::sessions::Session;
use crate::sessions::desk::UnderWay;

pub(super) async fn call(
    inner: &Arc<Inner>,
    id: RequestId,
    asked: Asked,
    principal: Arc<Principal>,
    session: Option<Arc<Session>>,
) -> Response {
    let Asked {
        mut params,
        is_mounted,
    } = asked;
    let under_way = match inner.under_way(&principal) {
        Ok(under_way) => under_way,
        Err(error) => return failed(&id, error),
    };
    let gone = CancellationToken::new();
    if let Some(session) = &session {
        let reached = UnderWay {
            cancel: gone.clone(),
            inbox: None,
        };
        if let Err(reason) = session.desk.begin(id.clone(), reached) {
            return failed(&id, ErrorData::invalid_request(reason.to_string(), None));
        }
    }
    let mut context = RequestContext::new(id.clone(), inner.nobody.clone());
    context.ct = gone.clone();
    context.meta = params.meta.take().unwrap_or_default();
    context.extensions.insert(OnlyAnswer);
    let work = {
        let (inner, id, session, gone) = (inner.clone(), id.clone(), session.clone(), gone.clone());
        async move {
            let _in_use = inner.in_use(&principal);
            let answer = inner.dispatch(principal, params, context, under_way).await;
            let is_wanted = session.is_none_or(|session| {
                session.desk.done(&id);
                !gone.is_cancelled()
            });
            is_wanted.then_some(answer)
        }
    };
    let mut call = Call {
        work: Some(work.boxed()),
        // In a session a lost connection means nothing; without one it is how a call is cancelled.
        lost: session.is_none().then_some(gone),
        tracker: inner.background.clone(),
    };
    // Whichever is first; a call that takes its time goes on behind a stream.
    let answered = tokio::select! {
        answered = call.answered() => answered,
        () = inner.clock.sleep(inner.settings.patience) => {
            return match session {
                Some(session) => resumable(inner, id, call, &session),
                None => until_lost(inner, id, call),
            };
        }
    };
    match answered {
        Some(answer) if is_mounted => as_is(&id, answer, session.is_some()),
        Some(answer) => called(&id, answer, session.is_some()),
        // A cancelled request has no answer, and an empty stream is one in every revision with sessions.
        None => sse::respond(futures::stream::empty(), inner.clock.clone()),
    }
}

/// A call that is carried out to its end whether or not its client stays.
struct Call {
    work: Option<BoxFuture<'static, Option<Answer>>>,
    /// Told when the client is gone, where that means something.
    lost: Option<CancellationToken>,
    tracker: TaskTracker,
}

impl Call {
    /// The answer; none when the client cancelled.
    async fn answered(&mut self) -> Option<Answer> {
        let answer = match &mut self.work {
            Some(work) => work.await,
            None => None,
        };
        self.work = None;
        answer
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            if let Some(lost) = &self.lost {
                lost.cancel();
            }
            self.tracker.spawn(work);
        }
    }
}

/// The rest of a call in a session, as a stream that can be taken up again.
fn resumable(inner: &Arc<Inner>, id: RequestId, mut call: Call, session: &Arc<Session>) -> Response {
    let outlet = session.desk.open_stream(inner.sessions.event_ids(session));
    let messages = outlet.begin(true);
    let clock = inner.clock.clone();
    inner.background.spawn(async move {
        if let Some(answer) = call.answered().await {
            outlet.push(message(id, answer, true));
        }
        outlet.finish(clock.monotonic());
    });
    sse::respond(messages, inner.clock.clone())
}

/// The rest of a call without a session, as a stream whose loss ends the call.
fn until_lost(inner: &Arc<Inner>, id: RequestId, mut call: Call) -> Response {
    let last = async move {
        let answer = call.answered().await?;
        Some(ServerSseMessage::from_message(message(id, answer, false)))
    };
    let messages = futures::stream::once(last).filter_map(std::future::ready);
    sse::respond(messages, inner.clock.clone())
}
