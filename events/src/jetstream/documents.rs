//! Shared documents on JetStream: a key-value bucket, which operators can read with `nats kv`.

use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{self};
use async_trait::async_trait;

use super::set_up::{refused, until_set_up};
use super::{JetStreamSettings, unavailable};
use crate::documents::{Document, Documents};
use crate::log::LogError;

/// The bucket.
pub const DOCUMENTS_BUCKET: &str = "DRAMATIS_SHARED";
/// Bytes of a message that its subject and headers may need beside the body.
const HEAD_BYTES: usize = 4 * 1024;

/// See the module.
#[derive(Debug, Clone)]
pub struct JetStreamDocuments {
    client: async_nats::Client,
    store: Store,
}

impl JetStreamDocuments {
    /// Makes the bucket, or finds it.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when no server answers in time, [`LogError::Unfit`] when one refuses for good.
    pub async fn open(client: async_nats::Client, settings: &JetStreamSettings) -> Result<Self, LogError> {
        let context = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .build(client.clone());
        let what = format!("bucket {DOCUMENTS_BUCKET}");
        let store = until_set_up(&what, || find_or_make(&context, &what, settings.replicas)).await?;
        Ok(Self { client, store })
    }
}

async fn find_or_make(context: &jetstream::Context, what: &str, replicas: usize) -> Result<Store, LogError> {
    if let Ok(store) = context.get_key_value(DOCUMENTS_BUCKET).await {
        return Ok(store);
    }
    let wanted = kv::Config {
        bucket: DOCUMENTS_BUCKET.to_owned(),
        description: "what houses on this server share beside the log".to_owned(),
        history: 1,
        storage: StorageType::File,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    match context.create_key_value(wanted).await {
        Ok(store) => Ok(store),
        // Another house may have made it in between, and said otherwise how many copies there are.
        Err(error) => match context.get_key_value(DOCUMENTS_BUCKET).await {
            Ok(store) => Ok(store),
            Err(_) => Err(refused(what, &error)),
        },
    }
}

#[async_trait]
impl Documents for JetStreamDocuments {
    async fn get(&self, name: &str) -> Result<Option<Document>, LogError> {
        let entry = self
            .store
            .entry(name)
            .await
            .map_err(|error| unavailable(&error))?;
        // What an operator has deleted by hand leaves a mark, and is not there.
        let there = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(there.map(|entry| Document {
            revision: entry.revision,
            body: entry.value.to_vec(),
        }))
    }

    async fn put(&self, name: &str, body: Vec<u8>, over: Option<u64>) -> Result<Option<u64>, LogError> {
        let most = self.client.max_payload().saturating_sub(HEAD_BYTES);
        if body.len() > most {
            let bytes = body.len();
            return Err(LogError::Unfit(format!(
                "{name} has {bytes} bytes, and the NATS server takes {most}: raise its max_payload"
            )));
        }
        let nameless = || LogError::Unfit(format!("{name:?} names no document"));
        // `None` where somebody else was first.
        let put = if let Some(revision) = over {
            let put = self.store.update(name, body.into(), revision).await;
            put.map_err(|error| match error.kind() {
                UpdateErrorKind::WrongLastRevision => None,
                UpdateErrorKind::InvalidKey => Some(nameless()),
                _ => Some(unavailable(&error)),
            })
        } else {
            let put = self.store.create(name, body.into()).await;
            put.map_err(|error| match error.kind() {
                CreateErrorKind::AlreadyExists => None,
                CreateErrorKind::InvalidKey => Some(nameless()),
                _ => Some(unavailable(&error)),
            })
        };
        match put {
            Ok(revision) => Ok(Some(revision)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }
}
