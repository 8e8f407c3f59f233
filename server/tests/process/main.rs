//! The program as a process: what its users, its operators and a power cut do to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod backups;
mod bridge;
mod budget;
mod canaries;
mod common;
mod documented;
mod elsewhere;
mod erased;
mod guides;
mod killed;
mod killed_model;
mod mounts;
mod parked;
mod policy;
mod postgres;
mod rebuilds;
mod refusals;
mod resealed;
mod roles;
mod runners;
mod secrets;
mod seed_and_cleanup;
mod snippets;
mod surface;
mod tampered;
mod traces;
mod two_houses;
mod viewers;
