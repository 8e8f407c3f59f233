//! The cast against a real MCP server and a real login route, with a brain that does as it is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cassettes;
mod door;
mod house;
mod jetstream;
mod lifecycle;
mod logs;
mod models;
mod money;
mod scripted;
mod sharing;
mod ticks;
