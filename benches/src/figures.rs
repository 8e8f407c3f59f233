//! What was measured of servers that were called in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use benches::Spread;
use serde_json::{Value, json};

use crate::door::{Door, Era};

/// What was measured of one server, by what was asked of it.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, (Spread, Vec<f64>)>);

impl Figures {
    /// Calls the server for `turn` and keeps what comes of it under `what`.
    pub(crate) async fn turn(
        &mut self,
        what: String,
        door: &Door,
        era: Era,
        clients: usize,
        turn: Duration,
    ) -> anyhow::Result<()> {
        let (latencies, rates) = self.0.entry(what).or_default();
        let rate = door.load(era, clients, turn, latencies).await;
        rates.push(rate.with_context(|| format!("{} at {clients}", door.tool))?);
        Ok(())
    }

    /// The median rate, calls a second.
    pub(crate) fn rate(&self, what: &str) -> f64 {
        let mut rates = self
            .0
            .get(what)
            .map(|(_, rates)| rates.clone())
            .unwrap_or_default();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// What was asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// As printed.
    pub(crate) fn to_json(&self) -> BTreeMap<String, Value> {
        let shown = |(what, (latencies, _)): (&String, &(Spread, Vec<f64>))| {
            let mut shown = latencies.to_json();
            shown["calls_per_s"] = json!(self.rate(what).round());
            (what.clone(), shown)
        };
        self.0.iter().map(shown).collect()
    }
}

/// A ratio as printed.
pub(crate) fn rounded(figure: f64) -> Value {
    json!((figure * 100.0).round() / 100.0)
}
