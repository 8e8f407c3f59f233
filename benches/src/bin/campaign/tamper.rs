//! Changes what nats-server keeps of a log, once a round and behind its back, with its checksums made to fit, and asks
//! `verify`: everything must be named at its place, and nothing when nothing was done.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use events::{
    Commit, CommitId, EventLog, ExpectedSeq, JetStreamLog, JetStreamSettings, PersonaErased, STREAM_NAME,
    StreamSeq, Subject, SystemClock,
};
use projections::{BreakKind, Projector, Tables, VerifyReport};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use testkit::{NatsServer, StoredRecord, StreamFiles, Tampered, Tampering};
use tokio_util::sync::CancellationToken;

/// Commits of the history.
const COMMITS: usize = 600;
/// Rounds between two looks at the untouched log.
const CONTROL_EVERY: u32 = 5;
/// How long folding the history may take.
const FOLD_WITHIN: Duration = Duration::from_mins(1);

/// What came of a trial.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TamperReport {
    seed: u64,
    commits: usize,
    rounds: u32,
    found_and_named: u32,
    controls: u32,
    false_alarms: u32,
    /// What was not found, not named, or named beside it.
    failures: Vec<String>,
}

impl TamperReport {
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.false_alarms == 0
    }

    /// Prints it; a person reads one line for each failure.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        if as_json {
            writeln!(out, "{}", serde_json::to_string_pretty(self)?)?;
            return Ok(());
        }
        writeln!(
            out,
            "seed {}: {} of {} tamperings with {} commits found and named, {} false alarms in {} looks at the untouched log",
            self.seed, self.found_and_named, self.rounds, self.commits, self.false_alarms, self.controls
        )?;
        for failure in &self.failures {
            writeln!(out, "  {failure}")?;
        }
        Ok(())
    }
}

/// The house of one trial.
struct Trial {
    server: NatsServer,
    files: StreamFiles,
    tables: Tables,
    untouched: Vec<StoredRecord>,
}

/// Tries `rounds` times, whose chances all follow from `seed`.
pub(crate) async fn run(rounds: u32, seed: u64) -> anyhow::Result<TamperReport> {
    let dir = tempfile::tempdir()?;
    let mut trial = prepare(dir.path()).await?;
    let mut report = TamperReport {
        seed,
        commits: trial.untouched.len(),
        rounds,
        ..TamperReport::default()
    };
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    for (round, kind) in (0..rounds).zip(Tampering::ALL.into_iter().cycle()) {
        if round % CONTROL_EVERY == 0 {
            let verified = trial.verified(&trial.untouched.clone()).await?;
            report.controls += 1;
            report.false_alarms += u32::from(!verified.agrees());
        }
        let mut records = trial.untouched.clone();
        let done = kind.apply(&mut records, &mut chance);
        let verified = trial.verified(&records).await?;
        match judge(&verified, &done) {
            None => report.found_and_named += 1,
            Some(failure) => report.failures.push(format!("round {round}: {failure}")),
        }
    }
    Ok(report)
}

/// Personas' ticks on a real server, folded; one persona is erased.
async fn prepare(dir: &Path) -> anyhow::Result<Trial> {
    let mut server = NatsServer::start();
    let tables = Tables::open(&dir.join("tables.db")).await?;
    let log = connect(&server).await?;
    // Of few, so that their subjects have many commits each.
    for persona in 0..4 {
        for (subject, events) in benches::history::history_of(persona, 60_000).take(COMMITS / 4) {
            append(log.as_ref(), subject, events).await?;
        }
    }
    let erased = PersonaErased {
        persona_id: "persona-1".parse()?,
        spaces: vec!["space-1".parse()?],
    };
    let persona = Subject::Persona(erased.persona_id.clone());
    let at = append(log.as_ref(), persona.clone(), vec![erased.clone().into()]).await?;
    fold(log.clone(), &tables).await?;
    log.purge(&Subject::Record("space-1".parse()?), None).await?;
    log.purge(&Subject::Session(erased.persona_id.into()), None)
        .await?;
    log.purge(&persona, Some(StreamSeq(at.0 - 1))).await?;
    server.kill();
    let files = StreamFiles::of(&server.store_dir().join("store"), STREAM_NAME);
    let untouched = files.read();
    ensure!(untouched.len() > COMMITS / 2, "the history is in the log");
    Ok(Trial {
        server,
        files,
        tables,
        untouched,
    })
}

async fn connect(server: &NatsServer) -> anyhow::Result<Arc<JetStreamLog>> {
    let client = async_nats::connect(server.url()).await?;
    Ok(Arc::new(
        JetStreamLog::open(client, JetStreamSettings::default()).await?,
    ))
}

async fn append(
    log: &JetStreamLog,
    subject: Subject,
    events: Vec<events::Event>,
) -> anyhow::Result<StreamSeq> {
    let next = log.state().await?.last_seq.next();
    let id = CommitId::derived(&["tamper", &next.to_string()]);
    let commit = Commit::new(id, subject, events::testing::sample_time(), events);
    Ok(log.append(&commit, ExpectedSeq::Any).await??.seq)
}

async fn fold(log: Arc<JetStreamLog>, tables: &Tables) -> anyhow::Result<()> {
    let end = log.state().await?.last_seq;
    let (projector, handle) = Projector::new(log, tables.clone(), Arc::new(SystemClock::new()));
    let cancel = CancellationToken::new();
    let reach = async {
        let reached = handle.wait_for(end, FOLD_WITHIN).await;
        cancel.cancel();
        reached
    };
    let (ran, reached) = tokio::join!(projector.run(cancel.clone()), reach);
    ran?;
    reached.context("the tables hold the history")?;
    Ok(())
}

impl Trial {
    /// What verifying says of a log that holds `records`.
    async fn verified(&mut self, records: &[StoredRecord]) -> anyhow::Result<VerifyReport> {
        self.files.write(records);
        self.server.restart();
        let log = connect(&self.server).await?;
        let verified =
            projections::verify(log.as_ref(), &self.tables, &SystemClock::new(), &mut |_| {}).await?;
        self.server.kill();
        Ok(verified)
    }
}

/// What is wrong with what was found; `None` when every place is named with its subject, and beside them only what
/// follows from them in the same chain.
fn judge(report: &VerifyReport, done: &Tampered) -> Option<String> {
    let breaks = &report.chain.breaks;
    let named: BTreeSet<(u64, &str)> = breaks
        .iter()
        .map(|found| (found.seq.0, found.subject.as_str()))
        .collect();
    let places: BTreeSet<u64> = done.places.iter().map(|(seq, _)| *seq).collect();
    // At most so many are named; the others are counted.
    let is_all_named = done
        .places
        .iter()
        .take(100)
        .all(|(seq, subject)| named.contains(&(*seq, subject)));
    let is_counted = report.chain.breaks_total >= done.places.len() as u64;
    let beside = breaks.iter().find(|found| {
        !places.contains(&found.seq.0) && !matches!(found.kind, BreakKind::Gap | BreakKind::Beginning)
    });
    if report.agrees() || !is_all_named || !is_counted || beside.is_some() {
        return Some(format!("{done:?} gave {breaks:?}"));
    }
    None
}
