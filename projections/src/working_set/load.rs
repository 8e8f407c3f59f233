//! Filling a working set: one query per table and way to look a row up, whatever the size of the batch.

use super::WorkingSet;
use super::wanted::Wanted;
use crate::database::{Db, Keys, rows_with_keys};
use crate::row::Row;
use crate::schema::Action;

/// Rows by the one column that names them.
async fn by_id<'a, R: Row>(
    db: &mut Db<'_>,
    ids: impl Iterator<Item = &'a str>,
) -> Result<Vec<R>, sqlx::Error> {
    let keys = Keys {
        columns: ["id"],
        values: ids.map(|id| [id]).collect(),
        and: "",
    };
    rows_with_keys(db, keys).await
}

impl WorkingSet {
    /// The rows a batch needs, as the tables have them now.
    pub(crate) async fn load(db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<Self, sqlx::Error> {
        let mut set = Self::default();
        for id in &wanted.personas {
            set.personas.asked_for((*id).to_owned());
        }
        for row in by_id(db, wanted.personas.iter().copied()).await? {
            set.personas.loaded(row);
        }
        for id in &wanted.ticks {
            set.ticks.asked_for((*id).to_owned());
        }
        for row in by_id(db, wanted.ticks.iter().copied()).await? {
            set.ticks.loaded(row);
        }
        for id in &wanted.feedback {
            set.feedback.asked_for(id.clone());
        }
        for row in by_id(db, wanted.feedback.iter().map(String::as_str)).await? {
            set.feedback.loaded(row);
        }
        for id in &wanted.sessions {
            set.sessions.asked_for((*id).to_owned());
        }
        for row in by_id(db, wanted.sessions.iter().copied()).await? {
            set.sessions.loaded(row);
        }
        for id in &wanted.gateway_calls {
            set.calls.asked_for((*id).to_owned());
        }
        for row in by_id(db, wanted.gateway_calls.iter().copied()).await? {
            set.calls.loaded(row);
        }
        for name in &wanted.deploys {
            set.deploys.asked_for((*name).to_owned());
        }
        let deploys = Keys {
            columns: ["name"],
            values: wanted.deploys.iter().map(|name| [*name]).collect(),
            and: "",
        };
        for row in rows_with_keys(db, deploys).await? {
            set.deploys.loaded(row);
        }
        set.load_twins(db, wanted).await?;
        set.load_edges(db, wanted).await?;
        set.load_expectations(db, wanted).await?;
        set.load_records(db, wanted).await?;
        set.load_actions(db, wanted).await?;
        Ok(set)
    }

    async fn load_twins(&mut self, db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        for [tick, twin] in &wanted.twins {
            self.twins.asked_for(((*tick).to_owned(), (*twin).to_owned()));
        }
        let keys = Keys {
            columns: ["tick_id", "twin"],
            values: wanted.twins.iter().copied().collect(),
            and: "",
        };
        for row in rows_with_keys(db, keys).await? {
            self.twins.loaded(row);
        }
        Ok(())
    }

    async fn load_edges(&mut self, db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        for [persona, tool, field, class] in &wanted.edges {
            let key = (
                (*persona).to_owned(),
                (*tool).to_owned(),
                (*field).to_owned(),
                (*class).to_owned(),
            );
            self.edges.asked_for(key);
        }
        let keys = Keys {
            columns: ["persona_id", "tool_name", "field", "class"],
            values: wanted.edges.iter().copied().collect(),
            and: "",
        };
        for row in rows_with_keys(db, keys).await? {
            self.edges.loaded(row);
        }
        Ok(())
    }

    async fn load_expectations(&mut self, db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        for (space, thing, partner) in &wanted.expectations {
            let key = ((*space).to_owned(), (*thing).to_owned(), (*partner).to_owned());
            self.expectations.asked_for(key);
        }
        let keys = Keys {
            columns: ["space_id", "thing_id", "partner_id"],
            values: wanted
                .expectations
                .iter()
                .map(|(space, thing, partner)| [*space, *thing, *partner])
                .collect(),
            and: "",
        };
        for row in rows_with_keys(db, keys).await? {
            self.expectations.loaded(row);
        }
        Ok(())
    }

    async fn load_records(&mut self, db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        for (space, table, record) in &wanted.records {
            let key = ((*space).to_owned(), (*table).to_owned(), (*record).to_owned());
            self.records.asked_for(key);
        }
        let keys = Keys {
            columns: ["space_id", "table_name", "record_id"],
            values: wanted
                .records
                .iter()
                .map(|(space, table, record)| [*space, *table, *record])
                .collect(),
            and: "",
        };
        for row in rows_with_keys(db, keys).await? {
            self.records.loaded(row);
        }
        Ok(())
    }

    async fn load_actions(&mut self, db: &mut Db<'_>, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        for id in &wanted.action_ids {
            self.actions.asked_for_id(id.clone());
        }
        for (tick, call) in &wanted.calls {
            self.actions.asked_for_call(tick, call);
        }
        for tick in &wanted.ending_ticks {
            self.actions.asked_for_pending(tick);
        }
        for row in by_id::<Action>(db, wanted.action_ids.iter().map(String::as_str)).await? {
            self.actions.loaded(row);
        }
        let calls = Keys {
            columns: ["tick_id", "call_id"],
            values: wanted.calls.iter().map(|(tick, call)| [*tick, *call]).collect(),
            and: "",
        };
        for row in rows_with_keys(db, calls).await? {
            self.actions.loaded(row);
        }
        let pending = Keys {
            columns: ["tick_id"],
            values: wanted.ending_ticks.iter().map(|tick| [*tick]).collect(),
            and: "AND persona_actions.result = 'pending'",
        };
        for row in rows_with_keys(db, pending).await? {
            self.actions.loaded(row);
        }
        Ok(())
    }
}
