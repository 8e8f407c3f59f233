//! The door: MCP over Streamable HTTP, sessions, policy, tools, field encryption.
