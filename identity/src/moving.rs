//! Moving accounts from a file into a Postgres database: every row of every table, or none.
//!
//! Keys stay sealed on the way, with the key-encryption keys they are sealed with: these go along by hand.

use std::path::Path;

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, PgConnection, Row as _, SqlitePool, TypeInfo as _,
    ValueRef as _,
};

use crate::database::{Database, Db, Tx};
use crate::error::{DatabaseError, IdentityError};

/// All tables, each after those it refers to.
const TABLES: [&str; 16] = [
    "users",
    "credentials",
    "spaces",
    "space_members",
    "vaults",
    "past_master_keys",
    "signing_keys",
    "rewrites_due",
    "audit_log",
    "space_invitations",
    "revoked_sessions",
    "key_grants",
    "wrong_passwords",
    "key_changes",
    "space_past_owners",
    "deleted_spaces",
];

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedAccounts {
    /// How many accounts.
    pub accounts: u64,
    /// How many rows in all.
    pub rows: u64,
}

/// Copies the accounts in the SQLite file `from`, which nobody has open, into `to`, which is a Postgres database without
/// accounts. The file stays as it is, but for migrations it has not seen.
///
/// # Errors
/// [`IdentityError::InvalidField`] when `to` is a file or has accounts already; [`IdentityError::NewerSchema`] when a newer
/// program wrote the file. Nothing is then moved.
pub async fn move_accounts(from: &Path, to: &Database) -> Result<MovedAccounts, IdentityError> {
    let refused = |reason: &str| IdentityError::InvalidField {
        field: "database",
        reason: reason.to_owned(),
    };
    let Database::Postgres(_) = to else {
        return Err(refused("must be a Postgres database to move accounts to"));
    };
    let (source, target) = (Db::open(&from.to_owned().into()).await?, Db::open(to).await?);
    let moved = async {
        let (Db::Sqlite(source), Tx::Postgres(mut tx)) = (&source, target.begin().await?) else {
            return Err(refused("must be a Postgres database to move accounts to"));
        };
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
            .fetch_one(&mut *tx)
            .await?;
        if there > 0 {
            return Err(refused("has accounts already; move into an empty one"));
        }
        // What whoever opened it before has left there is nobody's.
        for table in TABLES.iter().rev() {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(&mut *tx)
                .await?;
        }
        let mut moved = MovedAccounts { accounts: 0, rows: 0 };
        for table in TABLES {
            let rows = copy(source, &mut tx, table).await?;
            moved.rows += rows;
            if table == "users" {
                moved.accounts = rows;
            }
        }
        // The next act's number follows the last one's.
        sqlx::query("SELECT setval(pg_get_serial_sequence('audit_log', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM audit_log), FALSE)")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(moved)
    }
    .await;
    source.close().await;
    target.close().await;
    moved
}

/// Copies one table and says how many rows it has.
async fn copy(from: &SqlitePool, to: &mut PgConnection, table: &str) -> Result<u64, IdentityError> {
    let mut reader = from.acquire().await?;
    let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table}")))
        .fetch_all(&mut *reader)
        .await?;
    let Some(first) = rows.first() else { return Ok(0) };
    let columns: Vec<&str> = first.columns().iter().map(sqlx::Column::name).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    let insert = format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        columns.join(", "),
        places.join(", ")
    );
    for row in &rows {
        sqlx::query_with(AssertSqlSafe(insert.clone()), arguments(row)?)
            .execute(&mut *to)
            .await?;
    }
    Ok(rows.len() as u64)
}

/// The row's values. What a null would be is known from its column alone.
fn arguments(row: &SqliteRow) -> Result<PgArguments, IdentityError> {
    let mut arguments = PgArguments::default();
    for (place, column) in row.columns().iter().enumerate() {
        let value = row.try_get_raw(place)?;
        let kind = if value.is_null() {
            column.type_info().name().to_owned()
        } else {
            value.type_info().name().to_owned()
        };
        match kind.as_str() {
            "INTEGER" => arguments.add(row.try_get::<Option<i64>, _>(place)?),
            "BLOB" => arguments.add(row.try_get::<Option<Vec<u8>>, _>(place)?),
            _ => arguments.add(row.try_get::<Option<String>, _>(place)?),
        }
        .map_err(|error| IdentityError::Database(DatabaseError::Sql(sqlx::Error::Encode(error))))?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_table_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("identity.db").into()).await.unwrap();
        let Db::Sqlite(pool) = &db else { panic!("a file") };
        let mut stored: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations'",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        stored.sort();
        let mut listed = TABLES.map(str::to_owned).to_vec();
        listed.sort();
        assert_eq!(listed, stored);
    }
}
