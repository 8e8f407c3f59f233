//! `dramatis gateway`: the door alone, on a log, accounts and tables that others share.

use std::sync::Arc;

use events::SystemClock;

use super::shared_place;
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{House, HouseRole};
use crate::output::Out;

/// Opens the door, says where it is, and serves until it is told to stop.
///
/// # Errors
/// [`CommandError::Usage`] without NATS, Postgres or a key-encryption key; else what kept it from starting, or ended it.
pub(crate) async fn run(config: &Config, clock: Arc<SystemClock>, out: &mut Out) -> Result<(), CommandError> {
    shared_place("gateway", config)?;
    if config.kek.is_none() && config.kek_file.is_none() {
        return Err(CommandError::Usage(
            "all gateways open the same accounts: name the file of their one key-encryption key with `kek_file`"
                .to_owned(),
        ));
    }
    let house = House::start_as(HouseRole::Gateway, config, clock).await?;
    let paint = out.paint();
    out.text(format!(
        "{}  http://{}",
        paint.bold("dramatis gateway is up"),
        house.address
    ))?;
    out.text(format!("  log         {}", house.nats_address()))?;
    out.text(format!("  accounts    {}", config.tables_place()))?;
    out.text(paint.dim(
        "  a projector has to fold (`dramatis projector`), and runners live what is due (`dramatis runner`)",
    ))?;
    house.run().await
}
