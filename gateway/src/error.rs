//! What keeps the door from opening at all.

/// Why there is no [`crate::Gateway`].
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The public address is not one.
    #[error("public_url {url:?} is not an http(s) address without a path: {reason}")]
    PublicUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An allowed host cannot be one.
    #[error("allowed host {host:?} is neither `host` nor `host:port`")]
    AllowedHost {
        /// As configured.
        host: String,
    },
    /// An allowed origin cannot be one.
    #[error("allowed origin {origin:?} is not `scheme://host`, `scheme://host:port` or `scheme://host:*`")]
    AllowedOrigin {
        /// As configured.
        origin: String,
    },
    /// A limit of nought would refuse everything.
    #[error("{name} must be more than 0")]
    ZeroLimit {
        /// The setting.
        name: &'static str,
    },
    /// A tool's schema cannot be used. This is a fault of the program, found at start-up.
    #[error("the {which} schema of tool {tool} is unusable: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// `input` or `output`.
        which: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A server cannot be mounted as it is described.
    #[error("mount {name}: {reason}")]
    Mount {
        /// The mount.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Calls cannot be written down where they are to be.
    #[error("the journal of calls in {} cannot be opened: {source}", folder.display())]
    Journal {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Two tools share a name.
    #[error("two tools are named {tool}")]
    DuplicateTool {
        /// The name.
        tool: String,
    },
}
