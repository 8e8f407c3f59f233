//! Asking a model: within the tick's turns, time and money, recorded before it is sent and after it ended.

use std::time::Duration;

use events::{ERROR_CHARS_MAX, Event, ModelAsked, ModelCalled, Purpose, RequestId, TickOutcome, capped};
use jiff::Timestamp;

use super::Tick;
use super::live::{Ending, millis};
use super::record::RecordError;
use super::span;
use crate::model::{Fault, ModelRequest, Then, Turn, back_off};
use crate::purse::dollars;

/// Attempts at one request, the first included.
const ATTEMPTS_MAX: u32 = 5;
/// Requests beyond the turn limit that the rating at a tick's end may need.
const RATING_TURNS: u32 = 2;
/// How long the roster may take to have read the log before the first request.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// What a tick has asked of models so far.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Requests, however many attempts each took.
    turns: u32,
    /// Attempts, for their ids.
    attempts: u32,
    /// Millionths of a dollar; what was put aside where the cost is not known.
    micro_usd: u64,
    /// Some cost is not known.
    is_uncertain: bool,
    /// The budgets were made sure to know the log.
    is_counted: bool,
}

impl Spending {
    /// A visit of its own: its turns are counted anew, its money is not.
    pub(super) fn begin_visit(&mut self) {
        self.turns = 0;
    }

    /// What is known of the cost.
    pub(super) fn cost(&self) -> Option<u64> {
        (!self.is_uncertain).then_some(self.micro_usd)
    }
}

/// One attempt, while it runs.
struct Attempt {
    id: RequestId,
    reserved: u64,
    retries: u32,
}

impl Tick<'_> {
    /// Asks, and hands the answer to the conversation; `Err` is why the tick cannot go on. What was sent and not
    /// answered is never sent again by itself: a further attempt is a request of its own, with its own money.
    pub(super) async fn ask(&mut self, request: &ModelRequest) -> Result<Result<(), Ending>, RecordError> {
        let turns_max = self.stage.settings.model.turns_per_tick_max;
        let allowed = turns_max
            + if request.purpose == Purpose::Rate {
                RATING_TURNS
            } else {
                0
            };
        if self.spending.turns >= allowed {
            return Ok(Err(Ending::limit(format!(
                "the limit of {turns_max} model turns was reached"
            ))));
        }
        self.spending.turns += 1;
        if !self.spending.is_counted {
            if let Err(error) = self.stage.read.the_end(self.stage, READ_WITHIN).await {
                return Ok(Err(Ending::failed(format!(
                    "nobody knows what is spent already: {error}"
                ))));
            }
            self.spending.is_counted = true;
        }
        let mut retries = 0;
        loop {
            if let Err(ending) = self.wait_for_endpoint(request).await {
                return Ok(Err(ending));
            }
            let attempt = match self.put_aside(request, retries).await? {
                Ok(attempt) => attempt,
                Err(ending) => return Ok(Err(ending)),
            };
            let fault = match self.attempt(request, &attempt).await {
                Ok(turn) => {
                    self.conversation.answered(turn);
                    return Ok(Ok(()));
                }
                Err(Some(fault)) => fault,
                Err(None) => return Ok(Err(self.out_of_time())),
            };
            retries += 1;
            match fault.then {
                Then::GiveUp => return Ok(Err(self.cannot_go_on(&fault))),
                _ if retries >= ATTEMPTS_MAX => return Ok(Err(self.cannot_go_on(&fault))),
                Then::PauseAll(pause) => request.endpoint.pause(self.stage.clock.as_ref(), pause),
                Then::BackOff => {
                    let pause = back_off(attempt.id.as_str(), retries - 1);
                    if pause >= self.time_left() {
                        return Ok(Err(self.out_of_time()));
                    }
                    self.stage.clock.sleep(pause).await;
                }
            }
        }
    }

    /// Waits while the endpoint is paused for everybody. A pause that outlasts the tick is not waited for.
    async fn wait_for_endpoint(&self, request: &ModelRequest) -> Result<(), Ending> {
        loop {
            let pause = request
                .endpoint
                .paused_until()
                .saturating_sub(self.stage.clock.monotonic());
            if pause.is_zero() {
                return Ok(());
            }
            if pause >= self.time_left() {
                let resume_at = self
                    .stage
                    .clock
                    .now()
                    .saturating_add(pause)
                    .unwrap_or(Timestamp::MAX);
                let reason = format!(
                    "the model's server wants nobody to ask for {} s",
                    pause.as_secs().max(1)
                );
                return Err(self.not_now(reason, Some(resume_at)));
            }
            self.stage.clock.sleep(pause).await;
        }
    }

    /// Puts money aside and records that the model is about to be asked.
    async fn put_aside(
        &mut self,
        request: &ModelRequest,
        retries: u32,
    ) -> Result<Result<Attempt, Ending>, RecordError> {
        let now = self.stage.clock.now();
        let model = &self.stage.settings.model;
        let Some(price) = model.prices.of(&request.model, now) else {
            let reason = format!(
                "no price is known for the model {}; set one in the file that prices_file names (0 for a free one)",
                request.model
            );
            return Ok(Err(Ending::failed(reason)));
        };
        let reserved = price.at_most(request.input_tokens_max, request.output_tokens_max);
        if self.spending.micro_usd.saturating_add(reserved) > model.spend.tick {
            let reason = format!(
                "the budget of a tick ({}) does not cover the next request: {} is spent, and it may cost {}",
                dollars(model.spend.tick),
                dollars(self.spending.micro_usd),
                dollars(reserved)
            );
            return Ok(Err(self.not_now(reason, None)));
        }
        let attempt = Attempt {
            id: RequestId::derived(&[self.id.as_str(), &self.spending.attempts.to_string()]),
            reserved,
            retries,
        };
        let persona_id = &self.facts.persona.persona_id;
        if let Err(overdrawn) = self.stage.purse.reserve(&attempt.id, persona_id, now, reserved) {
            metrics::counter!("cast_model_budget_refusals_total").increment(1);
            let resume_at = overdrawn.resume_at;
            return Ok(Err(self.not_now(overdrawn.to_string(), Some(resume_at))));
        }
        self.spending.attempts += 1;
        let asked = ModelAsked {
            tick_id: self.id.clone(),
            request_id: attempt.id.clone(),
            brain: request.endpoint.api().as_str().to_owned(),
            model: request.model.clone(),
            purpose: request.purpose,
            reserved_micro_usd: reserved,
            asked_at: now,
        };
        if let Err(error) = self.recorder.append(vec![asked.into()]).await {
            // Should it be in the log all the same, the fold counts it.
            self.stage.purse.release(&attempt.id);
            return Err(error);
        }
        Ok(Ok(attempt))
    }

    /// Sends once and keeps its end for the next commit. `Err(None)`: the tick's time was over first.
    async fn attempt(&mut self, request: &ModelRequest, attempt: &Attempt) -> Result<Turn, Option<Fault>> {
        let mut span = span::of_model(self.stage, &self.span, request);
        let begun = self.stage.clock.monotonic();
        let send = request.endpoint.send(&request.body, self.stage.clock.now());
        let answer = self.stage.within(self.time_left(), send).await;
        let latency = self.stage.clock.monotonic().saturating_sub(begun);
        let turn = answer.as_ref().and_then(|answer| answer.as_ref().ok());
        let cost = match &answer {
            Some(Ok(turn)) => {
                let price = self
                    .stage
                    .settings
                    .model
                    .prices
                    .of(&request.model, self.stage.clock.now());
                price.and_then(|price| price.cost(turn.usage))
            }
            Some(Err(fault)) if !fault.may_be_billed => Some(0),
            _ => None,
        };
        let error = match &answer {
            Some(Ok(_)) => None,
            Some(Err(fault)) => Some(fault.message.clone()),
            None => Some("no answer before the tick's time was over".to_owned()),
        };
        self.stage.purse.settle(&attempt.id, cost);
        self.spending.is_uncertain |= cost.is_none();
        self.spending.micro_usd = self
            .spending
            .micro_usd
            .saturating_add(cost.unwrap_or(attempt.reserved));
        let usage = turn.map(|turn| turn.usage).unwrap_or_default();
        let called = ModelCalled {
            tick_id: self.id.clone(),
            request_id: Some(attempt.id.clone()),
            model: request.model.clone(),
            input_tokens: usage.input,
            cached_tokens: usage.cached,
            cache_write_tokens: usage.cache_write,
            output_tokens: usage.output,
            cost_micro_usd: cost,
            retries: attempt.retries,
            stop_reason: turn.map_or("error", |turn| &turn.stop_word).to_owned(),
            error: error.map(|error| capped(&error, ERROR_CHARS_MAX)),
            latency_ms: millis(latency),
        };
        span::model_answered(&mut span, &called);
        drop(span);
        let outcome = if turn.is_some() { "ok" } else { "error" };
        metrics::counter!("cast_model_requests_total", "outcome" => outcome).increment(1);
        metrics::counter!("cast_model_cost_micro_usd_total").increment(cost.unwrap_or(attempt.reserved));
        self.recorder.hold([Event::from(called)]);
        match answer {
            Some(answer) => answer.map_err(Some),
            None => Err(None),
        }
    }

    /// The tick has to stop for a reason that will pass. Before its first call it is deferred; after that its part is
    /// kept.
    fn not_now(&self, reason: String, resume_at: Option<Timestamp>) -> Ending {
        if self.ledger.made() > 0 {
            return Ending::limit(reason);
        }
        Ending {
            outcome: TickOutcome::Deferred,
            reason: Some(reason),
            resume_at,
        }
    }

    fn cannot_go_on(&self, fault: &Fault) -> Ending {
        let reason = format!("the model's server: {}", fault.message);
        if fault.then == Then::GiveUp {
            Ending::failed(reason)
        } else {
            self.not_now(reason, None)
        }
    }
}
