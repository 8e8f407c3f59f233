//! The tools there are: specs with their compiled schemas, sorted by name.
//!
//! Those this program brings along are fixed. Those of mounted servers come and go as a whole snapshot, so that
//! whoever lists or calls sees one state of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use rmcp::model::{Tool, ToolAnnotations};
use serde::Serialize;

use crate::error::GatewayError;
use crate::schema::{self, Check};
use crate::tool::{About, EncryptedFields, Hint, Scope, ToolSpec};

/// The tools there are, the same for every caller.
#[derive(Debug)]
pub struct ToolRegistry {
    built_in: Tools,
    now: RwLock<Arc<Tools>>,
}

type Tools = BTreeMap<&'static str, Arc<Registered>>;

/// A tool ready to be called.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) spec: ToolSpec,
    /// None of a mounted tool: what its arguments should be is for its server to say, in its own words.
    pub(crate) input: Option<Check>,
    pub(crate) output: Option<Check>,
    described: Tool,
}

impl Registered {
    /// A tool of a mounted server, shown to clients as `described`. Its schema must be one.
    pub(crate) fn mounted(spec: ToolSpec, described: Tool) -> Result<Self, String> {
        schema::compiles(&spec.input)?;
        Ok(Self {
            input: None,
            output: None,
            spec,
            described,
        })
    }
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
        let mut built_in = Tools::new();
        for spec in specs {
            let name = spec.about.name;
            let compiled = |which, schema| {
                Check::new(schema).map_err(|reason| GatewayError::Schema {
                    tool: name.to_owned(),
                    which,
                    reason,
                })
            };
            let output = spec.output.as_ref();
            let registered = Registered {
                input: Some(compiled("input", &spec.input)?),
                output: output.map(|schema| compiled("output", schema)).transpose()?,
                described: describe(&spec),
                spec,
            };
            if built_in.insert(name, Arc::new(registered)).is_some() {
                return Err(GatewayError::DuplicateTool {
                    tool: name.to_owned(),
                });
            }
        }
        let now = RwLock::new(Arc::new(built_in.clone()));
        Ok(Self { built_in, now })
    }

    /// Puts `mounted` in the place of all mounted tools there were. A name of our own stays ours, and of two mounted
    /// tools of one name the first stays.
    pub(crate) fn set_mounted(&self, mounted: Vec<Arc<Registered>>) -> Replaced {
        let mut tools = self.built_in.clone();
        let mut shadowed = Vec::new();
        for tool in mounted {
            let name = tool.spec.about.name;
            if tools.contains_key(name) {
                shadowed.push(name);
            } else {
                tools.insert(name, tool);
            }
        }
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *now, Arc::new(tools));
        let changed = changed(&before, &now);
        Replaced { changed, shadowed }
    }

    fn now(&self) -> Arc<Tools> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tool of that name, whoever may see it. The policy gate decides who may call it.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Registered>> {
        self.now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// What clients are shown: sorted by name, nothing of admin scope.
    pub(crate) fn listed(&self) -> Vec<Tool> {
        let tools = self.now();
        visible(&tools).map(|tool| tool.described.clone()).collect()
    }

    /// Those of them that `is_shown` lets through.
    pub(crate) fn listed_where(&self, is_shown: impl Fn(&About) -> bool) -> Vec<Tool> {
        let tools = self.now();
        visible(&tools)
            .filter(|tool| is_shown(&tool.spec.about))
            .map(|tool| tool.described.clone())
            .collect()
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
    pub(crate) fn visible_names(&self) -> Vec<&'static str> {
        visible(&self.now()).map(|tool| tool.spec.about.name).collect()
    }
}

/// What came of putting other mounted tools in the place of those there were.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Tools that are new, gone, or shown otherwise, as they were and as they are.
    pub(crate) changed: Vec<Arc<Registered>>,
    /// Names of tools that found their name taken.
    pub(crate) shadowed: Vec<&'static str>,
}

fn changed(before: &Tools, now: &Tools) -> Vec<Arc<Registered>> {
    let gone = before.values().filter(|tool| !is_shown_so(tool, now));
    let new = now.values().filter(|tool| !is_shown_so(tool, before));
    gone.chain(new).cloned().collect()
}

fn is_shown_so(tool: &Registered, among: &Tools) -> bool {
    let same = among.get(tool.spec.about.name);
    same.is_some_and(|same| same.described == tool.described)
}

fn visible(tools: &Tools) -> impl Iterator<Item = &Arc<Registered>> {
    tools
        .values()
        .filter(|tool| tool.spec.about.scope != Scope::Admin)
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
    let mut tool = Tool::new(about.name, about.description, Arc::new(spec.input.clone()))
        .with_title(about.title)
        .with_annotations(annotations);
    tool.output_schema = spec.output.clone().map(Arc::new);
    tool
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
