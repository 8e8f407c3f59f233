//! The `dramatis` command: the house in which all rooms are wired, and the command line beside it.
//!
//! `main` reads the command line, `cli` picks the command, `commands/` carries it out. Commands that start the
//! rooms go through `house`; commands that talk to a running server go through `api_client`; commands that read the
//! log beside it go through `log_access`.

mod api_client;
mod backup;
mod cli;
mod commands;
mod config;
mod exit;
mod external_identity;
mod house;
mod http;
mod key_sets;
mod keys;
mod lifecycle;
mod log_access;
mod logging;
mod nats_child;
mod otlp;
mod output;
mod probes;
mod progress;
mod report;
mod run_file;
mod surface;
mod viewers;
mod virtual_days;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::install(cli.log_level());
    match Box::pin(cli.run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dramatis: {error}");
            ExitCode::from(&error)
        }
    }
}
