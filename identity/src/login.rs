//! Trading an email and a password for a token.

use std::fmt;

use events::UserId;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::accounts::Account;
use crate::audit::{self, Act, Deed};
use crate::database::{Db, Tx, query, query_as};
use crate::error::IdentityError;
use crate::registration::normalized_email;
use crate::tokens::LoginSession;
use crate::{Identity, telemetry, throttle};

/// A fresh token and whose it is.
#[derive(Clone)]
pub struct Login {
    /// The bearer token.
    pub token: SecretString,
    /// When it stops being accepted, give or take the leeway.
    pub expires_at: Timestamp,
    /// Whom it speaks for.
    pub account: Account,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("account", &self.account.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct CredentialRow {
    user_id: String,
    password_hash: String,
}

impl Identity {
    /// Checks the password and gives a token.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] for a wrong password, an unknown email and a suspended account alike,
    /// after the same work; [`IdentityError::Throttled`] for an email, anybody's or nobody's, after too many of
    /// them; [`IdentityError::Busy`] when too many checks are waiting.
    pub async fn login(&self, email: &str, password: &SecretString) -> Result<Login, IdentityError> {
        let inner = &self.inner;
        let email = normalized_email(email);
        let now = inner.clock.now();
        let held = throttle::held_against(&inner.db, &email).await?;
        if let Some(wait) = held.and_then(|held| held.wait(now)) {
            metrics::counter!(telemetry::LOGINS_THROTTLED).increment(1);
            return Err(IdentityError::Throttled {
                retry_after_s: wait.as_secs().saturating_add(1),
            });
        }
        if let Some(elsewhere) = self.external_login(&email, password).await {
            return elsewhere;
        }
        let credential = credential_by_email(&inner.db, &email).await?;
        let (user, hash) = credential.map(|row| (row.user_id, row.password_hash)).unzip();
        let matches = inner.passwords.verify(password, hash).await?;
        let user = user
            .map(UserId::try_new)
            .transpose()
            .map_err(|_| IdentityError::unknown_value("credentials.user_id"))?;
        let Some(user) = user.clone().filter(|_| matches) else {
            self.refuse_login(&email, user.as_ref(), now).await?;
            return Err(IdentityError::BadCredentials);
        };
        if held.is_some() {
            throttle::forget(&inner.db, &email).await?;
        }
        // An account deleted or suspended while its password was checked is as unknown as any other.
        let login = self.sign_in(&user).await.map_err(|error| match error {
            IdentityError::NotFound | IdentityError::Suspended => IdentityError::BadCredentials,
            error => error,
        })?;
        audit::record(&inner.db, Deed::own(Act::LoginAccepted, &user), now).await?;
        Ok(login)
    }

    /// Counts and records a wrong password.
    pub(crate) async fn refuse_login(
        &self,
        email: &str,
        user: Option<&UserId>,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        metrics::counter!(telemetry::LOGINS_REFUSED).increment(1);
        let mut tx = self.inner.db.begin().await?;
        let held = throttle::was_wrong(&mut tx, email, now).await?;
        let act = if held.wait(now).is_some() {
            Act::LoginThrottled
        } else {
            Act::LoginRefused
        };
        audit::record(&mut tx, Deed::of_the_house(act, user), now).await?;
        tx.commit().await
    }

    /// Mints a token without a password. For the development issuer only, which the caller must check.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account, [`IdentityError::Suspended`] when it is being
    /// erased.
    pub async fn mint(&self, user: &UserId) -> Result<Login, IdentityError> {
        let login = self.sign_in(user).await?;
        let deed = Deed::of_the_house(Act::TokenMinted, Some(user));
        audit::record(&self.inner.db, deed, self.inner.clock.now()).await?;
        Ok(login)
    }

    async fn sign_in(&self, user: &UserId) -> Result<Login, IdentityError> {
        let account = self.account(user).await?.ok_or(IdentityError::NotFound)?;
        account.refuse_if_suspended()?;
        let login = self.new_login(user).await?;
        self.sign(account, &login).await
    }

    /// A token of `login` for its account.
    pub(crate) async fn sign(&self, account: Account, login: &LoginSession) -> Result<Login, IdentityError> {
        self.refresh_signing_keys().await;
        let (inner, now) = (&self.inner, self.inner.clock.now());
        let key = inner.signing_keys.signing(now);
        let (token, expires_at) = inner.tokens.sign(&key, &account, login, now)?;
        Ok(Login {
            token,
            expires_at,
            account,
        })
    }
}

async fn credential_by_email(db: &Db, email: &str) -> Result<Option<CredentialRow>, IdentityError> {
    let row = query_as(
        "-- credential_by_email
         SELECT
             credentials.user_id,
             credentials.password_hash
         FROM credentials
         JOIN users ON users.id = credentials.user_id
         WHERE
             users.email = $1",
    )
    .bind(email)
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Sets the password of an account, or replaces it.
pub(crate) async fn set_password(
    tx: &mut Tx,
    user: &UserId,
    password_hash: &str,
    at: Timestamp,
) -> Result<(), IdentityError> {
    query(
        "-- set_password
         INSERT INTO credentials (
             user_id,
             password_hash,
             changed_at
         )
         VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE
         SET
             password_hash = excluded.password_hash,
             changed_at = excluded.changed_at",
    )
    .bind(user.as_str())
    .bind(password_hash)
    .bind(at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{anna, room};
    use crate::{IdentityError, passwords};
    use secrecy::SecretString;

    #[tokio::test]
    async fn an_unknown_email_costs_a_password_check_like_any_other() {
        let (identity, _dir) = room().await;
        identity.register(anna()).await.unwrap();
        let all = identity.inner.passwords.occupy(passwords::ADMITTED_MAX).await;
        for email in ["anna@example.test", "nobody@example.test"] {
            let outcome = identity.login(email, &SecretString::from("wrong password")).await;
            assert!(
                matches!(outcome, Err(IdentityError::Busy)),
                "{email}: {outcome:?}"
            );
        }
        drop(all);
        for email in ["anna@example.test", "nobody@example.test"] {
            let outcome = identity.login(email, &SecretString::from("wrong password")).await;
            assert!(
                matches!(outcome, Err(IdentityError::BadCredentials)),
                "{email}: {outcome:?}"
            );
        }
    }
}
