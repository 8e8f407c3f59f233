//! Identifiers. Each is its own type, so that a tick cannot be handed over where a call was meant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes an id may have at most.
const ID_BYTES_MAX: usize = 200;

/// The namespace of every name-based id of ours: UUIDv5 of the DNS name `dramatis.events`.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"dramatis.events")
}

/// UUIDv5 over `parts`, each with its length in front so that `ab`, `c` and `a`, `bc` differ.
fn name_based(kind: &str, parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in std::iter::once(&kind).chain(parts) {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&namespace(), &name)
}

/// An id that came from outside and cannot be one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {ID_BYTES_MAX} bytes without control characters")]
pub struct InvalidId {
    /// The type of id that was asked for, in words.
    pub what: &'static str,
}

macro_rules! string_ids {
    ($($(#[$doc:meta])* $name:ident: $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes an id from outside.
            ///
            /// # Errors
            /// [`InvalidId`] when it is empty, longer than 200 bytes or holds control characters.
            pub fn try_new(id: impl Into<String>) -> Result<Self, InvalidId> {
                let id = id.into();
                if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
                    return Err(InvalidId { what: $what });
                }
                Ok(Self(id))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// An id that follows from `parts` alone, the same on every machine and every retry (UUIDv5).
            pub fn derived(parts: &[&str]) -> Self {
                Self(name_based($what, parts).to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id.to_string())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(id: String) -> Result<Self, InvalidId> {
                Self::try_new(id)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::try_new(id)
            }
        }
    )*};
}

string_ids! {
    /// An account: human, persona or system.
    UserId: "user id";
    /// A persona. Its text is that of the persona's account.
    PersonaId: "persona id";
    /// One tick of one persona.
    TickId: "tick id";
    /// One tool call. An outcome belongs to the call whose id it carries.
    CallId: "call id";
    /// One request to a model. Each attempt is one of its own.
    RequestId: "request id";
    /// A space: the tenant whose members share records.
    SpaceId: "space id";
    /// An invitation into a space.
    InvitationId: "invitation id";
    /// One record in a table of a space.
    RecordId: "record id";
    /// An MCP session as the gateway's records name it. It is not the bearer handle on the wire.
    SessionId: "session id";
    /// A deployment of the app, by the name its operator gave it.
    DeployName: "deploy name";
}

impl From<PersonaId> for UserId {
    fn from(id: PersonaId) -> Self {
        Self(id.0)
    }
}

impl From<UserId> for PersonaId {
    fn from(id: UserId) -> Self {
        Self(id.0)
    }
}

/// Names one commit. It is the message id on the log, so a retry of the same decision is the same commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CommitId(Uuid);

impl CommitId {
    /// The id that follows from a natural key alone (UUIDv5): a retry finds its own earlier success.
    pub fn derived(parts: &[&str]) -> Self {
        Self(name_based("commit", parts))
    }

    /// The id as a UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for CommitId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CommitId {
    type Err = uuid::Error;
    fn from_str(id: &str) -> Result<Self, uuid::Error> {
        id.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_where_the_parts_are_split() {
        assert_ne!(CommitId::derived(&["ab", "c"]), CommitId::derived(&["a", "bc"]));
        assert_eq!(CommitId::derived(&["ab", "c"]), CommitId::derived(&["ab", "c"]));
    }

    #[test]
    fn ids_with_control_characters_or_without_text_are_refused() {
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert_eq!(UserId::try_new(bad), Err(InvalidId { what: "user id" }));
        }
        assert!(serde_json::from_str::<TickId>("\"\"").is_err());
    }
}
