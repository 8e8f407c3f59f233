//! The servers to mount, as `[mounts.NAME]` of the configuration file describes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::{Hint, MountSettings, MountsSettings, ToolOverride, Trust, Upstream};
use serde::{Deserialize, Serialize};

use super::Config;
use super::token_exchange::TokenExchangeKeys;

/// Shortest names of a child's environment that are ours as well: where programs and homes are, and how text is
/// written. Everything else of our environment stays with us.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SYSTEMROOT"];

/// One server to mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MountKeys {
    /// Its Streamable HTTP endpoint; this or `command`.
    url: Option<String>,
    /// The program that speaks MCP on its standard input and output, and its arguments.
    command: Vec<String>,
    /// The program's environment beside what all programs get.
    #[serde(serialize_with = "names_alone")]
    environment: BTreeMap<String, String>,
    /// Put before its tools' names with a dot; the mount's name when not given; empty keeps its own names.
    prefix: Option<String>,
    /// Whether all users may share one session with it.
    stateless: bool,
    /// How long one call may take.
    deadline_ms: u64,
    /// File with the value of the `Authorization` header sent to it.
    auth_file: Option<PathBuf>,
    /// How tokens for it are got in each user's name.
    token_exchange: Option<TokenExchangeKeys>,
    /// Whether it may be at a loopback, private or link-local address.
    allow_private_addresses: bool,
    /// Bytes of one message from it.
    response_bytes_max: usize,
    /// What is made of a tool seen for the first time.
    trust: TrustKey,
    /// What its tools do to data, where neither it nor `tools` says.
    hint: HintKey,
    /// What the operator knows better about single tools.
    tools: BTreeMap<String, ToolKeys>,
}

/// What the operator knows better about a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ToolKeys {
    hint: Option<HintKey>,
    idempotent: bool,
    hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TrustKey {
    FirstUse,
    Approve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HintKey {
    Read,
    Write,
    Destructive,
}

impl From<HintKey> for Hint {
    fn from(key: HintKey) -> Self {
        match key {
            HintKey::Read => Self::Read,
            HintKey::Write => Self::Write,
            HintKey::Destructive => Self::Destructive,
        }
    }
}

impl Default for MountKeys {
    fn default() -> Self {
        Self {
            url: None,
            command: Vec::new(),
            environment: BTreeMap::new(),
            prefix: None,
            stateless: false,
            deadline_ms: 60_000,
            auth_file: None,
            token_exchange: None,
            allow_private_addresses: false,
            response_bytes_max: 4 * 1024 * 1024,
            trust: TrustKey::FirstUse,
            hint: HintKey::Write,
            tools: BTreeMap::new(),
        }
    }
}

impl MountKeys {
    /// Everything that may not stand as it is.
    pub(super) fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if self.url.is_some() != self.command.is_empty() {
            faults.push("give url or command, one of them");
        }
        if self.deadline_ms == 0 {
            faults.push("deadline_ms must be more than 0");
        }
        if let Some(exchange) = &self.token_exchange {
            if self.url.is_none() {
                faults.push("token_exchange is for a url");
            }
            faults.extend(exchange.faults());
        }
        if self.response_bytes_max < 1024 {
            faults.push("response_bytes_max must be 1024 or more");
        }
        faults
    }

    fn settings(&self, name: &str) -> MountSettings {
        let upstream = match &self.url {
            Some(url) => Upstream::Http { url: url.clone() },
            None => Upstream::Stdio {
                command: self.command.clone(),
                environment: self.environment.clone(),
            },
        };
        let of_tool = |keys: &ToolKeys| ToolOverride {
            hint: keys.hint.map(Hint::from),
            is_idempotent: keys.idempotent,
            is_hidden: keys.hidden,
        };
        let tools = self
            .tools
            .iter()
            .map(|(name, keys)| (name.clone(), of_tool(keys)));
        MountSettings {
            prefix: self.prefix.clone().unwrap_or_else(|| name.to_owned()),
            is_stateless: self.stateless,
            deadline: Duration::from_millis(self.deadline_ms),
            auth_file: self.auth_file.clone(),
            token_exchange: self.token_exchange.as_ref().map(TokenExchangeKeys::settings),
            allow_private_addresses: self.allow_private_addresses,
            response_bytes_max: self.response_bytes_max,
            trust: match self.trust {
                TrustKey::FirstUse => Trust::FirstUse,
                TrustKey::Approve => Trust::Approve,
            },
            hint: self.hint.into(),
            tools: tools.collect(),
            ..MountSettings::new(name, upstream)
        }
    }
}

impl Config {
    /// Where is kept what is approved of mounted tools, when nobody shares it.
    pub(crate) fn mounts_dir(&self) -> PathBuf {
        self.data.join("mounts")
    }

    /// The servers to mount.
    pub(crate) fn mounts_settings(&self) -> MountsSettings {
        let mounts = self.mounts.iter();
        MountsSettings {
            mounts: mounts.map(|(name, keys)| keys.settings(name)).collect(),
            folder: absolute(&self.mounts_dir()),
            child_environment: inherited(),
            ..MountsSettings::default()
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is one of the files that read the environment"
)]
fn inherited() -> BTreeMap<String, String> {
    let ours = INHERITED.iter();
    ours.filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Values may be secrets.
fn names_alone<S: serde::Serializer>(
    environment: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(environment.keys().map(|name| (name, "********")))
}
