//! One file a command (or a pair that shares its work).

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod behaviour;
pub(crate) mod bridge;
pub(crate) mod cleanup;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
mod drift;
pub(crate) mod events;
pub(crate) mod mark;
pub(crate) mod mounts;
pub(crate) mod parked;
pub(crate) mod personas;
pub(crate) mod policy;
pub(crate) mod rebuild;
pub(crate) mod runner;
pub(crate) mod seed;
pub(crate) mod tick;
pub(crate) mod token;
pub(crate) mod top;
mod until;
pub(crate) mod up;
pub(crate) mod vault;
pub(crate) mod verify;
