//! A token endpoint for tests, as strict as RFC 8693 and 6749 let one be: whoever asks otherwise gets an error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

pub(super) const CLIENT: &str = "the gateway";
pub(super) const SECRET: &str = "s3cret:&/ü";
pub(super) const AUDIENCE: &str = "https://tokens.example";

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// One request that was in order.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What was exchanged; none for client credentials.
    pub(super) subject_token: Option<String>,
    /// Who that speaks for.
    pub(super) subject: Option<String>,
    /// All fields.
    pub(super) form: BTreeMap<String, Vec<String>>,
}

/// What it answers.
#[derive(Debug, Clone, Default)]
pub(super) enum Answers {
    /// With a token of its own for each request, good for so many seconds.
    #[default]
    Tokens,
    /// With a token that is over at once.
    Fleeting,
    /// With the subject token itself.
    Echo,
    /// That the target is none, saying a lot.
    InvalidTarget,
    /// With a redirect to itself.
    Redirect,
    /// With a status and nothing else.
    Status(StatusCode),
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) asked: Mutex<Vec<Asked>>,
    pub(super) answers: Mutex<Answers>,
}

impl Shared {
    /// Requests in the name of a user.
    pub(super) fn exchanges(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.subject_token.is_some())
            .cloned()
            .collect()
    }
}

pub(super) struct TokenEndpoint {
    pub(super) url: String,
    pub(super) shared: Arc<Shared>,
}

impl TokenEndpoint {
    pub(super) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/token", post(token))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }
}

fn no(status: StatusCode, code: &str, why: &str) -> Response {
    (status, Json(json!({"error": code, "error_description": why}))).into_response()
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let answers = shared.answers.lock().unwrap().clone();
    match answers {
        Answers::Redirect => return Redirect::temporary("/token").into_response(),
        Answers::Status(status) => return status.into_response(),
        _ => {}
    }
    let mut form: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in body.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        form.entry(name.to_owned()).or_default().push(decoded(value));
    }
    if headers["content-type"] != "application/x-www-form-urlencoded" {
        return no(StatusCode::BAD_REQUEST, "invalid_request", "no form");
    }
    if !is_our_client(&headers, &form) {
        return no(StatusCode::UNAUTHORIZED, "invalid_client", "who are you?");
    }
    let asked = match asked(form) {
        Ok(asked) => asked,
        Err(why) => return no(StatusCode::BAD_REQUEST, "invalid_request", why),
    };
    if matches!(answers, Answers::InvalidTarget) {
        let why = format!("cannot exchange {:?} with {SECRET}", asked.subject_token);
        return no(StatusCode::BAD_REQUEST, "invalid_target", &why);
    }
    let number = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked.clone());
        all.len()
    };
    let whom = asked.subject.as_deref().unwrap_or("itself");
    let token = match (&answers, &asked.subject_token) {
        (Answers::Echo, Some(subject)) => subject.clone(),
        _ => format!("issued-for-{whom}-{number}"),
    };
    let seconds = if matches!(answers, Answers::Fleeting) {
        0
    } else {
        300
    };
    let mut issued = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds});
    if asked.subject_token.is_some() {
        issued["issued_token_type"] = ACCESS_TOKEN.into();
    }
    Json(issued).into_response()
}

fn is_our_client(headers: &HeaderMap, form: &BTreeMap<String, Vec<String>>) -> bool {
    let in_form = form.get("client_id").zip(form.get("client_secret"));
    let Some(basic) = headers.get("authorization") else {
        return in_form.is_some_and(|(id, secret)| *id == [CLIENT] && *secret == [SECRET]);
    };
    let pair = basic.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap();
    let (id, secret) = pair.split_once(':').unwrap();
    // One way of saying who one is, not two.
    in_form.is_none() && decoded(id) == CLIENT && decoded(secret) == SECRET
}

fn asked(form: BTreeMap<String, Vec<String>>) -> Result<Asked, &'static str> {
    let once = |name: &str| match form.get(name).map(Vec::as_slice) {
        Some([one]) if !one.is_empty() => Ok(Some(one.clone())),
        None => Ok(None),
        _ => Err("a field is empty or there twice"),
    };
    let grant = once("grant_type")?.ok_or("no grant_type")?;
    let subject_token = once("subject_token")?;
    let kind = once("subject_token_type")?;
    once("scope")?;
    let known = [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "requested_token_type",
        "audience",
        "resource",
        "scope",
        "client_id",
        "client_secret",
    ];
    if form.keys().any(|name| !known.contains(&name.as_str())) {
        return Err("a field nobody knows");
    }
    if form
        .get("resource")
        .into_iter()
        .flatten()
        .any(|resource| !resource.starts_with("https://") || resource.contains('#'))
    {
        return Err("a resource is an address without a fragment");
    }
    let subject = match (grant.as_str(), &subject_token, kind.as_deref()) {
        ("client_credentials", None, None) => None,
        (EXCHANGE, Some(token), Some(JWT | ACCESS_TOKEN)) => {
            let claims = claims(token).ok_or("the subject token cannot be read")?;
            if kind.as_deref() == Some(JWT) && claims["aud"] != AUDIENCE {
                return Err("the statement is for somebody else");
            }
            Some(claims["sub"].as_str().ok_or("nobody's")?.to_owned())
        }
        _ => return Err("grant, token and type do not go together"),
    };
    Ok(Asked {
        subject_token,
        subject,
        form,
    })
}

fn claims(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let mut bytes = spaced.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).unwrap()
}
