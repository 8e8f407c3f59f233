//! One atomic batch: the protocol is headers (ADR-50 of NATS), which the client has no functions for.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, Request, header};

use super::{Importer, Tail};
use crate::chain::{ChainHash, ChainStamp};
use crate::commit::StreamSeq;
use crate::ids::CommitId;
use crate::jetstream::connection::Patience;
use crate::jetstream::headers::Outgoing;
use crate::jetstream::unavailable;
use crate::log::LogError;

/// How long the server may take to store a batch.
const BATCH_WITHIN: Duration = Duration::from_secs(10);

impl Importer<'_> {
    /// Sends one batch; it is stored whole when this succeeds, and not at all when the server refused it. Any other
    /// error says that it is not known.
    pub(super) async fn publish(&mut self, batch: &[(CommitId, Outgoing)]) -> Result<(), LogError> {
        self.log.connected().await?;
        let inbox = self.log.client.new_inbox();
        let batch_id = inbox.rsplit('.').next().unwrap_or(&inbox);
        let Some(((_, last), others)) = batch.split_last() else {
            return Ok(());
        };
        let mut links = HashMap::new();
        for (n, (_, outgoing)) in (1u64..).zip(others) {
            let headers = self.headers(outgoing, &mut links, batch_id, n);
            self.log
                .client
                .publish_with_headers(outgoing.subject.clone(), headers, outgoing.body.clone())
                .await
                .map_err(|error| unavailable(&error))?;
        }
        let mut headers = self.headers(last, &mut links, batch_id, batch.len() as u64);
        headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        let request = Request::new()
            .headers(headers)
            .payload(last.body.clone())
            .timeout(None);
        let committed = self.log.client.send_request(last.subject.clone(), request);
        let answer = self
            .log
            .answer_of(committed, &mut Patience::new(BATCH_WITHIN))
            .await?;
        let answer = answer.map_err(|error| unavailable(&error))?;
        match serde_json::from_slice(&answer.payload).map_err(|error| unavailable(&error))? {
            Response::Ok(PublishAck { sequence, .. }) => {
                self.stored(batch, StreamSeq(sequence), &links);
                Ok(())
            }
            Response::Err { error } => Err(LogError::Unavailable(format!("a batch was refused: {error}"))),
        }
    }

    /// The headers of the batch's `n`th commit. `links` holds how far each subject's chain has come in the batch.
    fn headers<'a>(
        &self,
        outgoing: &'a Outgoing,
        links: &mut HashMap<&'a str, ChainHash>,
        batch_id: &str,
        n: u64,
    ) -> HeaderMap {
        let (mut stamp, mut guard) = (None, None);
        if let Some(content) = outgoing.content {
            let tail = self.tails.get(&outgoing.subject);
            let before = links.get(outgoing.subject.as_str()).copied();
            // Within a batch the server knows one guard per subject. The rest of the subject is stored in one piece
            // with its first, so nothing can come between.
            if before.is_none() {
                guard = Some(tail.map_or(StreamSeq::ZERO, |tail| tail.seq));
            }
            let before = before
                .or_else(|| tail.and_then(|tail| tail.link))
                .unwrap_or_else(|| ChainHash::genesis(&outgoing.subject));
            let own = ChainStamp::new(before, content);
            links.insert(&outgoing.subject, own.own);
            stamp = Some(own);
        }
        let mut headers = outgoing.guarded_headers(stamp, guard);
        headers.insert(header::NATS_BATCH_ID, batch_id);
        headers.insert(header::NATS_BATCH_SEQUENCE, n.to_string());
        headers
    }

    /// Remembers a batch whose last commit stands at `last`. The others stand right before it.
    fn stored(&mut self, batch: &[(CommitId, Outgoing)], last: StreamSeq, links: &HashMap<&str, ChainHash>) {
        let before = last.0.saturating_sub(batch.len() as u64);
        for (seq, (id, outgoing)) in (before + 1..).zip(batch) {
            self.ids.insert(*id);
            if let Some(link) = links.get(outgoing.subject.as_str()) {
                let tail = Tail {
                    seq: StreamSeq(seq),
                    link: Some(*link),
                };
                self.tails.insert(outgoing.subject.clone(), tail);
            }
        }
        // What others appended in between is read before the next refusal is answered.
        if self.seen.0 == before {
            self.seen = last;
        }
    }
}
