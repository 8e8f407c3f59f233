//! Whose trace a request is part of: W3C trace context, from the request's `_meta` or from its HTTP headers.
//!
//! A tool call has a span of its own where an operator watches; what it leads to (the commits of the call, what mounted
//! servers are asked) names that as its parent. Otherwise the context goes on as it came. What is not in the form of the
//! recommendation counts as not there.

use events::spans::Parent;
use http::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::RequestMetaObject;
use serde_json::Value;

/// Where a request says which trace it is part of, in `_meta` and as a header.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// Where it says what tracing systems add to that.
pub(crate) const TRACESTATE: &str = "tracestate";

/// Characters of version 00; later ones begin the same.
const VERSION_00_CHARS: usize = 55;
/// Characters of a later version that are looked at.
const CHARS_MAX: usize = 256;
/// Characters of a state that go on; systems must take 512, and more is cut by none but us.
const STATE_CHARS_MAX: usize = 1_024;
/// Members of a state.
const STATE_MEMBERS_MAX: usize = 32;

/// A trace, and the place in it that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TraceContext {
    parent: String,
    state: Option<String>,
}

/// Leaves in `meta` the trace the request is part of and nothing else that looks like one. What stands in `meta` is
/// about this very request; `headers` are about the HTTP request that carries it.
pub(crate) fn settle(meta: &mut RequestMetaObject, headers: Option<&HeaderMap>) {
    let context = in_meta(meta).or_else(|| in_headers(headers?));
    meta.remove(TRACEPARENT);
    meta.remove(TRACESTATE);
    if let Some(TraceContext { parent, state }) = context {
        meta.insert(TRACEPARENT.to_owned(), parent.into());
        if let Some(state) = state {
            meta.insert(TRACESTATE.to_owned(), state.into());
        }
    }
}

/// The trace of a settled request.
pub(crate) fn parent(meta: &RequestMetaObject) -> Option<&str> {
    meta.get(TRACEPARENT)?.as_str()
}

/// The span a settled request comes from.
pub(crate) fn span(meta: &RequestMetaObject) -> Option<Parent<'_>> {
    Some(Parent {
        traceparent: parent(meta)?,
        tracestate: meta.get(TRACESTATE).and_then(Value::as_str),
    })
}

/// The span that a request to a mounted server is sent from, on its way with it.
#[derive(Debug, Clone)]
pub(crate) struct SentFrom(pub(crate) String);

/// Names `from` as the parent of what `meta` is sent with.
pub(crate) fn come_from(meta: &mut RequestMetaObject, from: &SentFrom) {
    meta.insert(TRACEPARENT.to_owned(), from.0.clone().into());
}

/// The headers that tell a server the trace of a settled request.
pub(crate) fn headers(meta: &RequestMetaObject) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    [TRACEPARENT, TRACESTATE].into_iter().filter_map(|name| {
        let value = meta.get(name)?.as_str()?;
        Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
    })
}

fn in_meta(meta: &RequestMetaObject) -> Option<TraceContext> {
    let state = meta.get(TRACESTATE).and_then(Value::as_str);
    Some(TraceContext {
        parent: traceparent(meta.get(TRACEPARENT)?.as_str()?)?,
        state: state.and_then(tracestate),
    })
}

fn in_headers(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?.to_str().ok()?;
    // One that is there twice names two traces, so none.
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    let states = states.collect::<Result<Vec<_>, _>>().unwrap_or_default();
    Some(TraceContext {
        parent: traceparent(parent)?,
        state: tracestate(&states.join(",")),
    })
}

/// `text` as a version 00 traceparent. A later version is read as far as version 00 goes, and goes on as that.
fn traceparent(text: &str) -> Option<String> {
    if text.len() > CHARS_MAX || !text.is_ascii() {
        return None;
    }
    let (known, rest) = text.split_at_checked(VERSION_00_CHARS)?;
    let parts: Vec<_> = known.split('-').collect();
    let is_hex = |part: &str, chars| {
        part.len() == chars && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, chars| is_hex(part, chars) && part.bytes().any(|byte| byte != b'0');
    let [version, trace, parent, flags] = parts.as_slice() else {
        return None;
    };
    let is_well_formed = is_hex(version, 2) && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    let is_whole = match *version {
        "ff" => false,
        "00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if !is_well_formed || !is_whole {
        return None;
    }
    if *version == "00" {
        return Some(known.to_owned());
    }
    // Of a later version's flags nothing is known but the first: whether the trace is recorded.
    let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    Some(format!("00-{trace}-{parent}-{:02x}", u8::from(is_sampled)))
}

/// `text` where it is a list of members as the recommendation has them. It goes on whole or not at all.
fn tracestate(text: &str) -> Option<String> {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t']));
    let named: Vec<_> = members().filter(|member| !member.is_empty()).collect();
    let is_list = text.len() <= STATE_CHARS_MAX
        && (1..=STATE_MEMBERS_MAX).contains(&named.len())
        && named.iter().all(|member| is_member(member));
    is_list.then(|| named.join(","))
}

fn is_member(member: &str) -> bool {
    let is_key_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let is_value_byte = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    member.split_once('=').is_some_and(|(key, value)| {
        let begins = key.bytes().next();
        (1..=256).contains(&key.len())
            && begins.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && key.bytes().all(is_key_byte)
            && (1..=256).contains(&value.len())
            && value.bytes().all(is_value_byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_one_only_in_the_form_of_the_recommendation() {
        assert_eq!(traceparent(TRACE).as_deref(), Some(TRACE));
        for broken in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(traceparent(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_later_version_goes_on_as_far_as_it_is_known() {
        for later in [
            TRACE.replacen("00", "cc", 1),
            TRACE.replacen("00", "01", 1) + "-what-is-new",
        ] {
            assert_eq!(traceparent(&later).as_deref(), Some(TRACE), "{later}");
        }
        let flags = TRACE.replacen("00", "01", 1).replace("-01", "-fe");
        // The version's own `01` is at the front and has no dash before it.
        assert!(
            traceparent(&flags).is_some_and(|parent| parent.ends_with("-00")),
            "{flags}"
        );
    }

    #[test]
    fn a_state_goes_on_whole_or_not_at_all() {
        assert_eq!(tracestate("a=1, b@c=2 3,,").as_deref(), Some("a=1,b@c=2 3"));
        let many = vec!["a=1"; 33].join(",");
        for broken in [
            "",
            ",",
            "a",
            "A=1",
            "a=",
            "a=1=2",
            "a=\n",
            "é=1",
            many.as_str(),
            &format!("a={}", "x".repeat(257)),
        ] {
            assert_eq!(tracestate(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_requests_own_word_counts_before_the_headers_and_a_broken_one_as_none() {
        let other = TRACE.replace("4bf9", "5bf9");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, other.parse().unwrap());
        headers.insert(TRACESTATE, "of=headers".parse().unwrap());
        let settled = |meta: Value, headers: &HeaderMap| {
            let mut meta: RequestMetaObject = serde_json::from_value(meta).unwrap();
            settle(&mut meta, Some(headers));
            serde_json::to_value(&meta).unwrap()
        };
        let own = json!({"traceparent": TRACE, "tracestate": "of=meta", "else": 1});
        assert_eq!(settled(own.clone(), &headers), own);
        let from_headers = json!({"traceparent": other, "tracestate": "of=headers"});
        for broken in [
            json!({}),
            json!({"traceparent": 7}),
            json!({"traceparent": "00-x", "tracestate": "of=meta"}),
        ] {
            assert_eq!(settled(broken, &headers), from_headers);
        }
        headers.append(TRACEPARENT, TRACE.parse().unwrap());
        let alone = json!({"tracestate": "of=meta"});
        assert_eq!(
            settled(alone, &headers),
            json!({}),
            "two traces are none, and a state alone means nothing"
        );
    }
}
