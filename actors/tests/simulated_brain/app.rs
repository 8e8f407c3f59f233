//! A small app in memory that takes the eleven tools and answers as it is told to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actors::{CallOutcome, PastCall, PlannedCall, ToolInfo};
use events::{CallId, Cause, Intent};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// How the app says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It names the field.
    Helpful,
    /// It says no more than that something is wrong.
    Curt,
    /// It refuses everything.
    Broken,
}

impl Manners {
    pub(crate) const ALL: [Self; 3] = [Self::Helpful, Self::Curt, Self::Broken];
}

#[derive(Debug)]
pub(crate) struct App {
    manners: Manners,
    /// What every answer takes.
    pub(crate) latency_ms: u64,
    /// A field the app does not want, against its own schema.
    pub(crate) refuse_field: Option<&'static str>,
    objects: BTreeMap<String, Vec<Value>>,
    made: u128,
}

/// The eleven tools as `tools/list` gives them.
pub(crate) fn tools() -> Vec<ToolInfo> {
    let described: Vec<Value> = serde_json::from_str(include_str!("../fixtures/tools.json")).unwrap();
    described
        .into_iter()
        .map(|tool| ToolInfo {
            name: tool["name"].as_str().unwrap().to_owned(),
            module: module_of(tool["name"].as_str().unwrap()).to_owned(),
            description: String::new(),
            input_schema: tool["inputSchema"].clone(),
            read_only: tool["readOnly"] == true,
            destructive: false,
        })
        .collect()
}

fn module_of(tool: &str) -> &str {
    tool.split('.').next().unwrap()
}

impl App {
    pub(crate) fn new(manners: Manners) -> Self {
        Self {
            manners,
            latency_ms: 12,
            refuse_field: None,
            objects: BTreeMap::new(),
            made: 0,
        }
    }

    /// Gives out ids from there on, as another database would.
    pub(crate) fn ids_from(&mut self, first: u128) {
        self.made = first;
    }

    /// Puts an object there that nobody in this tick has made.
    pub(crate) fn stock(&mut self, module: &str, title: &str) {
        let mut fields = Map::new();
        fields.insert("title".to_owned(), json!(title));
        self.make(module, &fields);
    }

    /// Carries out a call, the tick's `index`th.
    pub(crate) fn answer(&mut self, index: usize, call: PlannedCall) -> PastCall {
        let latency_ms = self.latency_ms;
        let outcome = match self.run(&call) {
            Ok(structured) => CallOutcome::Ok {
                structured,
                latency_ms,
            },
            Err(message) => {
                let message = if self.manners == Manners::Helpful {
                    message
                } else {
                    "invalid request".to_owned()
                };
                let cause = if call.intent == Intent::Valid {
                    Cause::App
                } else {
                    Cause::Persona
                };
                CallOutcome::Error {
                    message,
                    latency_ms,
                    cause,
                }
            }
        };
        PastCall {
            call_id: CallId::derived(&[&index.to_string()]),
            module: module_of(&call.tool).to_owned(),
            tool: call.tool,
            arguments: call.arguments,
            intent: call.intent,
            mistake: call.mistake,
            retry_of: call.retry_of,
            was_sent: true,
            outcome,
        }
    }

    fn run(&mut self, call: &PlannedCall) -> Result<Value, String> {
        if self.manners == Manners::Broken {
            return Err("broken".to_owned());
        }
        check(&call.tool, &call.arguments)?;
        let arguments = call.arguments.as_object().unwrap();
        if let Some(field) = self.refuse_field.filter(|field| arguments.contains_key(*field)) {
            return Err(format!("{field}: not today"));
        }
        let module = module_of(&call.tool);
        match call.tool.split('.').nth(1).unwrap() {
            "create" | "add" => Ok(json!({ "made": self.make(module, arguments) })),
            "list" | "search" => {
                Ok(json!({ "found": self.objects.get(module).cloned().unwrap_or_default() }))
            }
            _ => {
                let known = self
                    .objects
                    .get(module)
                    .into_iter()
                    .flatten()
                    .any(|object| object["id"] == arguments["id"]);
                if known {
                    Ok(json!({"ok": true}))
                } else {
                    Err(format!("id: there is no such thing in {module}"))
                }
            }
        }
    }

    fn make(&mut self, module: &str, fields: &Map<String, Value>) -> Value {
        self.made += 1;
        let mut object = fields.clone();
        object.insert("id".to_owned(), json!(Uuid::from_u128(self.made)));
        self.objects
            .entry(module.to_owned())
            .or_default()
            .push(json!(object));
        json!(object)
    }
}

/// The first thing wrong with the arguments, with the field it is in.
fn check(tool: &str, arguments: &Value) -> Result<(), String> {
    static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        tools()
            .into_iter()
            .map(|tool| (tool.name, options.build(&tool.input_schema).unwrap()))
            .collect()
    });
    let validator = VALIDATORS.get(tool).ok_or("no such tool")?;
    validator.iter_errors(arguments).next().map_or(Ok(()), |error| {
        Err(format!(
            "{}: {error}",
            error.instance_path().as_str().trim_start_matches('/')
        ))
    })
}
