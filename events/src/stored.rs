//! A message as it stands in the log, before anybody reads it. Both drivers read through this, so that both find the
//! same commits, the same damage and the same links in the same bytes.

use crate::chain::{ChainStamp, Content, Link};
use crate::codec::{CodecError, decode_body};
use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::log::{Delivery, Undecodable};
use crate::seal::Seal;
use crate::subject::is_chained;

/// The attributes and the body, as bytes found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) seq: StreamSeq,
    pub(crate) content: Content<'a>,
    /// What the chain header says.
    pub(crate) stamp: Option<&'a str>,
    /// Over all of the message, as its driver keeps it.
    pub(crate) seal: Seal,
}

impl Stored<'_> {
    pub(crate) fn read(&self) -> Delivery {
        let link = self.link();
        match self.commit() {
            Ok(commit) => Delivery::Commit(RecordedCommit {
                seq: self.seq,
                commit,
                link,
                seal: Some(self.seal),
            }),
            Err(error) => Delivery::Undecodable(Undecodable {
                seq: self.seq,
                subject: self.content.subject.to_owned(),
                id: self.content.id.to_owned(),
                body: self.content.body.to_vec(),
                link,
                seal: self.seal,
                error,
            }),
        }
    }

    fn link(&self) -> Option<Link> {
        is_chained(self.content.subject).then(|| Link {
            seq: self.seq,
            content: self.content.hash(),
            stamp: self.stamp(),
        })
    }

    pub(crate) fn stamp(&self) -> Option<ChainStamp> {
        self.stamp?.parse().ok()
    }

    fn commit(&self) -> Result<Commit, CodecError> {
        fn read<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, CodecError> {
            text.parse().map_err(|_| CodecError::Header { name })
        }
        let body = decode_body(self.content.body)?;
        Ok(Commit {
            id: read(self.content.id, "ce-id")?,
            subject: read(self.content.subject, "subject")?,
            time: read(self.content.time, "ce-time")?,
            events: body.events,
            tick: body.tick,
            correlation: body.correlation,
            causation: body.causation,
            traceparent: self.content.traceparent.map(ToOwned::to_owned),
        })
    }
}
