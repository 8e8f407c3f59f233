//! One commit of the log, and what of it is shown to operators.

use events::{CommitId, Delivery, Event, RecordedCommit, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::App;
use crate::http::problem::Problem;

/// Members that stay in the log: app data, even as ciphertext, is its space's alone, and sealed arguments their
/// caller's.
const HIDDEN: [&str; 2] = ["fields", "arguments"];

/// One commit of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CommitShown {
    seq: StreamSeq,
    subject: String,
    /// Absent when the commit cannot be read.
    #[serde(flatten)]
    known: Option<CommitKnown>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<String>,
    events: Vec<EventShown>,
    as_of_seq: StreamSeq,
}

/// What a commit that can be read says of itself.
#[derive(Debug, Serialize, JsonSchema)]
struct CommitKnown {
    commit: CommitId,
    #[schemars(with = "events::Moment")]
    time: Timestamp,
    tick: Option<TickId>,
    correlation: String,
    causation: Option<String>,
    traceparent: Option<String>,
}

/// An event as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventShown {
    /// Its place in the commit.
    pub(crate) ordinal: u32,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// Its version; absent when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) v: Option<u32>,
    /// What it says, without what is hidden.
    pub(crate) data: Map<String, Value>,
    /// Names of what is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hidden: Option<Vec<String>>,
}

/// The answer of `events.get`.
pub(super) async fn show(app: &App, seq: StreamSeq) -> Result<CommitShown, Problem> {
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
        Delivery::Undecodable(message) => Ok(CommitShown {
            seq,
            subject: message.subject,
            known: None,
            undecodable: Some(message.error.to_string()),
            events: Vec::new(),
            as_of_seq: app.projector.seq(),
        }),
    }
}

fn commit(app: &App, recorded: &RecordedCommit) -> CommitShown {
    let commit = &recorded.commit;
    CommitShown {
        seq: recorded.seq,
        subject: commit.subject.to_string(),
        known: Some(CommitKnown {
            commit: commit.id,
            time: commit.time,
            tick: commit.tick.clone(),
            correlation: commit.correlation.clone(),
            causation: commit.causation.clone(),
            traceparent: commit.traceparent.clone(),
        }),
        undecodable: None,
        events: recorded
            .events()
            .map(|(ordinal, event)| shown(ordinal, event))
            .collect(),
        as_of_seq: app.projector.seq(),
    }
}

/// An event as operators see it: type, version, and its data without what is hidden, whose names are told.
pub(crate) fn shown(ordinal: u32, event: &Event) -> EventShown {
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
    EventShown {
        ordinal,
        event_type: event.type_name().to_owned(),
        v: Some(event.version()),
        data,
        hidden: Some(hidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_app_data_and_no_arguments_are_shown_of_any_event() {
        for event in events::testing::samples() {
            let shown = serde_json::to_string(&shown(0, &event)).unwrap();
            assert!(!shown.contains("enc:1:"), "{shown}");
        }
        let record = events::testing::samples()
            .into_iter()
            .find(|event| event.type_name() == "RecordChanged");
        let shown = shown(3, &record.unwrap());
        assert_eq!(shown.ordinal, 3);
        let hidden = shown.hidden.unwrap();
        assert!(hidden[0].starts_with("fields."), "{hidden:?}");
    }
}
