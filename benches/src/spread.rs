//! Medians and percentiles.

use std::time::Duration;

use serde_json::{Value, json};

/// Latencies of one kind, over all rounds.
#[derive(Debug, Default)]
pub struct Spread {
    latencies: Vec<Duration>,
}

impl Spread {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.latencies.push(latency);
    }

    /// The latency that `share` (0 to 1) of the calls stay within, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small count"
        )]
        let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted
            .get(index)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
    }

    /// How many of `pieces` are done in a second when all of them take the median, rounded.
    pub fn rate(&self, pieces: u64) -> f64 {
        (pieces as f64 * 1_000.0 / self.percentile_ms(0.5)).round()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.latencies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.latencies.is_empty()
    }

    /// As printed.
    pub fn to_json(&self) -> Value {
        let rounded = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
        json!({
            "calls": self.latencies.len(),
            "p50_ms": rounded(self.percentile_ms(0.5)),
            "p99_ms": rounded(self.percentile_ms(0.99)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_latencies() {
        let mut spread = Spread::default();
        for ms in (1..=100).rev() {
            spread.add(Duration::from_millis(ms));
        }
        assert!((spread.percentile_ms(0.5) - 50.0).abs() < 1e-9);
        assert!((spread.percentile_ms(0.99) - 99.0).abs() < 1e-9);
        assert!((spread.percentile_ms(1.0) - 100.0).abs() < 1e-9);
    }
}
