//! Which brains the settings ask for, and what they may spend.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use actors::{
    Api, Brain, Brains, Cassette, CassetteMode, Endpoints, ModelBrain, ModelLimits, ModelSettings, Prices,
    SimulatedBrain, SpendLimits,
};
use clap::ValueEnum as _;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::config::{BrainKind, CassetteKey, Config};
use crate::exit::CommandError;

/// Newer models of OpenAI's own refuse the older name; most other servers know no other.
const OPENAI_HOST: &str = "://api.openai.com";

/// One brain for everybody and those of single personas.
///
/// # Errors
/// [`CommandError::Usage`] naming the key: a brain that does not exist, a missing API key, an address that is none.
pub(super) fn of(config: &Config) -> Result<Brains, CommandError> {
    let cassette = cassette(config)?;
    let mut endpoints = Endpoints::default();
    if let Some(cassette) = &cassette {
        endpoints = endpoints.with_cassette(cassette.clone());
    }
    let mut workshop = Workshop {
        config,
        asks_nobody: cassette.is_some_and(|cassette| cassette.plays()),
        endpoints,
        made: BTreeMap::new(),
    };
    let mut brains = Brains::all(workshop.brain(config.brain, None)?);
    for (email, wanted) in &config.persona_brains {
        let (kind, model) = wanted
            .split_once(':')
            .map_or((wanted.as_str(), None), |(kind, model)| (kind, Some(model)));
        let kind = BrainKind::from_str(kind, true).map_err(|_| {
            CommandError::Usage(format!(
                "persona_brains.{email}: {kind:?} is none of simulated, anthropic and openai"
            ))
        })?;
        brains = brains.with(email, workshop.brain(kind, model)?);
    }
    Ok(brains)
}

/// The cassette that the settings name, if they do.
fn cassette(config: &Config) -> Result<Option<Arc<Cassette>>, CommandError> {
    let Some(file) = &config.cassette else {
        return Ok(None);
    };
    let mode = match config.cassette_mode {
        CassetteKey::Record => CassetteMode::Record,
        CassetteKey::Replay => CassetteMode::Replay,
        CassetteKey::ReplayModel => CassetteMode::ReplayModel,
    };
    let opened = Cassette::open(file, mode).map_err(|error| CommandError::Usage(error.to_string()))?;
    Ok(Some(Arc::new(opened)))
}

/// What brains that ask a model may do and spend.
///
/// # Errors
/// [`CommandError::Usage`] for a price list that cannot be read.
pub(super) fn limits(config: &Config) -> Result<ModelLimits, CommandError> {
    let mut prices = Prices::default();
    if let Some(file) = &config.prices_file {
        let unusable =
            |error: String| CommandError::Usage(format!("prices_file {}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        prices = prices.overridden_by(Prices::parse(&text).map_err(|error| unusable(error.to_string()))?);
    }
    Ok(ModelLimits {
        turns_per_tick_max: config.model_turns_per_tick_max,
        spend: SpendLimits {
            tick: micro_usd(config.budget_tick_usd),
            persona_day: micro_usd(config.budget_persona_day_usd),
            day: micro_usd(config.budget_day_usd),
            month: micro_usd(config.budget_month_usd),
        },
        prices,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be 0 or more, and the cast saturates"
)]
fn micro_usd(dollars: f64) -> u64 {
    (dollars * 1_000_000.0).round() as u64
}

/// Makes each brain once, so that those who ask the same server share its limits.
struct Workshop<'a> {
    config: &'a Config,
    /// A cassette answers: no key is needed.
    asks_nobody: bool,
    endpoints: Endpoints,
    made: BTreeMap<(BrainKind, String), Arc<dyn Brain>>,
}

impl Workshop<'_> {
    fn brain(&mut self, kind: BrainKind, model: Option<&str>) -> Result<Arc<dyn Brain>, CommandError> {
        let config = self.config;
        let (api, base_url, key, usual) = match kind {
            BrainKind::Simulated => return Ok(Arc::new(SimulatedBrain::new())),
            BrainKind::Anthropic => (
                Api::Anthropic,
                &config.anthropic_base_url,
                config.anthropic_api_key.as_ref(),
                &config.anthropic_model,
            ),
            BrainKind::OpenAi => (
                Api::OpenAi,
                &config.openai_base_url,
                config.openai_api_key.as_ref(),
                &config.openai_model,
            ),
        };
        let model = model.unwrap_or(usual).to_owned();
        if let Some(known) = self.made.get(&(kind, model.clone())) {
            return Ok(known.clone());
        }
        if !self.asks_nobody {
            must_have_key(api, base_url, key)?;
        }
        let endpoint = self
            .endpoints
            .of(api, base_url, key)
            .map_err(|error| CommandError::Usage(format!("{}_base_url: {error}", api.as_str())))?;
        let max_tokens_member = config.openai_max_tokens_member.clone().unwrap_or_else(|| {
            let is_openai = config.openai_base_url.contains(OPENAI_HOST);
            if is_openai {
                "max_completion_tokens"
            } else {
                "max_tokens"
            }
            .to_owned()
        });
        let brain: Arc<dyn Brain> = Arc::new(ModelBrain::new(ModelSettings {
            endpoint,
            model: model.clone(),
            max_tokens: config.model_max_tokens,
            max_tokens_member,
            extra: extra(config)?,
        }));
        self.made.insert((kind, model), brain.clone());
        Ok(brain)
    }
}

/// The vendors' own servers take nobody without a key; servers on one's own machine may.
fn must_have_key(api: Api, base_url: &str, key: Option<&SecretString>) -> Result<(), CommandError> {
    let is_vendor = base_url.contains(OPENAI_HOST) || base_url.contains("://api.anthropic.com");
    if key.is_some() || !is_vendor {
        return Ok(());
    }
    let name = api.as_str();
    Err(CommandError::Usage(format!(
        "the brain {name} needs a key: set {}_API_KEY, or {name}_base_url to a server that needs none",
        name.to_uppercase()
    )))
}

fn extra(config: &Config) -> Result<Map<String, Value>, CommandError> {
    let Some(text) = &config.model_extra else {
        return Ok(Map::new());
    };
    serde_json::from_str(text)
        .map_err(|error| CommandError::Usage(format!("model_extra is not a JSON object: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::default()
    }

    fn refusal(config: &Config) -> String {
        of(config).unwrap_err().to_string()
    }

    #[test]
    fn a_vendor_s_brain_without_a_key_is_refused_with_what_to_set() {
        let mut config = config();
        config.brain = BrainKind::Anthropic;
        assert!(refusal(&config).contains("ANTHROPIC_API_KEY"));
        config.anthropic_base_url = "http://127.0.0.1:9".to_owned();
        assert!(of(&config).is_ok(), "a server of one's own may need none");
        config.anthropic_base_url = "somewhere".to_owned();
        assert!(refusal(&config).contains("anthropic_base_url"));
    }

    #[test]
    fn a_brain_that_a_cassette_plays_needs_no_key_and_a_cassette_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config();
        config.brain = BrainKind::Anthropic;
        config.cassette = Some(dir.path().join("tape.jsonl"));
        assert!(refusal(&config).contains("tape.jsonl"));
        config.cassette_mode = CassetteKey::Record;
        assert!(refusal(&config).contains("ANTHROPIC_API_KEY"));
        config.cassette_mode = CassetteKey::Replay;
        assert!(
            of(&config).is_ok(),
            "the tape is there now, though nothing is on it"
        );
    }

    #[test]
    fn personas_brains_are_named_by_kind_and_model() {
        let mut config = config();
        config.openai_base_url = "http://127.0.0.1:9/v1".to_owned();
        let anna = "persona.anna@mana.test".to_owned();
        config
            .persona_brains
            .insert(anna.clone(), "openai:llama3:8b".to_owned());
        let brains = of(&config).unwrap();
        assert!(format!("{brains:?}").contains("llama3:8b"), "{brains:?}");
        config.persona_brains.insert(anna.clone(), "clever".to_owned());
        assert!(refusal(&config).contains(&anna));
    }

    #[test]
    fn dollars_and_price_lists_become_limits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut config = config();
        config.budget_tick_usd = 0.05;
        assert_eq!(limits(&config).unwrap().spend.tick, 50_000);
        config.prices_file = Some(file.path().to_owned());
        assert!(limits(&config).unwrap_err().to_string().contains("prices_file"));
    }

    #[test]
    fn what_is_put_into_every_request_has_to_be_an_object() {
        let mut config = config();
        config.brain = BrainKind::OpenAi;
        config.openai_base_url = "http://127.0.0.1:9/v1".to_owned();
        config.model_extra = Some("[]".to_owned());
        assert!(refusal(&config).contains("model_extra"));
    }
}
