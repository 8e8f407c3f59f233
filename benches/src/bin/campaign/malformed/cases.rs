//! What is sent: a good call, and all that can be wrong with it.

use benches::wire::post;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};

/// Where it is sent, and by whom.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) token: String,
    pub(super) session: String,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The bytes of the body.
    Bytes,
    /// The shape of the message.
    Shape,
    /// What the method is asked for.
    Params,
    /// The headers.
    Headers,
    /// What is around all of it: hardly HTTP any more.
    Http,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Bytes, Self::Shape, Self::Params, Self::Headers, Self::Http];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Shape => "shape",
            Self::Params => "params",
            Self::Headers => "headers",
            Self::Http => "http",
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Case {
    /// Enough of it to see what it was, without the token.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = text
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("authorization"));
        let shown: String = lines.collect::<Vec<_>>().join("⏎").chars().take(600).collect();
        format!("{} {shown:?}", self.kind.name())
    }
}

/// The headers of every good request.
pub(super) fn headers(authorization: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("authorization", authorization),
    ]
}

fn good_body() -> Value {
    let params = json!({"name": "spaces.list", "arguments": {}});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
}

fn in_session(target: &Target, body: &str) -> Vec<u8> {
    let authorization = format!("Bearer {}", target.token);
    let mut headers = headers(&authorization);
    headers.push(("mcp-session-id", &target.session));
    post(&target.address, "/mcp", &headers, body)
}

/// A call in good form.
pub(super) fn good(target: &Target) -> Vec<u8> {
    in_session(target, &good_body().to_string())
}

fn pick<'a, T>(chance: &mut impl Rng, all: &'a [T]) -> &'a T {
    &all[chance.random_range(0..all.len())]
}

/// The next one.
pub(super) fn next(chance: &mut impl Rng, target: &Target) -> Case {
    let kind = *pick(chance, &Kind::ALL);
    let bytes = match kind {
        Kind::Bytes => {
            let mut bytes = in_session(target, "");
            let body = mutated(chance, good_body().to_string().into_bytes());
            with_body(&mut bytes, &body);
            bytes
        }
        Kind::Shape => in_session(target, &shape(chance)),
        Kind::Params => in_session(target, &params(chance)),
        Kind::Headers => with_headers(chance, target),
        Kind::Http => http(chance, target),
    };
    Case { kind, bytes }
}

/// Puts a body of any bytes behind a request that was made without one.
fn with_body(request: &mut Vec<u8>, body: &[u8]) {
    let head = String::from_utf8_lossy(request)
        .replace("content-length: 0", &format!("content-length: {}", body.len()));
    *request = [head.as_bytes(), body].concat();
}

/// Up to eight bytes changed, taken out, doubled or put in, or the end cut off.
fn mutated(chance: &mut impl Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..chance.random_range(1..=8) {
        if bytes.is_empty() {
            break;
        }
        let at = chance.random_range(0..bytes.len());
        match chance.random_range(0..5) {
            0 => bytes[at] = chance.random(),
            1 => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, bytes[at]),
            3 => bytes.insert(at, chance.random()),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Anything JSON can be, and some things it cannot.
fn anything(chance: &mut impl Rng) -> String {
    let texts = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e400",
        "9223372036854775808",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "[]",
        "{}",
        "[null]",
        "{\"a\":{\"b\":[1,2,{}]}}",
        "\"../../etc/passwd\"",
        "\"=?base64?!!?=\"",
        "{\"__proto__\":{}}",
        "NaN",
        "'x'",
        "",
    ];
    match chance.random_range(0..10) {
        0 => "[".repeat(chance.random_range(1..20_000)),
        1 => format!("\"{}\"", "x".repeat(chance.random_range(1..100_000))),
        _ => (*pick(chance, &texts)).to_owned(),
    }
}

/// A message whose members are not what they should be.
fn shape(chance: &mut impl Rng) -> String {
    let methods = [
        "tools/call",
        "tools/list",
        "initialize",
        "ping",
        "notifications/cancelled",
        "notifications/initialized",
        "resources/read",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "server/discover",
        "subscriptions/listen",
        "tasks/get",
        "sampling/createMessage",
        "rpc.discover",
        "",
    ];
    let method = format!("\"{}\"", pick(chance, &methods));
    let mut members = vec![
        ("jsonrpc", "\"2.0\"".to_owned()),
        ("id", "7".to_owned()),
        ("method", method),
        ("params", "{}".to_owned()),
    ];
    for _ in 0..chance.random_range(1..=3) {
        let names = ["jsonrpc", "id", "method", "params", "result", "error", "x"];
        let member = (*pick(chance, &names), anything(chance));
        match chance.random_range(0..3) {
            0 => members.push(member),
            1 => {
                let gone = chance.random_range(0..members.len());
                members.remove(gone);
            }
            _ => {
                members.retain(|(name, _)| *name != member.0);
                members.push(member);
            }
        }
        if members.is_empty() {
            break;
        }
    }
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    let message = format!("{{{}}}", members.join(","));
    match chance.random_range(0..8) {
        0 => format!("[{message},{message}]"),
        1 => format!("{message}{message}"),
        _ => message,
    }
}

/// A good message that asks for what there is not.
fn params(chance: &mut impl Rng) -> String {
    let tools = [
        "todo.create",
        "todo.list",
        "journal.add",
        "notes.search",
        "spaces.list",
        "no.such",
    ];
    let fields = [
        "title",
        "limit",
        "id",
        "query",
        "content",
        "entryDate",
        "tags",
        "dueDate",
        "x",
    ];
    let field = |chance: &mut _| format!("\"{}\":{}", pick(chance, &fields), anything(chance));
    let (method, params) = match chance.random_range(0..6) {
        0 => ("tools/list", format!("{{\"cursor\":{}}}", anything(chance))),
        1 => (
            "notifications/cancelled",
            format!("{{\"requestId\":{}}}", anything(chance)),
        ),
        2 => ("tools/call", anything(chance)),
        3 => {
            let meta = format!(
                "{{\"progressToken\":{},\"dramatis/callId\":{}}}",
                anything(chance),
                anything(chance)
            );
            (
                "tools/call",
                format!("{{\"name\":\"todo.list\",\"_meta\":{meta}}}"),
            )
        }
        _ => {
            let name = pick(chance, &tools);
            let arguments = format!("{{{},{}}}", field(chance), field(chance));
            (
                "tools/call",
                format!("{{\"name\":\"{name}\",\"arguments\":{arguments}}}"),
            )
        }
    };
    let id = if method.starts_with("notifications") {
        ""
    } else {
        "\"id\":7,"
    };
    format!("{{\"jsonrpc\":\"2.0\",{id}\"method\":\"{method}\",\"params\":{params}}}")
}

/// A good body under headers that are not.
fn with_headers(chance: &mut impl Rng, target: &Target) -> Vec<u8> {
    let names = [
        "accept",
        "content-type",
        "authorization",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "mcp-param-region",
        "last-event-id",
        "origin",
        "host",
        "x-mana-space",
        "content-encoding",
        "expect",
        "traceparent",
    ];
    let values = [
        "",
        " ",
        "*/*",
        "application/json",
        "application/json; charset=utf-16",
        "text/event-stream",
        "2026-07-28",
        "2025-11-25",
        "1999-01-01",
        "v999.0.0",
        "tools/call",
        "spaces.list",
        "=?base64?c3BhY2VzLmxpc3Q=?=",
        "=?base64?!!!?=",
        "\u{e9}\u{e8}",
        "null",
        "http://evil.example",
        "Bearer",
        "Bearer x.y.z",
        "gzip",
        "a, b, c",
        "00000000-0000-0000-0000-000000000000",
    ];
    let long = "x".repeat(chance.random_range(1..6_000));
    let authorization = format!("Bearer {}", target.token);
    let mut headers = headers(&authorization);
    if chance.random_bool(0.7) {
        headers.push(("mcp-session-id", &target.session));
    }
    for _ in 0..chance.random_range(1..=3) {
        let name = *pick(chance, &names);
        let value = if chance.random_bool(0.1) {
            long.as_str()
        } else {
            *pick(chance, &values)
        };
        if chance.random_bool(0.6) {
            headers.retain(|(there, _)| *there != name);
        }
        headers.push((name, value));
    }
    let method = *pick(
        chance,
        &["POST", "POST", "POST", "GET", "DELETE", "PUT", "OPTIONS"],
    );
    if method == "DELETE" {
        // A good one would end the session that must be there at the end.
        headers.retain(|(name, _)| *name != "mcp-session-id");
    }
    let request = post(&target.address, "/mcp", &headers, &good_body().to_string());
    let mut request = String::from_utf8_lossy(&request)
        .replacen("POST", method, 1)
        .into_bytes();
    // A stream that a good GET opens would last.
    if method == "GET" {
        request = String::from_utf8_lossy(&request)
            .replace("text/event-stream", "text/plain")
            .into_bytes();
    }
    request
}

/// Bytes that a server of HTTP may refuse to call a request.
fn http(chance: &mut impl Rng, target: &Target) -> Vec<u8> {
    let address = &target.address;
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        target.token
    );
    match chance.random_range(0..9) {
        0 => b"\x16\x03\x01\x02\x00hello\r\n\r\n".to_vec(),
        1 => format!("POST /mcp HTTP/9.9\r\nhost: {address}\r\n\r\n").into_bytes(),
        2 => format!("POST {} HTTP/1.1\r\nhost: {address}\r\n\r\n", "/x".repeat(40_000)).into_bytes(),
        3 => format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-length: -1\r\n\r\n").into_bytes(),
        4 => format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"
        )
        .into_bytes(),
        5 => format!("{chunked}zz\r\nx\r\n0\r\n\r\n").into_bytes(),
        6 => format!("{chunked}ffffffffffffffff1\r\nx\r\n").into_bytes(),
        7 => format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\n{}\r\n",
            "a: b\r\n".repeat(500)
        )
        .into_bytes(),
        // What the body's length is said to be stays: a server may wait long for what is missing.
        _ => {
            let text = String::from_utf8_lossy(&good(target)).into_owned();
            let (line, rest) = text.split_once("content-length").unwrap_or_default();
            let (length, rest) = rest.split_once("\r\n").unwrap_or_default();
            let (head, body) = rest.split_once("\r\n\r\n").unwrap_or_default();
            let length = format!("content-length{length}\r\n").into_bytes();
            let end = format!("\r\nconnection: close\r\n\r\n{body}").into_bytes();
            let (line, head) = (line.as_bytes().to_vec(), head.as_bytes().to_vec());
            if chance.random_bool(0.5) {
                [mutated(chance, line), length, head, end].concat()
            } else {
                [line, length, mutated(chance, head), end].concat()
            }
        }
    }
}
