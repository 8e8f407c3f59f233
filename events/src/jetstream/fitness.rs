//! Whether a server may be trusted with the log: its version, when it writes to disk, and how the stream is kept.

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, Compression, DiscardPolicy, RetentionPolicy, StorageType};
use serde::Deserialize;
use std::time::Duration;

use super::set_up::{refused, until_set_up};
use super::{JetStreamSettings, STREAM_NAME, unavailable};
use crate::log::LogError;
use crate::subject::STREAM_SUBJECTS;

/// The oldest nats-server this runs on: security advisories 2026-16, -18 and -26 are fixed from here on.
pub const VERSION_FLOOR: (u64, u64, u64) = (2, 14, 3);

/// How long ids are remembered by the server. Longer retries are resolved by reading back.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// The longest time between an acknowledgement and the disk that is put up with.
const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What is known about when the server writes acknowledged appends to disk. The NATS protocol does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// The server is our own child, or a test's: its configuration was written by whoever opens the log.
    Ours,
    /// What the server's monitoring page says.
    Reported(ServerReport),
    /// Nothing; refused.
    Unknown,
    /// Nothing, and the operator vouches for it. A server on its default of two minutes loses what it acknowledged
    /// since when the machine goes down.
    UnsafeUnchecked,
}

/// The part of a nats-server's monitoring page `/varz` that says how durable it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// Whose page it is.
    pub server_id: String,
    /// The cluster it is of, if any.
    pub cluster: Option<String>,
    /// Time between writes to disk; `None` when every append is written before it is acknowledged.
    pub sync_interval: Option<Duration>,
}

impl ServerReport {
    /// Reads the JSON of `http://<monitoring address>/varz`.
    ///
    /// # Errors
    /// [`LogError::Unfit`] when it is not such a page, or JetStream is off.
    pub fn from_varz(text: &str) -> Result<Self, LogError> {
        #[derive(Deserialize)]
        struct Varz {
            server_id: String,
            #[serde(default)]
            cluster: Cluster,
            #[serde(default)]
            jetstream: JetStream,
        }
        #[derive(Deserialize, Default)]
        struct Cluster {
            name: Option<String>,
        }
        #[derive(Deserialize, Default)]
        struct JetStream {
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        struct Config {
            /// Nanoseconds.
            sync_interval: u64,
            #[serde(default)]
            sync_always: bool,
        }
        let varz: Varz = serde_json::from_str(text).map_err(|error| {
            LogError::Unfit(format!(
                "the NATS monitoring page is not a /varz page: {error}; give the address that nats-server's \
                 `http:` names"
            ))
        })?;
        let config = varz.jetstream.config.ok_or_else(|| {
            LogError::Unfit("JetStream is off on the monitored nats-server; turn it on".to_owned())
        })?;
        Ok(Self {
            server_id: varz.server_id,
            cluster: varz.cluster.name,
            sync_interval: (!config.sync_always).then(|| Duration::from_nanos(config.sync_interval)),
        })
    }
}

/// Whether `version` (`2.14.3`, `2.15.0-RC.1`) is at or above [`VERSION_FLOOR`].
pub fn version_is_at_least_floor(version: &str) -> bool {
    let release = version
        .trim_start_matches('v')
        .split(['-', '+'])
        .next()
        .unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u64>().ok());
    match (
        numbers.next().flatten(),
        numbers.next().flatten(),
        numbers.next().flatten(),
    ) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) >= VERSION_FLOOR,
        _ => false,
    }
}

pub(super) fn check_version(client: &async_nats::Client) -> Result<(), LogError> {
    let version = client.server_info().version;
    if version_is_at_least_floor(&version) {
        return Ok(());
    }
    let (major, minor, patch) = VERSION_FLOOR;
    Err(LogError::Unfit(format!(
        "nats-server {version} is too old; {major}.{minor}.{patch} or newer is needed (`./deploy/install-nats` \
         installs one)"
    )))
}

pub(super) fn check_durability(client: &async_nats::Client, durability: &Durability) -> Result<(), LogError> {
    match durability {
        Durability::Ours => Ok(()),
        Durability::Reported(report) => {
            let server = client.server_info();
            check_report(report, &server.server_id, server.cluster.as_deref())
        }
        Durability::Unknown => Err(LogError::Unfit(
            "it is not known when this nats-server writes acknowledged events to disk, and its default of two minutes \
             loses them when the machine goes down: set `sync_interval: \"100ms\"` (or `always`) in its `jetstream` \
             block and `http: \"127.0.0.1:8222\"`, and name that address as `nats_monitor`; or set \
             `unsafe_nats_durability_unchecked` if you vouch for it"
                .to_owned(),
        )),
        Durability::UnsafeUnchecked => {
            tracing::warn!(
                "nobody checked when nats-server writes acknowledged events to disk; on its default of two minutes \
                 they are lost when the machine goes down"
            );
            Ok(())
        }
    }
}

/// In a cluster any server may be the one connected to; its members are expected to be set up alike.
fn check_report(report: &ServerReport, server_id: &str, cluster: Option<&str>) -> Result<(), LogError> {
    let is_of_cluster = cluster.is_some() && report.cluster.as_deref() == cluster;
    if report.server_id != server_id && !is_of_cluster {
        return Err(LogError::Unfit(format!(
            "the NATS monitoring page is of server {}, but the connection is to {server_id}; name the page of the \
             same server as `nats_monitor`",
            report.server_id
        )));
    }
    match report.sync_interval {
        Some(interval) if interval > SYNC_INTERVAL_MAX => Err(LogError::Unfit(format!(
            "nats-server writes acknowledged events to disk every {} s only, so the machine's end would lose them; set \
             `sync_interval: \"100ms\"` (or `always`) in its `jetstream` block and restart it, or set \
             `unsafe_nats_durability_unchecked` if you accept the loss",
            interval.as_secs()
        ))),
        _ => Ok(()),
    }
}

/// Makes the stream, or brings the settings of the one that is there up to date.
pub(super) async fn open_stream(
    context: &jetstream::Context,
    settings: &JetStreamSettings,
) -> Result<stream::Stream<()>, LogError> {
    let what = format!("stream {STREAM_NAME}");
    let config = stream_config(settings);
    until_set_up(&what, || set_up_stream(context, &what, &config)).await?;
    context
        .get_stream_no_info(STREAM_NAME)
        .await
        .map_err(|error| unavailable(&error))
}

/// A stream that is as it should be is left alone: in a cluster a change is decided by all, and every process of the
/// house comes by here when it starts.
async fn set_up_stream(
    context: &jetstream::Context,
    what: &str,
    config: &stream::Config,
) -> Result<(), LogError> {
    let set_up = match context.get_stream(STREAM_NAME).await {
        Ok(stream) => {
            refuse_drift(stream.cached_info())?;
            if is_as_wanted(&stream.cached_info().config, config) {
                return Ok(());
            }
            context.update_stream(config).await.map(drop)
        }
        Err(error) if is_missing(&error) => context.create_stream(config).await.map(drop),
        Err(error) => return Err(refused(what, &error)),
    };
    set_up.map_err(|error| refused(what, &error))
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether an update would change nothing, apart from how a server writes what is not limited and what it notes for itself.
fn is_as_wanted(there: &stream::Config, wanted: &stream::Config) -> bool {
    let mut there = there.clone();
    for limit in [
        &mut there.max_bytes,
        &mut there.max_messages,
        &mut there.max_messages_per_subject,
    ] {
        *limit = (*limit).max(0);
    }
    there.max_consumers = there.max_consumers.max(0);
    there.max_message_size = there.max_message_size.max(0);
    there.metadata.retain(|name, _| !name.starts_with("_nats."));
    there == *wanted
}

fn stream_config(settings: &JetStreamSettings) -> stream::Config {
    stream::Config {
        name: STREAM_NAME.to_owned(),
        description: Some("Everything that happened, one commit a message".to_owned()),
        subjects: STREAM_SUBJECTS.map(str::to_owned).to_vec(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // Refuse rather than lose history.
        discard: DiscardPolicy::New,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        compression: Some(Compression::S2),
        allow_direct: true,
        // Imports store batches whole or not at all.
        allow_atomic_publish: true,
        // Erasing a persona overwrites its messages, which is a deletion each; a purge would leave their bytes. What
        // is deleted otherwise shows in the chains.
        deny_delete: false,
        deny_purge: false,
        // Live dashboards read what the house redacts; the stream repeats nothing by itself.
        republish: None,
        ..Default::default()
    }
}

/// A stream of our name that could lose history, or could never forget any, is not ours to repair silently.
fn refuse_drift(info: &stream::Info) -> Result<(), LogError> {
    let config = &info.config;
    let fault = if config.storage != StorageType::File {
        "is not kept in files, so history could be lost"
    } else if config.retention != RetentionPolicy::Limits {
        "drops messages once they are read, so history could be lost"
    } else if !config.max_age.is_zero() {
        "drops messages by age, so history could be lost"
    } else if config.max_messages_per_subject > 0 {
        "drops older messages of a subject, so history could be lost"
    } else if config.deny_delete {
        "denies deletion, so nobody could be erased from it; JetStream cannot change that on a stream that is there"
    } else {
        return Ok(());
    };
    Err(LogError::Unfit(format!(
        "stream {STREAM_NAME} {fault}; back it up, delete it and start again, or point `--nats` at another server"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_floor_is_compared_by_number() {
        for fit in ["2.14.3", "2.14.10", "2.15.1", "v3.0.0", "2.15.0-RC.1"] {
            assert!(version_is_at_least_floor(fit), "{fit}");
        }
        for unfit in ["2.9.10", "2.14.2", "2.12.99", "", "latest", "2.15"] {
            assert!(!version_is_at_least_floor(unfit), "{unfit}");
        }
    }

    fn varz(jetstream: &str) -> String {
        format!(r#"{{"server_id":"NA","cluster":{{"name":"c"}},"jetstream":{jetstream}}}"#)
    }

    #[test]
    fn a_report_says_how_long_an_acknowledged_append_may_be_off_the_disk() {
        let every = |text: &str| ServerReport::from_varz(&varz(text)).unwrap().sync_interval;
        assert_eq!(
            every(r#"{"config":{"sync_interval":100000000}}"#),
            Some(Duration::from_millis(100))
        );
        assert_eq!(
            every(r#"{"config":{"sync_interval":120000000000,"sync_always":true}}"#),
            None
        );
        for unreadable in ["{}", r#"{"config":{}}"#, "7"] {
            assert!(
                ServerReport::from_varz(&varz(unreadable)).is_err(),
                "{unreadable}"
            );
        }
        assert!(ServerReport::from_varz("<html>").is_err());
    }

    #[test]
    fn a_report_of_another_server_is_refused_unless_it_is_of_the_same_cluster() {
        let report = ServerReport {
            server_id: "NA".to_owned(),
            cluster: Some("c".to_owned()),
            sync_interval: None,
        };
        assert!(check_report(&report, "NA", None).is_ok());
        assert!(check_report(&report, "NB", Some("c")).is_ok());
        assert!(check_report(&report, "NB", Some("d")).is_err());
        assert!(check_report(&report, "NB", None).is_err());
        let alone = ServerReport {
            cluster: None,
            ..report
        };
        assert!(check_report(&alone, "NB", None).is_err());
    }
}
