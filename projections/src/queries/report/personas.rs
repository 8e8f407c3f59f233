//! What each persona did.

use std::collections::BTreeMap;

use super::{ModuleStars, PersonaDay};
use crate::column;
use crate::database::{Db, query};

pub(super) async fn days(db: &mut Db<'_>, since: i64) -> Result<Vec<PersonaDay>, sqlx::Error> {
    let mut ratings = latest_ratings(db, since).await?;
    let rows = query(
        "-- name: report_personas
         SELECT personas.id,
                personas.email,
                personas.name,
                personas.archetype,
                (SELECT COUNT(*)
                 FROM ticks
                 WHERE ticks.persona_id = personas.id
                   AND ticks.stream_seq > $1) AS ticks,
                (SELECT COUNT(*)
                 FROM ticks
                 WHERE ticks.persona_id = personas.id
                   AND ticks.stream_seq > $1
                   AND ticks.outcome = 'interrupted') AS interrupted,
                (SELECT ticks.outcome
                 FROM ticks
                 WHERE ticks.persona_id = personas.id
                   AND ticks.stream_seq > $1
                 ORDER BY ticks.stream_seq DESC
                 LIMIT 1) AS outcome,
                COUNT(actions.id) AS calls,
                COUNT(CASE WHEN actions.result = 'error' THEN 1 END) AS errors,
                COUNT(actions.retry_of) AS retries,
                COUNT(CASE WHEN actions.intent = 'mistake' THEN 1 END) AS mistakes
         FROM personas
         LEFT JOIN persona_actions AS actions
           ON actions.persona_id = personas.id
          AND actions.stream_seq > $1
         GROUP BY personas.id
         ORDER BY personas.stream_seq,
                  personas.id",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let persona_id: String = row.try_get("id")?;
            Ok(PersonaDay {
                ratings: ratings.remove(&persona_id).unwrap_or_default(),
                persona_id,
                email: row.try_get("email")?,
                name: row.try_get("name")?,
                archetype: row.try_get("archetype")?,
                ticks: column::count(row, "ticks")?,
                interrupted: column::count(row, "interrupted")?,
                calls: column::count(row, "calls")?,
                errors: column::count(row, "errors")?,
                retries: column::count(row, "retries")?,
                mistakes: column::count(row, "mistakes")?,
                outcome: row.try_get("outcome")?,
            })
        })
        .collect()
}

/// The latest rating of each persona and module, by persona.
async fn latest_ratings(
    db: &mut Db<'_>,
    since: i64,
) -> Result<BTreeMap<String, Vec<ModuleStars>>, sqlx::Error> {
    let rows = query(
        "-- name: latest_ratings
         SELECT feedback.persona_id,
                feedback.module,
                feedback.rating,
                feedback.friction,
                feedback.notes
         FROM persona_feedback AS feedback
         WHERE feedback.stream_seq = (SELECT MAX(latest.stream_seq)
                                      FROM persona_feedback AS latest
                                      WHERE latest.persona_id = feedback.persona_id
                                        AND latest.module = feedback.module)
           AND feedback.stream_seq > $1
         ORDER BY feedback.persona_id,
                  feedback.module",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    let mut ratings: BTreeMap<String, Vec<ModuleStars>> = BTreeMap::new();
    for row in &rows {
        let stars = ModuleStars {
            module: row.try_get("module")?,
            rating: row
                .try_get::<Option<i64>, _>("rating")?
                .and_then(|stars| u8::try_from(stars).ok()),
            friction: row.try_get("friction")?,
            notes: row.try_get("notes")?,
        };
        ratings.entry(row.try_get("persona_id")?).or_default().push(stars);
    }
    Ok(ratings)
}
