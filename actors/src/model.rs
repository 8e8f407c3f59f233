//! A brain that asks a language model.
//!
//! ```text
//!                    ┌──────────────── Talk: system, tools, messages word for word ───────────────┐
//! TickView ─▶ ModelBrain ─▶ Step::Ask(ModelRequest) ─▶ the tick: limits, money, log ─▶ Endpoint ─▶ server
//!                 ▲                                                                      │
//!                 └──────────────── Conversation ◀── Turn (calls, text, why it stopped) ◀┘
//! ```
//!
//! The brain decides what to ask and what an answer means; it opens no connection. [`Endpoint`] sends once and says
//! what a failure means. Between them the tick (`tick/ask.rs`) holds deadline, turn limit and budgets, writes
//! `ModelAsked` before and `ModelCalled` after every attempt, and waits where the server said so.
//!
//! **To add an API**: one file beside `anthropic.rs` with `tools`, `body`, `user` and `read`, and an arm each in
//! `api.rs`; a fake server for it in `testkit` that refuses what the real one refuses.

mod anthropic;
mod api;
mod cassette;
mod endpoint;
mod fault;
mod names;
mod openai;
mod price;
mod prompt;
mod rating;
mod talk;
mod turn;

use std::sync::Arc;

use async_trait::async_trait;
use events::{Purpose, RatingSource, TickOutcome};
use serde_json::{Map, Value};

use crate::brain::{Brain, BrainError, BrainIdentity, RateStep, Step, TickView};
use crate::digest::ModuleDigest;
pub use api::Api;
pub use cassette::{Cassette, CassetteError, CassetteMode};
pub use endpoint::{Endpoint, EndpointError, Endpoints};
pub(crate) use fault::{Fault, Then, back_off};
pub use price::{PriceError, Prices};
use talk::Talk;
pub use talk::{Conversation, ModelRequest};
use turn::Stop;
pub(crate) use turn::Turn;

/// Answers to the questionnaire that may be of no use before the rating has failed.
const RATING_TRIES_MAX: u32 = 2;

/// Which model is asked, and how.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// Where.
    pub endpoint: Arc<Endpoint>,
    /// The model's name there.
    pub model: String,
    /// Tokens one answer may have.
    pub max_tokens: u32,
    /// What Chat Completions calls that limit: `max_tokens`, or `max_completion_tokens` where that is refused.
    pub max_tokens_member: String,
    /// Members put into every request last of all; null takes one out. For servers with ways of their own.
    pub extra: Map<String, Value>,
}

/// See the module. It has no state: a tick's conversation is the tick's own.
#[derive(Debug, Clone)]
pub struct ModelBrain(ModelSettings);

impl ModelBrain {
    /// Asks as `settings` say.
    pub fn new(settings: ModelSettings) -> Self {
        Self(settings)
    }

    fn ask(&self, talk: &Talk) -> Step {
        Step::Ask(Box::new(talk.request(&self.0, Purpose::Act, None)))
    }
}

#[async_trait]
impl Brain for ModelBrain {
    fn identity(&self) -> BrainIdentity {
        BrainIdentity {
            name: self.0.endpoint.api().as_str(),
            model: Some(self.0.model.clone()),
            prompt_version: prompt::PROMPT_VERSION,
        }
    }

    async fn step(&self, tick: &TickView<'_>, conversation: &mut Conversation) -> Result<Step, BrainError> {
        let talk = conversation.talk.get_or_insert_with(|| Talk::open(&self.0, tick));
        let Some(turn) = conversation.reply.take() else {
            // The first question, or the results of the calls that the last answer asked for.
            talk.say(&self.0, tick.past, None);
            return Ok(self.ask(talk));
        };
        talk.heard(&turn, tick.past.len());
        let done = |outcome, note: Option<&str>| {
            let note = note.map(str::to_owned);
            Ok(Step::Done { outcome, note })
        };
        match &turn.stop {
            Stop::Refused(why) => done(TickOutcome::Refused, Some(&format!("the model refused: {why}"))),
            Stop::Full => done(
                TickOutcome::Limit,
                Some("the conversation is longer than the model can read"),
            ),
            Stop::Paused => Ok(self.ask(talk)),
            Stop::Ended | Stop::Cut if !turn.calls.is_empty() => Ok(Step::Calls(talk.plan(&turn, tick.past))),
            Stop::Cut => done(
                TickOutcome::Limit,
                Some("the model's answer was cut off at its length limit"),
            ),
            Stop::Ended => done(TickOutcome::Completed, None),
        }
    }

    async fn rate(
        &self,
        tick: &TickView<'_>,
        used: &[ModuleDigest],
        conversation: &mut Conversation,
    ) -> Result<RateStep, BrainError> {
        let Some(talk) = &mut conversation.talk else {
            let reason = "there was no conversation to rate in".to_owned();
            return Err(BrainError::Unusable { reason });
        };
        let reply = conversation.reply.take();
        let text = match reply.filter(|_| conversation.is_rating) {
            None => prompt::questionnaire(tick, used),
            Some(turn) => {
                talk.heard(&turn, tick.past.len());
                let fault = match &turn.stop {
                    Stop::Refused(why) => {
                        let reason = format!("the model refused to rate: {why}");
                        return Err(BrainError::Unusable { reason });
                    }
                    Stop::Cut => "it was cut off at its length limit".to_owned(),
                    _ if !turn.calls.is_empty() => "it calls tools".to_owned(),
                    _ => match rating::drafts(&turn.text, tick.past) {
                        Ok(drafts) => return Ok(RateStep::Drafts(drafts)),
                        Err(fault) => fault,
                    },
                };
                conversation.rating_faults += 1;
                if conversation.rating_faults >= RATING_TRIES_MAX {
                    let reason = format!("the rating was of no use, twice: {fault}");
                    return Err(BrainError::Unusable { reason });
                }
                prompt::once_more(&fault)
            }
        };
        conversation.is_rating = true;
        talk.say(&self.0, tick.past, Some(&text));
        let schema = rating::schema(used);
        Ok(RateStep::Ask(Box::new(talk.request(
            &self.0,
            Purpose::Rate,
            Some(&schema),
        ))))
    }

    fn source(&self) -> RatingSource {
        RatingSource::Model
    }
}
