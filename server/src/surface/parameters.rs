//! What questions may say. An empty message asks with nothing said; an unknown member is refused, not passed over.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Bytes a question may have.
pub(super) const QUESTION_BYTES_MAX: usize = 16 * 1024;

/// Nothing is asked for in particular.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Entries an answer may have: 1 to 500, 100 when not said.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// The `next` of the answer before.
    pub(super) after: Option<String>,
}

/// About whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AboutPersona {
    /// The persona's id.
    pub(super) persona: String,
}

/// Whose calls, and how many.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionsOf {
    /// The persona's id; everybody's calls without it.
    pub(super) persona: Option<String>,
    /// Calls an answer may have: 1 to 200, 50 when not said.
    #[schemars(range(min = 1, max = 200))]
    pub(super) limit: Option<u32>,
}

/// From where on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    /// The last sequence that arrived; 0, or nothing, for the beginning.
    #[serde(default)]
    pub(super) after: u64,
    /// Messages an answer may have: 1 to 200, 100 when not said.
    #[schemars(range(min = 1, max = 200))]
    pub(super) limit: Option<u32>,
}

/// Who is to act now: those whose cadence says so when nobody is named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhoTicks {
    /// This persona, by the email of its account.
    pub(super) persona: Option<String>,
    /// Everybody.
    #[serde(default)]
    pub(super) all: bool,
}

/// As the HTTP endpoint of the same work takes it.
pub(super) fn tick_body(who: WhoTicks) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(persona) = who.persona {
        body.insert("persona".to_owned(), persona.into());
    }
    body.insert("all".to_owned(), who.all.into());
    body
}

/// Reads a question.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    if payload.len() > QUESTION_BYTES_MAX {
        let detail = format!("a question may have {QUESTION_BYTES_MAX} bytes");
        return Err(Refusal::new(413, "TOO_LARGE", detail));
    }
    let payload = if payload.trim_ascii().is_empty() {
        b"{}"
    } else {
        payload
    };
    serde_json::from_slice(payload).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// What was asked for, if it is within 1 and `max`; else `usual` when nothing was said.
pub(super) fn limit(asked: Option<u32>, usual: u32, max: u32) -> Result<u32, Refusal> {
    match asked {
        None => Ok(usual),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(_) => Err(Refusal::bad_request(format!("limit must be 1 to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_question_asks_with_nothing_said_and_an_odd_one_is_refused() {
        assert!(read::<Nothing>(b"").is_ok());
        assert!(read::<Nothing>(b" \n").is_ok());
        assert_eq!(read::<Since>(b"{\"after\":7}").unwrap().after, 7);
        for (odd, status) in [
            (&b"{\"afer\":7}"[..], 400),
            (b"[]x", 400),
            (b"\xff", 400),
            (&vec![b' '; QUESTION_BYTES_MAX + 1], 413),
        ] {
            assert_eq!(read::<Since>(odd).unwrap_err().status, status);
        }
        assert!(read::<AboutPersona>(b"").is_err());
    }

    #[test]
    fn limits_are_kept_to() {
        assert_eq!(limit(None, 50, 200), Ok(50));
        assert_eq!(limit(Some(200), 50, 200), Ok(200));
        assert!(limit(Some(0), 50, 200).is_err());
        assert!(limit(Some(201), 50, 200).is_err());
    }
}
