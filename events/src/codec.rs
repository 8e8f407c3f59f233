//! Commits to bytes and back. The envelope's attributes travel in headers (`headers.rs` of the driver), the
//! events in the body:
//!
//! ```json
//! {"events":[{"type":"ToolCalled","v":1,"data":{}}],"tick":"…","correlation":"…","causation":"…"}
//! ```

use std::borrow::Cow;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::Event;
use crate::ids::TickId;
use crate::upcast::{UPCASTERS, Upcaster, raise};

/// The CloudEvents type of every message on the stream.
pub const COMMIT_TYPE: &str = "dramatis.commit.v1";

/// What most commits fit into.
const COMMIT_BYTES_USUAL: usize = 1024;

/// Bytes that are not a commit of ours.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The body is not the JSON of a commit, or an event's data is not what its type holds.
    #[error("{place} is not readable: {source}")]
    Malformed {
        /// Which part, such as `commit body` or `data of Rated v1`.
        place: String,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// A commit without events.
    #[error("a commit holds no events")]
    Empty,
    /// Written by a newer program. Folding waits for an upgrade and must not skip it.
    #[error(
        "{type_name} v{version} is newer than this program knows (v{known}); upgrade it before it reads this log"
    )]
    Newer {
        /// The event's type.
        type_name: String,
        /// Its version on the wire.
        version: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Old data without a way up to the present version.
    #[error("{type_name} v{version} has no upcaster")]
    NoUpcaster {
        /// The event's type.
        type_name: String,
        /// The version that could not be raised.
        version: u32,
    },
    /// The message is not even one of NATS: what is stored of its subject or its headers was damaged.
    #[error("the {part} of a message are damaged, so that no client can receive it")]
    Damaged {
        /// Which part.
        part: &'static str,
    },
    /// An attribute that should be in the headers is missing or not readable.
    #[error("header {name} is missing or not readable")]
    Header {
        /// The header's name.
        name: &'static str,
    },
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(rename = "type")]
    type_name: String,
    v: u32,
    data: Value,
}

/// As [`WireEvent`], its data not read yet: nearly all of it is of the present version, and is read right into its type.
#[derive(Deserialize)]
struct WireEventRef<'a> {
    #[serde(rename = "type", borrow)]
    type_name: Cow<'a, str>,
    v: u32,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct WireBody<'a> {
    #[serde(borrow)]
    events: Vec<WireEventRef<'a>>,
    tick: Option<TickId>,
    correlation: String,
    causation: Option<String>,
}

/// As [`WireBody`], written without copying anything.
#[derive(Serialize)]
struct WireBodyRef<'a> {
    events: &'a [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<&'a TickId>,
    correlation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<&'a str>,
}

/// An event's data as JSON, at [`Event::version`].
struct WireData<'a>(&'a Event);

impl Serialize for WireData<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// What the body of a message says.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) events: Vec<Event>,
    pub(crate) tick: Option<TickId>,
    pub(crate) correlation: String,
    pub(crate) causation: Option<String>,
}

/// The body of `commit` as JSON bytes.
pub(crate) fn encode_body(commit: &crate::Commit) -> Result<Vec<u8>, CodecError> {
    if commit.events.is_empty() {
        return Err(CodecError::Empty);
    }
    let body = WireBodyRef {
        events: &commit.events,
        tick: commit.tick.as_ref(),
        correlation: &commit.correlation,
        causation: commit.causation.as_deref(),
    };
    let mut bytes = Vec::with_capacity(COMMIT_BYTES_USUAL);
    serde_json::to_writer(&mut bytes, &body).map_err(|source| CodecError::Malformed {
        place: "commit body".to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// Reads what [`encode_body`] wrote, now or long ago.
pub(crate) fn decode_body(bytes: &[u8]) -> Result<Body, CodecError> {
    let body: WireBody = serde_json::from_slice(bytes).map_err(|source| CodecError::Malformed {
        place: "commit body".to_owned(),
        source,
    })?;
    if body.events.is_empty() {
        return Err(CodecError::Empty);
    }
    let events = body
        .events
        .into_iter()
        .map(|event| event_of(&event))
        .collect::<Result<_, _>>()?;
    Ok(Body {
        events,
        tick: body.tick,
        correlation: body.correlation,
        causation: body.causation,
    })
}

/// One event as JSON text, raised with `upcasters`.
pub(crate) fn decode_event(text: &str, upcasters: &[Upcaster]) -> Result<Event, CodecError> {
    let event: WireEvent = serde_json::from_str(text).map_err(|source| CodecError::Malformed {
        place: "event".to_owned(),
        source,
    })?;
    wire_to_event(event, upcasters)
}

fn event_of(wire: &WireEventRef<'_>) -> Result<Event, CodecError> {
    let (name, v, data) = (wire.type_name.as_ref(), wire.v, wire.data.get());
    let malformed = |source| CodecError::Malformed {
        place: format!("data of {name} v{v}"),
        source,
    };
    if Event::TYPES.contains(&(name, v)) {
        return Event::from_text(name, v, data).map_err(malformed);
    }
    let event = WireEvent {
        type_name: name.to_owned(),
        v,
        data: serde_json::from_str(data).map_err(malformed)?,
    };
    wire_to_event(event, UPCASTERS)
}

fn wire_to_event(
    WireEvent {
        type_name,
        v,
        mut data,
    }: WireEvent,
    upcasters: &[Upcaster],
) -> Result<Event, CodecError> {
    let known = Event::TYPES
        .iter()
        .find(|(name, _)| *name == type_name)
        .map(|(_, version)| *version);
    if let Some(known) = known {
        if v > known {
            return Err(CodecError::Newer {
                type_name,
                version: v,
                known,
            });
        }
        data = raise(upcasters, &type_name, v, known, data)?;
    }
    Event::from_value(&type_name, v, data).map_err(|source| CodecError::Malformed {
        place: format!("data of {type_name} v{v}"),
        source,
    })
}

impl Serialize for Event {
    /// As on the wire: `{"type", "v", "data"}`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("Event", 3)?;
        event.serialize_field("type", self.type_name())?;
        event.serialize_field("v", &self.version())?;
        event.serialize_field("data", &WireData(self))?;
        event.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire_to_event(WireEvent::deserialize(deserializer)?, UPCASTERS).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(events: &str) -> Result<Body, CodecError> {
        decode_body(format!(r#"{{"events":{events},"correlation":"c"}}"#).as_bytes())
    }

    #[test]
    fn an_unknown_type_survives_a_read_and_a_write() {
        let text = r#"{"type":"MoonRose","v":7,"data":{"phase":"full","n":1}}"#;
        let body = decode(&format!("[{text}]")).unwrap();
        assert_eq!(serde_json::to_string(&body.events[0]).unwrap(), text);
    }

    #[test]
    fn a_newer_version_of_a_known_type_is_refused_by_name() {
        let error = decode(r#"[{"type":"Rated","v":99,"data":{}}]"#).unwrap_err();
        assert!(
            matches!(
                error,
                CodecError::Newer {
                    version: 99,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn malformed_bodies_are_refused_and_name_the_place() {
        assert!(matches!(decode("[]"), Err(CodecError::Empty)));
        let error = decode(r#"[{"type":"Rated","v":1,"data":{"rating":"five"}}]"#).unwrap_err();
        assert!(
            error.to_string().starts_with("data of Rated v1 is not readable"),
            "{error}"
        );
        assert!(matches!(
            decode_body(b"\xff\x00"),
            Err(CodecError::Malformed { .. })
        ));
    }
}
