//! One endpoint: its address, its handler and what `/openapi.json` says about it, in one value, so that there
//! is no route without a description.

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::answer::{Answering, Describes};
use super::repeats::Around;
use super::{App, repeats, shield};

/// Bytes a body may have, where the endpoint does not say otherwise.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a handler may take, where the endpoint does not say otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What a caller needs to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// A token.
    Token,
    /// A token of an account with the role admin.
    Admin,
    /// The service key.
    ServiceKey,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The method, in upper case.
    pub(crate) method: &'static str,
    /// The addresses it answers at; those after the first are for older clients.
    pub(crate) paths: &'static [&'static str],
    /// One line for people.
    pub(crate) summary: &'static str,
    /// Who is let in.
    pub(crate) access: Access,
    /// The status of success.
    pub(crate) success: StatusCode,
    /// Another status of success, where there is one.
    pub(crate) partial_success: Option<StatusCode>,
    /// JSON Schema of the body it takes.
    pub(crate) body: Option<Value>,
    /// The query parameters it reads.
    pub(crate) query: &'static [&'static str],
    /// What it says no with, besides what [`Access`] and the body bring with them.
    pub(crate) refusals: &'static [u16],
    /// Media type of a successful answer.
    pub(crate) answers: &'static str,
    /// JSON Schema of a successful answer, where that is JSON.
    pub(crate) gives: fn(&mut SchemaGenerator) -> Option<Schema>,

    /// Whether it takes an `Idempotency-Key`.
    pub(crate) is_once_per_key: bool,

    handler: MethodRouter<App>,
    body_bytes_max: usize,
    time_limit: Duration,
}

impl Endpoint {
    /// An endpoint read with `GET`.
    pub(crate) fn get<H, T, A>(paths: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<T, App> + Answering<A>,
        T: 'static,
    {
        Self::new::<H, T, A>("GET", MethodFilter::GET, paths, handler)
    }

    /// An endpoint that takes `POST`.
    pub(crate) fn post<H, T, A>(paths: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<T, App> + Answering<A>,
        T: 'static,
    {
        Self::new::<H, T, A>("POST", MethodFilter::POST, paths, handler)
    }

    /// An endpoint that takes `DELETE`.
    pub(crate) fn delete<H, T, A>(paths: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<T, App> + Answering<A>,
        T: 'static,
    {
        Self::new::<H, T, A>("DELETE", MethodFilter::DELETE, paths, handler)
    }

    fn new<H, T, A>(
        method: &'static str,
        filter: MethodFilter,
        paths: &'static [&'static str],
        handler: H,
    ) -> Self
    where
        H: Handler<T, App> + Answering<A>,
        T: 'static,
    {
        Self {
            method,
            paths,
            summary: "",
            access: Access::Open,
            success: StatusCode::OK,
            partial_success: None,
            body: None,
            query: &[],
            refusals: &[],
            answers: "application/json",
            gives: <H::Answer as Describes>::schema,
            is_once_per_key: false,
            handler: on(filter, handler),
            body_bytes_max: BODY_BYTES_MAX,
            time_limit: TIME_LIMIT,
        }
    }

    /// The same, described by one line and open to `access`.
    #[must_use]
    pub(crate) fn about(self, access: Access, summary: &'static str) -> Self {
        Self {
            summary,
            access,
            ..self
        }
    }

    /// The same, taking a body of this JSON Schema.
    #[must_use]
    pub(crate) fn takes(self, schema: Value) -> Self {
        Self {
            body: Some(schema),
            ..self
        }
    }

    /// The same, reading these query parameters.
    #[must_use]
    pub(crate) fn reads(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    /// The same, saying no with these statuses too.
    #[must_use]
    pub(crate) fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    /// The same with another status of success.
    #[must_use]
    pub(crate) fn succeeds_with(self, success: StatusCode) -> Self {
        Self { success, ..self }
    }

    /// The same, sometimes succeeding with another status.
    #[must_use]
    pub(crate) fn or_with(self, status: StatusCode) -> Self {
        Self {
            partial_success: Some(status),
            ..self
        }
    }

    /// The same with another media type of its answer.
    #[must_use]
    pub(crate) fn answers_with(self, answers: &'static str) -> Self {
        Self { answers, ..self }
    }

    /// The same, answering with a body like `T`, which its handler's type does not say.
    #[must_use]
    pub(crate) fn gives<T: JsonSchema>(self) -> Self {
        Self {
            gives: |generator| Some(generator.subschema_for::<T>()),
            ..self
        }
    }

    /// The same, answering as `gives` describes, which its handler's type does not say.
    #[must_use]
    pub(crate) fn gives_what(self, gives: fn(&mut SchemaGenerator) -> Option<Schema>) -> Self {
        Self { gives, ..self }
    }

    /// The same, done once for all requests of an account that carry the same `Idempotency-Key`. Not for what answers
    /// with a secret: answers are kept.
    #[must_use]
    pub(crate) fn once_per_key(self) -> Self {
        Self {
            is_once_per_key: true,
            ..self
        }
    }

    /// The same with another limit on its body.
    #[must_use]
    pub(crate) fn body_bytes_max(self, body_bytes_max: usize) -> Self {
        Self {
            body_bytes_max,
            ..self
        }
    }

    /// The same with another limit on its time.
    #[must_use]
    pub(crate) fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Adds it to the `router` of `app`, at each of its addresses, with its limits around it.
    pub(crate) fn mount(self, router: Router<App>, app: &App) -> Router<App> {
        let mut handler = self
            .handler
            .layer(DefaultBodyLimit::max(self.body_bytes_max))
            .layer(from_fn_with_state(self.time_limit, shield::in_time));
        if self.is_once_per_key {
            let around = Around {
                app: app.clone(),
                access: self.access,
                body_bytes_max: self.body_bytes_max,
            };
            handler = handler.layer(from_fn_with_state(around, repeats::once));
        }
        self.paths
            .iter()
            .fold(router, |router, path| router.route(path, handler.clone()))
    }
}
