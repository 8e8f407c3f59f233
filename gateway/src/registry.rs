//! The tools there are: specs with their compiled schemas, sorted by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde::Serialize;

use crate::error::GatewayError;
use crate::schema::Check;
use crate::tool::{EncryptedFields, Hint, Scope, ToolSpec};

/// The tools there are. Fixed once made, and the same for every caller.
#[derive(Debug)]
pub struct ToolRegistry {
    tools: BTreeMap<&'static str, Registered>,
}

/// A tool ready to be called.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) spec: ToolSpec,
    pub(crate) input: Check,
    pub(crate) output: Check,
    described: Tool,
}

impl ToolRegistry {
    /// The tools this program brings along.
    pub fn built_in() -> Result<Self, GatewayError> {
        Self::try_new(crate::tools::all())
    }

    /// The built-in tools and `more`.
    pub fn built_in_and(more: Vec<ToolSpec>) -> Result<Self, GatewayError> {
        Self::try_new(crate::tools::all().into_iter().chain(more).collect())
    }

    /// Exactly `specs`.
    ///
    /// # Errors
    /// [`GatewayError::Schema`] for a schema that cannot be compiled, [`GatewayError::DuplicateTool`] for a name
    /// used twice.
    pub fn try_new(specs: Vec<ToolSpec>) -> Result<Self, GatewayError> {
        let mut tools = BTreeMap::new();
        for spec in specs {
            let name = spec.about.name;
            let compiled = |which, schema| {
                Check::new(schema).map_err(|reason| GatewayError::Schema {
                    tool: name.to_owned(),
                    which,
                    reason,
                })
            };
            let registered = Registered {
                input: compiled("input", &spec.input)?,
                output: compiled("output", &spec.output)?,
                described: describe(&spec),
                spec,
            };
            if tools.insert(name, registered).is_some() {
                return Err(GatewayError::DuplicateTool {
                    tool: name.to_owned(),
                });
            }
        }
        Ok(Self { tools })
    }

    /// The tool of that name, whoever may see it. The policy gate decides who may call it.
    pub(crate) fn get(&self, name: &str) -> Option<&Registered> {
        self.tools.get(name)
    }

    /// What clients are shown: sorted by name, nothing of admin scope.
    pub(crate) fn listed(&self) -> Vec<Tool> {
        self.visible().map(|tool| tool.described.clone()).collect()
    }

    /// What clients are shown, as the JSON of `tools/list`: for documentation, snapshots and tests.
    pub fn describe_for_clients(&self) -> serde_json::Value {
        serde_json::to_value(self.listed()).unwrap_or_default()
    }

    /// One tool as clients are shown it.
    pub(crate) fn listed_tool(&self, name: &str) -> Option<Tool> {
        self.get(name)
            .filter(|tool| tool.spec.about.scope != Scope::Admin)
            .map(|tool| tool.described.clone())
    }

    /// Names of the tools clients are shown.
    pub(crate) fn visible_names(&self) -> impl Iterator<Item = &'static str> {
        self.visible().map(|tool| tool.spec.about.name)
    }

    fn visible(&self) -> impl Iterator<Item = &Registered> {
        self.tools
            .values()
            .filter(|tool| tool.spec.about.scope != Scope::Admin)
    }
}

fn describe(spec: &ToolSpec) -> Tool {
    let about = &spec.about;
    let annotations = ToolAnnotations::from_raw(
        None,
        Some(about.hint == Hint::Read),
        Some(about.hint == Hint::Destructive),
        Some(about.hint == Hint::Read || about.idempotent),
        Some(false),
    );
    Tool::new(about.name, about.description, Arc::new(spec.input.clone()))
        .with_title(about.title)
        .with_raw_output_schema(Arc::new(spec.output.clone()))
        .with_annotations(annotations)
}

/// A tool as documentation and audits see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolDescription {
    /// Its MCP name.
    pub name: &'static str,
    /// The module it belongs to.
    pub module: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Who may see it.
    pub scope: Scope,
    /// What it does to the data.
    pub hint: Hint,
    /// What it says it writes sealed.
    pub encrypted_fields: Option<EncryptedFields>,
}

/// The built-in tools, sorted by name.
pub fn tools() -> Vec<ToolDescription> {
    let mut described: Vec<_> = crate::tools::all()
        .iter()
        .map(|spec| ToolDescription {
            name: spec.about.name,
            module: spec.about.module(),
            title: spec.about.title,
            description: spec.about.description,
            scope: spec.about.scope,
            hint: spec.about.hint,
            encrypted_fields: spec.about.encrypted,
        })
        .collect();
    described.sort_by_key(|tool| tool.name);
    described
}

/// The modules of the built-in tools, sorted.
pub fn module_names() -> Vec<&'static str> {
    let mut names: Vec<_> = tools().iter().map(|tool| tool.module).collect();
    names.dedup();
    names
}
