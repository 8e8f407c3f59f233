//! Measurements. Each runs ours and the raw limit in turn, several rounds in one process, and prints medians and the
//! ratio: absolute times belong to a machine and an hour, ratios travel.

mod append;
mod backup;
mod bare_rmcp;
mod cast;
mod crypto;
mod door;
mod feed;
mod figures;
mod fold;
mod gateway;
mod lag;
mod mount;
mod rebuild;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use serde_json::Value;

/// Measure ours beside the raw limit
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// Durable appends a second at 1, 64 and 1,024 in flight beside a bare publisher, with two ways to write to disk
    Append {
        /// Rounds, each of them once everything
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Milliseconds of one turn
        #[arg(long, default_value_t = 2_000)]
        turn_ms: u64,
    },
    /// Events folded into tables beside a bare batched insert of the same rows
    Fold {
        /// Rounds, each of them once both
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Events of the past that is folded
        #[arg(long, default_value_t = 200_000)]
        events: u64,
    },
    /// `dramatis rebuild` beside a bare read of the stream and a bare insert of the rows, for a log and a tenth of it
    Rebuild {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once everything
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Events in the log
        #[arg(long, default_value_t = 200_000)]
        events: u64,
    },
    /// From an acknowledged append to its row, at half of the maximal rate, beside a bare consumer
    Lag {
        /// Rounds
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Appends of a round
        #[arg(long, default_value_t = 20_000)]
        commits: u64,
    },
    /// Tool calls through MCP beside a bare rmcp server with one echo tool, and what sessions at rest cost
    Gateway {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once through everything
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Milliseconds of one turn
        #[arg(long, default_value_t = 1_000)]
        turn_ms: u64,
        /// Sessions that rest while memory is looked at
        #[arg(long, default_value_t = 2_000)]
        idle_sessions: usize,
    },
    /// Tool calls put through to a mounted server beside the same calls to that server itself
    Mount {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once through everything
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Milliseconds of one turn
        #[arg(long, default_value_t = 1_000)]
        turn_ms: u64,
        /// Connections at once
        #[arg(long, default_value_t = 16)]
        clients: usize,
    },
    /// Ticks of the simulated brain through the whole program beside bare publishing and bare calls, and what a persona
    /// at rest costs
    Cast {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, in each of which everybody acts once
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Personas that act
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
        personas: u16,
        /// How many of them at once
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
        at_once: u16,
        /// Personas that are enrolled to rest while memory is looked at; 0 leaves that out
        #[arg(long, default_value_t = 10_000)]
        resting: usize,
    },
    /// Encrypted fields sealed and opened, and tokens verified, beside the bare crates
    Crypto {
        /// Rounds, each of them once through everything
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Milliseconds of one turn
        #[arg(long, default_value_t = 300)]
        turn_ms: u64,
    },
    /// How late an event is on a page at a steady pace, and what viewers that do not read cost who writes
    Feed {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once without and once with stalled viewers
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of one turn
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Events a second
        #[arg(long, default_value_t = 500)]
        per_second: u64,
        /// Viewers that do not read
        #[arg(long, default_value_t = 50)]
        viewers: usize,
        /// A script for node that looks at the feed in a browser
        #[arg(long, value_name = "SCRIPT")]
        browser: Option<PathBuf>,
    },
    /// `dramatis backup`, a wipe and `dramatis restore` of a long log beside a bare copy of its files
    Backup {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once everything
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// The bare rmcp server that `gateway`, `mount` and `cast` are measured beside
    #[command(hide = true)]
    BareRmcp,
}

/// What a bench found.
#[derive(Debug, Serialize)]
struct Outcome {
    name: &'static str,
    runs: usize,
    ours: Value,
    limit: Value,
    /// Median rate of ours over median rate of the limit.
    ratio: Value,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "stdout is where a measurement goes")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let outcome = match &cli.bench {
        Bench::Append { rounds, turn_ms } => {
            append::measure(*rounds, Duration::from_millis(*turn_ms)).await?
        }
        Bench::Fold { rounds, events } => fold::measure(*rounds, *events).await?,
        Bench::Rebuild {
            program,
            rounds,
            events,
        } => Box::pin(rebuild::measure(program, *rounds, *events)).await?,
        Bench::Lag { rounds, commits } => lag::measure(*rounds, *commits).await?,
        Bench::Gateway {
            program,
            rounds,
            turn_ms,
            idle_sessions,
        } => {
            let plan = gateway::Plan {
                rounds: *rounds,
                turn: Duration::from_millis(*turn_ms),
                idle_sessions: *idle_sessions,
            };
            Box::pin(gateway::measure(program, plan)).await?
        }
        Bench::Mount {
            program,
            rounds,
            turn_ms,
            clients,
        } => {
            let plan = mount::Plan {
                rounds: *rounds,
                turn: Duration::from_millis(*turn_ms),
                clients: *clients,
            };
            Box::pin(mount::measure(program, plan)).await?
        }
        Bench::Cast {
            program,
            rounds,
            personas,
            at_once,
            resting,
        } => {
            let plan = cast::Plan {
                rounds: *rounds,
                personas: usize::from(*personas),
                at_once: usize::from(*at_once),
                resting: *resting,
            };
            Box::pin(cast::measure(program, plan)).await?
        }
        Bench::Crypto { rounds, turn_ms } => {
            crypto::measure(*rounds, Duration::from_millis(*turn_ms)).await?
        }
        Bench::Feed {
            program,
            rounds,
            seconds,
            per_second,
            viewers,
            browser,
        } => {
            let plan = feed::Plan {
                rounds: *rounds,
                turn: Duration::from_secs(*seconds),
                per_second: *per_second,
                viewers: *viewers,
                browser: browser.clone(),
            };
            Box::pin(feed::measure(program, plan)).await?
        }
        Bench::Backup {
            program,
            rounds,
            events,
        } => Box::pin(backup::measure(program, *rounds, *events)).await?,
        Bench::BareRmcp => return bare_rmcp::serve().await,
    };
    if cli.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!("{}, {} rounds", outcome.name, outcome.runs);
        for (who, figures) in [
            ("ours", &outcome.ours),
            ("limit", &outcome.limit),
            ("ratio", &outcome.ratio),
        ] {
            println!("  {who:<6} {}", serde_json::to_string(figures)?);
        }
    }
    Ok(())
}
