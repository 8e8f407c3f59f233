//! The work queue on JetStream: a stream that forgets what is acknowledged, and one consumer that all runners share.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Batch, Config as PullConfig};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::message::{Acker, PublishMessage};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, AckKind};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::join_all;

use super::set_up::{refused, until_set_up};
use super::{JetStreamSettings, unavailable};
use crate::log::LogError;
use crate::subject::tick_subject;
use crate::ticks::{Claim, DueTick, TakenTick, TickQueue};

/// The work queue's stream.
pub const TICKS_STREAM_NAME: &str = "DRAMATIS_TICKS";
/// The one consumer of all runners.
const CONSUMER_NAME: &str = "runners";
/// How long a name is remembered after its tick is done with. A runner that lags behind the log may offer it again
/// for as long as that; what comes later finds in the log that the tick has begun.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// How long an offer nobody takes stays. The next look offers it anew.
const OFFER_LASTS: Duration = Duration::from_hours(1);
/// What the server answers when a subject has as many messages as it may.
const SUBJECT_IS_FULL: u64 = 10_077;
/// Offers that wait for their answer at once.
const OFFERS_AT_ONCE: usize = 256;

/// See the module.
#[derive(Debug, Clone)]
pub struct JetStreamTicks {
    context: jetstream::Context,
    consumer: Consumer<PullConfig>,
    kept_for: Duration,
}

impl JetStreamTicks {
    /// Makes the stream and its consumer, or finds them. A tick that was taken and not kept for `kept_for` is handed to
    /// another runner; all runners say the same.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when no server answers in time, [`LogError::Unfit`] when one refuses for good, such as
    /// for a stream of that name with other subjects.
    pub async fn open(
        client: async_nats::Client,
        settings: &JetStreamSettings,
        kept_for: Duration,
    ) -> Result<Self, LogError> {
        let context = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .build(client);
        let wanted = stream::Config {
            name: TICKS_STREAM_NAME.to_owned(),
            subjects: vec![crate::subject::TICK_SUBJECTS.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            // One offer a persona: a late tick is not made up for twice.
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_age: OFFER_LASTS,
            duplicate_window: DUPLICATE_WINDOW,
            num_replicas: settings.replicas,
            ..stream::Config::default()
        };
        let shared = PullConfig {
            durable_name: Some(CONSUMER_NAME.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: kept_for,
            max_ack_pending: -1,
            ..PullConfig::default()
        };
        let what = format!("stream {TICKS_STREAM_NAME}");
        let consumer = until_set_up(&what, async || {
            let stream = context
                .get_or_create_stream(wanted.clone())
                .await
                .map_err(|error| refused(&what, &error))?;
            stream
                .get_or_create_consumer(CONSUMER_NAME, shared.clone())
                .await
                .map_err(|error| refused(&what, &error))
        })
        .await?;
        Ok(Self {
            context,
            consumer,
            kept_for,
        })
    }

    /// Puts one in; true when it was not there yet.
    async fn offer_one(&self, tick: &DueTick) -> Result<bool, LogError> {
        let body = serde_json::to_vec(tick).map_err(|error| LogError::Unfit(error.to_string()))?;
        let message = PublishMessage::build()
            .message_id(format!("{}:{}", tick.persona_id, tick.number))
            .payload(body.into());
        let sent = self
            .context
            .send_publish(tick_subject(&tick.persona_id), message)
            .await;
        let answer = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(stored) => Ok(!stored.duplicate),
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// Whether the server refused because the persona has an offer already.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<jetstream::Error>() {
            return error.error_code().0 == SUBJECT_IS_FULL;
        }
        cause = error.source();
    }
    false
}

#[async_trait]
impl TickQueue for JetStreamTicks {
    async fn offer(&self, ticks: &[DueTick]) -> Result<u64, LogError> {
        let mut offered = 0;
        for some in ticks.chunks(OFFERS_AT_ONCE) {
            for is_new in join_all(some.iter().map(|tick| self.offer_one(tick))).await {
                offered += u64::from(is_new?);
            }
        }
        Ok(offered)
    }

    async fn take(&self, max: usize, within: Duration) -> Result<Vec<TakenTick>, LogError> {
        let there = self.consumer.fetch().max_messages(max).messages();
        let there = taken_of(there.await.map_err(|error| unavailable(&error))?).await?;
        if !there.is_empty() {
            return Ok(there);
        }
        let next = self.consumer.batch().max_messages(1).expires(within).messages();
        taken_of(next.await.map_err(|error| unavailable(&error))?).await
    }

    fn keep_every(&self) -> Duration {
        self.kept_for / 3
    }
}

/// The ticks in a batch. What was taken when the batch breaks off is handed out again in time.
async fn taken_of(mut messages: Batch) -> Result<Vec<TakenTick>, LogError> {
    let mut taken = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let was_taken_before = message.info().is_ok_and(|info| info.delivered > 1);
        let tick = serde_json::from_slice(&message.payload);
        let (_, acker) = message.split();
        let claim = Held(acker);
        match tick {
            Ok(tick) => taken.push(TakenTick {
                tick,
                was_taken_before,
                claim: Box::new(claim),
            }),
            Err(error) => {
                tracing::warn!(%error, "what is in the work queue is no tick, and is dropped");
                claim.done().await;
            }
        }
    }
    Ok(taken)
}

/// A message that is not acknowledged yet.
struct Held(Acker);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl Held {
    /// A word that is lost is made up for by the next delivery.
    async fn say(&self, kind: AckKind) {
        if let Err(error) = self.0.ack_with(kind).await {
            tracing::debug!(error = %error, "the work queue was not told");
        }
    }
}

#[async_trait]
impl Claim for Held {
    async fn keep(&self) {
        self.say(AckKind::Progress).await;
    }

    async fn done(&self) {
        self.say(AckKind::Ack).await;
    }

    async fn give_back(&self, pause: Duration) {
        self.say(AckKind::Nak(Some(pause))).await;
    }
}
