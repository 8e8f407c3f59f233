//! The door: everything a person's or a persona's client does comes in here, over MCP, under the same rules.
//!
//! ```text
//! POST /mcp ─▶ door: size ▸ host, origin ▸ token ▸ space ▸ session's owner ▸ form of the message
//!                │  the Principal, made anew from the request's own token
//!                ▼
//!              rmcp: both revisions on one path, 2025-11-25 with sessions and 2026-07-28 without
//!                │                        (a plain call in good form takes the short way: door/short.rs)
//!                ▼
//!              dispatch: policy gate ▸ start on the record ▸ input schema ▸ tool ▸ output schema ▸ end
//!                                                                            │
//!         seal fields ▸ append RecordChanged ▸ wait for the tables ▸ read back ▸ open fields
//! ```
//!
//! What holds:
//! * A request is served for the one its own token names. A session id proves nothing: it is looked up for its owner
//!   alone, and a stranger gets 403 while the owner's session lives on.
//! * This room never writes a table. It appends, and reads what the projections made of it.
//! * A sealed field's text is in no event, no table, no error, no log line and no metric.
//! * No tool runs before its call is in the log, and every call there comes to one outcome.
//! * Whoever is expelled has nothing under way any more, and gets nothing under way again: so nothing of it is
//!   appended after its erasure.
//! * Whoever wrote reads its own write next, or is told that it is stored but not visible yet.
//! * A session at rest is a row of a table: no task, no channel, no buffer.
//!
//! # To add a tool
//! 1. In the module's file in `src/tools/` write a struct for what it takes (`deny_unknown_fields`; every field with a
//!    doc comment, which clients see) and one for what it answers, the `async fn` between them, and an entry in the
//!    file's `tools()`. A new module is a new file and one line in `src/tools.rs`.
//! 2. If it stores something secret, name table and fields in its `About` and in [`ENCRYPTION_REGISTRY`]
//!    (a test compares the two).
//! 3. Run `tests/schemas.rs` and read the new schema as a newcomer would.

mod annex;
mod calibration;
mod call;
mod call_log;
mod dispatch;
mod door;
mod encryption_audit;
mod error;
pub mod field_crypto;
mod gateway;
mod guests;
mod keys;
mod lifecycle;
mod lists;
mod mcp;
mod metadata;
mod mounts;
mod notices;
mod parsers;
mod policy;
mod problem;
mod records;
mod registry;
mod reseal;
mod schema;
mod seal;
mod sessions;
mod settings;
mod sync;
mod telemetry;
mod tool;
mod tools;
mod trace;

pub use annex::Annex;
pub use call::{CallContext, Principal};
pub use door::{Door, MCP_PATH};
pub use encryption_audit::{
    EncryptionFinding, EncryptionFindingKind, RegistryFile, RegistryFileTable, audit_encryption,
};
pub use error::GatewayError;
pub use gateway::{Gateway, GatewaySnapshot, StillServed};
pub use mounts::{
    ClientAuthentication, MountSettings, MountSnapshot, MountedTool, MountsSettings, Pin, PinStore, Pins,
    PinsError, SubjectToken, TokenExchange, ToolOverride, Trust, Upstream, mounted_tools,
};
pub use notices::{Change, Notices};
pub use parsers::Parsers;
pub use policy::{
    Explanation, PolicyFault, PolicyRules, PolicySubject, PolicyTool, RecordedCall, RefusalAnswer, Replay,
    Replayed, Ruling,
};
pub use records::ENCRYPTION_REGISTRY;
pub use registry::{ToolDescription, ToolRegistry, module_names, tools};
pub use reseal::{ResealStep, Resealed};
pub use sessions::manager::let_stream_go;
pub use settings::{GatewaySettings, PolicyMode, PolicySettings, RecordCalls};
pub use sync::{
    CLOCK_AHEAD_MAX, ServerChange, StillMay, SyncChange, SyncClient, SyncError, SyncPage, SyncTold,
};
pub use tool::{About, EncryptedFields, Hint, Scope, ToolError, ToolSpec};
