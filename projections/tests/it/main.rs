//! The memory as others use it: logs in, tables out.
#![expect(unreachable_pub, reason = "modules of one test binary")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers stop where they fail"
)]

mod calls;
mod crash;
mod erased;
mod findings;
mod folds;
mod fork;
mod histories;
mod jetstream;
mod operators;
mod parked;
mod postgres;
mod projector;
mod queries;
mod readers;
mod rebuild;
mod scrub;
mod shared;
mod simulation;
mod standby;
mod support;
mod tampered;
mod verify;
