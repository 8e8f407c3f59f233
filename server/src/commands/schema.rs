//! `dramatis schema`: what programs rely on, as machine-readable contracts made from the code.

use crate::config::Config;
use crate::exit::CommandError;
use crate::output::Out;

/// Which contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contract {
    /// What is said and answered over NATS, as AsyncAPI 3
    Asyncapi,
    /// What is answered over HTTP, as OpenAPI 3.1
    Openapi,
}

/// Prints the contract.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn run(contract: Contract, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    match contract {
        Contract::Asyncapi => out.json(&crate::surface::asyncapi()),
        Contract::Openapi => {
            let public_url = config.public_url.clone();
            let public_url = public_url.unwrap_or_else(|| format!("http://{}", config.listen));
            out.json(&crate::http::openapi(config.is_production(), &public_url))
        }
    }
}
