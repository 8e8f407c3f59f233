//! What others see of identity, on real SQLite files. `tests/identity_on_postgres` runs the same on Postgres, but for
//! `in_a_file.rs`: a test added to one of the other files is a test of both.

#![expect(clippy::unwrap_used, reason = "a test fails where its setup fails")]

mod accounts;
mod deletion;
mod handover;
mod in_a_file;
mod invitations;
mod keys_at_rest;
mod place;
mod room;
mod shared;
mod signing;
mod spaces;
mod suspension;
mod tokens;
mod vault;
