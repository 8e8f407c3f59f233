//! A persona's life tick by tick: what it did, how it went, what it thought of it.

use events::{PersonaId, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::expectations::{self, ExpectationRow};
use super::page::{Cursor, Page, PageRequest};
use super::ratings::{RatingRow, rating_of};
use crate::column;
use crate::database::{Db, DbRow, query, query_per};
use crate::queries::actions::{ActionRow, action_of};
use crate::tables::{Tables, TablesError};

/// One tick with everything in it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StoryTick {
    /// The tick.
    pub tick_id: TickId,
    /// Whose.
    pub persona_id: PersonaId,
    /// 1 for the persona's first.
    pub number: u64,
    /// When it was due.
    #[schemars(with = "events::Moment")]
    pub due_at: Timestamp,
    /// When it began.
    #[schemars(with = "events::Moment")]
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    #[schemars(with = "Option<events::Moment>")]
    pub finished_at: Option<Timestamp>,
    /// Why it began: `schedule`, `manual` or `external`.
    pub trigger: String,
    /// Which brain acted.
    pub brain: String,
    /// Its model, where it has one.
    pub model: Option<String>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<String>,
    /// Why it ended so, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Millionths of a dollar; `None` where not known.
    pub cost_micro_usd: Option<u64>,
    /// What sort of group the space it acted in is for; `None` in the persona's own.
    pub space_type: Option<String>,
    /// Place of the commit that began it.
    pub stream_seq: StreamSeq,
    /// What it put into a shared space for others to find, and what it looked for there.
    pub expectations: Vec<ExpectationRow>,
    /// Its calls in the order they were decided.
    pub actions: Vec<ActionRow>,
    /// Its ratings, by module.
    pub ratings: Vec<RatingRow>,
}

impl Tables {
    /// The ticks of `persona`, newest first.
    pub async fn story(
        &self,
        persona: &PersonaId,
        page: &PageRequest,
    ) -> Result<Page<StoryTick>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let rows = query(
            "-- name: story_ticks
             SELECT *
             FROM ticks
             WHERE persona_id = $1
               AND (stream_seq < $2 OR (stream_seq = $2 AND id < $3))
             ORDER BY stream_seq DESC,
                      id DESC
             LIMIT $4",
        )
        .bind(persona.as_str())
        .bind(seq)
        .bind(id)
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let ticks = rows.iter().map(tick_of).collect::<Result<_, _>>()?;
        let place = |tick: &StoryTick| Cursor {
            seq: tick.stream_seq,
            id: tick.tick_id.to_string(),
        };
        let mut page = page.page(ticks, place, &mut snapshot.db()).await?;
        tell(&mut snapshot.db(), &mut page.items).await?;
        Ok(page)
    }

    /// The tick `id` with everything in it.
    pub async fn story_tick(&self, id: &TickId) -> Result<Option<StoryTick>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        tick_with_all(&mut snapshot.db(), id).await.map_err(Into::into)
    }
}

pub(super) async fn tick_with_all(db: &mut Db<'_>, id: &TickId) -> Result<Option<StoryTick>, sqlx::Error> {
    let row = query("-- name: story_tick\nSELECT * FROM ticks WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *db)
        .await?;
    let mut tick: Vec<StoryTick> = row.iter().map(tick_of).collect::<Result<_, _>>()?;
    tell(db, &mut tick).await?;
    Ok(tick.pop())
}

/// Puts into each tick what happened in it.
async fn tell(db: &mut Db<'_>, ticks: &mut [StoryTick]) -> Result<(), sqlx::Error> {
    let ids: Vec<String> = ticks.iter().map(|tick| tick.tick_id.to_string()).collect();
    let actions = query_per(|among| {
        format!(
            "-- name: story_actions
             SELECT *
             FROM persona_actions
             WHERE tick_id {}
             ORDER BY created_at,
                      stream_seq,
                      id",
            among.placeholder(1)
        )
    })
    .bind(ids.clone())
    .fetch_all(&mut *db)
    .await?;
    for row in &actions {
        let action = action_of(row)?;
        if let Some(tick) = ticks.iter_mut().find(|tick| tick.tick_id == action.tick_id) {
            tick.actions.push(action);
        }
    }
    let ratings = query_per(|among| {
        format!(
            "-- name: story_ratings
             SELECT persona_feedback.*,
                    personas.name AS persona_name,
                    personas.archetype
             FROM persona_feedback
             JOIN personas ON personas.id = persona_feedback.persona_id
             WHERE persona_feedback.tick_id {}
             ORDER BY persona_feedback.module",
            among.placeholder(1)
        )
    })
    .bind(ids.clone())
    .fetch_all(&mut *db)
    .await?;
    for row in &ratings {
        let rating = rating_of(row)?;
        if let Some(tick) = ticks.iter_mut().find(|tick| tick.tick_id == rating.tick_id) {
            tick.ratings.push(rating);
        }
    }
    for expectation in expectations::of_ticks(db, ids).await? {
        let is_of = |tick: &&mut StoryTick| expectation.concerns(&tick.tick_id);
        for tick in ticks.iter_mut().filter(is_of) {
            tick.expectations.push(expectation.clone());
        }
    }
    Ok(())
}

fn tick_of(row: &DbRow) -> Result<StoryTick, sqlx::Error> {
    Ok(StoryTick {
        tick_id: column::parsed(row, "id")?,
        persona_id: column::parsed(row, "persona_id")?,
        number: column::count(row, "number")?,
        due_at: column::time(row, "due_at")?,
        started_at: column::time(row, "started_at")?,
        finished_at: column::time_option(row, "finished_at")?,
        trigger: row.try_get("trigger_kind")?,
        brain: row.try_get("brain")?,
        model: row.try_get("model")?,
        outcome: row.try_get("outcome")?,
        reason: row.try_get("reason")?,
        cost_micro_usd: column::count_option(row, "cost_micro_usd")?,
        space_type: row.try_get("space_type")?,
        expectations: Vec::new(),
        stream_seq: column::seq(row, "stream_seq")?,
        actions: Vec::new(),
        ratings: Vec::new(),
    })
}
