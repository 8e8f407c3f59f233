//! Whose commit it was that is gone: its seal has the tag of its subject, and the tables know who there is.

use std::collections::HashMap;
use std::str::FromStr;

use events::{DeployName, PersonaId, SpaceId, Subject, SubjectTag, UserId};

use crate::database::{Db, query};

/// What nobody in the tables goes by.
const UNKNOWN: &str = "a subject that the tables do not know";

/// Subjects by their tags.
#[derive(Debug)]
pub(super) struct Names(HashMap<SubjectTag, String>);

impl Names {
    /// Everybody the tables know.
    pub(super) async fn of(db: &mut Db<'_>) -> Result<Self, sqlx::Error> {
        let mut names = Self(HashMap::new());
        let subjects = query(
            "SELECT subject FROM chain_heads
             UNION SELECT subject FROM erased_subjects
             UNION SELECT subject FROM parked_events",
        );
        for row in &subjects.fetch_all(&mut *db).await? {
            names.add(row.try_get::<&str, _>(0)?);
        }
        let personas = query("SELECT id FROM personas UNION SELECT persona_id FROM ticks");
        names
            .add_each(db, personas, |id: PersonaId| Subject::Persona(id))
            .await?;
        let spaces = query("SELECT DISTINCT space_id FROM records");
        names
            .add_each(db, spaces, |id: SpaceId| Subject::Record(id))
            .await?;
        let users = query("SELECT user_id FROM sessions UNION SELECT user_id FROM refusals");
        names
            .add_each(db, users, |id: UserId| Subject::Session(id))
            .await?;
        let deploys = query("SELECT name FROM deploys");
        names
            .add_each(db, deploys, |name: DeployName| Subject::Deploy(name))
            .await?;
        Ok(names)
    }

    async fn add_each<I: FromStr>(
        &mut self,
        db: &mut Db<'_>,
        ids: crate::database::Query,
        subject: impl Fn(I) -> Subject,
    ) -> Result<(), sqlx::Error> {
        for row in &ids.fetch_all(db).await? {
            if let Ok(id) = row.try_get::<&str, _>(0)?.parse() {
                self.add(&subject(id).to_string());
            }
        }
        Ok(())
    }

    pub(super) fn add(&mut self, subject: &str) {
        self.0.insert(SubjectTag::of(subject), subject.to_owned());
    }

    pub(super) fn of_tag(&self, tag: SubjectTag) -> String {
        self.0.get(&tag).map_or_else(|| UNKNOWN.to_owned(), Clone::clone)
    }
}
