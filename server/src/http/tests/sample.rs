//! Bodies that are right, for tests to send as they are or to spoil.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

/// An account's email and a password.
pub(super) fn credentials(email: &str) -> Value {
    json!({ "email": email, "password": "correct horse" })
}

/// A persona as a seed script of the system before this one sends it, with its derived password.
pub(super) fn persona(email: &str) -> Value {
    let secret = SecretString::from(catalog::DEVELOPMENT_SEED_SECRET);
    json!({
        "email": email,
        "name": "Anna",
        "password": catalog::derive_password(&secret, email).expose_secret(),
        "archetype": "adhd-student",
        "systemPrompt": "Du bist Anna.",
        "moduleMix": { "todo": 3, "habits": 1 },
        "tickCadence": "daily",
    })
}

/// A tick's three actions as an outside runner reports them.
pub(super) fn actions() -> Value {
    json!({ "actions": [
        { "tickId": "tick-1", "toolName": "todo.create", "inputHash": "ab", "result": "ok", "latencyMs": 12 },
        { "tickId": "tick-1", "toolName": "todo.list", "result": "error", "errorMessage": "no such list" },
        { "tickId": "tick-1", "toolName": "mcp__mana__notes_create", "result": "ok" },
    ] })
}

/// A tick's ratings as an outside runner reports them.
pub(super) fn feedback() -> Value {
    json!({ "feedback": [
        { "tickId": "tick-1", "module": "todo", "rating": 2, "notes": "the list is not there" },
        { "tickId": "tick-1", "module": "notes", "rating": 5 },
    ] })
}
