//! When the program is back and nobody writes: is everything there, and there once?

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::stream::Stream;
use events::Clock as _;

use super::{Plan, Trial};
use crate::check;
use crate::log_view::LogView;
use crate::read_back;
use crate::table_view::TableView;

/// How long ticks may go on, or wait to be found unfinished, once nobody asks for more.
const TICKS_END_WITHIN: Duration = Duration::from_secs(30);
/// How long the tables may be behind a log that nobody writes to.
const TABLES_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Trial {
    /// Judges what is there after a round.
    pub(super) async fn judge(&mut self, round: u32, is_verified: bool) {
        if let Err(error) = self.try_judge(round, is_verified).await {
            self.fault(round, format!("cannot be judged: {error:#}"));
        }
    }

    async fn try_judge(&mut self, round: u32, is_verified: bool) -> anyhow::Result<()> {
        let run = self.site.run_file();
        let stream = benches::stream::connect(run["nats"].as_str().context("where the log is")?).await?;
        let tables = self.wait_for_quiet(&stream).await?;
        let faults = check::faults(&self.town.ledger.pages(), &self.log, &tables);
        for fault in faults {
            self.fault(round, fault);
        }
        if is_verified {
            self.read_all_again(round, &stream).await?;
            self.verify(round).await?;
        }
        Ok(())
    }

    /// Waits until no tick is open and log and tables stand still at the same place, or for as long as that may
    /// take: what is wrong then is for the check to say.
    async fn wait_for_quiet(&mut self, stream: &Stream) -> anyhow::Result<TableView> {
        let began = self.clock.monotonic();
        let file = self.site.data().join("dramatis.sqlite");
        loop {
            self.log.read_on(stream).await?;
            let tables = TableView::of_file(&file).await?;
            let waited = self.clock.monotonic().saturating_sub(began);
            let is_level = tables.checkpoint == self.log.last_seq;
            let is_over = self.log.open_ticks.is_empty() || waited > TICKS_END_WITHIN;
            if is_over && (is_level || waited > TICKS_END_WITHIN + TABLES_WITHIN) {
                return Ok(tables);
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the log from its beginning: what was read in earlier rounds must stand where it stood.
    async fn read_all_again(&mut self, round: u32, stream: &Stream) -> anyhow::Result<()> {
        let mut again = LogView::default();
        again.read_on(stream).await?;
        let moved = self
            .log
            .message_ids
            .iter()
            .zip(&again.message_ids)
            .position(|(earlier, now)| earlier != now);
        if let Some(index) = moved {
            self.fault(round, format!("message {} is another one than before", index + 1));
        }
        if again.message_ids.len() < self.log.message_ids.len() {
            self.fault(round, "messages that were there are gone");
        }
        self.log = again;
        Ok(())
    }

    async fn verify(&mut self, round: u32) -> anyhow::Result<()> {
        let site = self.site.clone();
        let output = tokio::task::spawn_blocking(move || site.run(&["verify"])).await??;
        self.report.verified += 1;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            self.fault(round, format!("verify says {}: {said}", output.status));
        }
        Ok(())
    }

    /// Judges what only the whole trial shows.
    pub(super) async fn judge_the_whole(&mut self, plan: &Plan) {
        self.judge(0, true).await;
        match read_back::faults(&self.town).await {
            Ok(faults) => faults.into_iter().for_each(|fault| self.fault(0, fault)),
            Err(error) => self.fault(0, format!("people cannot read back: {error:#}")),
        }
        let p99_ms = self.report.ready.percentile_ms(0.99);
        if p99_ms > plan.ready_within.as_secs_f64() * 1_000.0 {
            self.fault(0, format!("ready again within {p99_ms:.0} ms only (p99)"));
        }
        self.sum_up();
        let unused: Vec<_> = self
            .report
            .acknowledged
            .iter()
            .filter(|(_, count)| **count == 0)
            .collect();
        if !unused.is_empty() {
            let text = format!("nothing was acknowledged of {unused:?}, so nothing was tried");
            self.fault(0, text);
        }
    }
}
