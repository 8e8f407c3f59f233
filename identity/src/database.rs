//! The one seam between this room and the two databases it can live in: pools, transactions, statements. What differs
//! stands in `database/sqlite.rs` and `database/postgres.rs`; everything else is written once, in what both understand
//! (`$1` placeholders, `ON CONFLICT`, `CASE` instead of scalar `max`).
//!
//! A transaction that writes has the accounts to itself on either: SQLite has one write lock, Postgres gets one of our
//! own. So whatever is looked at and then changed in one transaction is as true on many machines as in one file.

mod postgres;
mod query;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use crate::error::{DatabaseError, IdentityError};
pub(crate) use query::{Source, query, query_as, query_scalar};

/// How long a statement waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Where accounts are kept.
#[derive(Clone)]
pub enum Database {
    /// A SQLite file, for one process at a time. Made with mode 0600 where it does not exist.
    File(PathBuf),
    /// A Postgres database by its `postgres://…` address, which any number of processes share: the schema
    /// `dramatis_identity` in it, made where it is missing.
    Postgres(SecretString),
}

impl fmt::Debug for Database {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// Connections of one database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction that writes; rolled back on drop.
#[derive(Debug)]
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Db {
    /// Opens `database` and brings its schema up to date.
    pub(crate) async fn open(database: &Database) -> Result<Self, IdentityError> {
        Ok(match database {
            Database::File(file) => Self::Sqlite(sqlite::open(file).await?),
            Database::Postgres(url) => Self::Postgres(postgres::open(url).await?),
        })
    }

    /// A transaction that writes, once every other one has ended.
    pub(crate) async fn begin(&self) -> Result<Tx, IdentityError> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(sqlite::begin(pool).await?),
            Self::Postgres(pool) => Tx::Postgres(Box::pin(postgres::begin(pool)).await?),
        })
    }

    /// Writes everything anew that may hold bytes of what was deleted.
    pub(crate) async fn rewrite(&self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(pool) => sqlite::rewrite(pool).await,
            Self::Postgres(pool) => postgres::rewrite(pool).await,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    pub(crate) async fn commit(self) -> Result<(), IdentityError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}
