//! What the room is opened with.

use std::time::Duration;

use crate::database::Database;
use crate::key_ring::KeyRing;

/// How identity is set up. Read from configuration by the caller; nothing here is looked up.
#[derive(Debug)]
pub struct IdentitySettings {
    /// Where the accounts are.
    pub database: Database,
    /// Seal master keys and signing keys at rest: the first one what is new, all of them what is there.
    pub keks: KeyRing,
    /// The `iss` of our tokens, and the only one we accept.
    pub issuer: String,
    /// The `aud` of our tokens: every token names all of these, and is accepted for any of them.
    pub audiences: Vec<String>,
    /// How long a token lives.
    pub token_ttl: Duration,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
}

/// What hashing a password costs. The cost is stored with each hash, so changing it affects new ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCost {
    /// Argon2id with 19 MiB, two passes, one lane: the first choice of OWASP's Password Storage Cheat Sheet.
    Production,
    /// Argon2id with the least memory it takes. Tests only: such a hash is quickly guessed.
    Fast,
}
