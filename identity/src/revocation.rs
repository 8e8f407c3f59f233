//! Logins that are gone on with, and tokens that are taken back before their time.
//!
//! Every token of ours names the login it goes back to (`sid`) and how often all of its account's tokens had been taken
//! back by then (`epoch`). A login is ended by its name, all of an account's at once by raising the count; either is in
//! force at once in this process, and within two seconds in another on the same file.

use std::collections::HashSet;

use events::UserId;
use jiff::{SignedDuration, Timestamp};

use crate::Identity;
use crate::audit::{self, Act, Deed};
use crate::authenticate::{Caller, TokenError};
use crate::database::{Db, query, query_scalar};
use crate::error::IdentityError;
use crate::login::Login;
use crate::tokens::{LoginSession, instant, seconds};

/// How long a login may be gone on with before the password is asked for again.
const GOES_ON_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What of an account's tokens was taken back.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// How often all of them were.
    epoch: u64,
    /// The logins that were ended.
    logins: HashSet<String>,
}

impl Revoked {
    /// Refuses a token of such a login. One of before logins had names counts as of the first count.
    pub(crate) fn check(&self, login: Option<&LoginSession>) -> Result<(), TokenError> {
        let epoch = login.map_or(0, |login| login.epoch);
        let is_ended = login.is_some_and(|login| self.logins.contains(&login.id));
        if epoch < self.epoch || is_ended {
            return Err(TokenError::Revoked);
        }
        Ok(())
    }
}

impl Identity {
    /// A fresh token for the login that `caller` came with.
    ///
    /// # Errors
    /// [`IdentityError::LoginEnded`] when the login is older than 30 days, or another issuer's.
    pub async fn refresh(&self, caller: &Caller) -> Result<Login, IdentityError> {
        let now = self.inner.clock.now();
        let login = caller.login.as_ref().ok_or(IdentityError::LoginEnded)?;
        let until = instant(login.signed_in_at_s).and_then(|at| at.saturating_add(GOES_ON_FOR).ok());
        if until.is_none_or(|until| now >= until) {
            return Err(IdentityError::LoginEnded);
        }
        let account = self
            .account(&caller.user_id)
            .await?
            .ok_or(IdentityError::NotFound)?;
        account.refuse_if_suspended()?;
        let fresh = self.sign(account, login).await?;
        let deed = Deed::own(Act::TokenRefreshed, &caller.user_id);
        audit::record(&self.inner.db, deed, now).await?;
        Ok(fresh)
    }

    /// Ends the login that `caller` came with: its tokens are refused from now on.
    ///
    /// # Errors
    /// [`IdentityError::LoginEnded`] for another issuer's token, which only its issuer can take back.
    pub async fn log_out(&self, caller: &Caller) -> Result<(), IdentityError> {
        let login = caller.login.as_ref().ok_or(IdentityError::LoginEnded)?;
        let _forget = self.inner.known_accounts.forget_after(&caller.user_id);
        let now = self.inner.clock.now();
        // No token of it lasts longer: the last one may be made at the end of its time.
        let until = now
            .saturating_add(GOES_ON_FOR)
            .and_then(|at| at.saturating_add(self.inner.tokens.ttl()))
            .unwrap_or(Timestamp::MAX);
        let mut tx = self.inner.db.begin().await?;
        query(
            "-- forget_ended_revocations
             DELETE FROM revoked_sessions
             WHERE
                 until <= $1",
        )
        .bind(now.as_microsecond())
        .execute(&mut tx)
        .await?;
        query(
            "-- revoke_session
             INSERT INTO revoked_sessions (
                 session_id,
                 user_id,
                 until
             )
             VALUES ($1, $2, $3)
             ON CONFLICT (session_id) DO NOTHING",
        )
        .bind(&login.id)
        .bind(caller.user_id.as_str())
        .bind(until.as_microsecond())
        .execute(&mut tx)
        .await?;
        let deed = Deed::own(Act::TokensRevoked, &caller.user_id).with("one login");
        audit::record(&mut tx, deed, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes back every token of the account.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn revoke_all(&self, user: &UserId) -> Result<(), IdentityError> {
        let _forget = self.inner.known_accounts.forget_after(user);
        let mut tx = self.inner.db.begin().await?;
        let raised = query(
            "-- raise_token_epoch
             UPDATE users
             SET
                 token_epoch = token_epoch + 1
             WHERE
                 id = $1",
        )
        .bind(user.as_str())
        .execute(&mut tx)
        .await?;
        if raised == 0 {
            return Err(IdentityError::NotFound);
        }
        // They are covered by the count.
        query(
            "-- forget_revoked_sessions
             DELETE FROM revoked_sessions
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .execute(&mut tx)
        .await?;
        let deed = Deed::of_the_house(Act::TokensRevoked, Some(user)).with("all");
        audit::record(&mut tx, deed, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The login that begins now.
    pub(crate) async fn new_login(&self, user: &UserId) -> Result<LoginSession, IdentityError> {
        Ok(LoginSession {
            id: self.inner.ids.uuid().to_string(),
            signed_in_at_s: seconds(self.inner.clock.now()),
            epoch: epoch(&self.inner.db, user).await?,
        })
    }
}

/// What of the account's tokens was taken back.
pub(crate) async fn of(db: &Db, user: &UserId) -> Result<Revoked, IdentityError> {
    let logins: Vec<String> = query_scalar(
        "-- revoked_sessions_of
         SELECT session_id
         FROM revoked_sessions
         WHERE
             user_id = $1",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    Ok(Revoked {
        epoch: epoch(db, user).await?,
        logins: logins.into_iter().collect(),
    })
}

async fn epoch(db: &Db, user: &UserId) -> Result<u64, IdentityError> {
    let epoch: Option<i64> = query_scalar(
        "-- token_epoch
         SELECT token_epoch
         FROM users
         WHERE
             id = $1",
    )
    .bind(user.as_str())
    .fetch_optional(db)
    .await?;
    u64::try_from(epoch.unwrap_or(0)).map_err(|_| IdentityError::unknown_value("users.token_epoch"))
}
