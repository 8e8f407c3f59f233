//! One statement and its arguments, for either database.

use std::marker::PhantomData;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, FromRow, PgExecutor, SqliteExecutor};

use super::{Db, Tx};

/// A value for a placeholder.
#[derive(Debug)]
pub(crate) enum Argument {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A statement that both databases understand, on its way to one.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct Query {
    sql: &'static str,
    arguments: Vec<Argument>,
}

/// A statement whose rows are `T`.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct QueryAs<T> {
    query: Query,
    row: PhantomData<fn() -> T>,
}

/// A statement whose rows have one column, a `T`.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct QueryScalar<T>(QueryAs<(T,)>);

/// What can be read out of a row of either database.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

pub(crate) fn query(sql: &'static str) -> Query {
    Query {
        sql,
        arguments: Vec::new(),
    }
}

pub(crate) fn query_as<T: Row>(sql: &'static str) -> QueryAs<T> {
    QueryAs {
        query: query(sql),
        row: PhantomData,
    }
}

pub(crate) fn query_scalar<T>(sql: &'static str) -> QueryScalar<T>
where
    (T,): Row,
{
    QueryScalar(query_as(sql))
}

impl Query {
    /// Gives the next placeholder its value.
    pub(crate) fn bind(mut self, value: impl Into<Argument>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Runs it; says how many rows it changed.
    pub(crate) async fn execute(self, source: impl Source) -> Result<u64, sqlx::Error> {
        source.execute(self).await
    }

    fn for_sqlite(self) -> Result<(&'static str, SqliteArguments), sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        for argument in self.arguments {
            match argument {
                Argument::Int(value) => arguments.add(value),
                Argument::Text(value) => arguments.add(value),
                Argument::Bytes(value) => arguments.add(value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok((self.sql, arguments))
    }

    fn for_postgres(self) -> Result<(&'static str, PgArguments), sqlx::Error> {
        let mut arguments = PgArguments::default();
        for argument in self.arguments {
            match argument {
                Argument::Int(value) => arguments.add(value),
                Argument::Text(value) => arguments.add(value.map(without_zero_bytes)),
                Argument::Bytes(value) => arguments.add(value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok((self.sql, arguments))
    }
}

/// Postgres's texts cannot hold a zero byte. None of ours does; who asks for one finds nothing, as on SQLite.
fn without_zero_bytes(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

impl<T: Row> QueryAs<T> {
    /// Gives the next placeholder its value.
    pub(crate) fn bind(mut self, value: impl Into<Argument>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// All rows it finds.
    pub(crate) async fn fetch_all(self, source: impl Source) -> Result<Vec<T>, sqlx::Error> {
        source.fetch_all(self.query).await
    }

    /// The first row it finds.
    pub(crate) async fn fetch_optional(self, source: impl Source) -> Result<Option<T>, sqlx::Error> {
        Ok(self.fetch_all(source).await?.into_iter().next())
    }
}

impl<T> QueryScalar<T>
where
    (T,): Row,
{
    /// Gives the next placeholder its value.
    pub(crate) fn bind(self, value: impl Into<Argument>) -> Self {
        Self(self.0.bind(value))
    }

    /// The column of all rows it finds.
    pub(crate) async fn fetch_all(self, source: impl Source) -> Result<Vec<T>, sqlx::Error> {
        let rows = self.0.fetch_all(source).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The column of the first row it finds.
    pub(crate) async fn fetch_optional(self, source: impl Source) -> Result<Option<T>, sqlx::Error> {
        Ok(self.0.fetch_optional(source).await?.map(|(value,)| value))
    }

    /// The column of the one row it finds.
    pub(crate) async fn fetch_one(self, source: impl Source) -> Result<T, sqlx::Error> {
        self.fetch_optional(source).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// What a statement can run on.
pub(crate) trait Source {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error>;
    async fn fetch_all<T: Row>(self, query: Query) -> Result<Vec<T>, sqlx::Error>;
}

impl Source for &Db {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error> {
        match self {
            Db::Sqlite(pool) => execute_on_sqlite(pool, query).await,
            Db::Postgres(pool) => execute_on_postgres(pool, query).await,
        }
    }

    async fn fetch_all<T: Row>(self, query: Query) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Db::Sqlite(pool) => fetch_from_sqlite(pool, query).await,
            Db::Postgres(pool) => fetch_from_postgres(pool, query).await,
        }
    }
}

impl Source for &mut Tx {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error> {
        match self {
            Tx::Sqlite(tx) => execute_on_sqlite(&mut **tx, query).await,
            Tx::Postgres(tx) => execute_on_postgres(&mut **tx, query).await,
        }
    }

    async fn fetch_all<T: Row>(self, query: Query) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Tx::Sqlite(tx) => fetch_from_sqlite(&mut **tx, query).await,
            Tx::Postgres(tx) => fetch_from_postgres(&mut **tx, query).await,
        }
    }
}

async fn execute_on_sqlite(on: impl SqliteExecutor<'_>, query: Query) -> Result<u64, sqlx::Error> {
    let (sql, arguments) = query.for_sqlite()?;
    let done = sqlx::query_with(sql, arguments).execute(on).await?;
    Ok(done.rows_affected())
}

async fn execute_on_postgres(on: impl PgExecutor<'_>, query: Query) -> Result<u64, sqlx::Error> {
    let (sql, arguments) = query.for_postgres()?;
    let done = sqlx::query_with(sql, arguments).execute(on).await?;
    Ok(done.rows_affected())
}

async fn fetch_from_sqlite<T: Row>(
    from: impl SqliteExecutor<'_>,
    query: Query,
) -> Result<Vec<T>, sqlx::Error> {
    let (sql, arguments) = query.for_sqlite()?;
    sqlx::query_as_with(sql, arguments).fetch_all(from).await
}

async fn fetch_from_postgres<T: Row>(from: impl PgExecutor<'_>, query: Query) -> Result<Vec<T>, sqlx::Error> {
    let (sql, arguments) = query.for_postgres()?;
    sqlx::query_as_with(sql, arguments).fetch_all(from).await
}

impl From<i64> for Argument {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<&str> for Argument {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Argument {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<&String> for Argument {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<String> for Argument {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Argument {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Option<i64>> for Argument {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Vec<u8>> for Argument {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<&Vec<u8>> for Argument {
    fn from(value: &Vec<u8>) -> Self {
        Self::Bytes(Some(value.clone()))
    }
}
