//! A model's answer in words of ours, whichever API it came through.

use serde_json::Value;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    /// The assistant's message as it came, to be sent back byte for byte: thinking blocks are bound to it.
    pub(super) raw: Value,
    /// The calls it wants made, in its order.
    pub(super) calls: Vec<WireCall>,
    /// What it said.
    pub(super) text: String,
    /// Why it stopped.
    pub(super) stop: Stop,
    /// The same in its server's own word.
    pub(crate) stop_word: String,
    /// What it cost in tokens.
    pub(crate) usage: Usage,
}

/// A call as the wire has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WireCall {
    /// The id its result has to carry.
    pub(super) wire_id: String,
    /// The tool's name on the wire.
    pub(super) name: String,
    /// The arguments, or why they cannot be read.
    pub(super) arguments: Result<Value, String>,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It said what it had to say, wants calls made, or gave a reason we do not know.
    Ended,
    /// Its answer was cut at the length limit: calls in it may lack their end.
    Cut,
    /// The conversation is longer than it can read.
    Full,
    /// It wants to go on with the same conversation.
    Paused,
    /// It will not do this.
    Refused(String),
}

/// Tokens, as far as the server said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Read, neither from a cache nor into one.
    pub(crate) input: Option<u64>,
    /// Read from a cache.
    pub(crate) cached: Option<u64>,
    /// Read and put into a cache, where that has a price of its own.
    pub(crate) cache_write: Option<u64>,
    /// Written.
    pub(crate) output: Option<u64>,
}

impl Usage {
    /// How long the conversation is with this answer; `None` when the server did not say.
    pub(super) fn conversation_tokens(&self) -> Option<u64> {
        let read = self.input? + self.cached.unwrap_or(0) + self.cache_write.unwrap_or(0);
        Some(read + self.output?)
    }
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolResult {
    pub(super) wire_id: String,
    pub(super) content: String,
    pub(super) is_error: bool,
}
