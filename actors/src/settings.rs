//! How the cast is set up.

use std::time::Duration;

use events::spans::Spans;
use secrecy::SecretString;

use crate::model::Prices;
use crate::purse::SpendLimits;

/// What the cast needs to know. The server fills it from its configuration.
#[derive(Debug, Clone)]
pub struct CastSettings {
    /// Where login and MCP are, without a slash at the end: `http://127.0.0.1:3069`.
    pub base_url: String,
    /// What the personas' passwords are derived from.
    pub seed_secret: SecretString,
    /// Ticks that may run at once; at least 1.
    pub concurrency: usize,
    /// How often the scheduler looks who is due.
    pub tick_interval: Duration,
    /// How long one tick may take before it is ended with outcome `limit`.
    pub tick_deadline: Duration,
    /// Tool calls one tick may make before it is ended with outcome `limit`.
    pub calls_per_tick_max: u32,
    /// What brains that ask a model may do and spend.
    pub model: ModelLimits,
    /// Whether they visit the calibration twins, which the gateway has to offer.
    pub calibrates: bool,
    /// What the brains' random choices and the personas' slots in the day follow from.
    pub seed: u64,
    /// Start with the scheduler paused.
    pub paused: bool,
    /// Failures of one actor within [`Self::restart_window`] after which it is restarted no more.
    pub restarts_max: u32,
    /// The time within which failures are counted together.
    pub restart_window: Duration,
    /// Where spans of ticks go.
    pub spans: Spans,
}

/// What brains that ask a model may do and spend.
#[derive(Debug, Clone)]
pub struct ModelLimits {
    /// Requests one tick may make before it is ended with outcome `limit`; the rating may need two more.
    pub turns_per_tick_max: u32,
    /// Budgets.
    pub spend: SpendLimits,
    /// What models cost; one without a price is not asked.
    pub prices: Prices,
}

impl Default for ModelLimits {
    /// Twenty-four requests a tick, the budgets' own defaults, and the prices this program comes with.
    fn default() -> Self {
        Self {
            turns_per_tick_max: 24,
            spend: SpendLimits::default(),
            prices: Prices::default(),
        }
    }
}

impl Default for CastSettings {
    /// Two ticks at once, a look every minute, ten minutes and forty calls per tick, three restarts in ten minutes,
    /// and the catalog's development secret, which the server refuses in production.
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:3069".to_owned(),
            seed_secret: SecretString::from(catalog::DEVELOPMENT_SEED_SECRET),
            concurrency: 2,
            tick_interval: Duration::from_mins(1),
            tick_deadline: Duration::from_mins(10),
            calls_per_tick_max: 40,
            model: ModelLimits::default(),
            calibrates: false,
            seed: 1,
            paused: false,
            restarts_max: 3,
            restart_window: Duration::from_mins(10),
            spans: Spans::default(),
        }
    }
}
