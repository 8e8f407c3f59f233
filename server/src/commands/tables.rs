//! `dramatis rebuild` and `dramatis verify`: the tables made again from the log, or held against it.

use std::sync::Arc;

use events::SystemClock;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_tables;
use crate::log_access::LogAccess;
use crate::output::{Format, Out};
use crate::progress::FoldProgress;

/// Folds the whole log again and swaps the result in.
///
/// # Errors
/// [`CommandError::Unavailable`] when the log does not answer, [`CommandError::Failed`] when it cannot be folded.
pub(crate) async fn rebuild(
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let access = LogAccess::open(config, clock.clone()).await?;
    let tables = open_tables(config).await?;
    let mut bar = FoldProgress::start("rebuilding", clock.clone());
    let rebuilt = projections::rebuild(access.log(), &tables, &*clock, &mut |progress| {
        bar.update(progress);
    })
    .await;
    bar.finish();
    access.close().await;
    let report = rebuilt?;
    if out.format() == Format::Json {
        return out.json(&report);
    }
    out.text(format!(
        "folded {} events up to sequence {}",
        report.events, report.seq
    ))?;
    for table in &report.tables {
        out.text(format!(
            "  {:<22} {:>9} rows  {}",
            table.table, table.rows, table.checksum
        ))?;
    }
    Ok(())
}

/// Folds the log into a scratch copy and compares it with the live tables.
///
/// # Errors
/// [`CommandError::Failed`] when they differ, which names the tables and rows on stdout.
pub(crate) async fn verify(
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let access = LogAccess::open(config, clock.clone()).await?;
    let tables = open_tables(config).await?;
    let mut bar = FoldProgress::start("verifying", clock.clone());
    let verified = projections::verify(access.log(), &tables, &*clock, &mut |progress| {
        bar.update(progress);
    })
    .await;
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
    }
    if report.agrees() {
        return Ok(());
    }
    Err(CommandError::Failed(
        "the tables differ from the log; `dramatis rebuild` makes them equal again".to_owned(),
    ))
}
