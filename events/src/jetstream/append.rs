//! Appending: bounded in number and in time, and resolved by reading back whenever the server refused or said nothing.

use std::time::Duration;

use async_nats::Request;
use async_nats::jetstream::{self, ErrorCode};
use serde::Deserialize;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::JetStreamLog;
use super::connection::{Patience, pause};
use super::headers::{Outgoing, id_of, stamp_of};
use super::heads::Head;
use crate::chain::{ChainHash, ChainStamp};
use crate::commit::{Commit, StreamSeq};
use crate::log::{Appended, ExpectedSeq, LogError, Rejection};

/// How long an append waits for room among those in flight before it is given back.
const ROOM_WITHIN: Duration = Duration::from_millis(250);
/// Pause before the second try; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(20);
/// Room left for headers beside a body of the server's maximal size.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// What stands in the log, as far as one commit is concerned.
enum Found {
    /// The commit itself.
    Ours(StreamSeq),
    /// Another commit where it would be; the subject's last one is here.
    Foreign(StreamSeq),
    /// Nothing that is in its way.
    Free,
}

/// Why a commit is not known to be stored.
#[derive(Debug, thiserror::Error)]
enum NotStored {
    /// The guard did not hold: it was not, now.
    #[error("the subject keeps moving")]
    Refused,
    /// Anything else, a lost answer included.
    #[error("{0}")]
    Unknown(String),
}

/// The server's answer to a message.
#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<jetstream::Error>,
}

/// A commit's place before it has one.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Where the subject's last commit must be; `None` on a subject many may write to.
    guard: Option<StreamSeq>,
    stamp: Option<ChainStamp>,
}

impl JetStreamLog {
    pub(super) async fn append_bounded(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let outgoing = Outgoing::new(commit)?;
        let bytes_max = self.client.max_payload();
        if outgoing.body.len() + HEADER_BYTES_MAX > bytes_max {
            return Ok(Err(Rejection::TooLarge {
                bytes: outgoing.body.len(),
                bytes_max,
            }));
        }
        let _room = self.room().await?;
        let _in_flight = self.telemetry.in_flight();
        self.append_resolved(&outgoing, expected).await
    }

    /// A place among the appends in flight.
    async fn room(&self) -> Result<SemaphorePermit<'_>, LogError> {
        if let Ok(room) = self.room.try_acquire() {
            return Ok(room);
        }
        if let Ok(Ok(room)) = timeout(ROOM_WITHIN, self.room.acquire()).await {
            return Ok(room);
        }
        // Without a connection it is not the number of appends that is the trouble.
        self.connected().await?;
        Err(LogError::Busy {
            in_flight_max: self.settings.in_flight_max,
        })
    }

    /// Tries until it is known what became of the commit, or patience ends.
    async fn append_resolved(
        &self,
        outgoing: &Outgoing,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let mut patience = Patience::new(self.settings.append_within);
        let mut backoff = BACKOFF;
        loop {
            self.connected().await?;
            let tried = self.append_once(outgoing, expected);
            let error = match self.answer_of(tried, &mut patience).await {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(error)) | Err(error) => error,
            };
            if !patience.bears(backoff) {
                return Err(error);
            }
            pause(backoff).await;
            backoff *= 2;
        }
    }

    /// One try. An error says that what became of it is not known.
    async fn append_once(
        &self,
        outgoing: &Outgoing,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let guard = self.guard_of(outgoing, expected).await?;
        let sent = match self.stamp_at(outgoing, guard).await? {
            Stamped::At(stamp) => {
                let place = Place { guard, stamp };
                match self.publish(outgoing, place).await {
                    Ok(appended) => {
                        self.stored(outgoing, place, appended);
                        return Ok(Ok(appended));
                    }
                    Err(error) => Some(error),
                }
            }
            Stamped::Already(seq) => {
                return Ok(Ok(Appended { seq, duplicate: true }));
            }
            // The server would refuse it: the guard names a commit that is not the subject's.
            Stamped::Nowhere => None,
        };
        let was_refused = sent
            .as_ref()
            .is_none_or(|error| matches!(error, NotStored::Refused));
        match (self.find(outgoing, guard).await?, expected) {
            (Found::Ours(seq), _) => {
                if was_refused {
                    self.telemetry.conflict(true);
                }
                Ok(Ok(Appended { seq, duplicate: true }))
            }
            (Found::Foreign(found), ExpectedSeq::Exactly(expected)) => {
                self.telemetry.conflict(false);
                Ok(Err(Rejection::WrongSequence {
                    subject: outgoing.subject.clone(),
                    expected,
                    found,
                }))
            }
            (Found::Free | Found::Foreign(_), _) => Err(LogError::Unavailable(sent.map_or_else(
                || "the subject keeps moving".to_owned(),
                |error| error.to_string(),
            ))),
        }
    }

    /// Where the subject's last commit must be. On a chained subject it must be somewhere: a caller who does not mind
    /// gets the place where it is now.
    async fn guard_of(
        &self,
        outgoing: &Outgoing,
        expected: ExpectedSeq,
    ) -> Result<Option<StreamSeq>, LogError> {
        match expected {
            ExpectedSeq::Exactly(seq) => Ok(Some(seq)),
            ExpectedSeq::Any if outgoing.content.is_none() => Ok(None),
            ExpectedSeq::Any => {
                let last = self.last_message(&outgoing.subject).await?;
                Ok(Some(
                    last.map_or(StreamSeq::ZERO, |last| StreamSeq(last.sequence)),
                ))
            }
        }
    }

    /// The stamp of a commit that follows the one at `guard`, without a round trip when this process wrote that one.
    async fn stamp_at(&self, outgoing: &Outgoing, guard: Option<StreamSeq>) -> Result<Stamped, LogError> {
        let (Some(content), Some(guard)) = (outgoing.content, guard) else {
            return Ok(Stamped::At(None));
        };
        let genesis = || ChainHash::genesis(&outgoing.subject);
        if guard == StreamSeq::ZERO {
            return Ok(Stamped::At(Some(ChainStamp::new(genesis(), content))));
        }
        let head = match self.heads.at(&outgoing.subject, guard) {
            Some(head) => head,
            None => match self.message_at(guard).await? {
                Some(message) if *message.subject == *outgoing.subject => Head {
                    seq: guard,
                    id: id_of(&message.headers).to_owned(),
                    // A commit whose own link cannot be read: the break is there already, and stays visible.
                    link: stamp_of(&message.headers).map_or_else(genesis, |stamp| stamp.own),
                },
                _ => return Ok(Stamped::Nowhere),
            },
        };
        if head.id == outgoing.id {
            return Ok(Stamped::Already(guard));
        }
        Ok(Stamped::At(Some(ChainStamp::new(head.link, content))))
    }

    /// Sends it and waits for the acknowledgement.
    async fn publish(&self, outgoing: &Outgoing, place: Place) -> Result<Appended, NotStored> {
        // Not through the client's own publish, which has bounds and a timer of its own and reads acks by guessing: a
        // tenth of what an append costs.
        let request = Request::new()
            .headers(outgoing.guarded_headers(place.stamp, place.guard))
            .payload(outgoing.body.clone())
            .timeout(None);
        let answer = self.client.send_request(outgoing.subject.clone(), request).await;
        let answer = answer.map_err(|error| NotStored::Unknown(error.to_string()))?;
        let ack: Ack = serde_json::from_slice(&answer.payload)
            .map_err(|error| NotStored::Unknown(format!("an acknowledgement is not readable: {error}")))?;
        match ack.error {
            None => Ok(Appended {
                seq: StreamSeq(ack.seq),
                duplicate: ack.duplicate,
            }),
            Some(error) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
                Err(NotStored::Refused)
            }
            Some(error) => Err(NotStored::Unknown(error.to_string())),
        }
    }

    /// Remembers where the subject's chain is now.
    fn stored(&self, outgoing: &Outgoing, place: Place, appended: Appended) {
        // A duplicate stands where its first try put it, which need not be after the guard of this one.
        if let (Some(stamp), false) = (place.stamp, appended.duplicate) {
            let head = Head {
                seq: appended.seq,
                id: outgoing.id.clone(),
                link: stamp.own,
            };
            self.heads.put(&outgoing.subject, head);
        }
    }

    /// What stands in the log after a try that was refused, or whose outcome is not known.
    ///
    /// A guarded commit can only have been stored right after its guard, whatever was appended since: the subject's
    /// first commit after the guard is either it, or in its way.
    async fn find(&self, outgoing: &Outgoing, guard: Option<StreamSeq>) -> Result<Found, LogError> {
        if let Some(guard) = guard
            && let Some(next) = self.next_message(&outgoing.subject, guard).await?
            && id_of(&next.headers) == outgoing.id
        {
            return Ok(Found::Ours(StreamSeq(next.sequence)));
        }
        let Some(last) = self.last_message(&outgoing.subject).await? else {
            let is_free = guard.is_none_or(|guard| guard == StreamSeq::ZERO);
            return Ok(if is_free {
                Found::Free
            } else {
                Found::Foreign(StreamSeq::ZERO)
            });
        };
        let seq = StreamSeq(last.sequence);
        if id_of(&last.headers) == outgoing.id {
            return Ok(Found::Ours(seq));
        }
        let is_free = guard.is_none_or(|guard| guard == seq);
        Ok(if is_free { Found::Free } else { Found::Foreign(seq) })
    }
}

/// Where a commit's chain goes on.
enum Stamped {
    /// After the guard, with this stamp on a chained subject.
    At(Option<ChainStamp>),
    /// It goes on already: the commit is the one at the guard.
    Already(StreamSeq),
    /// The guard names no commit of the subject.
    Nowhere,
}
