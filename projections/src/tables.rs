//! The handle on the folded tables. What may be asked of it is in `queries/`, one file a story.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

use crate::checkpoint::{self, Checkpoint};
use crate::checksum::{self, TableChecksum};
use crate::database::{DbPool, postgres, query};
use crate::location::Location;
use crate::scratch::{Leave, Scratch};

/// The database of folded tables. Clones share its connections; only the fold writes.
#[derive(Clone, Debug)]
pub struct Tables {
    location: Arc<Location>,
    writer: DbPool,
    readers: DbPool,
}

/// The tables could not be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// What was given is no address of a database.
    #[error("the database's address is not one of postgres://user@host:port/database")]
    Address {
        /// What is wrong with it.
        source: sqlx::Error,
    },
    /// The file cannot be opened as a database, or the server does not let us in.
    #[error("tables at {tables} cannot be opened")]
    Open {
        /// Where they are.
        tables: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A newer program has been here; this one would misread its tables.
    #[error(
        "tables at {tables} are of a newer program (migration {version}); use that program, or move them away and run \
         `dramatis rebuild`"
    )]
    NewerSchema {
        /// Where they are.
        tables: String,
        /// The migration this program does not know.
        version: i64,
    },
    /// The tables could not be brought up to date.
    #[error("tables at {tables} cannot be migrated")]
    Migrate {
        /// Where they are.
        tables: String,
        /// What went wrong.
        source: MigrateError,
    },
    /// The write-ahead log could not be emptied.
    #[error("a reader kept the tables' write-ahead log from being emptied; try again")]
    ReaderInTheWay,
    /// A rebuild or a verification is at a copy of the tables, which is to go.
    #[error("a rebuild or a verification of the tables is under way; try again when it has ended")]
    CopyInUse,
    /// A query failed.
    #[error("the tables cannot be read: {0}")]
    Database(#[from] sqlx::Error),
}

impl TablesError {
    pub(crate) fn of_migration(location: &Location, source: MigrateError) -> Self {
        let tables = location.to_string();
        match source {
            MigrateError::VersionMissing(version) => Self::NewerSchema { tables, version },
            source => Self::Migrate { tables, source },
        }
    }
}

impl Tables {
    /// Opens the SQLite file at `path`, making and migrating it where needed.
    ///
    /// # Errors
    /// [`TablesError::NewerSchema`] when a newer program has migrated it, [`TablesError::Open`] when it is not ours
    /// to open or not a database.
    pub async fn open(path: &Path) -> Result<Self, TablesError> {
        Self::at_home(Location::File(path.to_owned())).await
    }

    /// Opens the tables in schema `dramatis` of the Postgres database at `url` (`postgres://…`), making schema and
    /// tables where needed.
    ///
    /// # Errors
    /// [`TablesError::Address`] when `url` is none of Postgres; then as [`Tables::open`].
    pub async fn connect(url: &str) -> Result<Self, TablesError> {
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_postgres {
            let source = sqlx::Error::Configuration("it begins with another scheme".into());
            return Err(TablesError::Address { source });
        }
        let server = PgConnectOptions::from_str(url).map_err(|source| TablesError::Address { source })?;
        let location = Location::Schema {
            server: Arc::new(server),
            schema: postgres::SCHEMA.to_owned(),
        };
        Self::at_home(location).await
    }

    /// Opens live tables, and removes the copies beside them that a killed process left.
    async fn at_home(location: Location) -> Result<Self, TablesError> {
        let tables = Self::at(location).await?;
        Scratch::sweep(tables.location(), Leave::Wanted).await?;
        Ok(tables)
    }

    pub(crate) async fn at(location: Location) -> Result<Self, TablesError> {
        location.migrate().await?;
        let (writer, readers) = location.connect().await?;
        Ok(Self {
            location: Arc::new(location),
            writer,
            readers,
        })
    }

    /// The file, where they are in one.
    pub fn path(&self) -> Option<&Path> {
        match self.location() {
            Location::File(path) => Some(path),
            Location::Schema { .. } => None,
        }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// How far the fold has come; `None` before its first commit.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, TablesError> {
        Ok(checkpoint::read(&mut self.readers.acquire().await?.db()).await?)
    }

    /// Whether nothing was folded into them since they were rebuilt.
    pub(crate) async fn were_rebuilt(&self) -> Result<bool, TablesError> {
        Ok(checkpoint::was_moved_by_rebuild(&mut self.readers.acquire().await?.db()).await?)
    }

    /// Row count and checksum of every folded table, all of one moment.
    pub async fn checksums(&self) -> Result<Vec<TableChecksum>, TablesError> {
        let mut snapshot = self.readers.snapshot().await?;
        Ok(checksum::of_all(&mut snapshot.db()).await?)
    }

    /// Gives back the writer's page cache, where it has one of its own.
    pub(crate) async fn shrink_writer(&self) -> Result<(), TablesError> {
        if self.path().is_some() {
            query("PRAGMA shrink_memory").execute(&self.writer).await?;
        }
        Ok(())
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
