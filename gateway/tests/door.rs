//! The door with everything behind it: real identity, real tables and projector, a server on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "door/harness.rs"]
mod harness;

#[path = "door/admission.rs"]
mod admission;
#[path = "door/calibration.rs"]
mod calibration;
#[path = "door/expulsion.rs"]
mod expulsion;
#[path = "door/issuers.rs"]
mod issuers;
#[path = "door/jetstream.rs"]
mod jetstream;
#[path = "door/journal.rs"]
mod journal;
#[path = "door/lists.rs"]
mod lists;
#[path = "door/mounts.rs"]
mod mounts;
#[path = "door/ownership.rs"]
mod ownership;
#[path = "door/policy.rs"]
mod policy;
#[path = "door/record.rs"]
mod record;
#[path = "door/reseal.rs"]
mod reseal;
#[path = "door/sessions.rs"]
mod sessions;
#[path = "door/spaces.rs"]
mod spaces;
#[path = "door/stateless.rs"]
mod stateless;
#[path = "door/streams.rs"]
mod streams;
#[path = "door/sync.rs"]
mod sync;
#[path = "door/tools.rs"]
mod tools;
#[path = "door/transplant.rs"]
mod transplant;
#[path = "door/validation.rs"]
mod validation;
#[path = "door/writes.rs"]
mod writes;
