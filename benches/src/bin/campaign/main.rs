//! Long trials: the program is used, hurt and judged from outside, for a count of rounds or a time. Loopback only.
//!
//! Every random choice follows from one seed, which is printed; a trial that failed keeps its folder.

mod check;
mod cluster;
mod converge;
mod faults;
mod fuzz;
mod kill;
mod ledger;
mod load;
mod log_view;
mod malformed;
mod read_back;
mod report;
mod rotate;
mod runners;
mod strangers;
mod table_view;
mod tamper;
mod tokens;
mod transplant;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use events::{Ids as _, SystemIds};

use crate::kill::Plan;

/// Try the program for long, from outside
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Debug, clap::Subcommand)]
enum Campaign {
    /// Kill the process and its nats-server at random moments under load; nothing acknowledged may be lost or doubled
    Kill(KillArgs),
    /// Kill one process after the other of a cluster of ten under load; the others go on, and nothing acknowledged may be
    /// lost or doubled
    Cluster(ClusterArgs),
    /// Let three clients work offline, with clocks that are off; all must come to one state, the same after a rebuild
    Converge(ConvergeArgs),
    /// Live virtual weeks against an app that breaks and one that does not; what broke must be reported, and nothing else
    Faults(FaultsArgs),
    /// Let three runners share due ticks while one is killed; none may be lived twice or lost, no call sent twice
    Runners(RunnersArgs),
    /// Replay everything one account was given as another, on every method and path; nothing may come back
    Strangers(TrialArgs),
    /// Send bad tokens, each wrong in one way, on every method; each must be refused with 401
    Tokens(TrialArgs),
    /// Send requests that are wrong in every way; each must be answered, none with 5xx, and nothing may panic
    Malformed(MalformedArgs),
    /// Give every parser of what strangers send anything at all; none may panic or hang
    Fuzz(FuzzArgs),
    /// Put encrypted values into one another's places and flip bits, by plain SQL; every read must be refused
    Transplant(TransplantArgs),
    /// Rotate signing keys while another process verifies, and key-encryption keys under kills and reads
    Rotate(RotateArgs),
    /// The other process of `rotate`
    #[command(hide = true)]
    VerifyTokens {
        /// Where the accounts are
        folder: PathBuf,
    },
    /// Change stored messages behind the server's back; `verify` must name every place, and nothing else
    Tamper(TamperArgs),
}

#[derive(Debug, clap::Args)]
struct TrialArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Attempts of `strangers`; how often `tokens` sends each token
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rounds: u64,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Kills; with 4 one process of each kind goes, with 10 each process once, and on from there
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// The configuration of the three nats-servers
    #[arg(long, value_name = "FILE", default_value = "deploy/nats/three.conf")]
    nats_config: PathBuf,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ConvergeArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Edits, on each database
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rounds: u64,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FaultsArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Lives of an app that never breaks
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rounds: u32,
    /// Lives of an app in which two things break
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    broken: u32,
    /// Weeks of each life
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=52))]
    weeks: u32,
    /// The week at whose end things break
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=52))]
    planted_week: u32,
    /// Lives at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RunnersArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Personas that are due at the same time
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rounds: u32,
    /// When the runner is killed [default: another time each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct MalformedArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Requests
    #[arg(long, default_value_t = 10_000)]
    rounds: u32,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FuzzArgs {
    /// The program, which is not run
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Inputs for each parser
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// One parser alone: body, headers, token, policy, cursor or field
    #[arg(long, value_name = "PARSER")]
    only: Option<String>,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct TamperArgs {
    /// Rounds, each with one change
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct TransplantArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Attempts: every swap of two values first, then flipped bits
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rounds: u64,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// How often the program that seals keys anew is killed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    rounds: u32,
    /// Accounts whose keys are sealed anew
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct KillArgs {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    program: PathBuf,
    /// Rounds, each with one kill
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// End after this time, even with rounds left
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// What all random choices follow from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds between two runs of `dramatis verify`; there is always one at the end
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    verify_every: u32,
    /// The longest that 99 of 100 kills may keep the program from being ready and acknowledging a write
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    ready_within_ms: u64,
    /// Writes every acknowledgement down here too, one JSON line each
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match Cli::parse().campaign {
        Campaign::Kill(args) => runtime.block_on(kill_campaign(args)),
        Campaign::Cluster(args) => runtime.block_on(cluster_campaign(args)),
        Campaign::Converge(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(converge::run(&args.program, args.rounds, seed))?;
            trial.print(args.json)
        }
        Campaign::Faults(args) => runtime.block_on(faults_campaign(args)),
        Campaign::Runners(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(runners::run(&args.program, args.rounds, seed))?;
            trial.print(args.json)
        }
        Campaign::Strangers(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(strangers::run(&args.program, args.rounds, seed))?;
            trial.print(args.json)
        }
        Campaign::Tokens(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(tokens::run(&args.program, args.rounds, seed))?;
            trial.print(args.json)
        }
        Campaign::Transplant(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(transplant::run(&args.program, args.rounds, seed))?;
            trial.print(args.json)
        }
        Campaign::Rotate(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let trial = runtime.block_on(rotate::run(&args.program, args.rounds, args.users, seed))?;
            trial.print(args.json)
        }
        Campaign::VerifyTokens { folder } => {
            runtime.block_on(rotate::verify(&folder))?;
            Ok(ExitCode::SUCCESS)
        }
        Campaign::Tamper(args) => runtime.block_on(tamper(args)),
        Campaign::Malformed(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            let report = runtime.block_on(malformed::run(&args.program, args.rounds, seed))?;
            report.print(args.json)?;
            Ok(if report.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        // It has a runtime of its own, one token at a time.
        Campaign::Fuzz(args) => {
            let seed = args.seed.unwrap_or_else(chosen_seed);
            fuzz::run(args.rounds, seed, args.only.as_deref())?.print(args.json)
        }
    }
}

async fn faults_campaign(args: FaultsArgs) -> anyhow::Result<ExitCode> {
    let plan = faults::Plan {
        program: args.program,
        sound: args.rounds,
        broken: args.broken,
        weeks: args.weeks,
        planted_week: args.planted_week,
        at_once: args.at_once.into(),
        seed: args.seed.unwrap_or_else(chosen_seed),
    };
    tokio::select! {
        trial = faults::run(&plan) => trial?.print(args.json),
        // Programs that were running are killed as the trial is dropped.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

async fn tamper(args: TamperArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(chosen_seed);
    let report = tokio::select! {
        report = tamper::run(args.rounds, seed) => report?,
        // The server that was running is ended as the trial is dropped.
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    report.print(args.json)?;
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn kill_campaign(args: KillArgs) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        program: args.program,
        rounds: args.rounds,
        time: args.seconds.map(Duration::from_secs),
        seed: args.seed.unwrap_or_else(chosen_seed),
        verify_every: args.verify_every,
        ready_within: Duration::from_millis(args.ready_within_ms),
        ledger: args.ledger,
    };
    let report = tokio::select! {
        report = kill::run(&plan) => report?,
        // What was running is ended as the trial is dropped; its folder goes with it.
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    report.print(args.json)?;
    Ok(if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn cluster_campaign(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let plan = cluster::Plan {
        program: args.program,
        rounds: args.rounds,
        nats_config: args.nats_config,
        seed: args.seed.unwrap_or_else(chosen_seed),
    };
    let report = tokio::select! {
        report = cluster::run(&plan) => report?,
        // What was running is ended as the trial is dropped; its folder goes with it.
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    report.print(args.json)?;
    Ok(if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Short enough to be typed again.
fn chosen_seed() -> u64 {
    let mut bytes = [0; 4];
    SystemIds.fill(&mut bytes);
    u32::from_be_bytes(bytes).into()
}
