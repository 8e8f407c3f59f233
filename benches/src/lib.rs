//! What measurements (`bench`) and long trials (`campaign`) share: the program as a process of its own on the loopback
//! interface, in a folder that outlives its restarts, and percentiles of what was timed.

mod bare_rows;
pub mod history;
mod house;
pub mod mcp;
mod people;
mod spread;
pub mod stream;
pub mod wire;

pub use bare_rows::BareRows;
pub use house::{House, SERVICE_KEY, Site, resident_kib};
pub use people::write_catalog;
pub use spread::Spread;
