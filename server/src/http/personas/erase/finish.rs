//! Finishing erasures that broke off, without being asked again.

use std::time::Duration;

use events::{Clock as _, PersonaId};
use tokio_util::sync::CancellationToken;

use super::erase;
use crate::http::{App, spaces};

/// How often is looked. Between looks whoever asks again finishes sooner.
const EVERY: Duration = Duration::from_secs(30);

/// At the start and then now and then: finishes every erasure that has begun, the rewriting of files that is due, and
/// every space that was handed over or deleted, until `stop`.
///
/// A persona that is half erased is in no list any more, so nobody would think of asking again.
pub(crate) async fn finish_begun(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            // A step that is cut is taken again at the next start.
            () = stop.cancelled() => return,
            () = finish_all(&app) => {}
        }
        tokio::select! {
            // As above.
            () = stop.cancelled() => return,
            finished = spaces::finish(&app) => {
                if let Err(problem) = finished {
                    tracing::warn!(code = problem.code(), "spaces that were handed over or deleted are not done with yet");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.clock.sleep(EVERY) => {}
        }
    }
}

async fn finish_all(app: &App) {
    // Of an account that is deleted bytes may be left, where somebody was in the way of rewriting.
    if let Err(error) = app.identity.rewrite_if_due().await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(
            error,
            "what is left of a deleted account cannot be written over yet"
        );
    }
    let begun = match app.identity.suspended().await {
        Ok(begun) => begun,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            return tracing::warn!(error, "unfinished erasures cannot be looked for");
        }
    };
    for user in begun {
        let Ok(persona) = PersonaId::try_new(user.as_str()) else {
            continue;
        };
        match erase(app, &persona).await {
            Ok(()) => tracing::info!(persona.id = %persona, "an erasure that had broken off is finished"),
            Err(problem) if problem.code() == "PERSONA_NOT_FOUND" => {}
            Err(problem) => {
                tracing::warn!(persona.id = %persona, code = problem.code(), "an erasure is not finished yet");
            }
        }
    }
}
