//! The handle on the folded tables. What may be asked of it is in `queries/`, one file a story.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::migrate::MigrateError;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::checkpoint::{self, Checkpoint};
use crate::checksum::{self, TableChecksum};
use crate::database::{DbPool, sqlite};

/// The database of folded tables. Clones share its connections; only the fold writes.
#[derive(Clone, Debug)]
pub struct Tables {
    path: Arc<Path>,
    writer: DbPool,
    readers: DbPool,
}

/// The tables could not be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The file cannot be opened as a database.
    #[error("tables at {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A newer program has been here; this one would misread its tables.
    #[error(
        "tables at {} are of a newer program (migration {version}); use that program, or move the file away and run \
         `dramatis rebuild`",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The migration this program does not know.
        version: i64,
    },
    /// The tables could not be brought up to date.
    #[error("tables at {} cannot be migrated", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: MigrateError,
    },
    /// The write-ahead log could not be emptied.
    #[error("a reader kept the tables' write-ahead log from being emptied; try again")]
    ReaderInTheWay,
    /// A query failed.
    #[error("the tables cannot be read: {0}")]
    Database(#[from] sqlx::Error),
}

impl Tables {
    /// Opens the file at `path`, making and migrating it where needed.
    ///
    /// # Errors
    /// [`TablesError::NewerSchema`] when a newer program has migrated it, [`TablesError::Open`] when it is not ours
    /// to open or not a database.
    pub async fn open(path: &Path) -> Result<Self, TablesError> {
        let options = sqlite::options(path);
        let unopened = |source| TablesError::Open {
            path: path.to_owned(),
            source,
        };
        let mut connection = options.connect().await.map_err(unopened)?;
        sqlite::migrate(&mut connection)
            .await
            .map_err(|source| match source {
                MigrateError::VersionMissing(version) => TablesError::NewerSchema {
                    path: path.to_owned(),
                    version,
                },
                source => TablesError::Migrate {
                    path: path.to_owned(),
                    source,
                },
            })?;
        connection.close().await.map_err(unopened)?;
        let writer = sqlite::writer(options.clone()).await.map_err(unopened)?;
        let readers = sqlite::readers(options).await.map_err(unopened)?;
        Ok(Self {
            path: path.into(),
            writer,
            readers,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the fold has come; `None` before its first commit.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, TablesError> {
        Ok(checkpoint::read(&mut self.readers.acquire().await?.db()).await?)
    }

    /// Row count and checksum of every folded table, all of one moment.
    pub async fn checksums(&self) -> Result<Vec<TableChecksum>, TablesError> {
        let mut snapshot = self.readers.snapshot().await?;
        Ok(checksum::of_all(&mut snapshot.db()).await?)
    }

    /// Closes all connections once their present work is done.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) fn writer(&self) -> &DbPool {
        &self.writer
    }

    pub(crate) fn readers(&self) -> &DbPool {
        &self.readers
    }
}
