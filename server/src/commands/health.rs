//! `dramatis health`: whether the server on this machine is well, for probes of containers and machines.

use std::time::Duration;

use crate::config::Config;
use crate::exit::CommandError;
use crate::output::Out;

/// How long the server may take to say how it is.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks the server at the configured address, on this machine.
///
/// # Errors
/// [`CommandError::Unavailable`] when it does not answer, or is not ready.
pub(crate) async fn run(is_live_enough: bool, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        // It listens everywhere, and is asked here.
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let path = if is_live_enough { "livez" } else { "readyz" };
    let unavailable = |reason: String| CommandError::Unavailable(format!("{address} {reason}"));
    let client = reqwest::Client::builder()
        .timeout(WITHIN)
        .no_proxy()
        .build()
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    let answer = client.get(format!("http://{address}/{path}")).send().await;
    let answer = answer.map_err(|error| unavailable(format!("does not answer: {}", error.without_url())))?;
    if !answer.status().is_success() {
        let text = answer.text().await.unwrap_or_default();
        return Err(unavailable(format!(
            "is not well: {}",
            crate::output::printable(&text)
        )));
    }
    out.text(if is_live_enough { "live" } else { "ready" })
}
