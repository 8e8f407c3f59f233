//! What tools say they seal, what the registry says is sealed, and what another program's registry says, held against
//! one another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::records::ENCRYPTION_REGISTRY;
use crate::registry::{ToolDescription, tools};

/// What kind of disagreement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptionFindingKind {
    /// One side seals a table that the other does not know.
    MissingTable,
    /// Both know the table, and seal different fields of it.
    FieldDrift,
    /// The other program knows the table and does not seal it. Advice: that may be meant.
    Disabled,
}

impl EncryptionFindingKind {
    /// Whether it is advice and no fault.
    pub fn is_advice(self) -> bool {
        self == Self::Disabled
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EncryptionFinding {
    /// Of which kind.
    pub kind: EncryptionFindingKind,
    /// The table.
    pub table: String,
    /// Who disagrees with the registry: a tool by its name, or `registry file`.
    pub with: String,
    /// Fields that only the registry seals.
    pub only_registry: Vec<String>,
    /// Fields that only the other side seals.
    pub only_other: Vec<String>,
}

impl fmt::Display for EncryptionFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, with, .. } = self;
        match self.kind {
            EncryptionFindingKind::MissingTable => {
                write!(
                    f,
                    "{table}: sealed by one of registry and {with}, unknown to the other"
                )
            }
            EncryptionFindingKind::Disabled => write!(f, "{table}: {with} does not seal it (advisory)"),
            EncryptionFindingKind::FieldDrift => write!(
                f,
                "{table}: only the registry seals [{}], only {with} seals [{}]",
                self.only_registry.join(", "),
                self.only_other.join(", ")
            ),
        }
    }
}

/// Another program's registry: its tables, each with whether it is sealed and which fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum RegistryFile {
    /// The tables under a member of that name.
    Wrapped {
        /// Tables by name.
        tables: BTreeMap<String, RegistryFileTable>,
    },
    /// The tables themselves.
    Bare(BTreeMap<String, RegistryFileTable>),
}

/// One table of another program's registry.
#[derive(Debug, Clone, Deserialize)]
pub struct RegistryFileTable {
    /// Whether the other program seals it.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Which fields.
    pub fields: Vec<String>,
}

fn enabled() -> bool {
    true
}

impl RegistryFile {
    fn tables(&self) -> &BTreeMap<String, RegistryFileTable> {
        match self {
            Self::Wrapped { tables } | Self::Bare(tables) => tables,
        }
    }
}

type Sealed<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Every disagreement between the built-in tools and the registry, and between the registry and `other`.
pub fn audit_encryption(other: Option<&RegistryFile>) -> Vec<EncryptionFinding> {
    let registry: Sealed<'_> = ENCRYPTION_REGISTRY
        .iter()
        .map(|entry| (entry.table, entry.fields.iter().copied().collect()))
        .collect();
    audit(&tools(), &registry, other)
}

fn audit(
    tools: &[ToolDescription],
    registry: &Sealed<'_>,
    other: Option<&RegistryFile>,
) -> Vec<EncryptionFinding> {
    let mut findings = BTreeSet::new();
    for tool in tools {
        let Some(declared) = tool.encrypted_fields else {
            continue;
        };
        let fields = declared.fields.iter().copied().collect();
        findings.extend(compare(
            declared.table,
            tool.name,
            registry.get(declared.table),
            Some(&fields),
        ));
    }
    if let Some(other) = other {
        let tables = registry
            .keys()
            .copied()
            .chain(other.tables().keys().map(String::as_str))
            .collect::<BTreeSet<_>>();
        for table in tables {
            let there = other.tables().get(table);
            if there.is_some_and(|there| !there.enabled) {
                findings.insert(EncryptionFinding {
                    kind: EncryptionFindingKind::Disabled,
                    table: table.to_owned(),
                    with: "registry file".to_owned(),
                    only_registry: Vec::new(),
                    only_other: Vec::new(),
                });
                continue;
            }
            let fields = there.map(|there| there.fields.iter().map(String::as_str).collect());
            findings.extend(compare(
                table,
                "registry file",
                registry.get(table),
                fields.as_ref(),
            ));
        }
    }
    findings.into_iter().collect()
}

/// What the registry's and another's fields of one table differ in.
fn compare(
    table: &str,
    with: &str,
    registry: Option<&BTreeSet<&str>>,
    other: Option<&BTreeSet<&str>>,
) -> Option<EncryptionFinding> {
    if registry == other {
        return None;
    }
    let fields = |side: Option<&BTreeSet<&str>>, than: Option<&BTreeSet<&str>>| {
        side.into_iter()
            .flatten()
            .filter(|field| !than.is_some_and(|than| than.contains(*field)))
            .map(|field| (*field).to_owned())
            .collect()
    };
    Some(EncryptionFinding {
        kind: if registry.is_none() || other.is_none() {
            EncryptionFindingKind::MissingTable
        } else {
            EncryptionFindingKind::FieldDrift
        },
        table: table.to_owned(),
        with: with.to_owned(),
        only_registry: fields(registry, other),
        only_other: fields(other, registry),
    })
}

#[cfg(test)]
mod tests {
    use super::EncryptionFindingKind::{Disabled, FieldDrift, MissingTable};
    use super::*;

    fn file(json: &str) -> RegistryFile {
        serde_json::from_str(json).unwrap()
    }

    /// Ours, as another program would write it down.
    fn ours() -> String {
        let tables: Vec<String> = ENCRYPTION_REGISTRY
            .iter()
            .map(|entry| {
                let fields = serde_json::to_string(entry.fields).unwrap();
                format!("\"{}\": {{\"enabled\": true, \"fields\": {fields}}}", entry.table)
            })
            .collect();
        format!("{{{}}}", tables.join(", "))
    }

    #[test]
    fn the_tools_of_this_program_seal_what_the_registry_says() {
        assert_eq!(audit_encryption(None), []);
        assert_eq!(audit_encryption(Some(&file(&ours()))), []);
        let wrapped = format!("{{\"tables\": {}}}", ours());
        assert_eq!(audit_encryption(Some(&file(&wrapped))), []);
    }

    #[test]
    fn a_missing_table_drifting_fields_and_a_disabled_table_are_told_apart() {
        let other = file(
            r#"{"tasks": {"fields": ["title", "notes"]}, "notes": {"enabled": false, "fields": []},
                "contacts": {"fields": ["name"]}}"#,
        );
        let found = audit_encryption(Some(&other));
        let kinds: Vec<_> = found
            .iter()
            .map(|finding| (finding.kind, finding.table.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                (MissingTable, "contacts"),
                (MissingTable, "journalEntries"),
                (FieldDrift, "tasks"),
                (Disabled, "notes")
            ]
        );
        let drift = &found[2];
        assert_eq!(drift.only_registry, ["description", "metadata", "subtasks"]);
        assert_eq!(drift.only_other, ["notes"]);
        assert!(Disabled.is_advice() && !FieldDrift.is_advice());
    }

    #[test]
    fn a_tool_that_seals_what_the_registry_does_not_know_is_found() {
        let mut registry: Sealed<'_> = BTreeMap::new();
        registry.insert("notes", BTreeSet::from(["title"]));
        let found = audit(&tools(), &registry, None);
        let of = |tool: &str| {
            found
                .iter()
                .find(|finding| finding.with == tool)
                .map(|it| it.kind)
        };
        assert_eq!(of("todo.create"), Some(EncryptionFindingKind::MissingTable));
        assert_eq!(of("notes.create"), Some(EncryptionFindingKind::FieldDrift));
        assert_eq!(of("habits.create"), None);
    }
}
