//! What an operator says about the servers to mount.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::Documents;

use crate::tool::Hint;

/// The servers to mount and what they share.
#[derive(Debug, Clone)]
pub struct MountsSettings {
    /// The servers, in the order their names are given out.
    pub mounts: Vec<MountSettings>,
    /// Folder in which is kept what is approved of them, where this house shares that with nobody.
    pub folder: PathBuf,
    /// Where it is kept otherwise; the folder is then read where nobody has said anything of a mount yet.
    pub shared: Option<Arc<dyn Documents>>,
    /// Child processes at once, over all mounts.
    pub children_max: usize,
    /// What a child process finds in its environment beside what its mount gives it. Ours is not inherited: it holds
    /// our secrets.
    pub child_environment: BTreeMap<String, String>,
    /// How often a server is asked for its tools again.
    pub refresh: Duration,
    /// How long a session with a server may rest before it is closed.
    pub session_idle: Duration,
}

impl Default for MountsSettings {
    fn default() -> Self {
        Self {
            mounts: Vec::new(),
            folder: PathBuf::from("mounts"),
            shared: None,
            children_max: 32,
            child_environment: BTreeMap::new(),
            refresh: Duration::from_mins(1),
            session_idle: Duration::from_mins(10),
        }
    }
}

/// One server to mount.
#[derive(Debug, Clone)]
pub struct MountSettings {
    /// Its name, `[a-z0-9-]`, which is the module of its tools.
    pub name: String,
    /// Where it is.
    pub upstream: Upstream,
    /// Put before its tools' names, with a dot between; empty keeps its own names, and passes its resources, prompts
    /// and the rest of the protocol through as well.
    pub prefix: String,
    /// Whether all users may share one session with it.
    pub is_stateless: bool,
    /// How long one call may take, whatever progress it reports.
    pub deadline: Duration,
    /// File that holds the value of the `Authorization` header we send it. Read anew for each session.
    pub auth_file: Option<PathBuf>,
    /// How tokens for it are got in the name of each user. `auth_file`, or client credentials without one, is then for
    /// asking what tools there are.
    pub token_exchange: Option<TokenExchange>,
    /// Whether it may be at a loopback, private or link-local address.
    pub allow_private_addresses: bool,
    /// Bytes of one message from it.
    pub response_bytes_max: usize,
    /// What is made of a tool seen for the first time.
    pub trust: Trust,
    /// What its tools do to data, where neither it nor `tools` says.
    pub hint: Hint,
    /// What the operator knows better about single tools, by the server's own names.
    pub tools: BTreeMap<String, ToolOverride>,
}

impl MountSettings {
    /// A server with everything at its default.
    pub fn new(name: impl Into<String>, upstream: Upstream) -> Self {
        let name = name.into();
        Self {
            prefix: name.clone(),
            name,
            upstream,
            is_stateless: false,
            deadline: Duration::from_mins(1),
            auth_file: None,
            token_exchange: None,
            allow_private_addresses: false,
            response_bytes_max: 4 * 1024 * 1024,
            trust: Trust::FirstUse,
            hint: Hint::Write,
            tools: BTreeMap::new(),
        }
    }

    /// The name its tool `own` has with us.
    pub(crate) fn name_of(&self, own: &str) -> String {
        if self.prefix.is_empty() {
            own.to_owned()
        } else {
            format!("{}.{own}", self.prefix)
        }
    }

    /// Whether the operator says that calling `own` twice does no more than calling it once.
    pub(crate) fn is_idempotent(&self, own: &str) -> bool {
        self.tools
            .get(own)
            .is_some_and(|tool| tool.is_idempotent || tool.hint == Some(Hint::Read))
    }
}

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Streamable HTTP.
    Http {
        /// Its endpoint, `http(s)://host[:port]/path`.
        url: String,
    },
    /// A child process of ours that speaks MCP on its standard input and output.
    Stdio {
        /// Program and arguments. No shell reads them.
        command: Vec<String>,
        /// Its environment beside [`MountsSettings::child_environment`].
        environment: BTreeMap<String, String>,
    },
}

/// How tokens for a server are exchanged, by RFC 8693.
#[derive(Debug, Clone)]
pub struct TokenExchange {
    /// The token endpoint, `https://…`.
    pub endpoint: String,
    /// Who we are to it.
    pub client_id: String,
    /// File of the secret that proves it. Read anew for each request.
    pub client_secret_file: PathBuf,
    /// How it is proven.
    pub client_authentication: ClientAuthentication,
    /// What is exchanged.
    pub subject: SubjectToken,
    /// Names of the servers the token is for.
    pub audiences: Vec<String>,
    /// Addresses of the servers the token is for.
    pub resources: Vec<String>,
    /// What the token is to allow, parted by spaces.
    pub scope: Option<String>,
    /// Whether the endpoint may be at a loopback, private or link-local address, and there without TLS.
    pub allow_private_addresses: bool,
}

/// How we say to a token endpoint who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In the `Authorization` header.
    Basic,
    /// In the form.
    Post,
}

/// What is exchanged for a token in a user's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectToken {
    /// A statement of ours about the user, to `audience` alone and good for a minute. The caller's token stays here.
    Statement {
        /// Who is to read it.
        audience: String,
    },
    /// The very token the caller came with.
    Callers,
}

/// What is made of a tool seen for the first time. One that changes later waits for approval in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is approved as it is.
    FirstUse,
    /// It waits for approval.
    Approve,
}

/// What the operator knows better about a tool than its server.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolOverride {
    /// What it does to data.
    pub hint: Option<Hint>,
    /// Whether calling it again with the same arguments changes nothing more, so that a call whose answer was lost
    /// may be sent again.
    pub is_idempotent: bool,
    /// Whether it is left out altogether.
    pub is_hidden: bool,
}
