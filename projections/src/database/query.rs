//! One statement and its arguments, for either database.

use std::fmt;

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Decode, Postgres, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _,
};

use super::{Db, DbPool};

/// A statement on its way to a database.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct Query {
    sqlite: Text,
    postgres: Text,
    arguments: Vec<Argument>,
}

#[derive(Debug)]
enum Text {
    Static(&'static str),
    Made(String),
}

/// A value for a placeholder.
#[derive(Debug)]
pub(crate) enum Argument {
    Int(Option<i64>),
    Text(Option<String>),
    /// Many at once: a JSON array on SQLite, `TEXT[]` on Postgres.
    Texts(Vec<String>),
}

/// A statement that both databases understand.
pub(crate) fn query(sql: &'static str) -> Query {
    Query {
        sqlite: Text::Static(sql),
        postgres: Text::Static(sql),
        arguments: Vec::new(),
    }
}

/// A statement made of our own names of tables and columns; never of anything that came from outside.
pub(crate) fn query_text(sql: String) -> Query {
    Query {
        sqlite: Text::Made(sql.clone()),
        postgres: Text::Made(sql),
        arguments: Vec::new(),
    }
}

/// How each database says "one of the texts in this placeholder".
#[derive(Debug, Clone, Copy)]
pub(crate) enum Among {
    Sqlite,
    Postgres,
}

impl Among {
    /// The operator and its right side, for the placeholder with that number, bound to texts.
    pub(crate) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("IN (SELECT value FROM json_each(${number}))"),
            Self::Postgres => format!("= ANY(${number})"),
        }
    }
}

/// A statement made of our own names, as [`query_text`], that looks for one of many texts.
pub(crate) fn query_per(sql: impl Fn(Among) -> String) -> Query {
    Query {
        sqlite: Text::Made(sql(Among::Sqlite)),
        postgres: Text::Made(sql(Among::Postgres)),
        arguments: Vec::new(),
    }
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

    /// All rows it finds.
    pub(crate) async fn fetch_all(self, source: impl Source) -> Result<Vec<DbRow>, sqlx::Error> {
        source.fetch_all(self).await
    }

    /// The first row it finds.
    pub(crate) async fn fetch_optional(self, source: impl Source) -> Result<Option<DbRow>, sqlx::Error> {
        Ok(source.fetch_all(self).await?.into_iter().next())
    }

    /// The one row it finds.
    pub(crate) async fn fetch_one(self, source: impl Source) -> Result<DbRow, sqlx::Error> {
        self.fetch_optional(source).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// The rows it finds, one by one: for tables that need not fit into memory.
    pub(crate) fn fetch<'d>(self, db: &'d mut Db<'_>) -> BoxStream<'d, Result<DbRow, sqlx::Error>> {
        match db {
            Db::Sqlite(connection) => match self.for_sqlite() {
                Ok(query) => query.fetch(&mut **connection).map_ok(DbRow::Sqlite).boxed(),
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            },
            Db::Postgres(connection) => match self.for_postgres() {
                Ok(query) => query.fetch(&mut **connection).map_ok(DbRow::Postgres).boxed(),
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            },
        }
    }

    fn for_sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
        use sqlx::Arguments as _;
        let mut arguments = SqliteArguments::default();
        for argument in self.arguments {
            match argument {
                Argument::Int(value) => arguments.add(value),
                Argument::Text(value) => arguments.add(value),
                Argument::Texts(values) => arguments.add(
                    serde_json::to_string(&values).map_err(|error| sqlx::Error::Encode(Box::new(error)))?,
                ),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(match self.sqlite {
            Text::Static(sql) => sqlx::query_with(sql, arguments),
            Text::Made(sql) => sqlx::query_with(AssertSqlSafe(sql), arguments),
        })
    }

    fn for_postgres(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, sqlx::Error> {
        use sqlx::Arguments as _;
        let mut arguments = PgArguments::default();
        for argument in self.arguments {
            match argument {
                Argument::Int(value) => arguments.add(value),
                Argument::Text(value) => arguments.add(value),
                Argument::Texts(values) => arguments.add(values),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(match self.postgres {
            Text::Static(sql) => sqlx::query_with(sql, arguments),
            Text::Made(sql) => sqlx::query_with(AssertSqlSafe(sql), arguments),
        })
    }
}

/// What a [`Query`] can run on.
pub(crate) trait Source {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error>;
    async fn fetch_all(self, query: Query) -> Result<Vec<DbRow>, sqlx::Error>;
}

impl Source for &DbPool {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error> {
        let mut connection = self.acquire().await?;
        (&mut connection.db()).execute(query).await
    }

    async fn fetch_all(self, query: Query) -> Result<Vec<DbRow>, sqlx::Error> {
        let mut connection = self.acquire().await?;
        (&mut connection.db()).fetch_all(query).await
    }
}

impl Source for &mut Db<'_> {
    async fn execute(self, query: Query) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Db::Sqlite(connection) => {
                let done = query.for_sqlite()?.execute(&mut **connection).await?;
                done.rows_affected()
            }
            Db::Postgres(connection) => {
                let done = query.for_postgres()?.execute(&mut **connection).await?;
                done.rows_affected()
            }
        })
    }

    async fn fetch_all(self, query: Query) -> Result<Vec<DbRow>, sqlx::Error> {
        self::Query::fetch(query, self).try_collect().await
    }
}

/// One row of a result.
pub(crate) enum DbRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl fmt::Debug for DbRow {
    /// Rows hold what personas and people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DbRow(..)")
    }
}

impl DbRow {
    /// The value of `column`, by name or place.
    pub(crate) fn try_get<'r, T, I>(&'r self, column: I) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// Appends the column at place `column` to `json` as it is stored, whatever it ought to be: SQLite lets a row
    /// changed by hand hold any type.
    pub(crate) fn write_json(&self, column: usize, json: &mut Vec<u8>) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(row) => {
                let raw = row.try_get_raw(column)?;
                if raw.is_null() {
                    return write_json(json, &());
                }
                match raw.type_info().name() {
                    "INTEGER" | "BOOLEAN" => write_json(json, &row.try_get_unchecked::<i64, _>(column)?),
                    "REAL" => write_json(json, &row.try_get_unchecked::<f64, _>(column)?),
                    "BLOB" => write_json(json, &hex::encode(row.try_get_unchecked::<&[u8], _>(column)?)),
                    _ => write_json(json, row.try_get_unchecked::<&str, _>(column)?),
                }
            }
            Self::Postgres(row) => {
                let raw = row.try_get_raw(column)?;
                if raw.is_null() {
                    return write_json(json, &());
                }
                match raw.type_info().name() {
                    "INT8" => write_json(json, &row.try_get::<i64, _>(column)?),
                    "FLOAT8" => write_json(json, &row.try_get::<f64, _>(column)?),
                    _ => write_json(json, row.try_get::<&str, _>(column)?),
                }
            }
        }
    }
}

fn write_json<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) -> Result<(), sqlx::Error> {
    serde_json::to_writer(json, value).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

impl From<i64> for Argument {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Argument {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Argument {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
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

impl From<Vec<String>> for Argument {
    fn from(values: Vec<String>) -> Self {
        Self::Texts(values)
    }
}
