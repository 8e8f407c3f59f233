//! The memory: events folded into tables, checkpoints, rebuild, verify and read queries.
