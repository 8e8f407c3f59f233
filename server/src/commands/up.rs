//! `dramatis up`: every role in one process.

use std::sync::Arc;

use events::SystemClock;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{ADMIN_EMAIL, House};
use crate::output::Out;

/// Starts the house, says where it is, and runs until it is told to stop.
///
/// # Errors
/// What kept it from starting, or what ended it.
pub(crate) async fn run(config: &Config, clock: Arc<SystemClock>, out: &mut Out) -> Result<(), CommandError> {
    let house = House::start(config, clock).await?;
    let paint = out.paint();
    out.text(format!(
        "{}  http://{}",
        paint.bold("dramatis is up"),
        house.address
    ))?;
    out.text(format!("  MCP         http://{}/mcp", house.address))?;
    out.text(format!("  dashboard   http://{}/", house.address))?;
    out.text(format!(
        "  log         {} (password in {}/run.json)",
        house.nats_address(),
        config.data.display()
    ))?;
    out.text(format!("  tables      {}", config.tables_place()))?;
    if !config.is_production() {
        out.text(format!(
            "  admin       {ADMIN_EMAIL}; `dramatis token` prints a token for it"
        ))?;
        out.text(paint.dim("  development secrets are in use; `dramatis doctor` says which"))?;
    }
    if config.paused {
        out.text(paint.dim("  the scheduler is paused; personas act when told to (`dramatis tick`)"))?;
    }
    house.run().await
}
