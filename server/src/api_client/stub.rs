//! A server that answers the admin API as the contract says, from memory, for tests of the client and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ApiClient;

/// The one token that has the admin role.
pub(crate) const ADMIN_TOKEN: &str = "token-of-an-admin";
/// A good token of an account without it.
pub(crate) const USER_TOKEN: &str = "token-of-a-user";

/// What the server knows, for tests to arrange and look at.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Personas by id, as sent (with the password, which no answer tells).
    pub(crate) personas: BTreeMap<String, Map<String, Value>>,
    /// Emails of accounts of people; a persona may not take one of them.
    pub(crate) humans: BTreeSet<String>,
    /// Ids in the list whose accounts are not personas' after all.
    pub(crate) not_personas: BTreeSet<String>,
    /// Ids whose deletion breaks.
    pub(crate) unbreakable: BTreeSet<String>,
    /// What a tick answers.
    pub(crate) tick: Value,
    /// Every request that changes something: method, path, body.
    pub(crate) writes: Vec<(String, String, Value)>,
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct StubServer {
    /// Where it listens.
    pub(crate) url: String,
    known: Arc<Mutex<Known>>,
    end: CancellationToken,
}

impl StubServer {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let admin = Router::new()
            .route("/api/v1/personas/admin", get(list).post(upsert))
            .route("/api/v1/personas/admin/{id}", get(detail).delete(delete))
            .route("/api/v1/admin/runner/tick", post(tick))
            .layer(middleware::from_fn(admins_only))
            .with_state(known.clone());
        let app = admin
            .route(
                "/proxy/api/v1/personas/admin",
                get(|| async { (StatusCode::BAD_GATEWAY, "<h1>oops</h1>") }),
            )
            .route(
                "/blog/api/v1/personas/admin",
                get(|| async { "<h1>Welcome to my blog</h1>" }),
            )
            .route(
                "/moved/api/v1/personas/admin",
                get(|| async {
                    (
                        StatusCode::FOUND,
                        [(header::LOCATION, "https://elsewhere.example/")],
                    )
                }),
            )
            .route("/busy/api/v1/personas/admin", get(|| async { busy() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let end = CancellationToken::new();
        let until = end.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(async move { axum::serve(listener, app).with_graceful_shutdown(until).await });
        Self { url, known, end }
    }

    /// A client with the admin's token.
    pub(crate) fn client(&self) -> ApiClient {
        self.client_with(ADMIN_TOKEN)
    }

    /// A client with this token.
    pub(crate) fn client_with(&self, token: &str) -> ApiClient {
        ApiClient::new(&self.url, SecretString::from(token)).expect("a good address and token")
    }

    /// A client of the same server under a path, where other things answer.
    pub(crate) fn client_under(&self, path: &str) -> ApiClient {
        ApiClient::new(&format!("{}{path}", self.url), SecretString::from(ADMIN_TOKEN))
            .expect("a good address")
    }

    /// Looks at, or arranges, what it knows.
    pub(crate) fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().expect("nobody panicked"))
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

type Shared = State<Arc<Mutex<Known>>>;

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": detail, "code": code, "error": detail,
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

fn busy() -> Response {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "BUSY", "too many logins at once");
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
    answer
}

async fn admins_only(request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(ADMIN_TOKEN) => next.run(request).await,
        Some(USER_TOKEN) => problem(
            StatusCode::FORBIDDEN,
            "ADMIN_REQUIRED",
            "this takes the admin role",
        ),
        _ => problem(StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED", "the token has expired"),
    }
}

async fn list(State(known): Shared) -> Response {
    let known = known.lock().expect("nobody panicked");
    let personas: Vec<Value> = known
        .personas
        .iter()
        .map(|(id, persona)| {
            json!({
                "userId": id, "email": persona["email"], "name": persona["name"],
                "archetype": persona["archetype"], "tickCadence": persona["tickCadence"],
                "lastActiveAt": persona.get("lastActiveAt"), "createdAt": "2026-11-20T08:00:00Z", "actions7d": 12,
            })
        })
        .collect();
    Json(json!({ "personas": personas })).into_response()
}

async fn detail(State(known): Shared, Path(id): Path<String>) -> Response {
    let known = known.lock().expect("nobody panicked");
    let Some(persona) = known.personas.get(&id) else {
        return problem(
            StatusCode::NOT_FOUND,
            "PERSONA_NOT_FOUND",
            "no persona has this id",
        );
    };
    let mut persona = persona.clone();
    persona.remove("password");
    persona.insert("userId".to_owned(), json!(id));
    persona.insert("createdAt".to_owned(), json!("2026-11-20T08:00:00Z"));
    let actions = json!([{
        "id": "t1-0-todo.create", "tickId": "t1", "toolName": "todo.create", "inputHash": "00", "result": "error",
        "errorMessage": "title is too long", "latencyMs": 7, "createdAt": "2026-11-20T08:15:00Z",
    }]);
    let feedback = json!([{ "module": "todo", "avgRating": 3.5, "count": 2 }]);
    Json(json!({ "persona": persona, "recentActions": actions, "feedbackByModule": feedback }))
        .into_response()
}

async fn upsert(State(known): Shared, Json(body): Json<Map<String, Value>>) -> Response {
    let mut known = known.lock().expect("nobody panicked");
    let email = body["email"].as_str().expect("an email").to_owned();
    known
        .writes
        .push(("POST".to_owned(), email.clone(), Value::Object(body.clone())));
    if known.humans.contains(&email) {
        return problem(
            StatusCode::BAD_REQUEST,
            "NOT_A_PERSONA",
            "this email belongs to a person",
        );
    }
    let had = known
        .personas
        .iter()
        .find(|(_, persona)| persona["email"] == email)
        .map(|(id, _)| id.clone());
    let id = had.unwrap_or_else(|| format!("id-{}", email.split('@').next().unwrap_or_default()));
    known.personas.insert(id.clone(), body);
    Json(json!({ "ok": true, "userId": id, "email": email })).into_response()
}

async fn delete(State(known): Shared, Path(id): Path<String>) -> Response {
    let mut known = known.lock().expect("nobody panicked");
    known.writes.push(("DELETE".to_owned(), id.clone(), Value::Null));
    if known.not_personas.contains(&id) {
        return problem(
            StatusCode::BAD_REQUEST,
            "NOT_A_PERSONA",
            "only personas can be deleted here",
        );
    }
    if known.unbreakable.contains(&id) {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "something went wrong here",
        );
    }
    match known.personas.remove(&id) {
        Some(_) => Json(json!({ "ok": true, "deleted": id })).into_response(),
        None => problem(
            StatusCode::NOT_FOUND,
            "PERSONA_NOT_FOUND",
            "no persona has this id",
        ),
    }
}

async fn tick(State(known): Shared, Json(body): Json<Value>) -> Response {
    let mut known = known.lock().expect("nobody panicked");
    known
        .writes
        .push(("POST".to_owned(), "tick".to_owned(), body.clone()));
    match body.get("persona").and_then(Value::as_str) {
        Some(email) if !known.personas.values().any(|persona| persona["email"] == email) => problem(
            StatusCode::NOT_FOUND,
            "PERSONA_NOT_FOUND",
            "there is no persona of that email",
        ),
        _ => Json(known.tick.clone()).into_response(),
    }
}
