//! One commit of the log, and what of it is shown to operators.

use events::{Delivery, Event, RecordedCommit, StreamSeq};
use serde_json::{Map, Value, json};

use crate::http::App;
use crate::http::problem::Problem;

/// Members that stay in the log: app data, even as ciphertext, is its space's alone, and sealed arguments their
/// caller's.
const HIDDEN: [&str; 2] = ["fields", "arguments"];

/// The answer of `events.get`.
pub(super) async fn show(app: &App, seq: StreamSeq) -> Result<Value, Problem> {
    let unknown = || {
        Problem::not_found(
            "EVENT_NOT_FOUND",
            "the log holds no commit of that sequence (any more)",
        )
    };
    if seq == StreamSeq::ZERO {
        return Err(unknown());
    }
    match app.log.at(seq).await?.ok_or_else(unknown)? {
        Delivery::Commit(recorded) => Ok(commit(app, &recorded)),
        Delivery::Undecodable(message) => Ok(json!({
            "seq": seq,
            "subject": message.subject,
            "undecodable": message.error.to_string(),
            "events": [],
            "as_of_seq": app.projector.seq(),
        })),
    }
}

fn commit(app: &App, recorded: &RecordedCommit) -> Value {
    let commit = &recorded.commit;
    json!({
        "seq": recorded.seq,
        "commit": commit.id,
        "subject": commit.subject.to_string(),
        "time": commit.time,
        "tick": commit.tick,
        "correlation": commit.correlation,
        "causation": commit.causation,
        "traceparent": commit.traceparent,
        "events": recorded.events().map(|(ordinal, event)| shown(ordinal, event)).collect::<Vec<_>>(),
        "as_of_seq": app.projector.seq(),
    })
}

/// An event as operators see it: type, version, and its data without what is hidden, whose names are told.
pub(crate) fn shown(ordinal: u32, event: &Event) -> Value {
    let mut whole = serde_json::to_value(event).unwrap_or_default();
    let mut data = match whole.get_mut("data").map(Value::take) {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    let mut hidden = Vec::new();
    for name in HIDDEN {
        match data.remove(name) {
            Some(Value::Object(fields)) => {
                hidden.extend(fields.keys().map(|field| format!("{name}.{field}")));
            }
            Some(Value::Null) | None => {}
            Some(_) => hidden.push(name.to_owned()),
        }
    }
    json!({
        "ordinal": ordinal,
        "type": event.type_name(),
        "v": event.version(),
        "data": data,
        "hidden": hidden,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_app_data_and_no_arguments_are_shown_of_any_event() {
        for event in events::testing::samples() {
            let shown = shown(0, &event).to_string();
            assert!(!shown.contains("enc:1:"), "{shown}");
        }
        let record = events::testing::samples()
            .into_iter()
            .find(|event| event.type_name() == "RecordChanged");
        let shown = shown(3, &record.unwrap());
        assert_eq!(shown["ordinal"], 3);
        assert!(
            shown["hidden"][0].as_str().unwrap().starts_with("fields."),
            "{shown}"
        );
    }
}
