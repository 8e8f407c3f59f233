//! Many rows at once, in and out: the one place where both databases are written for separately, because each has
//! its own fast way. SQLite takes `VALUES` with bare `?` (numbered placeholders are looked up by name, which is
//! quadratic in a long list); Postgres takes one array per column, so that one statement serves any number of rows.

use std::fmt::Write as _;
use std::vec::IntoIter;

use futures::future::join;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::{Db, query_text};
use crate::row::{FoldedTable, Row};

/// Rows in one SQLite statement, largest first: a few sizes, so that each is prepared once. The largest stays below
/// SQLite's 32,766 placeholders for tables of up to 127 columns.
const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];
/// Rows in one Postgres statement at most: enough that the statement itself costs nothing, few enough that the next is
/// made while it runs.
const ARRAY_ROWS_MAX: usize = 1_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Real,
    Text,
}

/// One column of one row on its way to the database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Int(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
}

/// Columns that name rows, and the values of the rows that are wanted, each as long as `columns`.
#[derive(Debug)]
pub(crate) struct Keys<'a, const N: usize> {
    pub(crate) columns: [&'static str; N],
    pub(crate) values: Vec<[&'a str; N]>,
    /// What else must hold; ours.
    pub(crate) and: &'static str,
}

/// The rows of `R`'s table with one of `keys`, in no order.
pub(crate) async fn rows_with_keys<R: Row, const N: usize>(
    db: &mut Db<'_>,
    keys: Keys<'_, N>,
) -> Result<Vec<R>, sqlx::Error> {
    if keys.values.is_empty() {
        return Ok(Vec::new());
    }
    let table = &R::TABLE;
    let columns = table.columns_of(table.name);
    let is_sqlite = matches!(db, Db::Sqlite(_));
    let query = if is_sqlite {
        let on: Vec<String> = (0..N)
            .map(|place| {
                format!(
                    "{}.{} = wanted.value ->> {place}",
                    table.name, keys.columns[place]
                )
            })
            .collect();
        // CROSS JOIN keeps the order of the loops: each wanted key is looked up once.
        let sql = format!(
            "SELECT {columns} FROM json_each($1) AS wanted CROSS JOIN {} ON {} WHERE TRUE {}",
            table.name,
            on.join(" AND "),
            keys.and
        );
        let wanted =
            serde_json::to_string(&keys.values.iter().map(<[&str; N]>::as_slice).collect::<Vec<_>>());
        query_text(sql).bind(wanted.map_err(|error| sqlx::Error::Encode(Box::new(error)))?)
    } else {
        let arrays: Vec<String> = (1..=N).map(|place| format!("${place}::text[]")).collect();
        let on: Vec<String> = (0..N)
            .map(|place| format!("{}.{1} = wanted.{1}", table.name, keys.columns[place]))
            .collect();
        // OFFSET 0 keeps the order of the loops, as above: without it large batches were joined by reading the whole
        // table.
        let sql = format!(
            "SELECT found.* FROM UNNEST({}) AS wanted ({})
             CROSS JOIN LATERAL (SELECT {columns} FROM {} WHERE {} {} OFFSET 0) AS found",
            arrays.join(", "),
            keys.columns.join(", "),
            table.name,
            on.join(" AND "),
            keys.and
        );
        (0..N).fold(query_text(sql), |query, place| {
            query.bind(
                keys.values
                    .iter()
                    .map(|value| value[place].to_owned())
                    .collect::<Vec<String>>(),
            )
        })
    };
    let rows = query.fetch_all(db).await?;
    rows.iter().map(R::read).collect()
}

/// Rows of one table that are to be written.
#[derive(Debug)]
pub(crate) struct Changed<R> {
    /// Those whose keys the table does not have; with a conflict to look for each would cost half as much again.
    pub(crate) new: Vec<R>,
    /// Those whose keys it has, or may have.
    pub(crate) others: Vec<R>,
}

impl<R> Changed<R> {
    /// Rows of which it is not known whether the table has them.
    pub(crate) fn of(rows: Vec<R>) -> Self {
        Self {
            new: Vec::new(),
            others: rows,
        }
    }
}

/// What is to happen with a row of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// There is none, or the statement fails.
    Refuse,
    /// It is replaced.
    Replace,
}

/// Writes rows, each in the place of the one with its key, if there is one.
pub(crate) async fn write_rows<R: Row>(db: &mut Db<'_>, changed: Changed<R>) -> Result<(), sqlx::Error> {
    write(db, changed.new, Conflict::Refuse).await?;
    write(db, changed.others, Conflict::Replace).await
}

/// While one statement runs the next is made: the database works in a thread or a process of its own.
async fn write<R: Row>(db: &mut Db<'_>, rows: Vec<R>, conflict: Conflict) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter();
    match db {
        Db::Sqlite(connection) => {
            let mut next = values_of(&mut rows)?;
            while let Some((count, arguments)) = next {
                let sql = AssertSqlSafe(values_statement(&R::TABLE, count, conflict));
                let run = sqlx::query_with(sql, arguments).execute(&mut **connection);
                let (done, following) = join(run, async { values_of(&mut rows) }).await;
                done?;
                next = following?;
            }
        }
        Db::Postgres(connection) => {
            let mut next = arrays_of(&mut rows)?;
            while let Some(arguments) = next {
                let sql = AssertSqlSafe(unnest_statement(&R::TABLE, conflict));
                let run = sqlx::query_with(sql, arguments).execute(&mut **connection);
                let (done, following) = join(run, async { arrays_of(&mut rows) }).await;
                done?;
                next = following?;
            }
        }
    }
    Ok(())
}

/// The arguments of the next SQLite statement, and how many rows they are; `None` at the end.
fn values_of<R: Row>(rows: &mut IntoIter<R>) -> Result<Option<(usize, SqliteArguments)>, sqlx::Error> {
    let Some(count) = CHUNKS.into_iter().find(|count| *count <= rows.len()) else {
        return Ok(None);
    };
    let mut cells = Vec::with_capacity(count * R::TABLE.columns.len());
    for row in rows.take(count) {
        row.into_cells(&mut cells)?;
    }
    let mut arguments = SqliteArguments::default();
    arguments.reserve(cells.len(), 0);
    for cell in cells {
        match cell {
            Cell::Int(value) => arguments.add(value),
            Cell::Real(value) => arguments.add(value),
            Cell::Text(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(Some((count, arguments)))
}

/// The arguments of the next Postgres statement; `None` at the end.
fn arrays_of<R: Row>(rows: &mut IntoIter<R>) -> Result<Option<PgArguments>, sqlx::Error> {
    if rows.len() == 0 {
        return Ok(None);
    }
    columns_of_rows(rows.take(ARRAY_ROWS_MAX).collect()).map(Some)
}

fn columns_of_rows<R: Row>(rows: Vec<R>) -> Result<PgArguments, sqlx::Error> {
    let mut cells = Vec::with_capacity(rows.len() * R::TABLE.columns.len());
    let count = rows.len();
    for row in rows {
        row.into_cells(&mut cells)?;
    }
    let mut arguments = PgArguments::default();
    for (place, column) in R::TABLE.columns.iter().enumerate() {
        let column_cells = cells.iter_mut().skip(place).step_by(R::TABLE.columns.len());
        match column.kind {
            Kind::Int => {
                let mut values: Vec<Option<i64>> = Vec::with_capacity(count);
                values
                    .extend(column_cells.map(|cell| if let Cell::Int(value) = cell { *value } else { None }));
                arguments.add(values)
            }
            Kind::Real => {
                let mut values: Vec<Option<f64>> = Vec::with_capacity(count);
                values.extend(column_cells.map(|cell| {
                    if let Cell::Real(value) = cell {
                        *value
                    } else {
                        None
                    }
                }));
                arguments.add(values)
            }
            Kind::Text => {
                let mut values: Vec<Option<String>> = Vec::with_capacity(count);
                values.extend(column_cells.map(|cell| {
                    if let Cell::Text(value) = cell {
                        value.take()
                    } else {
                        None
                    }
                }));
                arguments.add(values)
            }
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn values_statement(table: &FoldedTable, rows: usize, conflict: Conflict) -> String {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let values = vec![row; rows].join(", ");
    let mut sql = insert_into(table);
    let _ = write!(sql, " VALUES {values}{}", on_conflict(table, conflict));
    sql
}

fn unnest_statement(table: &FoldedTable, conflict: Conflict) -> String {
    let arrays: Vec<String> = (1..)
        .zip(table.columns)
        .map(|(place, column)| match column.kind {
            Kind::Int => format!("${place}::bigint[]"),
            Kind::Real => format!("${place}::double precision[]"),
            Kind::Text => format!("${place}::text[]"),
        })
        .collect();
    let mut sql = insert_into(table);
    let _ = write!(
        sql,
        " SELECT * FROM UNNEST({}){}",
        arrays.join(", "),
        on_conflict(table, conflict)
    );
    sql
}

fn insert_into(table: &FoldedTable) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    format!("INSERT INTO {} ({})", table.name, columns.join(", "))
}

fn on_conflict(table: &FoldedTable, conflict: Conflict) -> String {
    if conflict == Conflict::Refuse {
        return String::new();
    }
    let rest: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !table.key.contains(&column.name))
        .map(|column| format!("{0} = excluded.{0}", column.name))
        .collect();
    format!(
        " ON CONFLICT ({}) DO UPDATE SET {}",
        table.key.join(", "),
        rest.join(", ")
    )
}
