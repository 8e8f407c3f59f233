//! `dramatis parked list|retry`: commits that could not be folded.

use std::sync::Arc;

use events::SystemClock;
use projections::{ParkedRow, Retried, RetryOutcome};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_tables;
use crate::log_access::LogAccess;
use crate::output::{Format, Out, count_of, printable, table};

/// Commits that could not be folded, and why
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum ParkedCommand {
    /// List them, oldest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Fold them again, once what kept them out is mended
    Retry {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl ParkedCommand {
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::List { json } | Self::Retry { json } => *json,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] when there are no tables yet, [`CommandError::Unavailable`] when the log does not answer,
/// [`CommandError::Failed`] when some cannot be folded yet.
pub(crate) async fn run(
    command: &ParkedCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    if config.database.is_none() && !config.tables_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no tables in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
            config.data.display()
        )));
    }
    match command {
        ParkedCommand::List { .. } => print_parked(&open_tables(config).await?.parked().await?, out),
        ParkedCommand::Retry { .. } => {
            let access = LogAccess::open(config, clock).await?;
            let tables = open_tables(config).await?;
            let retried = projections::retry_parked(access.log(), &tables).await;
            access.close().await;
            print_retried(&retried?, out)
        }
    }
}

fn print_parked(parked: &[ParkedRow], out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(&parked);
    }
    if parked.is_empty() {
        return out.text("nothing is parked");
    }
    let mut rows = table(
        &["sequence", "stage", "subject", "reason"],
        &[0],
        out.width(),
        out.paint(),
    );
    for row in parked {
        let stage = match row.stage {
            projections::Stage::Decode => "decode",
            projections::Stage::Fold => "fold",
        };
        rows.add_row([
            row.seq.to_string(),
            stage.to_owned(),
            printable(&row.subject),
            printable(&row.reason),
        ]);
    }
    out.text(rows)?;
    out.text("`dramatis parked retry` folds them again; `dramatis events cat --from SEQUENCE` shows one")
}

fn print_retried(retried: &[Retried], out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        out.json(&retried)?;
    } else if retried.is_empty() {
        out.text("nothing is parked")?;
    } else {
        for one in retried {
            let came_of_it = match &one.outcome {
                RetryOutcome::Folded => "folded".to_owned(),
                RetryOutcome::Gone => "not in the log any more".to_owned(),
                RetryOutcome::Parked { reason } => format!("still parked: {}", printable(reason)),
            };
            out.text(format!(
                "  {:>9}  {}  {came_of_it}",
                one.seq,
                printable(&one.subject)
            ))?;
        }
    }
    let is_parked = |one: &&Retried| matches!(one.outcome, RetryOutcome::Parked { .. });
    match retried.iter().filter(is_parked).count() as u64 {
        0 => Ok(()),
        left => Err(CommandError::Failed(format!(
            "{} cannot be folded yet",
            count_of(left, "commit")
        ))),
    }
}
