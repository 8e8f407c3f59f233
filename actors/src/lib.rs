//! The cast: supervision, cadence, one actor per persona, ticks and brains.
