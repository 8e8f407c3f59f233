//! The toolset: a shelf that things are put on. Its faults, where it has them, are these three and no others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::Twin;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};

use crate::gateway::Inner;

/// What things may measure.
const SIZES: [&str; 3] = ["small", "medium", "large"];
/// Characters of a title.
const TITLE_CHARS_MAX: usize = 200;
/// Things on one shelf.
const THINGS_MAX: usize = 100;

/// One shelf; it lasts as long as its session.
#[derive(Debug)]
pub(super) struct Shelf {
    twin: Twin,
    inner: Arc<Inner>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    things: Vec<Value>,
    /// Things that were put there, also those that were not kept.
    put: usize,
}

impl Shelf {
    pub(super) fn new(twin: Twin, inner: Arc<Inner>) -> Self {
        Self {
            twin,
            inner,
            kept: Mutex::default(),
        }
    }

    fn is_bad(&self) -> bool {
        self.twin == Twin::Bad
    }

    async fn answer(&self, tool: &str, arguments: &Map<String, Value>) -> Option<Result<Value, String>> {
        Some(match tool {
            "shelf.add" => self.add(arguments),
            "shelf.list" => {
                if self.is_bad() {
                    let slow = self.inner.settings.calibration.unwrap_or(Duration::ZERO);
                    self.inner.clock.sleep(slow).await;
                }
                Ok(json!({"things": self.kept().things}))
            }
            "shelf.resize" => self.resize(arguments),
            _ => return None,
        })
    }

    fn add(&self, arguments: &Map<String, Value>) -> Result<Value, String> {
        known(arguments, &["title", "size"])?;
        let title = arguments.get("title").and_then(Value::as_str).unwrap_or_default();
        if !(1..=TITLE_CHARS_MAX).contains(&title.chars().count()) {
            return Err(self.refusal(&format!(
                "title: must be text of 1 to {TITLE_CHARS_MAX} characters"
            )));
        }
        let size = self.size(arguments)?;
        let thing = json!({"id": self.inner.ids.uuid().to_string(), "title": title, "size": size});
        let mut kept = self.kept();
        if kept.things.len() >= THINGS_MAX {
            return Err("the shelf is full".to_owned());
        }
        kept.put += 1;
        // The lying success: every other thing is answered for and not kept.
        if !(self.is_bad() && kept.put.is_multiple_of(2)) {
            kept.things.push(thing.clone());
        }
        Ok(json!({"thing": thing}))
    }

    fn resize(&self, arguments: &Map<String, Value>) -> Result<Value, String> {
        known(arguments, &["id", "size"])?;
        let size = self.size(arguments)?;
        let id = arguments.get("id").and_then(Value::as_str).unwrap_or_default();
        let mut kept = self.kept();
        let thing = kept.things.iter_mut().find(|thing| thing["id"] == id);
        match thing {
            Some(thing) => {
                thing["size"] = json!(size);
                Ok(json!({"ok": true}))
            }
            None => Err(self.refusal("id: there is nothing of that id on the shelf")),
        }
    }

    fn size(&self, arguments: &Map<String, Value>) -> Result<String, String> {
        let size = arguments.get("size").and_then(Value::as_str).unwrap_or_default();
        // The broken choice: two of the three that are offered are refused.
        let taken = if self.is_bad() { &SIZES[..1] } else { &SIZES[..] };
        if taken.contains(&size) {
            Ok(size.to_owned())
        } else {
            Err(self.refusal(&format!("size: must be one of {}", SIZES.join(", "))))
        }
    }

    /// The bad one does not say what was wrong.
    fn refusal(&self, reason: &str) -> String {
        if self.is_bad() {
            "invalid input".to_owned()
        } else {
            reason.to_owned()
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A panic while it was held left whole things: each change is one insertion.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(arguments: &Map<String, Value>, fields: &[&str]) -> Result<(), String> {
    match arguments.keys().find(|name| !fields.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) => Err(format!("unknown field; known are {}", fields.join(", "))),
    }
}

/// Both twins say the same of themselves.
fn tools() -> Vec<Tool> {
    let size = json!({"type": "string", "enum": SIZES, "description": "How large it is."});
    let tool = |name: &'static str,
                about: &'static str,
                properties: Value,
                required: Value,
                read_only: bool| {
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        let hints = ToolAnnotations::new().read_only(read_only).destructive(false);
        Tool::new(name, about, schema).annotate(hints)
    };
    vec![
        tool(
            "shelf.add",
            "Puts a thing on the shelf. Answers with the thing and its id.",
            json!({"title": {"type": "string", "minLength": 1, "maxLength": TITLE_CHARS_MAX, "description": "What it is."}, "size": size}),
            json!(["title", "size"]),
            false,
        ),
        tool(
            "shelf.list",
            "Lists what is on the shelf.",
            json!({}),
            json!([]),
            true,
        ),
        tool(
            "shelf.resize",
            "Says that a thing on the shelf is of another size.",
            json!({"id": {"type": "string", "description": "The thing's id."}, "size": size}),
            json!(["id", "size"]),
            false,
        ),
    ]
}

impl ServerHandler for Shelf {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = params.arguments.unwrap_or_default();
        match self.answer(&params.name, &arguments).await {
            None => Err(ErrorData::invalid_params("unknown tool", None)),
            Some(Ok(answer)) => Ok(CallToolResult::structured(answer).into()),
            Some(Err(reason)) => Ok(CallToolResult::error(vec![ContentBlock::text(reason)]).into()),
        }
    }
}
