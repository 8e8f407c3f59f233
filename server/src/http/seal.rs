//! Sealing everything anew in the form that is written now, a step at a time, for whoever keeps the house.

use axum::Json;
use axum::extract::State;
use gateway::field_crypto::FieldForm;
use gateway::{ResealStep, Resealed, ToolError};
use http::StatusCode;
use projections::StoredPlace;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::body::JsonObject;
use super::caller::Admin;
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;

/// Bytes of a request: a place and two words.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Records looked at in one step, at most and where nothing is said.
const RECORDS_MAX: u64 = 500;
const RECORDS: u64 = 200;
/// The forms, by the word their values begin with.
const FORMS: [(&str, &str); 2] = [("enc:1", "enc:1"), ("enc:2", "enc:2")];

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let place = json!({
        "type": "object",
        "properties": {
            "space": { "type": "string" }, "table": { "type": "string" }, "record": { "type": "string" },
        },
    });
    let body = json!({
        "type": "object",
        "properties": {
            "to": { "enum": FORMS.map(|(word, _)| word), "description": "the form this server writes; refused otherwise" },
            "after": place,
            "limit": { "type": "integer", "minimum": 1, "maximum": RECORDS_MAX },
            "dryRun": { "type": "boolean" },
        },
    });
    vec![
        Endpoint::post(&["/api/v1/admin/seal/migrate"], migrate)
            .once_per_key()
            .about(
                Access::Admin,
                "Seals encrypted fields anew in the form and with the key of today, a page of records at a time",
            )
            .takes(body)
            .refuses(&[409, 503])
            .body_bytes_max(BODY_BYTES_MAX),
    ]
}

async fn migrate(
    _: Admin,
    State(app): State<App>,
    JsonObject(mut body): JsonObject,
) -> Result<Json<SealedAnew>, Problem> {
    let after = body.remove("after");
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let to = fields.optional_word("to", &FORMS);
    let limit = fields
        .optional_integer("limit", 1..=RECORDS_MAX)
        .unwrap_or(RECORDS);
    let is_dry = fields.flag("dryRun");
    let after = after.map_or_else(StoredPlace::default, |after| place(after, &mut faults));
    faults.finish()?;
    let written = written_form(&app);
    if let Some(to) = to.filter(|to| *to != written) {
        let detail = format!(
            "this server writes {written}, and would go on doing so; set field_encryption = \"{to}\", start it anew, \
             and ask again"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "OTHER_FORM_WRITTEN", detail));
    }
    let is_first = after == StoredPlace::default();
    let step = ResealStep {
        after,
        space: None,
        records_max: u32::try_from(limit).unwrap_or(u32::MAX),
        is_dry,
    };
    let found = app.gateway.reseal(&step).await.map_err(problem)?;
    let records_total = if is_first {
        Some(app.tables.counts().await?.records)
    } else {
        None
    };
    Ok(Json(SealedAnew {
        next: found.next.clone().map(PlaceShown::from),
        found,
        form: written,
        records_total,
    }))
}

/// What one step found and did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SealedAnew {
    #[serde(flatten)]
    found: Resealed,
    /// The form that is written now.
    form: &'static str,
    /// Where the next step goes on; null at the end.
    next: Option<PlaceShown>,
    /// All records there are; in the first step alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    records_total: Option<u64>,
}

/// A place in the order of records.
#[derive(Debug, Serialize, JsonSchema)]
struct PlaceShown {
    space: String,
    table: String,
    record: String,
}

impl From<StoredPlace> for PlaceShown {
    fn from(place: StoredPlace) -> Self {
        Self {
            space: place.space,
            table: place.table,
            record: place.record,
        }
    }
}

fn written_form(app: &App) -> &'static str {
    match app.gateway.field_form() {
        FieldForm::Shared => "enc:1",
        FieldForm::Bound | FieldForm::BoundOnly => "enc:2",
    }
}

fn place(after: Value, faults: &mut Faults) -> StoredPlace {
    let Value::Object(after) = after else {
        if !after.is_null() {
            faults.add("after", "must be an object with space, table and record");
        }
        return StoredPlace::default();
    };
    let mut fields = Fields::new(after, faults);
    StoredPlace {
        space: fields.text("space", 1..=200),
        table: fields.text("table", 1..=500),
        record: fields.text("record", 1..=200),
    }
}

fn problem(error: ToolError) -> Problem {
    match error {
        ToolError::Refused { code, reason } => Problem::new(StatusCode::CONFLICT, code, reason),
        error => {
            tracing::warn!(error = %error, "encrypted fields cannot be sealed anew right now");
            Problem::unavailable("NOT_SEALED_ANEW", error.to_string())
        }
    }
}
