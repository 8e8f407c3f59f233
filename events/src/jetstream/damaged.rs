//! Messages that no client can receive. A byte of a subject or of headers that was changed in the store may make the
//! protocol unreadable; the client then drops its connection, and whoever follows would meet the same message again and
//! again. Asked for as JSON it can be looked at, and passed on as what it is: not readable.

use std::str::FromStr as _;

use async_nats::header::HeaderName;
use async_nats::jetstream::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{JetStreamLog, STREAM_NAME};
use crate::chain::{Content, Link};
use crate::codec::CodecError;
use crate::commit::StreamSeq;
use crate::log::{Delivery, Undecodable};
use crate::seal::Seal;
use crate::subject::is_chained;

#[derive(Deserialize)]
struct Found {
    message: Raw,
}

/// A message as the server's JSON gives it, its bytes in Base64.
#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl JetStreamLog {
    /// The first message after `after` that fits `filter`, if it is one that the client cannot receive.
    pub(super) async fn damaged_after(&self, filter: &str, after: StreamSeq) -> Option<Delivery> {
        let wanted = json!({ "seq": after.next().0, "next_by_subj": filter });
        let answer: Result<Response<Found>, _> = self
            .context
            .request(format!("STREAM.MSG.GET.{STREAM_NAME}"), &wanted)
            .await;
        let Ok(Response::Ok(Found { message })) = answer else {
            return None;
        };
        let headers = STANDARD.decode(&message.hdrs).ok()?;
        let body = STANDARD.decode(&message.data).ok()?;
        let part = damage(&message.subject, &headers)?;
        tracing::warn!(
            stream.seq = message.seq,
            part,
            "a message in the log is damaged so that it cannot be received; it is passed on as unreadable"
        );
        let content = Content {
            id: "",
            subject: &message.subject,
            time: "",
            traceparent: None,
            body: &body,
        };
        Some(Delivery::Undecodable(Undecodable {
            seq: StreamSeq(message.seq),
            id: String::new(),
            link: is_chained(&message.subject).then(|| Link {
                seq: StreamSeq(message.seq),
                content: content.hash(),
                stamp: None,
            }),
            seal: Seal::of(&message.subject, [headers.as_slice(), &body]),
            subject: message.subject,
            body,
            error: CodecError::Damaged { part },
        }))
    }
}

/// Which part of a message the client stumbles over; `None` when it does not.
fn damage(subject: &str, headers: &[u8]) -> Option<&'static str> {
    if subject.is_empty() || subject.contains(char::is_whitespace) || subject.contains('\u{fffd}') {
        return Some("bytes of the subject");
    }
    (!headers.is_empty() && !are_headers(headers)).then_some("headers")
}

/// Whether the client takes `headers` for those of a message.
fn are_headers(headers: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(headers) else {
        return false;
    };
    let mut lines = text.lines();
    // What follows the version is a status, which no stored message has.
    let is_version = |line: &str| {
        line.strip_prefix("NATS/1.0")
            .is_some_and(|rest| rest.trim().is_empty())
    };
    let mut is_first = true;
    lines.next().is_some_and(is_version)
        && lines.filter(|line| !line.is_empty()).all(|line| {
            // A line that begins with a space goes on with the one before.
            let continues = !std::mem::take(&mut is_first) && line.starts_with(char::is_whitespace);
            continues
                || line
                    .split_once(':')
                    .is_some_and(|(name, _)| HeaderName::from_str(name).is_ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_would_stumble_over_is_told_from_what_it_reads() {
        let good = b"NATS/1.0\r\nce-id: a\r\nDramatis-Chain:b.c\r\n\r\n";
        assert_eq!(damage("dramatis.persona.a", good), None);
        assert_eq!(damage("dramatis.persona.a", b""), None);
        for bad in [
            &b"NATS/1.0\r\nce-id: \xe1\r\n\r\n"[..],
            b"NATS/1.4\r\nce-id: a\r\n\r\n",
            b"NATS/1.0-\nce-id: a\r\n\r\n",
            b"NATS/1.0\r\nce-id; a\r\n\r\n",
            b"NATS/1.0\r\n ce-id: a\r\n\r\n",
            b"NATS/1.0\r\nce-id: a\r\n-\r\n",
        ] {
            assert_eq!(
                damage("dramatis.persona.a", bad),
                Some("headers"),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        for subject in [
            "",
            "dramatis.persona. a",
            "dramatis\tpersona",
            "dramatis.\u{fffd}",
        ] {
            assert_eq!(damage(subject, good), Some("bytes of the subject"), "{subject:?}");
        }
    }
}
