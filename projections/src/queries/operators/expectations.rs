//! What personas expect of one another in shared spaces, newest first.

use events::{StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{Cursor, Page, PageRequest};
use crate::column;
use crate::database::{Db, DbRow, query_per, query_text};
use crate::tables::{Tables, TablesError};

/// Columns and names of both sides.
const EXPECTATIONS: &str = "SELECT expectations.*,
       COALESCE(makers.name, '') AS maker_name,
       COALESCE(partners.name, '') AS partner_name
FROM expectations
LEFT JOIN personas AS makers ON makers.id = expectations.maker_id
LEFT JOIN personas AS partners ON partners.id = expectations.partner_id";

/// One thing that one persona put into a shared space and another ought to find there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExpectationRow {
    /// The space.
    pub space_id: String,
    /// The thing.
    pub thing_id: String,
    /// Its module.
    pub module: String,
    /// What it is, such as `task`.
    pub kind: String,
    /// `open`, `kept`, `broken`, or `void` where it was changed before anybody looked.
    pub state: String,
    /// Who put it there.
    pub maker_id: String,
    /// By name.
    pub maker_name: String,
    /// In which tick.
    pub made_tick_id: TickId,
    /// When.
    #[schemars(with = "events::Moment")]
    pub made_at: Timestamp,
    /// Who ought to find it.
    pub partner_id: String,
    /// By name.
    pub partner_name: String,
    /// The tick it was looked for in.
    pub looked_tick_id: Option<TickId>,
    /// When.
    #[schemars(with = "Option<events::Moment>")]
    pub looked_at: Option<Timestamp>,
    /// Place of the commit that says what came of it.
    pub looked_seq: Option<StreamSeq>,
    /// Place of the commit that raised it.
    pub stream_seq: StreamSeq,
}

impl ExpectationRow {
    /// Whether the thing was put there or looked for in that tick.
    pub fn concerns(&self, tick: &TickId) -> bool {
        self.made_tick_id == *tick || self.looked_tick_id.as_ref() == Some(tick)
    }
}

impl Tables {
    /// What is and was expected, latest raised first; with `state`, only what stands so.
    pub async fn expectations(
        &self,
        state: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<ExpectationRow>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let text = format!(
            "-- name: expectations
             {EXPECTATIONS}
             WHERE (expectations.stream_seq < $1
                    OR (expectations.stream_seq = $1
                        AND expectations.thing_id || ' ' || expectations.partner_id < $2))
               AND (expectations.state = $3 OR $3 IS NULL)
             ORDER BY expectations.stream_seq DESC,
                      expectations.thing_id || ' ' || expectations.partner_id DESC
             LIMIT $4"
        );
        let rows = query_text(text)
            .bind(seq)
            .bind(id)
            .bind(state.map(str::to_owned))
            .bind(page.fetched())
            .fetch_all(&mut snapshot.db())
            .await?;
        let rows = rows.iter().map(expectation_of).collect::<Result<_, _>>()?;
        let place = |row: &ExpectationRow| Cursor {
            seq: row.stream_seq,
            id: format!("{} {}", row.thing_id, row.partner_id),
        };
        Ok(page.page(rows, place, &mut snapshot.db()).await?)
    }
}

/// Those that were raised or looked for in one of these ticks, in the order they were raised.
pub(super) async fn of_ticks(
    db: &mut Db<'_>,
    ticks: Vec<String>,
) -> Result<Vec<ExpectationRow>, sqlx::Error> {
    let mut found: Vec<ExpectationRow> = Vec::new();
    for column in ["made_tick_id", "looked_tick_id"] {
        let rows = query_per(|among| {
            format!(
                "-- name: expectations_of_ticks
                 {EXPECTATIONS}
                 WHERE expectations.{column} {}
                 ORDER BY expectations.stream_seq,
                          expectations.thing_id,
                          expectations.partner_id",
                among.placeholder(1)
            )
        })
        .bind(ticks.clone())
        .fetch_all(&mut *db)
        .await?;
        for row in &rows {
            let row = expectation_of(row)?;
            if !found.contains(&row) {
                found.push(row);
            }
        }
    }
    Ok(found)
}

fn expectation_of(row: &DbRow) -> Result<ExpectationRow, sqlx::Error> {
    Ok(ExpectationRow {
        space_id: row.try_get("space_id")?,
        thing_id: row.try_get("thing_id")?,
        module: row.try_get("module")?,
        kind: row.try_get("kind")?,
        state: row.try_get("state")?,
        maker_id: row.try_get("maker_id")?,
        maker_name: row.try_get("maker_name")?,
        made_tick_id: column::parsed(row, "made_tick_id")?,
        made_at: column::time(row, "made_at")?,
        partner_id: row.try_get("partner_id")?,
        partner_name: row.try_get("partner_name")?,
        looked_tick_id: column::parsed_option(row, "looked_tick_id")?,
        looked_at: column::time_option(row, "looked_at")?,
        looked_seq: column::count_option(row, "looked_seq")?.map(StreamSeq),
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
