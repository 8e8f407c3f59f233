//! The one seam between folds and queries and the two databases they run on: connections, transactions, statements
//! and rows of either. What differs in SQL stands in `sqlite.rs` and `postgres.rs`; everything else is written once,
//! in what both understand (`$1` placeholders, `ON CONFLICT`, `CASE` instead of scalar `MAX`).

mod bulk;
pub(crate) mod postgres;
mod query;
pub(crate) mod sqlite;

use sqlx::pool::PoolConnection;
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction,
};

pub(crate) use bulk::{Cell, Changed, Keys, Kind, rows_with_keys, write_rows};
pub(crate) use query::{DbRow, Query, query, query_per, query_text};

/// Connections of one database.
#[derive(Debug, Clone)]
pub(crate) enum DbPool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A connection taken from a [`DbPool`]; it goes back on drop.
#[derive(Debug)]
pub(crate) enum DbConnection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A transaction; rolled back on drop.
#[derive(Debug)]
pub(crate) enum DbTransaction<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    Postgres(Transaction<'c, Postgres>),
}

/// What a statement runs on, wherever it was taken from.
#[derive(Debug)]
pub(crate) enum Db<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl DbPool {
    pub(crate) async fn acquire(&self) -> Result<DbConnection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => DbConnection::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => DbConnection::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction that only reads, and all of whose statements see the same moment.
    pub(crate) async fn snapshot(&self) -> Result<DbTransaction<'static>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => DbTransaction::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => DbTransaction::Postgres(pool.begin_with(postgres::BEGIN_SNAPSHOT).await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl DbConnection {
    pub(crate) fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(connection) => Db::Sqlite(connection),
            Self::Postgres(connection) => Db::Postgres(connection),
        }
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&mut self) -> Result<DbTransaction<'_>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(connection) => {
                DbTransaction::Sqlite(connection.begin_with(sqlite::BEGIN_WRITING).await?)
            }
            Self::Postgres(connection) => DbTransaction::Postgres(connection.begin().await?),
        })
    }

    /// Takes the connection out of its pool: nobody is to get it again.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(connection) => connection.close_on_drop(),
        }
    }
}

impl DbTransaction<'_> {
    pub(crate) fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(transaction) => Db::Sqlite(transaction),
            Self::Postgres(transaction) => Db::Postgres(transaction),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}
