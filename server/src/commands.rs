//! One file a command (or a pair that shares its work).

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod behaviour;
pub(crate) mod bridge;
pub(crate) mod cleanup;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
mod drift;
pub(crate) mod events;
pub(crate) mod findings;
pub(crate) mod gateway;
pub(crate) mod health;
pub(crate) mod mark;
pub(crate) mod mounts;
pub(crate) mod parked;
pub(crate) mod personas;
pub(crate) mod policy;
pub(crate) mod projector;
pub(crate) mod rebuild;
pub(crate) mod runner;
pub(crate) mod schema;
pub(crate) mod seal;
pub(crate) mod seed;
pub(crate) mod tick;
pub(crate) mod token;
pub(crate) mod top;
mod until;
pub(crate) mod up;
pub(crate) mod vault;
pub(crate) mod verify;
pub(crate) mod viewers;

use crate::config::Config;
use crate::exit::CommandError;

/// Where the log is that a role shares with others; it shares a Postgres with them too.
///
/// # Errors
/// [`CommandError::Usage`] without either: a file and a child of its own are nobody else's.
fn shared_place<'a>(role: &str, config: &'a Config) -> Result<&'a str, CommandError> {
    let missing = match (&config.nats, &config.database) {
        (Some(nats), Some(_)) => return Ok(nats),
        (None, Some(_)) => "its NATS server with --nats",
        (Some(_), None) => "its Postgres database with --database: SQLite is for one process",
        (None, None) => "its NATS server with --nats and its Postgres database with --database",
    };
    Err(CommandError::Usage(format!(
        "a {role} works on what others share: name {missing}; `dramatis up` is everything in one process"
    )))
}
