//! What models cost: dated data in `prices.toml`, which the operator can override. A model without a price is not
//! asked.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::turn::Usage;

/// The prices this program comes with.
const EMBEDDED: &str = include_str!("../../prices.toml");
/// What writing to a cache costs where the list does not say, as a multiple of reading.
const CACHE_WRITE_FACTOR: f64 = 1.25;

/// A price list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// It is not the TOML it should be.
    #[error("the price list cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// A price is negative or no number.
    #[error("the price of {model} from {effective_from} is not a price")]
    NotAPrice {
        /// Whose.
        model: String,
        /// Which entry.
        effective_from: Date,
    },
}

/// Prices by model and date.
#[derive(Debug, Clone)]
pub struct Prices(Vec<Entry>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    price: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    effective_from: Date,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    above: Option<Tier>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    tokens: u64,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// What one request costs at most, and costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Price {
    base: Rates,
    above: Option<(u64, Rates)>,
}

/// Dollars for a million tokens, which is millionths of a dollar for one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
}

impl Default for Prices {
    /// Those this program comes with.
    fn default() -> Self {
        Self::parse(EMBEDDED).unwrap_or(Self(Vec::new()))
    }
}

impl Prices {
    /// Reads a list.
    ///
    /// # Errors
    /// See [`PriceError`].
    pub fn parse(toml: &str) -> Result<Self, PriceError> {
        let list: List = toml::from_str(toml)?;
        for entry in &list.price {
            let tier = entry
                .above
                .map(|tier| [tier.input, tier.output])
                .unwrap_or_default();
            let cache = [entry.cache_read, entry.cache_write].into_iter().flatten();
            let all = [entry.input, entry.output].into_iter().chain(tier).chain(cache);
            if !all.clone().all(|price| price.is_finite() && price >= 0.0) {
                let (model, effective_from) = (entry.model.clone(), entry.effective_from);
                return Err(PriceError::NotAPrice {
                    model,
                    effective_from,
                });
            }
        }
        Ok(Self(list.price))
    }

    /// These, and `others` before them: a model that `others` names is not looked for here.
    #[must_use]
    pub fn overridden_by(mut self, others: Self) -> Self {
        self.0
            .retain(|entry| !others.0.iter().any(|other| other.model == entry.model));
        self.0.extend(others.0);
        self
    }

    /// What `model` costs at `now`; `None` when nobody said. A name that ends in a date, as vendors pin versions, costs
    /// what the name without it does.
    pub(crate) fn of(&self, model: &str, now: Timestamp) -> Option<Price> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let latest = |name: &str| {
            let in_effect = self
                .0
                .iter()
                .filter(|entry| entry.model == name && entry.effective_from <= today);
            in_effect.max_by_key(|entry| entry.effective_from)
        };
        let entry = latest(model).or_else(|| latest(without_date(model)?))?;
        Some(Price {
            base: Rates::new(entry.input, entry.output, entry.cache_read, entry.cache_write),
            above: entry.above.map(|tier| {
                let rates = Rates::new(tier.input, tier.output, tier.cache_read, tier.cache_write);
                (tier.tokens, rates)
            }),
        })
    }
}

/// `claude-haiku-4-5` of `claude-haiku-4-5-20251001`.
fn without_date(model: &str) -> Option<&str> {
    let (name, date) = model.rsplit_once('-')?;
    (date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

impl Rates {
    fn new(input: f64, output: f64, cache_read: Option<f64>, cache_write: Option<f64>) -> Self {
        Self {
            input,
            output,
            cache_read: cache_read.unwrap_or(input),
            cache_write: cache_write.unwrap_or(input * CACHE_WRITE_FACTOR),
        }
    }

    fn dearest_input(&self) -> f64 {
        self.input.max(self.cache_read).max(self.cache_write)
    }
}

impl Price {
    /// Millionths of a dollar that reading and writing at most so many tokens can cost, rounded up.
    pub(crate) fn at_most(&self, input_tokens: u64, output_tokens: u64) -> u64 {
        let tiers = [Some(self.base), self.above.map(|(_, rates)| rates)];
        let costs = tiers.into_iter().flatten().map(|rates| {
            micro_usd(input_tokens as f64 * rates.dearest_input() + output_tokens as f64 * rates.output)
        });
        costs.max().unwrap_or(u64::MAX)
    }

    /// Millionths of a dollar, rounded up; `None` when the server did not say how many tokens it were and they are not
    /// free.
    pub(crate) fn cost(&self, usage: Usage) -> Option<u64> {
        if self.at_most(1_000_000, 1_000_000) == 0 {
            return Some(0);
        }
        let (input, output) = (usage.input?, usage.output?);
        let (read, write) = (usage.cached.unwrap_or(0), usage.cache_write.unwrap_or(0));
        let rates = match self.above {
            Some((tokens, rates)) if input + read + write > tokens => rates,
            _ => self.base,
        };
        Some(micro_usd(
            input as f64 * rates.input
                + read as f64 * rates.cache_read
                + write as f64 * rates.cache_write
                + output as f64 * rates.output,
        ))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prices and counts are not negative, and the cast saturates"
)]
fn micro_usd(exact: f64) -> u64 {
    exact.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn usage(input: u64, cached: u64, output: u64) -> Usage {
        Usage {
            input: Some(input),
            cached: Some(cached),
            cache_write: None,
            output: Some(output),
        }
    }

    #[test]
    fn the_embedded_list_is_read_and_tells_tiers_apart() {
        let haiku = Prices::parse(EMBEDDED)
            .unwrap()
            .of("claude-haiku-5-5", NOW)
            .unwrap();
        assert_eq!(haiku.cost(usage(10_000, 50_000, 1_000)), Some(1_000 + 500 + 500));
        assert_eq!(haiku.cost(usage(110_000, 0, 0)), Some(55_000));
    }

    #[test]
    fn an_unknown_model_and_one_whose_price_is_yet_to_come_have_none() {
        let prices = Prices::default();
        assert_eq!(prices.of("gpt-of-tomorrow", NOW), None);
        assert_eq!(prices.of("gpt-6.1-sol", Timestamp::UNIX_EPOCH), None);
        assert!(
            prices.of("claude-haiku-4-5-20251001", NOW).is_some(),
            "a pinned version"
        );
    }

    #[test]
    fn the_operator_s_word_counts_before_ours_and_the_latest_entry_before_older_ones() {
        let own = r#"
            price = [
                { model = "claude-haiku-5-5", effective_from = "2026-01-01", input = 1.0, output = 2.0 },
                { model = "claude-haiku-5-5", effective_from = "2026-06-01", input = 3.0, output = 4.0 },
                { model = "llama", effective_from = "2026-01-01", input = 0.0, output = 0.0 },
            ]
        "#;
        let prices = Prices::default().overridden_by(Prices::parse(own).unwrap());
        let haiku = prices.of("claude-haiku-5-5", NOW).unwrap();
        assert_eq!(haiku.cost(usage(1_000, 0, 1_000)), Some(7_000));
        assert_eq!(prices.of("llama", NOW).unwrap().cost(Usage::default()), Some(0));
        assert_eq!(haiku.cost(Usage::default()), None, "not known is not nothing");
    }

    #[test]
    fn what_is_put_aside_is_never_less_than_what_it_can_cost() {
        let haiku = Prices::default().of("claude-haiku-5-5", NOW).unwrap();
        for input in [0, 1, 99_999, 100_001, 1_000_000] {
            let all_written = Usage {
                input: Some(0),
                cached: Some(0),
                cache_write: Some(input),
                output: Some(4_096),
            };
            for usage in [usage(input, 0, 4_096), usage(0, input, 4_096), all_written] {
                assert!(
                    haiku.at_most(input, 4_096) >= haiku.cost(usage).unwrap(),
                    "{usage:?}"
                );
            }
        }
    }

    #[test]
    fn a_negative_price_is_refused() {
        let list = r#"price = [{ model = "m", effective_from = "2026-01-01", input = -1.0, output = 0.0 }]"#;
        assert!(matches!(Prices::parse(list), Err(PriceError::NotAPrice { .. })));
    }
}
