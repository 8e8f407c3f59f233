//! How fast events become rows, beside a bare batched insert of the same rows, on SQLite and on Postgres.
//!
//! Method: the past is in memory, so that nothing is read from a server. Each round opens a new database, runs the real
//! projector until the tables are at the end of the past, then writes the resulting rows into another new database
//! without folding, in as many transactions. Rates are in events for both: the bare insert is credited with the events
//! whose rows it wrote. Postgres is a cluster of the bench's own that does not wait for the disk, for either of the two.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use benches::history::PreparedLog;
use benches::{BareRows, Spread};
use events::{Clock as _, SystemClock};
use projections::{Projector, Tables};
use serde_json::{Value, json};
use testkit::Postgres;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// How long one fold may take.
const FOLD_WITHIN: Duration = Duration::from_mins(10);

/// Ours and the limit on one kind of database.
#[derive(Debug, Default)]
struct Pair {
    ours: Spread,
    limit: Spread,
}

/// Runs the bench.
pub(crate) async fn measure(rounds: usize, events: u64) -> anyhow::Result<Outcome> {
    let log = Arc::new(PreparedLog::new(events));
    let (mut sqlite, mut postgres, mut rows) = (Pair::default(), Pair::default(), 0);
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let folded = dir.path().join("folded.sqlite");
        sqlite.ours.add(fold(&log, Tables::open(&folded).await?).await?);
        let bare = BareRows::read(&folded).await?;
        rows = bare.count();
        sqlite
            .limit
            .add(bare.insert_into_sqlite(&dir.path().join("bare.sqlite")).await?);
        let (folded, copied) = (Postgres::start(), Postgres::start());
        postgres
            .ours
            .add(fold(&log, Tables::connect(&folded.url()).await?).await?);
        postgres
            .limit
            .add(bare.insert_into_postgres(&copied.url()).await?);
    }
    let pairs = [("sqlite", &sqlite), ("postgres", &postgres)];
    let by_database = |figure: &dyn Fn(&Pair) -> Value| -> Value {
        pairs
            .iter()
            .map(|(name, pair)| ((*name).to_owned(), figure(pair)))
            .collect()
    };
    let events = log.events();
    let rates = |spread: &Spread| {
        json!({
            "events_per_second": spread.rate(events),
            "rows_per_second": spread.rate(rows as u64),
        })
    };
    let mut ours = by_database(&|pair| rates(&pair.ours));
    ours["events"] = events.into();
    ours["rows"] = rows.into();
    Ok(Outcome {
        name: "fold",
        runs: rounds,
        ours,
        limit: by_database(&|pair| rates(&pair.limit)),
        ratio: by_database(&|pair| json!(pair.limit.percentile_ms(0.5) / pair.ours.percentile_ms(0.5))),
    })
}

/// Folds the whole past into `tables`, which are new, as the running program does.
async fn fold(log: &Arc<PreparedLog>, tables: Tables) -> anyhow::Result<Duration> {
    let clock = Arc::new(SystemClock::new());
    let (projector, folded) = Projector::new(log.clone(), tables.clone(), clock.clone());
    let stop = CancellationToken::new();
    log.make_ready();
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
