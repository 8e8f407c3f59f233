//! What a mounted server's tools were when they were approved, by digest.
//!
//! A server that is trusted today may describe its tools otherwise tomorrow, and a model does what a description says.
//! So a definition is approved once, and one that differs is kept from everybody until somebody approves it again.
//!
//! A house that has its nats-server to itself keeps a file a mount. Houses that share one share what is approved as
//! well: one document a mount, replaced by compare and set.

mod file;
mod shared;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use events::{Documents, LogError};
use rmcp::model::Tool;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::file::PinFile;
use self::shared::SharedPins;
use super::settings::{MountsSettings, Trust};

/// Tools of one mount that are remembered. A server that thinks of ever new names has none beyond.
const PINS_MAX: usize = 2_048;

/// What is known of one tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Digest of the definition that is approved, if one is.
    pub approved: Option<String>,
    /// Digest of the definition the server gave last.
    pub seen: String,
    /// That definition, for whoever is to approve it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub definition: Value,
}

impl Pin {
    /// Whether the definition that was seen last waits for approval.
    pub fn is_quarantined(&self) -> bool {
        self.approved.as_ref() != Some(&self.seen)
    }
}

/// What is known of a mount's tools, by the server's own names.
pub type Pins = BTreeMap<String, Pin>;

/// Pins, and which of their states they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    pub(super) pins: Pins,
    pub(super) mark: Mark,
}

/// Is another one whenever something may have changed.
pub(super) type Mark = Option<u64>;

/// What is approved is not known, or cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The file.
    #[error(transparent)]
    File(#[from] io::Error),
    /// What houses share.
    #[error(transparent)]
    Shared(#[from] LogError),
    /// It is not what was written there.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Others kept changing it.
    #[error("others keep changing it; try again")]
    Contended,
}

/// Where the pins of one mount are kept.
#[derive(Debug, Clone)]
pub struct PinStore(Kept);

#[derive(Debug, Clone)]
enum Kept {
    File(PinFile),
    Shared(SharedPins),
}

impl PinStore {
    /// That of mount `name`, where `settings` say.
    pub fn of(settings: &MountsSettings, name: &str) -> Self {
        match &settings.shared {
            Some(documents) => Self::shared(documents.clone(), &settings.folder, name),
            None => Self::file(&settings.folder, name),
        }
    }

    /// A file in `folder`, which may not be there yet.
    pub fn file(folder: &Path, name: &str) -> Self {
        Self(Kept::File(PinFile::of(folder, name)))
    }

    /// A document that houses share; where there is none yet, it begins with what the file in `folder` says.
    pub fn shared(documents: Arc<dyn Documents>, folder: &Path, name: &str) -> Self {
        let before = PinFile::of(folder, name);
        Self(Kept::Shared(SharedPins::new(documents, name, before)))
    }

    /// What is known, with the definitions.
    ///
    /// # Errors
    /// [`PinsError`].
    pub async fn read(&self) -> Result<Pins, PinsError> {
        match &self.0 {
            Kept::File(file) => Ok(file.read()?),
            Kept::Shared(shared) => shared.read().await,
        }
    }

    /// Approves every definition as it was seen last, or only that of `tool`. Answers with the names that were waiting.
    ///
    /// # Errors
    /// [`PinsError`].
    pub async fn approve(&self, tool: Option<&str>) -> Result<Vec<String>, PinsError> {
        let approve = |pins: &mut Pins| approve(pins, tool);
        match &self.0 {
            Kept::File(file) => Ok(file.change(approve)?.0),
            Kept::Shared(shared) => Ok(shared.change(approve).await?.0),
        }
    }

    /// Writes down what a server offers now, and answers with what is known afterwards.
    pub(super) async fn see(&self, tools: &[Tool], trust: Trust) -> Result<Known, PinsError> {
        let see = |pins: &mut Pins| see(pins, tools, trust);
        match &self.0 {
            Kept::File(file) => Ok(file.change(see)?.1),
            Kept::Shared(shared) => Ok(shared.change(see).await?.1),
        }
    }

    /// What is known, as far as offering goes: the definitions may be missing.
    pub(super) async fn known(&self) -> Result<Known, PinsError> {
        match &self.0 {
            Kept::File(file) => Ok(file.known()?),
            Kept::Shared(shared) => Ok(shared.known().await?),
        }
    }

    /// Which state it is in now.
    pub(super) async fn mark(&self) -> Result<Mark, PinsError> {
        match &self.0 {
            Kept::File(file) => Ok(file.mark()),
            Kept::Shared(shared) => Ok(shared.mark().await?),
        }
    }
}

/// Whether `tool` is approved as it is described here, whatever others have seen of it.
pub(super) fn is_approved(pins: &Pins, tool: &Tool) -> bool {
    let approved = pins.get(tool.name.as_ref()).and_then(|pin| pin.approved.as_ref());
    approved.is_some_and(|approved| *approved == digest(tool).0)
}

fn approve(pins: &mut Pins, tool: Option<&str>) -> Vec<String> {
    let waiting = pins
        .iter_mut()
        .filter(|(name, pin)| pin.is_quarantined() && tool.is_none_or(|tool| tool == *name));
    waiting
        .map(|(name, pin)| {
            pin.approved = Some(pin.seen.clone());
            name.clone()
        })
        .collect()
}

/// A tool that is new is approved or not as `trust` says; of one that is known, only what was seen last changes.
fn see(pins: &mut Pins, tools: &[Tool], trust: Trust) {
    for tool in tools {
        let name = tool.name.as_ref();
        if !pins.contains_key(name) && pins.len() >= PINS_MAX {
            continue;
        }
        let (seen, definition) = digest(tool);
        let is_trusted = trust == Trust::FirstUse;
        let pin = pins.entry(name.to_owned()).or_insert_with(|| Pin {
            approved: is_trusted.then(|| seen.clone()),
            seen: String::new(),
            definition: Value::Null,
        });
        if pin.seen != seen {
            pin.seen = seen;
            pin.definition = definition;
        }
    }
}

/// The digest of a definition, and the definition it is of. The order of members is no part of it.
fn digest(tool: &Tool) -> (String, Value) {
    let mut definition = serde_json::to_value(tool).unwrap_or_default();
    definition.sort_all_objects();
    let digest = Sha256::digest(definition.to_string());
    (hex::encode(digest), definition)
}

#[cfg(test)]
mod tests;
