//! The room's metrics: described once, starting at zero, never labelled with anything a caller sent.

use events::CallOutcome;
use identity::AccountKind;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::policy::Looked;
use crate::registry::ToolRegistry;

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer.
    Ok,
    /// The arguments did not fit the schema.
    Invalid,
    /// The tool said no.
    Rejected,
    /// The policy gate said no.
    Refused,
    /// The house was at fault.
    Failed,
    /// The tool panicked.
    Panicked,
    /// Its caller gave it up.
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Ok,
        Self::Invalid,
        Self::Rejected,
        Self::Refused,
        Self::Failed,
        Self::Panicked,
        Self::Cancelled,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Outcome {
    /// How the call's end stands on the record.
    pub(crate) fn on_record(self) -> (CallOutcome, Option<&'static str>) {
        match self {
            Self::Ok => (CallOutcome::Ok, None),
            Self::Refused => (CallOutcome::Refused, None),
            Self::Cancelled => (CallOutcome::Cancelled, None),
            Self::Invalid | Self::Rejected | Self::Failed | Self::Panicked => {
                (CallOutcome::Error, Some(self.as_str()))
            }
        }
    }
}

const TOOL_CALLS: &str = "gateway_tool_calls_total";
const TOOL_CALL_DURATION: &str = "gateway_tool_call_duration_seconds";
const POLICY_DECISIONS: &str = "gateway_policy_decisions_total";
const CALL_EVENTS: &str = "gateway_call_events_total";
const CALL_COMMITS: &str = "gateway_call_commits_total";
const CALLS_UNRECORDED: &str = "gateway_calls_unrecorded_total";
const CALL_JOURNAL_BYTES: &str = "gateway_call_journal_bytes";
const POLICY_VERSION: &str = "gateway_policy_version";
const POLICY_RELOADS: &str = "gateway_policy_reloads_total";
const SESSIONS: &str = "gateway_sessions";
const AUTH_FAILURES: &str = "gateway_auth_failures_total";
const MOUNT_UP: &str = "gateway_mount_up";
const MOUNT_TOOLS: &str = "gateway_mount_tools";
const MOUNT_SESSIONS: &str = "gateway_mount_sessions";
const MOUNT_FAILURES: &str = "gateway_mount_failures_total";
const TOKEN_EXCHANGES: &str = "gateway_token_exchanges_total";
pub(crate) const READ_YOUR_WRITES_TIMEOUTS: &str = "gateway_read_your_writes_timeouts_total";

pub(crate) const FIELDS_REFUSED: &str = "gateway_fields_refused_total";
pub(crate) const FIELDS_RESEALED: &str = "gateway_fields_resealed_total";

/// Describes what there is to measure and starts it at zero.
pub(crate) fn describe(registry: &ToolRegistry) {
    describe_counter!(
        TOOL_CALLS,
        Unit::Count,
        "tool calls by tool, outcome and kind of caller"
    );
    describe_histogram!(
        TOOL_CALL_DURATION,
        Unit::Seconds,
        "time from a call's arrival to its answer"
    );
    describe_counter!(POLICY_DECISIONS, Unit::Count, "decisions of the policy gate");
    describe_counter!(CALL_EVENTS, Unit::Count, "events about calls sent to the log");
    describe_counter!(
        CALL_COMMITS,
        Unit::Count,
        "commits they were sent in, grouped by account"
    );
    describe_counter!(
        CALLS_UNRECORDED,
        Unit::Count,
        "calls that could not be recorded and were not carried out"
    );
    describe_gauge!(
        CALL_JOURNAL_BYTES,
        Unit::Bytes,
        "what stands in the journal of calls and is not in the log yet"
    );
    gauge!(CALL_JOURNAL_BYTES).set(0.0);
    for counter in [CALL_EVENTS, CALL_COMMITS, CALLS_UNRECORDED] {
        counter!(counter).increment(0);
    }
    describe_gauge!(POLICY_VERSION, Unit::Count, "number of the rules in force");
    describe_counter!(
        POLICY_RELOADS,
        Unit::Count,
        "policy files that were read after a change, by outcome"
    );
    for outcome in ["loaded", "refused"] {
        counter!(POLICY_RELOADS, "outcome" => outcome).increment(0);
    }
    describe_gauge!(SESSIONS, Unit::Count, "open MCP sessions");
    describe_counter!(
        AUTH_FAILURES,
        Unit::Count,
        "requests refused for whom they came from, by reason"
    );
    describe_counter!(
        READ_YOUR_WRITES_TIMEOUTS,
        Unit::Count,
        "writes whose own reader could not wait for the tables"
    );
    describe_counter!(
        FIELDS_REFUSED,
        Unit::Count,
        "encrypted fields that did not open, by reason"
    );
    for reason in ["tampered", "misplaced", "malformed", "unbound", "unknown-form"] {
        counter!(FIELDS_REFUSED, "reason" => reason).increment(0);
    }
    describe_counter!(
        FIELDS_RESEALED,
        Unit::Count,
        "encrypted fields that were sealed anew in the form and with the key of today"
    );
    counter!(FIELDS_RESEALED).increment(0);
    describe_gauge!(
        MOUNT_UP,
        Unit::Count,
        "whether a mounted server answered when it was last asked"
    );
    describe_gauge!(MOUNT_TOOLS, Unit::Count, "tools of a mounted server, by state");
    describe_gauge!(MOUNT_SESSIONS, Unit::Count, "open sessions with a mounted server");
    describe_counter!(
        MOUNT_FAILURES,
        Unit::Count,
        "requests a mounted server left without an answer, by reason"
    );
    describe_counter!(
        TOKEN_EXCHANGES,
        Unit::Count,
        "tokens asked for at the token endpoints of mounted servers, by outcome"
    );
    for tool in registry.visible_names() {
        for outcome in Outcome::ALL {
            for kind in [AccountKind::Human, AccountKind::Persona] {
                tool_calls(tool, outcome.as_str(), kind).increment(0);
            }
        }
    }
    for reason in ["missing", "expired", "foreign-session", "not-a-member"] {
        counter!(AUTH_FAILURES, "reason" => reason).increment(0);
    }
    counter!(READ_YOUR_WRITES_TIMEOUTS).increment(0);
    gauge!(SESSIONS).set(0.0);
}

/// Calls of people are told apart from those of personas: what people do is never a figure with synthetic users in it.
fn tool_calls(tool: &'static str, outcome: &'static str, kind: AccountKind) -> metrics::Counter {
    counter!(TOOL_CALLS, "tool" => tool, "outcome" => outcome, "caller" => kind.as_str())
}

pub(crate) fn tool_call(tool: &'static str, outcome: Outcome, kind: AccountKind, seconds: f64) {
    tool_calls(tool, outcome.as_str(), kind).increment(1);
    histogram!(TOOL_CALL_DURATION, "tool" => tool).record(seconds);
}

pub(crate) fn unknown_tool(kind: AccountKind) {
    tool_calls("unknown", "unknown", kind).increment(1);
}

pub(crate) fn policy_decision(decision: &'static str, reason: &str, mode: &'static str) {
    counter!(POLICY_DECISIONS, "decision" => decision, "reason" => reason.to_owned(), "mode" => mode)
        .increment(1);
}

/// The number of the rules in force.
pub(crate) fn policy_version(version: u32) {
    gauge!(POLICY_VERSION).set(f64::from(version));
}

pub(crate) fn policy_looked(looked: &Looked) {
    let outcome = match looked {
        Looked::Unchanged => return,
        Looked::Loaded => "loaded",
        Looked::Refused(_) => "refused",
    };
    counter!(POLICY_RELOADS, "outcome" => outcome).increment(1);
}

/// One commit about calls goes to the log.
pub(crate) fn call_commit(events: usize) {
    counter!(CALL_COMMITS).increment(1);
    counter!(CALL_EVENTS).increment(events as u64);
}

/// What the journal holds that is not in the log yet.
pub(crate) fn call_journal(bytes: u64) {
    gauge!(CALL_JOURNAL_BYTES).set(bytes as f64);
}

pub(crate) fn call_unrecorded() {
    counter!(CALLS_UNRECORDED).increment(1);
}

pub(crate) fn auth_failure(reason: &'static str) {
    counter!(AUTH_FAILURES, "reason" => reason).increment(1);
}

pub(crate) fn sessions(open: usize) {
    gauge!(SESSIONS).set(open as f64);
}

pub(crate) fn mount_up(mount: &str, is_up: bool) {
    gauge!(MOUNT_UP, "mount" => mount.to_owned()).set(f64::from(u8::from(is_up)));
}

/// Tools of a mounted server: on offer, waiting for approval, and such as cannot be offered.
pub(crate) fn mount_tools(mount: &str, [offered, quarantined, unusable]: [usize; 3]) {
    for (state, tools) in [
        ("offered", offered),
        ("quarantined", quarantined),
        ("unusable", unusable),
    ] {
        gauge!(MOUNT_TOOLS, "mount" => mount.to_owned(), "state" => state).set(tools as f64);
    }
}

pub(crate) fn mount_sessions(mount: &str, open: usize) {
    gauge!(MOUNT_SESSIONS, "mount" => mount.to_owned()).set(open as f64);
}

pub(crate) fn mount_failure(mount: &str, reason: &'static str) {
    counter!(MOUNT_FAILURES, "mount" => mount.to_owned(), "reason" => reason).increment(1);
}

/// A token was asked for: `issued`, `refused`, or `failed`.
pub(crate) fn token_exchange(mount: &str, outcome: &'static str) {
    counter!(TOKEN_EXCHANGES, "mount" => mount.to_owned(), "outcome" => outcome).increment(1);
}
