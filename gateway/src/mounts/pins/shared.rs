//! Pins that houses share: a document with the digests of one mount's tools, which decides, and one beside it for each
//! tool, with the definition that was seen last, which is only for people to read.
//!
//! The document that decides is small, so it is looked at often and its size is no matter; a definition may be large.
//! What a house decides rests on the very state it replaces: whoever comes second reads again and decides again.

use std::sync::Arc;

use events::{Document, Documents, LogError};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::PinFile;
use super::{Known, Mark, Pins, PinsError};

/// How often a change is tried again after somebody else's.
const TRIES_MAX: usize = 32;
/// Definitions read or written at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct SharedPins {
    documents: Arc<dyn Documents>,
    name: String,
    /// What this house had to itself before.
    before: PinFile,
}

/// A definition, and the digest that names it.
#[derive(Debug, Serialize, Deserialize)]
struct Definition {
    seen: String,
    definition: Value,
}

impl SharedPins {
    pub(super) fn new(documents: Arc<dyn Documents>, mount: &str, before: PinFile) -> Self {
        Self {
            documents,
            name: format!("mounts.{mount}"),
            before,
        }
    }

    pub(super) async fn mark(&self) -> Result<Mark, LogError> {
        let there = self.documents.get(&self.name).await?;
        Ok(there.map(|there| there.revision))
    }

    pub(super) async fn known(&self) -> Result<Known, PinsError> {
        match self.documents.get(&self.name).await? {
            Some(there) => known(&there),
            None => Ok(Known {
                pins: self.before.read()?,
                mark: None,
            }),
        }
    }

    pub(super) async fn read(&self) -> Result<Pins, PinsError> {
        let mut pins = self.known().await?.pins;
        let mut bare: Vec<_> = pins
            .iter_mut()
            .filter(|(_, pin)| pin.definition.is_null())
            .collect();
        for some in bare.chunks_mut(AT_ONCE) {
            let told = try_join_all(some.iter().map(|(tool, pin)| self.definition(tool, &pin.seen))).await?;
            for ((_, pin), definition) in some.iter_mut().zip(told) {
                pin.definition = definition;
            }
        }
        Ok(pins)
    }

    /// Changes what everybody goes by. Where nobody has said anything of this mount yet, `change` begins with this
    /// house's file, which counts for nothing after that.
    pub(super) async fn change<T>(&self, change: impl Fn(&mut Pins) -> T) -> Result<(T, Known), PinsError> {
        for _ in 0..TRIES_MAX {
            let there = self.documents.get(&self.name).await?;
            let before = match &there {
                Some(there) => known(there)?,
                None => Known {
                    pins: self.before.read()?,
                    mark: None,
                },
            };
            let mut pins = before.pins.clone();
            let answer = change(&mut pins);
            if there.is_some() && pins == before.pins {
                return Ok((answer, before));
            }
            self.tell(&mut pins).await?;
            let body = serde_json::to_vec(&pins)?;
            if let Some(revision) = self.documents.put(&self.name, body, before.mark).await? {
                let mark = Some(revision);
                return Ok((answer, Known { pins, mark }));
            }
        }
        Err(PinsError::Contended)
    }

    /// Puts the definitions that come with `pins` beside, and takes them out. Whoever reads before the digests follow
    /// finds that they belong to others, and shows none.
    async fn tell(&self, pins: &mut Pins) -> Result<(), PinsError> {
        let new: Vec<_> = pins
            .iter_mut()
            .filter(|(_, pin)| !pin.definition.is_null())
            .map(|(tool, pin)| {
                let definition = Definition {
                    seen: pin.seen.clone(),
                    definition: pin.definition.take(),
                };
                (self.place(tool), definition)
            })
            .collect();
        for some in new.chunks(AT_ONCE) {
            try_join_all(
                some.iter()
                    .map(|(place, definition)| self.tell_one(place, definition)),
            )
            .await?;
        }
        Ok(())
    }

    async fn tell_one(&self, place: &str, definition: &Definition) -> Result<(), PinsError> {
        let body = serde_json::to_vec(definition)?;
        for _ in 0..TRIES_MAX {
            let over = self.documents.get(place).await?.map(|there| there.revision);
            match self.documents.put(place, body.clone(), over).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                // One that is too large to be kept cannot be read here. What counts is its digest.
                Err(LogError::Unfit(reason)) => {
                    tracing::warn!(%reason, "the definition of a mounted tool is not kept");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(PinsError::Contended)
    }

    async fn definition(&self, tool: &str, seen: &str) -> Result<Value, PinsError> {
        let Some(there) = self.documents.get(&self.place(tool)).await? else {
            return Ok(Value::Null);
        };
        let there: Definition = serde_json::from_slice(&there.body)?;
        Ok(if there.seen == seen {
            there.definition
        } else {
            Value::Null
        })
    }

    /// A tool may be called anything; a document may not.
    fn place(&self, tool: &str) -> String {
        format!("{}.{}", self.name, hex::encode(tool))
    }
}

fn known(there: &Document) -> Result<Known, PinsError> {
    Ok(Known {
        pins: serde_json::from_slice(&there.body)?,
        mark: Some(there.revision),
    })
}
