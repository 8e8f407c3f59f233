//! What the door is told at start-up.

use std::path::PathBuf;
use std::time::Duration;

use events::spans::Spans;

use crate::field_crypto::FieldForm;
use crate::mounts::MountsSettings;
use crate::policy::PolicyRules;

/// How the door behaves. Everything here is fixed for the life of a [`crate::Gateway`].
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where clients reach this server, without a path: `http://127.0.0.1:3069`. Its host is always allowed.
    pub public_url: String,
    /// Further hosts a request may name, `host` (any port) or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Origins a browser may call from, `scheme://host[:port]`; `:*` for any port. Requests without an origin pass.
    pub allowed_origins: Vec<String>,
    /// What is refused, and how.
    pub policy: PolicySettings,
    /// What is written down about calls.
    pub record_calls: RecordCalls,
    /// Where calls are written down before they are in the log. Without it each call waits for the log.
    pub call_journal: Option<PathBuf>,
    /// In which form encrypted fields are written, and which forms are read.
    pub field_form: FieldForm,
    /// Bytes a request body may have.
    pub body_bytes_max: usize,
    /// How long a write waits until its own reader would see it.
    pub read_your_writes: Duration,
    /// How long a session may rest before it is closed. A running call or an open stream is not rest.
    pub session_idle: Duration,
    /// Sessions one user may hold. At the limit the one that rested longest makes room.
    pub sessions_per_user_max: usize,
    /// Sessions all users together may hold. At the limit nobody can open one more.
    pub sessions_max: usize,
    /// Items on one page of a list.
    pub list_page_max: usize,
    /// How long a call may take before its answer becomes a stream, with signs of life until it is there.
    pub patience: Duration,
    /// The servers whose tools are offered beside our own.
    pub mounts: MountsSettings,
    /// Where spans of calls go.
    pub spans: Spans,
    /// How long the bad one of the calibration twins keeps its callers waiting; `None`: there are no twins.
    pub calibration: Option<Duration>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:3069".to_owned(),
            allowed_hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()],
            allowed_origins: Vec::new(),
            policy: PolicySettings::default(),
            record_calls: RecordCalls::Hashes,
            call_journal: None,
            field_form: FieldForm::Bound,
            body_bytes_max: 4 * 1024 * 1024,
            read_your_writes: Duration::from_secs(5),
            session_idle: Duration::from_mins(30),
            sessions_per_user_max: 32,
            sessions_max: 50_000,
            list_page_max: 250,
            patience: Duration::from_secs(2),
            mounts: MountsSettings::default(),
            spans: Spans::default(),
            calibration: None,
        }
    }
}

/// What is written down about calls, beside refusals, which always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCalls {
    /// Nothing. For measuring what writing costs.
    Off,
    /// That they began and how they ended, with the hash of their arguments.
    Hashes,
    /// That, and their arguments sealed with the caller's own key where the caller has one here.
    WithArguments,
}

/// What the policy gate refuses.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// Whether refusals are carried out.
    pub mode: PolicyMode,
    /// The rules to begin with.
    pub rules: PolicyRules,
    /// Where they were read from, to be read again when it changes; `None` for rules that stay.
    pub file: Option<PathBuf>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            mode: PolicyMode::Enforce,
            rules: PolicyRules::built_in(),
            file: None,
        }
    }
}

/// Whether the policy gate's refusals are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyMode {
    /// The gate is not asked.
    Off,
    /// The gate is asked and its refusals are recorded, but the call goes on.
    LogOnly,
    /// A refusal is a refusal.
    Enforce,
}

impl PolicyMode {
    /// The word used in configuration, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::LogOnly => "log-only",
            Self::Enforce => "enforce",
        }
    }
}
