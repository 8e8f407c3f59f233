//! The log on JetStream.
//!
//! Facts this rests on, measured with nats-server 2.15.1:
//! * an append whose acknowledgement was lost is answered `wrong last sequence` when tried again on one replica,
//!   and `duplicate` on three, so every refused or unknown append is resolved by reading the subject's last message
//!   back and comparing ids;
//! * filtered consumers over many subjects are up to 68 times slower than unfiltered ones, so [`EventLog::follow`]
//!   never filters;
//! * the guard is per subject and counts in stream sequences, 0 for a subject without messages.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    self, Compression, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, stream::LastRawMessageErrorKind, stream::RawMessageErrorKind};
use async_nats::{HeaderMap, header};
use async_trait::async_trait;
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::codec::{COMMIT_TYPE, CodecError, decode_body, encode_body};
use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::log::{
    Appended, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, Rejection, StreamIdentity,
    Undecodable,
};
use crate::subject::{LIVE_PREFIX, STREAM_SUBJECTS, Subject};

/// The stream's name.
pub const STREAM_NAME: &str = "DRAMATIS";

/// The oldest nats-server this runs on: security advisories 2026-16, -18 and -26 are fixed from here on.
pub const VERSION_FLOOR: (u64, u64, u64) = (2, 14, 3);

/// What `ce-source` says.
const SOURCE: &str = "/dramatis";
/// How often an append is tried before it is given back.
const ATTEMPTS_MAX: u32 = 4;
/// Pause before the second try; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(50);
/// How long ids are remembered by the server. Longer retries are resolved by reading back.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// Messages asked for at a time when following.
const FOLLOW_BATCH: i64 = 500;

/// How the driver reaches its stream.
#[derive(Debug, Clone)]
pub struct JetStreamSettings {
    /// Copies of each message: 1 on one server, 3 in a cluster.
    pub replicas: usize,
    /// How long one request may take before the log counts as not answering.
    pub timeout: Duration,
}

impl Default for JetStreamSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            timeout: Duration::from_secs(5),
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct JetStreamLog {
    context: jetstream::Context,
    stream: stream::Stream<()>,
}

/// Whether `version` (`2.14.3`, `2.15.0-RC.1`) is at or above [`VERSION_FLOOR`].
pub fn version_is_at_least_floor(version: &str) -> bool {
    let release = version
        .trim_start_matches('v')
        .split(['-', '+'])
        .next()
        .unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u64>().ok());
    match (
        numbers.next().flatten(),
        numbers.next().flatten(),
        numbers.next().flatten(),
    ) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) >= VERSION_FLOOR,
        _ => false,
    }
}

impl JetStreamLog {
    /// Checks the server, and makes the stream or brings its settings up to date.
    ///
    /// # Errors
    /// [`LogError::Unfit`] for a server below the floor or without JetStream, [`LogError::Unavailable`] when it
    /// does not answer.
    pub async fn open(client: async_nats::Client, settings: JetStreamSettings) -> Result<Self, LogError> {
        let version = client.server_info().version;
        if !version_is_at_least_floor(&version) {
            let (major, minor, patch) = VERSION_FLOOR;
            return Err(LogError::Unfit(format!(
                "nats-server {version} is too old; {major}.{minor}.{patch} or newer is needed \
                 (`./deploy/install-nats` installs one)"
            )));
        }
        let context = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .build(client);
        let config = stream_config(&settings);
        match context.get_stream(STREAM_NAME).await {
            Ok(stream) => {
                refuse_drift(stream.cached_info())?;
                context
                    .update_stream(&config)
                    .await
                    .map_err(|error| LogError::Unfit(mend_stream(&error)))?;
            }
            Err(error) if matches!(error.kind(), jetstream::context::GetStreamErrorKind::JetStream(_)) => {
                context
                    .create_stream(config)
                    .await
                    .map_err(|error| LogError::Unfit(mend_stream(&error)))?;
            }
            Err(error) => return Err(unavailable(&error)),
        }
        let stream = context
            .get_stream_no_info(STREAM_NAME)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(Self { context, stream })
    }

    /// One try, without resolving what is unknown.
    async fn publish(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
        body: &[u8],
    ) -> Result<Appended, PublishError> {
        let mut message = PublishMessage::build()
            .headers(headers_of(commit))
            .message_id(commit.id.to_string())
            .expected_stream(STREAM_NAME)
            .payload(body.to_vec().into());
        if let ExpectedSeq::Exactly(seq) = expected {
            message = message.expected_last_subject_sequence(seq.0);
        }
        let ack = self
            .context
            .send_publish(commit.subject.to_string(), message)
            .await?
            .await?;
        Ok(Appended {
            seq: StreamSeq(ack.sequence),
            duplicate: ack.duplicate,
        })
    }

    /// The subject's last message as (place, id), straight from the stream's leader.
    async fn last_id(&self, subject: &Subject) -> Result<Option<(StreamSeq, String)>, LogError> {
        match self
            .stream
            .get_last_raw_message_by_subject(&subject.to_string())
            .await
        {
            Ok(message) => {
                let id = message
                    .headers
                    .get(header::NATS_MESSAGE_ID)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                Ok(Some((StreamSeq(message.sequence), id)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Repeats a session commit for live dashboards, as the server itself does for personas: a stream can
    /// republish one subject pattern only. At most once, like all live subjects; never an error of the append.
    async fn republish_session(&self, commit: &Commit, seq: StreamSeq, body: &[u8]) {
        if !matches!(commit.subject, Subject::Session(_)) {
            return;
        }
        let mut headers = headers_of(commit);
        headers.insert(header::NATS_SEQUENCE, seq.to_string());
        let subject = commit.subject.to_string().replacen("dramatis", LIVE_PREFIX, 1);
        if let Err(error) = self
            .context
            .client()
            .publish_with_headers(subject, headers, body.to_vec().into())
            .await
        {
            tracing::debug!(%error, stream.seq = seq.0, "a session commit was not repeated for live dashboards");
        }
    }
}

#[async_trait]
impl EventLog for JetStreamLog {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let body = encode_body(commit)?;
        let bytes_max = self.context.client().server_info().max_payload;
        if body.len() + HEADER_BYTES_MAX > bytes_max {
            return Ok(Err(Rejection::TooLarge {
                bytes: body.len(),
                bytes_max,
            }));
        }
        let mut backoff = BACKOFF;
        let mut attempt = 1;
        loop {
            let failure = match self.publish(commit, expected, &body).await {
                Ok(appended) => {
                    self.republish_session(commit, appended.seq, &body).await;
                    return Ok(Ok(appended));
                }
                Err(failure) => failure,
            };
            // Refused or unknown: what stands in the log decides.
            let last = match self.last_id(&commit.subject).await {
                Ok(last) => last,
                Err(error) if attempt >= ATTEMPTS_MAX => return Err(error),
                Err(_) => None,
            };
            if let Some((seq, id)) = &last
                && *id == commit.id.to_string()
            {
                return Ok(Ok(Appended {
                    seq: *seq,
                    duplicate: true,
                }));
            }
            let found = last.map_or(StreamSeq::ZERO, |(seq, _)| seq);
            if let ExpectedSeq::Exactly(expected) = expected
                && failure.kind() == PublishErrorKind::WrongLastSequence
                && found != expected
            {
                let subject = commit.subject.to_string();
                return Ok(Err(Rejection::WrongSequence {
                    subject,
                    expected,
                    found,
                }));
            }
            if attempt >= ATTEMPTS_MAX {
                return Err(unavailable(&failure));
            }
            attempt += 1;
            pause(backoff).await;
            backoff *= 2;
        }
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        match self
            .stream
            .get_last_raw_message_by_subject(&subject.to_string())
            .await
        {
            Ok(message) => {
                let delivery = delivery_of(
                    message.sequence,
                    &message.subject,
                    &message.headers,
                    &message.payload,
                );
                delivery.into_commit().map(Some)
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        let Some((end, _)) = self.last_id(subject).await? else {
            return Ok(Vec::new());
        };
        let config = pull::OrderedConfig {
            filter_subject: subject.to_string(),
            deliver_policy: DeliverPolicy::All,
            max_batch: FOLLOW_BATCH,
            ..Default::default()
        };
        let mut commits = Vec::new();
        let mut deliveries = self.consume(config).await?;
        while let Some(delivery) = deliveries.next().await {
            let recorded = delivery?.into_commit()?;
            let seq = recorded.seq;
            commits.push(recorded);
            if seq >= end {
                break;
            }
        }
        Ok(commits)
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.next().0,
            },
            max_batch: FOLLOW_BATCH,
            ..Default::default()
        };
        self.consume(config).await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        match self.stream.get_raw_message(seq.0).await {
            Ok(message) => Ok(Some(delivery_of(
                message.sequence,
                &message.subject,
                &message.headers,
                &message.payload,
            ))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn state(&self) -> Result<LogState, LogError> {
        let info = self
            .stream
            .get_info()
            .await
            .map_err(|error| unavailable(&error))?;
        let created = Timestamp::from_nanosecond(info.created.unix_timestamp_nanos()).map_err(|error| {
            LogError::Unfit(format!("the stream's creation time is not readable: {error}"))
        })?;
        Ok(LogState {
            identity: StreamIdentity {
                name: info.config.name,
                created,
            },
            last_seq: StreamSeq(info.state.last_sequence),
            messages: info.state.messages,
            bytes: info.state.bytes,
        })
    }
}

impl JetStreamLog {
    async fn consume(&self, config: pull::OrderedConfig) -> Result<CommitStream, LogError> {
        let consumer = self
            .stream
            .create_consumer(config)
            .await
            .map_err(|error| unavailable(&error))?;
        let messages = consumer.messages().await.map_err(|error| unavailable(&error))?;
        Ok(messages
            .map(|message| {
                let message = message.map_err(|error| unavailable(&error))?;
                let seq = message
                    .info()
                    .map_err(|error| unavailable(error.as_ref()))?
                    .stream_sequence;
                let headers = message.headers.clone().unwrap_or_default();
                Ok(delivery_of(seq, &message.subject, &headers, &message.payload))
            })
            .boxed())
    }
}

/// Room left for headers beside a body of the server's maximal size.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// CloudEvents attributes in binary mode, one header each.
fn headers_of(commit: &Commit) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", commit.id.to_string());
    headers.insert("ce-type", COMMIT_TYPE);
    headers.insert("ce-source", SOURCE);
    headers.insert("ce-time", commit.time.to_string());
    headers.insert("ce-subject", commit.subject.to_string());
    headers.insert("Content-Type", "application/json");
    if let Some(traceparent) = &commit.traceparent {
        headers.insert("traceparent", traceparent.as_str());
    }
    headers
}

fn delivery_of(seq: u64, subject: &str, headers: &HeaderMap, payload: &[u8]) -> Delivery {
    let seq = StreamSeq(seq);
    match commit_of(subject, headers, payload) {
        Ok(commit) => Delivery::Commit(RecordedCommit { seq, commit }),
        Err(error) => Delivery::Undecodable(Undecodable {
            seq,
            subject: subject.to_owned(),
            id: headers
                .get(header::NATS_MESSAGE_ID)
                .map(ToString::to_string)
                .unwrap_or_default(),
            body: payload.to_vec(),
            error,
        }),
    }
}

fn commit_of(subject: &str, headers: &HeaderMap, payload: &[u8]) -> Result<Commit, CodecError> {
    fn read<T: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Result<T, CodecError> {
        headers
            .get(name)
            .and_then(|value| value.as_str().parse().ok())
            .ok_or(CodecError::Header { name })
    }
    let body = decode_body(payload)?;
    Ok(Commit {
        id: read(headers, "ce-id")?,
        subject: subject
            .parse()
            .map_err(|_| CodecError::Header { name: "subject" })?,
        time: read(headers, "ce-time")?,
        events: body.events,
        tick: body.tick,
        correlation: body.correlation,
        causation: body.causation,
        traceparent: headers.get("traceparent").map(ToString::to_string),
    })
}

fn stream_config(settings: &JetStreamSettings) -> stream::Config {
    stream::Config {
        name: STREAM_NAME.to_owned(),
        description: Some("Everything that happened, one commit a message".to_owned()),
        subjects: STREAM_SUBJECTS.map(str::to_owned).to_vec(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // Refuse rather than lose history.
        discard: DiscardPolicy::New,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        compression: Some(Compression::S2),
        allow_direct: true,
        deny_delete: true,
        // Erasing a persona purges its subject.
        deny_purge: false,
        republish: Some(Republish {
            source: "dramatis.persona.>".to_owned(),
            destination: format!("{LIVE_PREFIX}.persona.>"),
            headers_only: false,
        }),
        ..Default::default()
    }
}

/// A stream of our name that could lose history is not ours to repair silently.
fn refuse_drift(info: &stream::Info) -> Result<(), LogError> {
    let config = &info.config;
    let fault = if config.storage != StorageType::File {
        "is not kept in files"
    } else if config.retention != RetentionPolicy::Limits {
        "drops messages once they are read"
    } else if !config.max_age.is_zero() {
        "drops messages by age"
    } else if config.max_messages_per_subject > 0 {
        "drops older messages of a subject"
    } else {
        return Ok(());
    };
    Err(LogError::Unfit(format!(
        "stream {STREAM_NAME} {fault}, so history could be lost; back it up, delete it and start again, or point \
         `--nats` at another server"
    )))
}

fn mend_stream(error: &dyn std::error::Error) -> String {
    format!(
        "stream {STREAM_NAME} cannot be set up: {error}; is JetStream on and may this user manage streams?"
    )
}

fn unavailable(error: &dyn std::error::Error) -> LogError {
    LogError::Unavailable(error.to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a network retry waits in real time, whatever the virtual day"
)]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_floor_is_compared_by_number() {
        for fit in ["2.14.3", "2.14.10", "2.15.1", "v3.0.0", "2.15.0-RC.1"] {
            assert!(version_is_at_least_floor(fit), "{fit}");
        }
        for unfit in ["2.9.10", "2.14.2", "2.12.99", "", "latest", "2.15"] {
            assert!(!version_is_at_least_floor(unfit), "{unfit}");
        }
    }
}
