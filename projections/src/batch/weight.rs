//! How much memory a delivery takes, roughly: a batch of long texts is closed before it has 2,000 commits.

use events::{Delivery, Event};
use serde_json::Value;

/// What an event takes beside its long texts.
const EVENT_BYTES: usize = 512;

/// Bytes that `delivery` takes in memory, within a factor of two or so.
pub(super) fn weight(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Commit(recorded) => recorded.commit.events.iter().map(of_event).sum(),
        Delivery::Undecodable(message) => message.body.len(),
    }
}

fn of_event(event: &Event) -> usize {
    EVENT_BYTES
        + match event {
            Event::RecordChanged(changed) => changed.fields.values().map(|write| of_json(&write.value)).sum(),
            Event::PersonaEnrolled(enrolled) => enrolled.0.system_prompt.len(),
            Event::PersonaRevised(revised) => revised.0.system_prompt.len(),
            Event::Unknown(unknown) => of_json(&unknown.data),
            // Their texts are capped by their writers.
            _ => 0,
        }
}

fn of_json(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(of_json).sum(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| name.len() + of_json(value))
                .sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::{given, id, sample_time, samples};
    use events::{FieldWrite, RecordChanged, RecordOp, Subject};

    #[test]
    fn a_long_text_weighs_what_it_takes() {
        let changed = |chars: usize| -> Delivery {
            let value = serde_json::json!({ "ops": ["x".repeat(chars)] });
            let event = RecordChanged {
                space_id: id("s"),
                table: "notes".to_owned(),
                record_id: id("r"),
                op: RecordOp::Put,
                fields: [(
                    "content".to_owned(),
                    FieldWrite {
                        value,
                        at: sample_time(),
                    },
                )]
                .into(),
                actor: id("anna"),
                tool: None,
                call_id: None,
                synced: None,
                changed_at: sample_time(),
            };
            let mut commits = given([(Subject::Record(id("s")), vec![event.into()])]);
            Delivery::Commit(commits.remove(0))
        };
        assert_eq!(weight(&changed(200_000)) - weight(&changed(0)), 200_000);
        let mut all = given([(Subject::Record(id("s")), samples())]);
        assert!(weight(&Delivery::Commit(all.remove(0))) >= EVENT_BYTES * samples().len());
    }
}
