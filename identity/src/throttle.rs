//! Slowing down whoever guesses passwords, without telling which accounts there are: what is counted is the email as it
//! was sent, whether or not it is anybody's.
//!
//! It is counted in the database, so that neither another process nor a restart gives anybody ten guesses more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::database::{Source, Tx, query, query_as};
use crate::error::IdentityError;
use crate::store;

/// Wrong passwords for one email in [`WINDOW`], at most.
pub(crate) const WRONG_MAX: i64 = 10;
/// How long wrong passwords are held against an email, from the first of them on.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// What is held against one email.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrong {
    times: i64,
    since: Timestamp,
}

impl Wrong {
    /// How long the email has to wait before another password is looked at; `None` when it need not.
    pub(crate) fn wait(self, now: Timestamp) -> Option<Duration> {
        let left = WINDOW.saturating_sub(now.duration_since(self.since)).min(WINDOW);
        let left = Duration::try_from(left).ok()?;
        (self.times >= WRONG_MAX && !left.is_zero()).then_some(left)
    }
}

#[derive(sqlx::FromRow)]
struct WrongRow {
    times: i64,
    since: i64,
}

/// What is held against `email`.
pub(crate) async fn held_against(db: impl Source, email: &str) -> Result<Option<Wrong>, IdentityError> {
    let row: Option<WrongRow> = query_as(
        "-- wrong_passwords_for
         SELECT
             times,
             since
         FROM wrong_passwords
         WHERE
             email_sha256 = $1",
    )
    .bind(hash(email))
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Wrong {
            times: row.times,
            since: store::instant(row.since, "wrong_passwords.since")?,
        })
    })
    .transpose()
}

/// Holds one wrong password against `email`, forgets what is too old to be held against anybody, and says what is held
/// against it now.
pub(crate) async fn was_wrong(tx: &mut Tx, email: &str, now: Timestamp) -> Result<Wrong, IdentityError> {
    let too_old = now
        .saturating_sub(WINDOW)
        .unwrap_or(Timestamp::MIN)
        .as_microsecond();
    query(
        "-- forget_wrong_passwords
         DELETE FROM wrong_passwords
         WHERE
             since <= $1",
    )
    .bind(too_old)
    .execute(&mut *tx)
    .await?;
    query(
        "-- count_wrong_password
         INSERT INTO wrong_passwords (
             email_sha256,
             times,
             since
         )
         VALUES ($1, 1, $2)
         ON CONFLICT (email_sha256) DO UPDATE
         SET
             times = wrong_passwords.times + 1",
    )
    .bind(hash(email))
    .bind(now.as_microsecond())
    .execute(&mut *tx)
    .await?;
    let counted = held_against(tx, email).await?;
    Ok(counted.unwrap_or(Wrong { times: 1, since: now }))
}

/// Holds nothing against `email` any more.
pub(crate) async fn forget(db: impl Source, email: &str) -> Result<(), IdentityError> {
    query(
        "-- forget_wrong_passwords_for
         DELETE FROM wrong_passwords
         WHERE
             email_sha256 = $1",
    )
    .bind(hash(email))
    .execute(db)
    .await?;
    Ok(())
}

/// The email as it is remembered: there may be no such account.
fn hash(email: &str) -> String {
    hex::encode(Sha256::digest(email))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Db;
    use crate::testing::room;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    async fn wait(db: &Db, email: &str, now: Timestamp) -> Option<Duration> {
        held_against(db, email)
            .await
            .unwrap()
            .and_then(|wrong| wrong.wait(now))
    }

    async fn guess(db: &Db, email: &str, now: Timestamp) {
        let mut tx = db.begin().await.unwrap();
        was_wrong(&mut tx, email, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn an_email_waits_out_its_window_after_too_many_wrong_passwords() {
        let (identity, _dir) = room().await;
        let db = &identity.inner.db;
        for wrong in 0..WRONG_MAX {
            assert_eq!(wait(db, "anna", at(1)).await, None, "{wrong}");
            guess(db, "anna", at(1)).await;
        }
        assert_eq!(wait(db, "anna", at(2)).await, Some(Duration::from_mins(14)));
        assert_eq!(wait(db, "ben", at(2)).await, None);
        assert_eq!(wait(db, "anna", at(16)).await, None);
        // A clock that goes back makes nobody wait longer than the window.
        assert_eq!(wait(db, "anna", at(0)).await, Some(Duration::from_mins(15)));
        guess(db, "ben", at(16)).await;
        assert!(
            held_against(db, "anna").await.unwrap().is_none(),
            "what is old is forgotten"
        );
    }

    #[tokio::test]
    async fn a_right_password_clears_what_was_held_against_its_email() {
        let (identity, _dir) = room().await;
        let db = &identity.inner.db;
        for _ in 0..WRONG_MAX {
            guess(db, "anna", at(0)).await;
        }
        forget(db, "anna").await.unwrap();
        assert_eq!(wait(db, "anna", at(0)).await, None);
    }
}
