//! Writing a working set back: what was erased goes first, then one statement per table writes what changed.

use std::collections::{BTreeMap, BTreeSet};

use super::WorkingSet;
use crate::database::{Db, query_per, write_rows};

impl WorkingSet {
    /// Makes the tables equal to what the folds made of the set.
    pub(crate) async fn write(self, db: &mut Db<'_>) -> Result<(), sqlx::Error> {
        // All erasures of a table in one statement: in a copy without secondary indexes each is a walk through it.
        let mut erased: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for erasure in self.erasures {
            erased
                .entry((erasure.table, erasure.column))
                .or_default()
                .insert(erasure.value);
        }
        for ((table, column), values) in erased {
            query_per(|among| format!("DELETE FROM {table} WHERE {column} {}", among.placeholder(1)))
                .bind(values.into_iter().collect::<Vec<String>>())
                .execute(&mut *db)
                .await?;
        }
        write_rows(db, self.personas.into_changed()).await?;
        write_rows(db, self.ticks.into_changed()).await?;
        write_rows(db, self.actions.rows.into_changed()).await?;
        write_rows(db, self.feedback.into_changed()).await?;
        write_rows(db, self.twins.into_changed()).await?;
        write_rows(db, self.edges.into_changed()).await?;
        write_rows(db, self.expectations.into_changed()).await?;
        write_rows(db, self.records.into_changed()).await?;
        write_rows(db, self.sessions.into_changed()).await?;
        write_rows(db, self.refusals.into_changed()).await?;
        write_rows(db, self.calls.into_changed()).await?;
        write_rows(db, self.parked.into_changed()).await?;
        write_rows(db, self.erased_subjects.into_changed()).await?;
        write_rows(db, self.chain_heads.into_changed()).await?;
        write_rows(db, self.deploys.into_changed()).await?;
        Ok(())
    }
}
