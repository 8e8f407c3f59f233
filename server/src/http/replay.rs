//! A rebuild of the tables, started from a page: one at a time, to be watched by everybody, and to be stopped.
//!
//! It lives in this process, so a page that is closed or loaded again finds it where it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use events::{Clock as _, StreamSeq};
use http::StatusCode;
use jiff::Timestamp;
use projections::{FoldError, Progress, RebuildOptions, RebuildReport, Retried, TableChecksum};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::App;
use super::endpoint::{Access, Endpoint};
use super::operators::Operator;
use super::problem::Problem;

const PATHS: &[&str] = &["/api/v1/replay"];

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(PATHS, start)
            .once_per_key()
            .about(
                Access::Admin,
                "Begins to fold the log again beside the tables that are read, and swaps at the end",
            )
            .succeeds_with(StatusCode::ACCEPTED)
            .refuses(&[409, 503]),
        Endpoint::delete(PATHS, cancel).about(
            Access::Admin,
            "Stops the rebuild; the next one goes on where it stopped",
        ),
        Endpoint::post(&["/api/v1/parked/retry"], retry_parked)
            .once_per_key()
            .about(Access::Admin, "Folds again what could not be folded")
            .refuses(&[503]),
    ]
}

/// Where a rebuild is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReplayStage")]
pub(crate) enum Stage {
    /// There was none since this process began.
    #[default]
    Idle,
    /// It folds.
    Folding,
    /// The new tables are in place.
    Done,
    /// It was stopped; what was folded is kept.
    Cancelled,
    /// It could not be finished; the live tables are as they were.
    Failed,
}

/// What everybody sees of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct ReplayStatus {
    /// Where it is in its life.
    pub(crate) stage: Stage,
    /// The email of who started it.
    pub(crate) started_by: Option<String>,
    /// When.
    #[schemars(with = "Option<events::Moment>")]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<events::Moment>")]
    pub(crate) ended_at: Option<Timestamp>,
    /// The last commit folded.
    pub(crate) seq: StreamSeq,
    /// The commit it goes up to; it moves while the log grows.
    pub(crate) target: StreamSeq,
    /// How much is done, 0 to 1; it never goes back.
    pub(crate) share: f64,
    /// Events folded.
    pub(crate) events: u64,
    /// Events a second.
    pub(crate) events_per_second: f64,
    /// Seconds it may still take.
    pub(crate) eta_seconds: Option<u64>,
    /// The place the live tables were at when it began.
    pub(crate) before_seq: StreamSeq,
    /// What they held.
    pub(crate) before: Vec<TableChecksum>,
    /// What they hold since the swap.
    pub(crate) after: Vec<TableChecksum>,
    /// Whether the two are equal; `None` before the swap, and when the log went on meanwhile.
    pub(crate) is_equal: Option<bool>,
    /// Whether the commits that were folded are the ones that were written.
    pub(crate) chain_holds: Option<bool>,
    /// Why it failed.
    pub(crate) reason: Option<String>,
    /// The last commit folded.
    pub(crate) as_of_seq: StreamSeq,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Replay(Mutex<Job>);

#[derive(Debug, Default)]
struct Job {
    status: ReplayStatus,
    began: Duration,
    cancel: CancellationToken,
}

impl Replay {
    /// How it is.
    pub(crate) fn status(&self, now: Duration) -> ReplayStatus {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = state.status.clone();
        if status.stage == Stage::Folding {
            let took = now.saturating_sub(state.began).as_secs_f64();
            status.events_per_second = if took > 0.0 {
                status.events as f64 / took
            } else {
                0.0
            };
            status.eta_seconds = (status.share > 0.0).then(|| {
                let left = took * (1.0 - status.share) / status.share;
                Duration::try_from_secs_f64(left).map_or(0, |left| left.as_secs())
            });
        }
        status
    }

    /// Takes the one place there is.
    fn begin(
        &self,
        by: &str,
        at: Timestamp,
        now: Duration,
        cancel: CancellationToken,
    ) -> Result<(), Problem> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.status.stage == Stage::Folding {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "REPLAY_RUNNING",
                "a rebuild is under way; watch it, or stop it first",
            ));
        }
        *state = Job {
            status: ReplayStatus {
                stage: Stage::Folding,
                started_by: Some(by.to_owned()),
                started_at: Some(at),
                ..ReplayStatus::default()
            },
            began: now,
            cancel,
        };
        Ok(())
    }

    fn update(&self, change: impl FnOnce(&mut ReplayStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).status);
    }

    fn progressed(&self, progress: Progress) {
        self.update(|status| {
            let share = progress.seq.0 as f64 / progress.target.0.max(1) as f64;
            // The target moves away while the log grows; a bar that went back would look like a fault.
            status.share = status.share.max(share.min(0.99));
            status.seq = progress.seq;
            status.target = progress.target;
            status.events = progress.events;
        });
    }

    fn ended(&self, at: Timestamp, took: Duration, ended: Result<RebuildReport, FoldError>) {
        self.update(|status| {
            status.ended_at = Some(at);
            status.eta_seconds = None;
            status.events_per_second = status.events as f64 / took.as_secs_f64().max(1e-3);
            match ended {
                Ok(report) => {
                    status.stage = Stage::Done;
                    status.share = 1.0;
                    (status.seq, status.target, status.as_of_seq) = (report.seq, report.seq, report.seq);
                    status.is_equal =
                        (report.seq == status.before_seq).then(|| report.tables == status.before);
                    status.chain_holds = Some(report.chain.holds());
                    status.after = report.tables;
                }
                Err(FoldError::Cancelled { .. }) => status.stage = Stage::Cancelled,
                Err(error) => {
                    status.stage = Stage::Failed;
                    status.reason = Some(error.to_string());
                }
            }
        });
    }
}

async fn start(
    Operator(caller): Operator,
    State(app): State<App>,
) -> Result<(StatusCode, Json<ReplayStatus>), Problem> {
    let cancel = app.operators.stop.child_token();
    let replay = app.operators.replay.clone();
    let (now, began) = (app.clock.now(), app.clock.monotonic());
    replay.begin(&caller.email, now, began, cancel.clone())?;
    app.operators.audit.act(&caller, "replay.start", "", now);
    let (folding, runtime) = (app.clone(), Handle::current());
    // A thread of its own: making rows of a long log is work for a processor, and requests must not wait behind it.
    drop(app.operators.tasks.spawn_blocking(move || {
        let ended = runtime.block_on(fold(&folding, cancel));
        if let Err(error) = &ended {
            tracing::warn!(%error, "a rebuild from the dashboard ended early");
        }
        let took = folding.clock.monotonic().saturating_sub(began);
        folding.operators.replay.ended(folding.clock.now(), took, ended);
    }));
    let status = replay.status(app.clock.monotonic());
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn fold(app: &App, cancel: CancellationToken) -> Result<RebuildReport, FoldError> {
    let replay: Arc<Replay> = app.operators.replay.clone();
    let checkpoint = app.tables.checkpoint().await?;
    let before = app.tables.checksums().await?;
    let unchanged = app.tables.checkpoint().await? == checkpoint;
    replay.update(|status| {
        // Of a moment between two commits nobody can say which place it was of.
        if unchanged {
            status.before_seq = checkpoint.map_or(StreamSeq::ZERO, |checkpoint| checkpoint.seq);
        }
        status.before = before;
    });
    let options = RebuildOptions {
        cancel,
        ..RebuildOptions::default()
    };
    let mut show = |progress| replay.progressed(progress);
    Box::pin(projections::rebuild_with(
        &*app.log,
        &app.tables,
        &*app.clock,
        options,
        &mut show,
    ))
    .await
}

async fn cancel(Operator(caller): Operator, State(app): State<App>) -> Json<ReplayStatus> {
    app.operators
        .audit
        .act(&caller, "replay.cancel", "", app.clock.now());
    let replay = &app.operators.replay;
    replay
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .cancel
        .cancel();
    Json(replay.status(app.clock.monotonic()))
}

/// What came of folding again what could not be folded.
#[derive(Debug, Serialize, JsonSchema)]
struct AllRetried {
    items: Vec<Retried>,
}

async fn retry_parked(
    Operator(caller): Operator,
    State(app): State<App>,
) -> Result<Json<AllRetried>, Problem> {
    app.operators
        .audit
        .act(&caller, "parked.retry", "", app.clock.now());
    let retried = projections::retry_parked(&*app.log, &app.tables)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "parked commits cannot be folded again now");
            Problem::unavailable("RETRY_FAILED", "they cannot be folded again now; try again")
        })?;
    Ok(Json(AllRetried { items: retried }))
}
