//! What handlers answer with, as `/openapi.json` tells it: the schema of a body comes from the type that the handler
//! returns, so that a description and its handler cannot part.

use axum::Json;
use axum::response::{Response, Sse};
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::problem::Problem;

/// A handler's answer that says what its body looks like; `None` where a body is no JSON, or the endpoint says itself.
pub(crate) trait Describes {
    /// JSON Schema of the body, as a reference into what `generator` gathers.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
}

impl<T: JsonSchema> Describes for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
}

impl<T: Describes> Describes for Result<T, Problem> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        T::schema(generator)
    }
}

impl<T: Describes> Describes for (StatusCode, T) {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        T::schema(generator)
    }
}

impl<T: Describes> Describes for ([(HeaderName, &'static str); 1], T) {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        T::schema(generator)
    }
}

impl Describes for Response {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

impl<S> Describes for Sse<S> {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

/// A handler, seen from what it answers with. `Arguments` are what it takes, so that each number of them has its own.
pub(crate) trait Answering<Arguments> {
    /// What comes back.
    type Answer: Describes;
}

macro_rules! answering {
    ($($argument:ident)*) => {
        impl<F, Asked, $($argument,)*> Answering<($($argument,)*)> for F
        where
            F: FnOnce($($argument),*) -> Asked,
            Asked: Future,
            Asked::Output: Describes,
        {
            type Answer = Asked::Output;
        }
    };
}

answering! {}
answering! { A }
answering! { A B }
answering! { A B C }
answering! { A B C D }
answering! { A B C D E }
answering! { A B C D E F1 }

/// Answer of what was done and has nothing more to say.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Done {
    ok: bool,
}

/// It was done.
pub(crate) fn done() -> Json<Done> {
    Json(Done { ok: true })
}

/// Answer of a deletion.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Deleted<Id> {
    pub(crate) ok: bool,
    /// What is gone.
    pub(crate) deleted: Id,
}

/// A time as clients of the system before this one know it: ISO 8601 in UTC, always three decimals.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Iso(#[schemars(with = "events::Moment")] pub(crate) String);

impl From<Timestamp> for Iso {
    fn from(time: Timestamp) -> Self {
        Self(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
    }
}
