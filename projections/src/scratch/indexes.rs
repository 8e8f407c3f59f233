//! Many rows are written without the indexes that only queries need, which makes it several times faster.

use crate::database::{Db, query, query_text};
use crate::location::Location;

/// Indexes that were taken away, as the statements that make them.
#[derive(Debug)]
pub(crate) struct SecondaryIndexes(Vec<String>);

/// Takes away every index of the tables at `location` that is not part of a key.
pub(crate) async fn drop_secondary(
    db: &mut Db<'_>,
    location: &Location,
) -> Result<SecondaryIndexes, sqlx::Error> {
    let found = match location {
        Location::File(_) => query(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
        ),
        Location::Schema { schema, .. } => query(
            "SELECT indexes.relname::text AS name,
                    pg_get_indexdef(indexes.oid) AS sql
             FROM pg_index
             JOIN pg_class AS indexes ON indexes.oid = pg_index.indexrelid
             JOIN pg_namespace ON pg_namespace.oid = indexes.relnamespace
             WHERE pg_namespace.nspname = $1
               AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE pg_constraint.conindid = indexes.oid)
             ORDER BY name",
        )
        .bind(schema.as_str()),
    };
    let mut statements = Vec::new();
    for row in found.fetch_all(&mut *db).await? {
        let name: String = row.try_get("name")?;
        query_text(format!("DROP INDEX {name}")).execute(&mut *db).await?;
        statements.push(row.try_get("sql")?);
    }
    Ok(SecondaryIndexes(statements))
}

impl SecondaryIndexes {
    /// Makes them again.
    pub(crate) async fn create(&self, db: &mut Db<'_>) -> Result<(), sqlx::Error> {
        for statement in &self.0 {
            query_text(statement.clone()).execute(&mut *db).await?;
        }
        Ok(())
    }
}
