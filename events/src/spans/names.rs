//! What spans, their attributes and their events are called: one place, so that a new version of the conventions is
//! one change.
//!
//! By OpenTelemetry's semantic conventions for generative AI and MCP, v0.1.0 (`open-telemetry/semantic-conventions-genai`),
//! and the general ones they rest on, v1.45.0. What they leave open begins with `dramatis.`. Left out on purpose are all
//! attributes with content (`gen_ai.tool.call.arguments`, `gen_ai.input.messages` and their like), those that lead to a
//! person (`user.id`, `client.address`), and what a client may have made up (`jsonrpc.request.id`).

/// The conventions that are followed, with their version.
pub const CONVENTIONS: &str = "open-telemetry/semantic-conventions-genai v0.1.0";

/// The operation of a span about generative AI.
pub const OPERATION: &str = "gen_ai.operation.name";
/// A persona lives a tick: `invoke_agent {agent}`.
pub const INVOKE_AGENT: &str = "invoke_agent";
/// A tool is carried out: `execute_tool {tool}`.
pub const EXECUTE_TOOL: &str = "execute_tool";
/// A model is asked: `chat {model}`.
pub const CHAT: &str = "chat";

/// Which agent acts; with us, one persona.
pub const AGENT_ID: &str = "gen_ai.agent.id";
/// What kind of agent that is; with us, its archetype, so that names of spans stay few.
pub const AGENT_NAME: &str = "gen_ai.agent.name";
/// Which tool is called.
pub const TOOL_NAME: &str = "gen_ai.tool.name";
/// Whose API a model is asked over.
pub const PROVIDER: &str = "gen_ai.provider.name";
/// The model that is asked.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Tokens a request had.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Those of them that the provider had kept.
pub const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Tokens an answer had.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";

/// A persona's opinion of a module, as an event of its tick.
pub const EVALUATION: &str = "gen_ai.evaluation.result";
/// What was judged.
pub const EVALUATION_NAME: &str = "gen_ai.evaluation.name";
/// The stars, 1 to 5.
pub const EVALUATION_SCORE: &str = "gen_ai.evaluation.score.value";

/// The session a request came in: our name for it, as the record has it, never the handle that opens it.
pub const MCP_SESSION: &str = "mcp.session.id";
/// The method of an MCP request.
pub const MCP_METHOD: &str = "mcp.method.name";
/// The protocol revision a request is of.
pub const MCP_VERSION: &str = "mcp.protocol.version";
/// `tools/call`.
pub const TOOLS_CALL: &str = "tools/call";
/// The code of a JSON-RPC error.
pub const RPC_STATUS: &str = "rpc.response.status_code";
/// `tcp` for HTTP, `pipe` for a child process.
pub const TRANSPORT: &str = "network.transport";
/// Where a request is sent to.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port there.
pub const SERVER_PORT: &str = "server.port";
/// How a piece of work failed, as a word of few.
pub const ERROR_TYPE: &str = "error.type";
/// The word for a tool that says no.
pub const TOOL_ERROR: &str = "tool_error";

/// How a call ended, as metrics and the record have it.
pub const OUTCOME: &str = "dramatis.call.outcome";
/// The mounted server a request goes to.
pub const MOUNT: &str = "dramatis.mount";
/// The tick.
pub const TICK_ID: &str = "dramatis.tick.id";
/// Its number in the persona's life.
pub const TICK_NUMBER: &str = "dramatis.tick.number";
/// How it ended.
pub const TICK_OUTCOME: &str = "dramatis.tick.outcome";
/// Why a model was asked.
pub const PURPOSE: &str = "dramatis.model.purpose";
/// What the answer cost, in millionths of a dollar.
pub const COST: &str = "dramatis.model.cost_micro_usd";
