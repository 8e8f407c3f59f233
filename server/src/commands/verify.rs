//! `dramatis verify`: the tables held against the log, and the log against itself.

use std::sync::Arc;

use events::SystemClock;
use projections::{ChainReport, VerifyReport};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_tables;
use crate::log_access::LogAccess;
use crate::output::{Format, Out, printable};
use crate::progress::FoldProgress;
use crate::surface::{Job, JobFeed, JobState};

/// Folds the log into a scratch copy and compares it with the live tables.
///
/// # Errors
/// [`CommandError::Failed`] when they differ, or commits are not the ones that were written; stdout names them.
pub(crate) async fn run(config: &Config, clock: Arc<SystemClock>, out: &mut Out) -> Result<(), CommandError> {
    let access = LogAccess::open(config, clock.clone()).await?;
    let tables = open_tables(config).await?;
    let mut bar = FoldProgress::start("verifying", clock.clone());
    let job = JobFeed::start(access.client(), Job::Verify, clock.clone());
    let verified = projections::verify(access.log(), &tables, &*clock, &mut |progress| {
        bar.update(progress);
        job.update(progress);
    })
    .await;
    let agrees = verified.as_ref().is_ok_and(VerifyReport::agrees);
    job.finish(JobState::of(agrees)).await;
    bar.finish();
    access.close().await;
    let report = verified?;
    if out.format() == Format::Json {
        out.json(&report)?;
    } else {
        out.text(format!("compared at sequence {}", report.seq))?;
        for table in &report.tables {
            let agrees = table.live.checksum == table.folded.checksum;
            let mark = if agrees {
                out.paint().green("✓")
            } else {
                out.paint().red("✗")
            };
            out.text(format!(
                "  {mark} {:<22} {:>9} rows  {}",
                table.table, table.live.rows, table.live.checksum
            ))?;
            if !agrees {
                out.text(format!(
                    "      the log gives {} rows, {}",
                    table.folded.rows, table.folded.checksum
                ))?;
                out.text(format!(
                    "      rows that differ: {}",
                    table.differing_rows.join(", ")
                ))?;
            }
        }
        if report.chain.holds() {
            let mark = out.paint().green("✓");
            out.text(format!(
                "  {mark} {:<22} {:>9} commits are the ones that were folded, {} links hold",
                "log", report.chain.sealed, report.chain.links
            ))?;
        }
        print_breaks(&report.chain, out)?;
    }
    if !report.chain.holds() {
        return Err(CommandError::Failed(format!(
            "the log is not what was written at {} places; a rebuild does not mend that: bring the log back from a backup",
            report.chain.breaks_total
        )));
    }
    if report.agrees() {
        return Ok(());
    }
    Err(CommandError::Failed(
        "the tables differ from the log; `dramatis rebuild` makes them equal again".to_owned(),
    ))
}

/// Names the places where the log is not what was written.
///
/// # Errors
/// When stdout cannot be written to.
pub(super) fn print_breaks(chain: &ChainReport, out: &mut Out) -> Result<(), CommandError> {
    for found in &chain.breaks {
        let mark = out.paint().red("✗");
        out.text(format!("  {mark} {}", printable(&found.reason)))?;
    }
    let unnamed = chain.breaks_total.saturating_sub(chain.breaks.len() as u64);
    if unnamed > 0 {
        out.text(format!("    and {unnamed} more"))?;
    }
    Ok(())
}
