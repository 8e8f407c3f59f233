//! Commits to headers and back: CloudEvents attributes in binary mode, one header each, and the chain.

use async_nats::header::{self, HeaderName};
use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, HeaderValue, jetstream};

use super::unavailable;
use crate::chain::{ChainStamp, Content, ContentHash};
use crate::codec::{COMMIT_TYPE, encode_body};
use crate::commit::{Commit, StreamSeq};
use crate::log::{Delivery, LogError};
use crate::seal::Seal;
use crate::stored::Stored;
use crate::subject::is_chained;

/// What `ce-source` says.
const SOURCE: &str = "/dramatis";

const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const CE_ID: HeaderName = HeaderName::from_static("ce-id");
const CE_TYPE: HeaderName = HeaderName::from_static("ce-type");
const CE_SOURCE: HeaderName = HeaderName::from_static("ce-source");
const CE_TIME: HeaderName = HeaderName::from_static("ce-time");
const CE_SUBJECT: HeaderName = HeaderName::from_static("ce-subject");
const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CHAIN: HeaderName = HeaderName::from_static("Dramatis-Chain");

/// A commit in the form it is sent in, all its tries alike.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) subject: String,
    time: String,
    traceparent: Option<String>,
    pub(super) body: bytes::Bytes,
    /// On a chained subject.
    pub(super) content: Option<ContentHash>,
}

impl Outgoing {
    pub(super) fn new(commit: &Commit) -> Result<Self, LogError> {
        let mut outgoing = Self {
            id: commit.id.to_string(),
            subject: commit.subject.to_string(),
            time: commit.time.to_string(),
            traceparent: commit.traceparent.clone(),
            body: encode_body(commit)?.into(),
            content: None,
        };
        if is_chained(&outgoing.subject) {
            let content = Content {
                id: &outgoing.id,
                subject: &outgoing.subject,
                time: &outgoing.time,
                traceparent: outgoing.traceparent.as_deref(),
                body: &outgoing.body,
            };
            outgoing.content = Some(content.hash());
        }
        Ok(outgoing)
    }

    pub(super) fn headers(&self, stamp: Option<ChainStamp>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CE_SPECVERSION, "1.0");
        headers.insert(CE_ID, self.id.as_str());
        headers.insert(CE_TYPE, COMMIT_TYPE);
        headers.insert(CE_SOURCE, SOURCE);
        headers.insert(CE_TIME, self.time.as_str());
        headers.insert(CE_SUBJECT, self.subject.as_str());
        headers.insert(CONTENT_TYPE, "application/json");
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT, traceparent.as_str());
        }
        if let Some(stamp) = stamp {
            headers.insert(CHAIN, stamp.to_string());
        }
        headers
    }

    /// The headers with those the server acts on: the id that it drops duplicates by, and the guard.
    pub(super) fn guarded_headers(&self, stamp: Option<ChainStamp>, guard: Option<StreamSeq>) -> HeaderMap {
        let mut headers = self.headers(stamp);
        headers.insert(header::NATS_MESSAGE_ID, self.id.as_str());
        headers.insert(header::NATS_EXPECTED_STREAM, super::STREAM_NAME);
        if let Some(guard) = guard {
            headers.insert(
                header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
                HeaderValue::from(guard.0),
            );
        }
        headers
    }
}

/// The id a stored message goes by.
pub(super) fn id_of(headers: &HeaderMap) -> &str {
    headers
        .get(CE_ID)
        .or_else(|| headers.get(header::NATS_MESSAGE_ID))
        .map_or("", |value| value.as_str())
}

/// The stamp a stored message carries.
pub(super) fn stamp_of(headers: &HeaderMap) -> Option<ChainStamp> {
    headers.get(CHAIN)?.as_str().parse().ok()
}

pub(super) fn delivery_of_stored(message: &StreamMessage) -> Delivery {
    read(
        message.sequence,
        &message.subject,
        &message.headers,
        &message.payload,
    )
}

pub(super) fn delivery_of_message(message: &jetstream::Message) -> Result<Delivery, LogError> {
    let info = message.info().map_err(|error| unavailable(error.as_ref()))?;
    let headers = message.headers.as_ref();
    let empty = HeaderMap::new();
    Ok(read(
        info.stream_sequence,
        &message.subject,
        headers.unwrap_or(&empty),
        &message.payload,
    ))
}

/// Over every header, ours or not. The client gives their names in no order.
fn seal(subject: &str, headers: &HeaderMap, body: &[u8]) -> Seal {
    let mut named: Vec<(&[u8], &[HeaderValue])> = headers
        .iter()
        .map(|(name, values)| (name.as_ref(), values.as_slice()))
        .collect();
    named.sort_unstable_by_key(|(name, _)| *name);
    let parts = named.into_iter().flat_map(|(name, values)| {
        values
            .iter()
            .flat_map(move |value| [name, value.as_str().as_bytes()])
    });
    Seal::of(subject, parts.chain([body]))
}

fn read(seq: u64, subject: &str, headers: &HeaderMap, body: &[u8]) -> Delivery {
    let text = |name| headers.get(name).map(HeaderValue::as_str);
    let stored = Stored {
        seq: StreamSeq(seq),
        content: Content {
            id: id_of(headers),
            subject,
            time: text(CE_TIME).unwrap_or_default(),
            traceparent: text(TRACEPARENT),
            body,
        },
        stamp: text(CHAIN),
        seal: seal(subject, headers, body),
    };
    stored.read()
}
