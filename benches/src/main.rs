//! Measurements. Each runs ours and the raw limit in turn, several rounds in one process, and prints medians and the
//! ratio: absolute times belong to a machine and an hour, ratios travel.

mod gateway;
mod spread;

use std::path::PathBuf;

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
    /// Tool calls through MCP: `todo.create`, `todo.list` and `spaces.list` beside a bare rmcp server with one echo tool
    Gateway {
        /// The program to measure
        #[arg(long, value_name = "PROGRAM")]
        program: PathBuf,
        /// Rounds, each of them once through everything
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Calls of each kind in a round
        #[arg(long, default_value_t = 200)]
        calls: usize,
    },
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
        Bench::Gateway {
            program,
            rounds,
            calls,
        } => gateway::measure(program, *rounds, *calls).await?,
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
