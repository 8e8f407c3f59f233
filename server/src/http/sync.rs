//! The sync protocol over HTTP: JSON in, JSON out, and a stream of events.
//!
//! Every request is of one app, `/sync/{app}`; what it may read and write follows from the caller's spaces alone.

mod changes;
mod events_out;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event as SseEvent, Sse};
use events::SpaceId;
use futures::{Stream, StreamExt as _};
use gateway::{StillMay, SyncClient, SyncError, SyncPage};
use http::{HeaderMap, StatusCode};
use identity::Caller;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::App;
use super::body::JsonObject;
use super::caller::{Authenticated, BearerToken};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;

/// Bytes of a push.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of an app's name, and of a client's own id.
const NAME_CHARS_MAX: usize = 200;
/// Tables a stream may be asked for.
const TABLES_MAX: usize = 200;
/// Says which client asks, where there is no body to say it.
const CLIENT_HEADER: &str = "x-client-id";
const SPACE_HEADER: &str = "x-mana-space";
const LAST_EVENT_HEADER: &str = "last-event-id";

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(&["/sync/{app}"], push)
            .about(
                Access::Token,
                "Takes what a sync client wrote and answers with what is new to it",
            )
            .takes(changes::schema())
            .body_bytes_max(BODY_BYTES_MAX)
            .refuses(&[403, 503]),
        Endpoint::get(&["/sync/{app}/pull"], pull)
            .about(Access::Token, "What is new to a sync client, a page at a time")
            .reads(&["collection", "since"])
            .refuses(&[400, 403, 503]),
        Endpoint::get(&["/sync/{app}/stream"], stream)
            .about(
                Access::Token,
                "What is new to a sync client, as server-sent events",
            )
            .reads(&["collections", "since"])
            .answers_with("text/event-stream")
            .gives::<events_out::Told<'static>>()
            .refuses(&[400, 403, 429, 503]),
    ]
}

/// What a pull or stream is asked for.
#[derive(Debug, Deserialize)]
struct Asked {
    collection: Option<String>,
    collections: Option<String>,
    since: Option<String>,
}

async fn push(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(name): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Json<PageSeen>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let own_id = match header(&headers, CLIENT_HEADER)? {
        Some(id) => id,
        None => fields.text("clientId", 1..=NAME_CHARS_MAX),
    };
    let since = fields.optional_text("since", 0..=usize::MAX).unwrap_or_default();
    changes::check_version(&mut fields);
    let changes = changes::read(&mut fields, &app);
    faults.finish()?;
    let client = client_of(caller, name, Some(&own_id), &headers)?;
    let page = app
        .gateway
        .sync_push(&client, &since, changes)
        .await
        .map_err(problem)?;
    Ok(Json(page.into()))
}

async fn pull(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Json<PageSeen>, Problem> {
    let own_id = header(&headers, CLIENT_HEADER)?;
    let client = client_of(caller, name, own_id.as_deref(), &headers)?;
    let tables: Vec<String> = asked
        .collection
        .into_iter()
        .filter(|table| !table.is_empty())
        .collect();
    let page = app
        .gateway
        .sync_pull(&client, &asked.since.unwrap_or_default(), &tables)
        .await
        .map_err(problem)?;
    Ok(Json(page.into()))
}

async fn stream(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, axum::Error>>>, Problem> {
    let own_id = header(&headers, CLIENT_HEADER)?;
    let client = client_of(caller, name, own_id.as_deref(), &headers)?;
    let tables: Vec<String> = asked
        .collections
        .iter()
        .flat_map(|tables| tables.split(','))
        .map(|table| table.trim().to_owned())
        .filter(|table| !table.is_empty())
        .collect();
    if tables.len() > TABLES_MAX {
        let detail = format!("collections: may name {TABLES_MAX} at most");
        return Err(Problem::bad_request("INVALID_FIELDS", detail));
    }
    // A client that lost its connection says where it was; that is later than what it first asked for.
    let since = header(&headers, LAST_EVENT_HEADER)?.or(asked.since);
    let identity = app.identity.clone();
    let token = Arc::new(token);
    let still_may: StillMay = Arc::new(move || {
        let (identity, token) = (identity.clone(), token.clone());
        Box::pin(async move { identity.authenticate(token.expose_secret()).await.is_ok() })
    });
    let told = app
        .gateway
        .sync_stream(client, &since.unwrap_or_default(), tables, still_may)
        .map_err(problem)?;
    Ok(Sse::new(
        told.flat_map(|told| futures::stream::iter(events_out::of(told))),
    ))
}

fn client_of(
    caller: Caller,
    app: String,
    own_id: Option<&str>,
    headers: &HeaderMap,
) -> Result<SyncClient, Problem> {
    let is_name = (1..=NAME_CHARS_MAX).contains(&app.len())
        && app
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        let detail = "app: must be letters, digits, -, _ and . in the address /sync/{app}";
        return Err(Problem::bad_request("INVALID_FIELDS", detail));
    }
    let space = header(headers, SPACE_HEADER)?
        .map(SpaceId::try_new)
        .transpose()
        .map_err(|_| problem(SyncError::NotAMember { change: None }))?;
    Ok(SyncClient::new(caller.user_id, app, own_id, space))
}

/// The one value of a header, if it was sent.
fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| {
        values.next().is_none()
            && !text.is_empty()
            && (name == LAST_EVENT_HEADER || text.len() <= NAME_CHARS_MAX)
    });
    match text {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::bad_request(
            "INVALID_FIELDS",
            format!("{name}: send this header once, with 1 to {NAME_CHARS_MAX} characters"),
        )),
    }
}

/// What every answer but a stream's has.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncPage")]
struct PageSeen {
    server_changes: Vec<changes::Change>,
    /// Always empty: fields are merged and not fought over.
    conflicts: [Value; 0],
    /// Send this as `since` for what follows.
    synced_until: String,
    /// There is more now; absent when there is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}

impl From<SyncPage> for PageSeen {
    fn from(page: SyncPage) -> Self {
        Self {
            server_changes: page.changes.iter().map(changes::Change::from).collect(),
            conflicts: [],
            synced_until: page.synced_until,
            has_more: page.has_more,
        }
    }
}

fn problem(error: SyncError) -> Problem {
    let said = error.to_string();
    let of_field = |code, field: String| {
        let fault = json!([{ "field": field, "reason": said }]);
        Problem::bad_request(code, format!("{field}: {said}")).with("faults", fault)
    };
    match error {
        SyncError::Gone => Problem::unavailable("ACCOUNT_SUSPENDED", said),
        SyncError::NotAMember { change } => {
            let detail = change.map_or_else(
                || format!("X-Mana-Space: {said}"),
                |change| format!("changes[{change}].spaceId: {said}"),
            );
            Problem::new(StatusCode::FORBIDDEN, "NOT_A_MEMBER", detail)
        }
        SyncError::BadCursor => of_field("INVALID_FIELDS", "since".to_owned()),
        SyncError::ClockAhead { change, field, .. } => {
            let field = field.map_or_else(
                || format!("changes[{change}].deletedAt"),
                |field| format!("changes[{change}].fields.{field}.at"),
            );
            of_field("CLOCK_AHEAD", field)
        }
        SyncError::TooLarge { change, .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            format!("changes[{change}]: {said}"),
        ),
        SyncError::NoKey { change, field } => {
            of_field("MUST_BE_ENCRYPTED", format!("changes[{change}].fields.{field}"))
        }
        SyncError::NotVisibleYet => Problem::unavailable("NOT_VISIBLE_YET", said),
        SyncError::TooManyStreams => Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", said),
        SyncError::Rejected(rejection) => rejection.into(),
        SyncError::Log(error) => error.into(),
        SyncError::Tables(error) => error.into(),
        SyncError::Identity(error) => error.into(),
    }
}
