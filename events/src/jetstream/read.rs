//! Reading. Everything that decides about an append is asked of the stream's leader.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind};
use async_trait::async_trait;
use futures::StreamExt as _;
use jiff::Timestamp;

use super::headers::delivery_of_stored;
use super::{JetStreamLog, unavailable};
use crate::commit::{RecordedCommit, StreamSeq};
use crate::log::bounded::{self, Source};
use crate::log::{CommitStream, LogError, LogState, StreamIdentity};
use crate::subject::Subject;

impl JetStreamLog {
    /// The newest message of `subject`.
    pub(super) async fn last_message(&self, subject: &str) -> Result<Option<StreamMessage>, LogError> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The first message after `after` whose subject fits the pattern `subject`.
    pub(super) async fn next_message(
        &self,
        subject: &str,
        after: StreamSeq,
    ) -> Result<Option<StreamMessage>, LogError> {
        match self
            .stream
            .get_first_raw_message_by_subject(subject, after.next().0)
            .await
        {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    pub(super) async fn message_at(&self, seq: StreamSeq) -> Result<Option<StreamMessage>, LogError> {
        // The server reads 0 as "none given" and refuses.
        if seq == StreamSeq::ZERO {
            return Ok(None);
        }
        match self.stream.get_raw_message(seq.0).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    pub(super) async fn last_commit(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        let message = self.last_message(&subject.to_string()).await?;
        message
            .map(|message| delivery_of_stored(&message).into_commit())
            .transpose()
    }

    pub(super) async fn subject_commits(
        &self,
        subject: &Subject,
        after: StreamSeq,
    ) -> Result<Vec<RecordedCommit>, LogError> {
        let subject = subject.to_string();
        let Some(last) = self.last_message(&subject).await? else {
            return Ok(Vec::new());
        };
        let part = OneSubject { log: self, subject };
        let mut deliveries = bounded::read(part, after, StreamSeq(last.sequence)).await?;
        let mut commits = Vec::new();
        while let Some(delivery) = deliveries.next().await {
            commits.push(delivery?.into_commit()?);
        }
        Ok(commits)
    }

    pub(super) async fn stream_state(&self) -> Result<LogState, LogError> {
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

/// One subject as part of the log.
struct OneSubject<'a> {
    log: &'a JetStreamLog,
    subject: String,
}

#[async_trait]
impl Source for OneSubject<'_> {
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.log.follow_after(&self.subject, after).await
    }

    async fn next_seq(&self, after: StreamSeq) -> Result<Option<StreamSeq>, LogError> {
        let next = self.log.next_message(&self.subject, after).await?;
        Ok(next.map(|message| StreamSeq(message.sequence)))
    }
}
