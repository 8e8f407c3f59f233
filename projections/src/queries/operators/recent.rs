//! Tool calls of the whole cast, newest first.

use events::PersonaId;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{Cursor, Page, PageRequest};
use crate::database::query;
use crate::queries::CallResult;
use crate::queries::actions::{ActionRow, action_of};
use crate::tables::{Tables, TablesError};

/// Which calls are wanted; all without a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionFilter {
    /// Of this persona.
    pub persona: Option<PersonaId>,
    /// Of this tool.
    pub tool: Option<String>,
    /// With this result.
    pub result: Option<CallResult>,
}

/// One tool call and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RecentAction {
    /// The persona's name; empty for one that is erased.
    pub persona_name: String,
    /// The call.
    #[serde(flatten)]
    pub action: ActionRow,
}

impl Tables {
    /// Calls that pass `filter`, newest first.
    pub async fn recent_actions_page(
        &self,
        filter: &ActionFilter,
        page: &PageRequest,
    ) -> Result<Page<RecentAction>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let rows = query(
            "-- name: recent_actions_page
             SELECT persona_actions.*,
                    COALESCE(personas.name, '') AS persona_name
             FROM persona_actions
             LEFT JOIN personas ON personas.id = persona_actions.persona_id
             WHERE (persona_actions.stream_seq < $1
                    OR (persona_actions.stream_seq = $1 AND persona_actions.id < $2))
               AND (persona_actions.persona_id = $3 OR $3 IS NULL)
               AND (persona_actions.tool_name = $4 OR $4 IS NULL)
               AND (persona_actions.result = $5 OR $5 IS NULL)
             ORDER BY persona_actions.stream_seq DESC,
                      persona_actions.id DESC
             LIMIT $6",
        )
        .bind(seq)
        .bind(id)
        .bind(filter.persona.as_ref().map(ToString::to_string))
        .bind(filter.tool.clone())
        .bind(filter.result.map(|result| result.as_str().to_owned()))
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let actions = rows
            .iter()
            .map(|row| {
                Ok(RecentAction {
                    persona_name: row.try_get("persona_name")?,
                    action: action_of(row)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        let place = |recent: &RecentAction| Cursor {
            seq: recent.action.stream_seq,
            id: recent.action.id.clone(),
        };
        Ok(page.page(actions, place, &mut snapshot.db()).await?)
    }
}
