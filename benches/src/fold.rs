//! How fast events become rows, beside a bare batched insert of the same rows.
//!
//! Method: the past is in memory, so that nothing is read from a server. Each round opens a new database, runs the real
//! projector until the tables are at the end of the past, then writes the resulting rows into another new database
//! without folding, in as many transactions. Rates are in events for both: the bare insert is credited with the events
//! whose rows it wrote.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use benches::history::PreparedLog;
use benches::{BareRows, Spread};
use events::{Clock as _, SystemClock};
use projections::{Projector, Tables};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// How long one fold may take.
const FOLD_WITHIN: Duration = Duration::from_mins(10);

/// Runs the bench.
pub(crate) async fn measure(rounds: usize, events: u64) -> anyhow::Result<Outcome> {
    let log = Arc::new(PreparedLog::new(events));
    let events = log.events();
    let (mut ours, mut limit, mut rows) = (Spread::default(), Spread::default(), 0);
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let folded = dir.path().join("folded.sqlite");
        ours.add(fold(&log, &folded).await?);
        let bare = BareRows::read(&folded).await?;
        rows = bare.count();
        limit.add(bare.insert_into(&dir.path().join("bare.sqlite")).await?);
    }
    let rates = |spread: &Spread| {
        json!({
            "events_per_second": spread.rate(events),
            "rows_per_second": spread.rate(rows as u64),
        })
    };
    Ok(Outcome {
        name: "fold",
        runs: rounds,
        ours: json!({ "events": events, "rows": rows, "sqlite": rates(&ours) }),
        limit: json!({ "sqlite": rates(&limit) }),
        ratio: json!({ "sqlite": limit.percentile_ms(0.5) / ours.percentile_ms(0.5) }),
    })
}

/// Folds the whole past into a new database at `file`, as the running program does.
async fn fold(log: &Arc<PreparedLog>, file: &Path) -> anyhow::Result<Duration> {
    let tables = Tables::open(file).await?;
    let clock = Arc::new(SystemClock::new());
    let (projector, folded) = Projector::new(log.clone(), tables.clone(), clock.clone());
    let stop = CancellationToken::new();
    let began = clock.monotonic();
    let end = log.last_seq();
    let (ended, reached) = tokio::join!(projector.run(stop.clone()), async {
        let reached = folded.wait_for(end, FOLD_WITHIN).await;
        let took = clock.monotonic().saturating_sub(began);
        stop.cancel();
        reached.map(|_| took)
    });
    ended?;
    let took = reached?;
    ensure!(tables.counts().await?.parked == 0, "commits were parked");
    tables.close().await;
    Ok(took)
}
