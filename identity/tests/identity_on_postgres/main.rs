//! What others see of identity on Postgres: all that they see of it in a file, and that several processes share it.

#![expect(clippy::unwrap_used, reason = "a test fails where its setup fails")]

mod on_postgres;
mod place;

#[path = "../identity/accounts.rs"]
mod accounts;
#[path = "../identity/deletion.rs"]
mod deletion;
#[path = "../identity/handover.rs"]
mod handover;
#[path = "../identity/invitations.rs"]
mod invitations;
#[path = "../identity/keys_at_rest.rs"]
mod keys_at_rest;
#[path = "../identity/room.rs"]
mod room;
#[path = "../identity/shared.rs"]
mod shared;
#[path = "../identity/signing.rs"]
mod signing;
#[path = "../identity/spaces.rs"]
mod spaces;
#[path = "../identity/suspension.rs"]
mod suspension;
#[path = "../identity/tokens.rs"]
mod tokens;
#[path = "../identity/vault.rs"]
mod vault;
