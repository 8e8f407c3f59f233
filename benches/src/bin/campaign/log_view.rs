//! What is in the log, read from the stream as it is stored and without the program's own reader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures::StreamExt as _;
use serde_json::Value;

/// How long one reading may take.
const READ_WITHIN: Duration = Duration::from_mins(1);

/// Ids and how often each is there.
pub(crate) type Counts = BTreeMap<String, u32>;

/// A fold of the stored messages.
#[derive(Debug, Default)]
pub(crate) struct LogView {
    /// The last message's place.
    pub(crate) last_seq: u64,
    /// Message ids in order; the n-th is that of message n + 1.
    pub(crate) message_ids: Vec<String>,
    /// Calls by their id.
    pub(crate) calls: Counts,
    /// Ratings and failed ratings by row id.
    pub(crate) ratings: Counts,
    /// Records by the id they were made under.
    pub(crate) records: Counts,
    /// Titles of habits, which are stored in the clear.
    pub(crate) titles: Counts,
    /// Ticks begun, by whose and which they are.
    pub(crate) ticks: Counts,
    /// Ticks begun and not ended.
    pub(crate) open_ticks: BTreeSet<String>,
    /// Ticks found unfinished after a crash.
    pub(crate) interrupted_ticks: u64,
    /// Events so far.
    pub(crate) events: u64,
    /// What could not be read, or is not where it should be.
    pub(crate) oddities: Vec<String>,
}

impl LogView {
    /// Reads what has come since the last reading.
    ///
    /// # Errors
    /// When the server does not answer in time.
    pub(crate) async fn read_on(&mut self, stream: &Stream) -> anyhow::Result<()> {
        tokio::time::timeout(READ_WITHIN, self.read_to_end(stream))
            .await
            .context("the log could not be read in time")?
    }

    async fn read_to_end(&mut self, stream: &Stream) -> anyhow::Result<()> {
        let end = stream.get_info().await?.state.last_sequence;
        if end < self.last_seq {
            self.oddities.push(format!(
                "the log ends at {end}; it went up to {} before",
                self.last_seq
            ));
            return Ok(());
        }
        if end == self.last_seq {
            return Ok(());
        }
        let from_here = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.last_seq + 1,
            },
            ..pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(from_here).await?;
        let mut messages = consumer.messages().await?;
        while self.last_seq < end {
            let message = messages.next().await.context("the stream ended")??;
            let seq = message
                .info()
                .map_err(|error| anyhow::anyhow!(error))?
                .stream_sequence;
            let id = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Msg-Id"));
            self.take(
                seq,
                id.map(ToString::to_string).unwrap_or_default(),
                &message.payload,
            );
        }
        Ok(())
    }

    /// Folds one message.
    fn take(&mut self, seq: u64, message_id: String, payload: &[u8]) {
        if seq != self.last_seq + 1 {
            self.oddities
                .push(format!("message {seq} follows message {}", self.last_seq));
        }
        self.last_seq = seq;
        self.message_ids.push(message_id);
        let body: Value = serde_json::from_slice(payload).unwrap_or_default();
        let Some(events) = body["events"].as_array() else {
            self.oddities.push(format!("message {seq} is not readable"));
            return;
        };
        for event in events {
            self.events += 1;
            self.take_event(event["type"].as_str().unwrap_or_default(), &event["data"]);
        }
    }

    fn take_event(&mut self, event_type: &str, data: &Value) {
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        match event_type {
            "ToolCalled" => count(&mut self.calls, text("call_id")),
            "Rated" | "RatingFailed" => count(
                &mut self.ratings,
                format!("{}-{}", text("tick_id"), text("module")),
            ),
            "RecordChanged" if makes_a_record(&text("tool")) => {
                count(&mut self.records, text("record_id"));
                if text("table") == "habits" {
                    let title = data["fields"]["title"]["value"].as_str().unwrap_or_default();
                    count(&mut self.titles, title.to_owned());
                }
            }
            "TickStarted" => {
                count(
                    &mut self.ticks,
                    tick_of(&text("persona_id"), data["number"].as_u64()),
                );
                self.open_ticks.insert(text("tick_id"));
            }
            "TickFinished" => drop(self.open_ticks.remove(&text("tick_id"))),
            "TickInterrupted" => {
                self.interrupted_ticks += 1;
                self.open_ticks.remove(&text("tick_id"));
            }
            _ => {}
        }
    }
}

/// Whether each call of `tool` makes a record of its own.
fn makes_a_record(tool: &str) -> bool {
    matches!(tool.split_once('.'), Some((_, "create" | "add")))
}

/// How [`LogView::ticks`] names the persona's tick of that number.
pub(crate) fn tick_of(persona: &str, number: Option<u64>) -> String {
    format!("{persona}-{}", number.unwrap_or_default())
}

fn count(counts: &mut Counts, id: String) {
    *counts.entry(id).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stored_message_is_counted_by_the_ids_in_it() {
        let mut view = LogView::default();
        let body = json!({"events": [
            {"type": "TickStarted", "v": 1, "data": {"tick_id": "t1", "persona_id": "anna", "number": 1}},
            {"type": "TickStarted", "v": 1, "data": {"tick_id": "t2"}},
            {"type": "ToolCalled", "v": 1, "data": {"tick_id": "t1", "call_id": "c1"}},
            {"type": "ToolCalled", "v": 1, "data": {"tick_id": "t2", "call_id": "c1"}},
            {"type": "TickInterrupted", "v": 1, "data": {"tick_id": "t1"}},
        ]});
        view.take(1, "m1".to_owned(), body.to_string().as_bytes());
        assert_eq!(view.calls, Counts::from([("c1".to_owned(), 2)]));
        assert_eq!(view.ticks.get(&tick_of("anna", Some(1))), Some(&1));
        assert_eq!(view.open_ticks, BTreeSet::from(["t2".to_owned()]));
        assert_eq!((view.last_seq, view.events, view.interrupted_ticks), (1, 5, 1));
        assert!(view.oddities.is_empty());
    }

    #[test]
    fn gaps_and_unreadable_messages_are_oddities() {
        let mut view = LogView::default();
        view.take(2, "m2".to_owned(), b"not JSON");
        assert_eq!(view.oddities.len(), 2, "{:?}", view.oddities);
    }
}
