//! The servers to mount and what is known of their tools, with where houses share it.

use std::collections::BTreeSet;
use std::sync::Arc;

use events::{Documents, JetStreamDocuments, JetStreamSettings};
use gateway::{MountedTool, MountsSettings, PinStore};
use secrecy::SecretString;

use super::rooms::connect;
use crate::config::Config;
use crate::exit::CommandError;

/// What houses on one nats-server share beside the log. A house that has its server to itself shares nothing, and
/// keeps in files what can then be read without it.
///
/// # Errors
/// [`CommandError::Unavailable`] when the server does not answer.
async fn shared(config: &Config) -> Result<Option<Arc<dyn Documents>>, CommandError> {
    let Some(nats) = &config.nats else {
        return Ok(None);
    };
    let options = async_nats::ConnectOptions::new().name("dramatis-shared");
    let client = connect(&SecretString::from(nats.as_str()), options).await?;
    let settings = JetStreamSettings {
        replicas: config.nats_replicas,
        ..JetStreamSettings::default()
    };
    let documents = JetStreamDocuments::open(client, &settings).await;
    let documents =
        documents.map_err(|error| CommandError::Unavailable(format!("what houses share: {error}")))?;
    Ok(Some(Arc::new(documents)))
}

/// The servers to mount, with where is kept what is approved of them.
///
/// # Errors
/// [`CommandError::Unavailable`] when that is a server that does not answer.
pub(crate) async fn mounts_settings(config: &Config) -> Result<MountsSettings, CommandError> {
    let mut settings = config.mounts_settings();
    if !settings.mounts.is_empty() {
        settings.shared = shared(config).await?;
    }
    Ok(settings)
}

/// Where the pins of each mount are, by its name.
///
/// # Errors
/// As [`mounts_settings`].
pub(crate) async fn pin_stores(config: &Config) -> Result<Vec<(String, PinStore)>, CommandError> {
    let settings = mounts_settings(config).await?;
    let names = settings.mounts.iter().map(|mount| mount.name.clone());
    Ok(names
        .map(|name| {
            let store = PinStore::of(&settings, &name);
            (name, store)
        })
        .collect())
}

/// The tools that are known of mounted servers.
///
/// # Errors
/// As [`mounts_settings`]; [`CommandError::Failed`] when what is kept of a mount cannot be read.
pub(crate) async fn mounted_tools(config: &Config) -> Result<Vec<MountedTool>, CommandError> {
    let known = gateway::mounted_tools(&mounts_settings(config).await?).await;
    known.map_err(|error| CommandError::Failed(format!("what is known of mounted tools: {error}")))
}

/// The modules a persona's mix may name, sorted: the built-in ones, and those of mounted servers, also of such as
/// were never seen yet.
///
/// # Errors
/// As [`mounted_tools`].
pub(crate) async fn module_names(config: &Config) -> Result<Vec<String>, CommandError> {
    let own = gateway::module_names().into_iter().map(str::to_owned);
    let mut names: BTreeSet<String> = own.collect();
    let prefixes = config
        .mounts_settings()
        .mounts
        .into_iter()
        .map(|mount| mount.prefix);
    names.extend(prefixes.filter(|prefix| !prefix.is_empty()));
    names.extend(
        mounted_tools(config)
            .await?
            .iter()
            .map(|tool| tool.module().to_owned()),
    );
    Ok(names.into_iter().collect())
}
