//! What a failed request means: whether it may be tried again, when, and what it may have cost.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Before the second try, where the server does not say.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause of our own.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// What is believed of a server that says when to come back.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// A request that gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What was wrong, for a person; never a key.
    pub(crate) message: String,
    pub(crate) then: Then,
    /// The server may have done the work, and may bill it.
    pub(crate) may_be_billed: bool,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nobody may ask this server with this key for so long.
    PauseAll(Duration),
    /// Try again after a pause of our own.
    BackOff,
    /// Trying again will not help.
    GiveUp,
}

impl Fault {
    /// No answer came back. `was_sent` says that the server may have had the request.
    pub(super) fn unanswered(message: String, was_sent: bool) -> Self {
        Self {
            message,
            then: Then::BackOff,
            may_be_billed: was_sent,
        }
    }

    /// An answer that should be one and is not.
    pub(super) fn unreadable(message: &str) -> Self {
        Self::unanswered(format!("the answer cannot be read: {message}"), true)
    }

    /// A cassette that is played has no answer to that.
    pub(super) fn not_recorded(message: String) -> Self {
        Self {
            message,
            then: Then::GiveUp,
            may_be_billed: false,
        }
    }

    /// The server said no.
    pub(super) fn status(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let told = body.pointer("/error/message").and_then(Value::as_str);
        let kind = ["/error/type", "/error/code"]
            .iter()
            .find_map(|pointer| body.pointer(pointer)?.as_str());
        let message = match (status, told) {
            // What is said about a key may quote it.
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => "the key is not accepted".to_owned(),
            (_, Some(told)) => told.to_owned(),
            (_, None) => "no reason given".to_owned(),
        };
        let message = match kind {
            Some(kind) => format!("{} {kind}: {message}", status.as_u16()),
            None => format!("{}: {message}", status.as_u16()),
        };
        Self {
            message,
            then: then(status, headers, &body, now),
            may_be_billed: false,
        }
    }
}

fn then(status: StatusCode, headers: &HeaderMap, body: &Value, now: Timestamp) -> Then {
    let after = retry_after(headers, now);
    if is_out_of_money(body, after) {
        return Then::GiveUp;
    }
    let asked = headers
        .get("x-should-retry")
        .and_then(|value| value.to_str().ok());
    let may_retry = match asked {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error(),
    };
    match (may_retry, after) {
        (false, _) => Then::GiveUp,
        (true, Some(after)) => Then::PauseAll(after.min(RETRY_AFTER_MAX)),
        (true, None) => Then::BackOff,
    }
}

/// A limit of money at the server's: it is as spent at the next try as at this one.
fn is_out_of_money(body: &Value, after: Option<Duration>) -> bool {
    let is = |pointer: &str, word: &str| body.pointer(pointer).and_then(Value::as_str) == Some(word);
    let limit = "enforced_spend_limit_reached";
    (is("/error/details/error_code", limit) && after.is_none())
        || is("/error/type", "billing_error")
        || is("/error/code", "insufficient_quota")
        || is("/error/type", "insufficient_quota")
}

/// `retry-after-ms`, else `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = header("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1_000.0).ok();
    }
    let text = header("retry-after")?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The pause before try number `tried + 1`: doubled each time, and between half and all of that, by what follows from
/// `key`, so that many who failed together do not come back together.
pub(crate) fn back_off(key: &str, tried: u32) -> Duration {
    let whole = PAUSE_MAX.min(PAUSE * 2u32.pow(tried.min(10)));
    let digest = Sha256::digest(format!("{key} {tried}"));
    let drawn = digest.first().copied().unwrap_or_default();
    whole.mul_f64(0.5 + f64::from(drawn) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::constant(1_767_600_000, 0);

    fn of(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Then {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Fault::status(status, &map, body.to_string().as_bytes(), NOW).then
    }

    fn seconds(seconds: u64) -> Then {
        Then::PauseAll(Duration::from_secs(seconds))
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        for (status, expected) in [
            (400, Then::GiveUp),
            (401, Then::GiveUp),
            (404, Then::GiveUp),
            (413, Then::GiveUp),
            (408, Then::BackOff),
            (409, Then::BackOff),
            (429, Then::BackOff),
            (500, Then::BackOff),
            (529, Then::BackOff),
        ] {
            assert_eq!(of(status, &[], &json!({})), expected, "{status}");
        }
        assert_eq!(of(500, &[("x-should-retry", "false")], &json!({})), Then::GiveUp);
        assert_eq!(of(400, &[("x-should-retry", "true")], &json!({})), Then::BackOff);
    }

    #[test]
    fn the_server_s_word_on_when_is_read_in_all_its_spellings() {
        assert_eq!(of(429, &[("retry-after", "7")], &json!({})), seconds(7));
        let both = [("retry-after", "7"), ("retry-after-ms", "2000")];
        assert_eq!(of(429, &both, &json!({})), seconds(2));
        let date = [("retry-after", "Mon, 05 Jan 2026 08:00:30 GMT")];
        assert_eq!(of(503, &date, &json!({})), seconds(30));
        let past = [("retry-after", "Mon, 05 Jan 2026 07:00:00 GMT")];
        assert_eq!(of(429, &past, &json!({})), seconds(0));
    }

    #[test]
    fn a_limit_of_money_is_not_tried_again() {
        let anthropic = json!({"error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}});
        assert_eq!(of(429, &[], &anthropic), Then::GiveUp);
        let openai = json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}});
        assert_eq!(of(429, &[("retry-after", "1")], &openai), Then::GiveUp);
    }

    #[test]
    fn a_refused_key_is_not_quoted() {
        let body = json!({"error": {"type": "authentication_error", "message": "bad key sk-secret"}});
        let fault = Fault::status(
            StatusCode::UNAUTHORIZED,
            &HeaderMap::new(),
            body.to_string().as_bytes(),
            NOW,
        );
        assert_eq!(fault.message, "401 authentication_error: the key is not accepted");
    }

    #[test]
    fn pauses_double_up_to_eight_seconds_and_differ_between_those_who_wait() {
        for (tried, whole_ms) in [(0, 500), (1, 1_000), (4, 8_000), (9, 8_000)] {
            let pause = back_off("a", tried).as_millis();
            assert!((whole_ms / 2..=whole_ms).contains(&pause), "{tried}: {pause}");
        }
        assert_ne!(back_off("a", 3), back_off("b", 3));
    }
}
