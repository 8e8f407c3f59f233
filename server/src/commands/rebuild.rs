//! `dramatis rebuild`: the tables made again from the log, or a copy of them as of then.

use std::sync::Arc;

use events::SystemClock;
use projections::{RebuildOptions, RebuildReport, Until};

use super::until::parse_until;
use super::verify::print_breaks;
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{Signals, open_tables};
use crate::log_access::LogAccess;
use crate::output::{Format, Out};
use crate::progress::FoldProgress;
use crate::surface::{Job, JobFeed, JobState};

/// Fold the log again beside the tables that are read, and swap at the end
///
/// A rebuild that is interrupted goes on where it stopped when it is run again.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RebuildArgs {
    /// The projection; all tables are one, which is folded and swapped together
    #[arg(value_parser = ["tables"], default_value = "tables", hide_default_value = true)]
    projection: String,
    /// Make a copy as of this sequence or time (such as 2026-01-05T08:00:00Z), and leave the tables as they are
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_until)]
    until: Option<Until>,
    /// Begin at the beginning, even where an earlier rebuild was interrupted
    #[arg(long, conflicts_with = "until")]
    fresh: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Folds and swaps, or folds a copy.
///
/// # Errors
/// [`CommandError::Unavailable`] when log or database do not answer, [`CommandError::Failed`] when the log cannot be
/// folded, [`CommandError::Stopped`] after a Ctrl-C.
pub(crate) async fn run(
    args: &RebuildArgs,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let access = LogAccess::open(config, clock.clone()).await?;
    let tables = open_tables(config).await?;
    let mut bar = FoldProgress::start("rebuilding", clock.clone());
    let options = RebuildOptions {
        until: args.until,
        start_over: args.fresh,
        ..RebuildOptions::default()
    };
    let cancel = options.cancel.clone();
    let job = JobFeed::start(access.client(), Job::Rebuild, clock.clone());
    let mut show = |progress| {
        bar.update(progress);
        job.update(progress);
    };
    let mut work = Box::pin(projections::rebuild_with(
        access.log(),
        &tables,
        &*clock,
        options,
        &mut show,
    ));
    let rebuilt = tokio::select! {
        rebuilt = &mut work => rebuilt.map_err(CommandError::from),
        () = signals.next() => {
            cancel.cancel();
            tokio::select! {
                // It ends with the batch it is at, or with the swap if that has begun.
                rebuilt = &mut work => rebuilt.map_err(CommandError::from),
                // Dropped where it stands; what was committed is kept all the same.
                () = signals.next() => Err(CommandError::Interrupted),
            }
        }
    };
    drop(work);
    job.finish(JobState::of(rebuilt.is_ok())).await;
    bar.finish();
    access.close().await;
    print(&rebuilt?, out)
}

fn print(report: &RebuildReport, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(report);
    }
    out.text(format!(
        "folded {} events up to sequence {}",
        report.events, report.seq
    ))?;
    if report.resumed_from.0 > 0 {
        out.text(format!("  went on from sequence {}", report.resumed_from))?;
    }
    for table in &report.tables {
        out.text(format!(
            "  {:<22} {:>9} rows  {}",
            table.table, table.rows, table.checksum
        ))?;
    }
    if let Some(copy) = &report.copy {
        out.text(format!(
            "the copy is {copy}; the tables that are read are as they were"
        ))?;
    }
    if !report.chain.holds() {
        out.text("commits in the log are not the ones that were written:")?;
        print_breaks(&report.chain, out)?;
    }
    Ok(())
}
