//! What a campaign found.

use std::collections::BTreeMap;

use benches::Spread;
use serde::Serialize;
use serde_json::{Value, json};

/// What goes to stdout.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    /// Rounds that were begun.
    pub(crate) tried: u32,
    /// Rounds in which something was wrong; what is wrong with the whole counts as one more.
    pub(crate) failed: u32,
    /// Writes acknowledged, by kind.
    pub(crate) acknowledged: BTreeMap<&'static str, u64>,
    /// Writes that never got an answer.
    pub(crate) in_doubt: u64,
    /// Kills by what was killed.
    pub(crate) kills: BTreeMap<&'static str, u32>,
    /// From a kill until the program is ready and has acknowledged a write.
    #[serde(serialize_with = "times")]
    pub(crate) ready: Spread,
    /// Ticks that a kill cut in two.
    pub(crate) interrupted_ticks: u64,
    /// Messages and events in the log at the end.
    pub(crate) messages: u64,
    pub(crate) events: u64,
    /// Runs of `dramatis verify`.
    pub(crate) verified: u32,
    pub(crate) seconds: u64,
    /// What was wrong, with its round.
    pub(crate) faults: Vec<String>,
}

fn times<S: serde::Serializer>(times: &Spread, serializer: S) -> Result<S::Ok, S::Error> {
    as_json(times).serialize(serializer)
}

fn as_json(times: &Spread) -> Value {
    let ms = |share| times.percentile_ms(share).round();
    json!({ "p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": ms(1.0) })
}

impl Report {
    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be put in words, which does not happen.
    #[expect(clippy::print_stdout, reason = "stdout is where a finding goes")]
    pub(crate) fn print(&self, as_json_text: bool) -> anyhow::Result<()> {
        if as_json_text {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let list = |counts: Vec<String>| counts.join(", ");
        println!(
            "{}: {} tried, {} failed, seed {}",
            self.name, self.tried, self.failed, self.seed
        );
        println!(
            "  acknowledged  {}; {} in doubt",
            list(
                self.acknowledged
                    .iter()
                    .map(|(kind, count)| format!("{count} {kind}s"))
                    .collect()
            ),
            self.in_doubt
        );
        println!(
            "  kills         {}; {} ticks interrupted",
            list(
                self.kills
                    .iter()
                    .map(|(kind, count)| format!("{count} {kind}"))
                    .collect()
            ),
            self.interrupted_ticks
        );
        println!("  ready again   {}", as_json(&self.ready));
        println!(
            "  log           {} messages, {} events; verified {} times; {} s",
            self.messages, self.events, self.verified, self.seconds
        );
        for fault in &self.faults {
            println!("  FAULT {fault}");
        }
        Ok(())
    }
}
