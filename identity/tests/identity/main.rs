//! What others see of identity, on real SQLite files.

#![expect(clippy::unwrap_used, reason = "a test fails where its setup fails")]

mod accounts;
mod deletion;
mod invitations;
mod keys_at_rest;
mod room;
mod signing;
mod spaces;
mod suspension;
mod tokens;
mod vault;
