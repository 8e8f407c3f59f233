//! Argon2id, on threads of its own and bounded: a hash takes 19 MiB, so unbounded logins would be a way to take the
//! machine down.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{CryptoError, IdentityError};
use crate::hashing_threads::HashingThreads;
use crate::settings::PasswordCost;
use crate::{seal, telemetry};

/// Threads that hash, at most; fewer where there are fewer processors.
const RUNNING_MAX: usize = 4;

/// Hashes running or waiting, at most. The next one is told that we are busy.
pub(crate) const ADMITTED_MAX: usize = 64;

/// Hashes and checks passwords.
pub(crate) struct Passwords {
    params: Params,
    admitted: Arc<Semaphore>,
    threads: HashingThreads,
    /// The hash of a password nobody has, checked when an email is unknown so that the answer takes as long.
    nobodys: String,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    pub(crate) async fn start(cost: PasswordCost) -> Result<Self, IdentityError> {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(RUNNING_MAX);
        let mut passwords = Self {
            params: params(cost),
            admitted: Arc::new(Semaphore::new(ADMITTED_MAX)),
            threads: HashingThreads::start(threads, ADMITTED_MAX).map_err(|_| CryptoError::NotHashed)?,
            nobodys: String::new(),
        };
        let nobodys = SecretString::from(hex::encode(seal::random_key()?.as_slice()));
        passwords.nobodys = passwords.hash(&nobodys).await?;
        Ok(passwords)
    }

    /// The PHC string of `password` with a fresh salt.
    ///
    /// # Errors
    /// [`IdentityError::Busy`] when too many are waiting.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<String, IdentityError> {
        let (argon2, password) = (self.argon2(), password.clone());
        self.off_the_runtime(move || {
            let hash: PasswordHash = argon2.hash_password(password.expose_secret().as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `hash` is that of `password`; without a hash it does the same work and says no.
    ///
    /// # Errors
    /// [`IdentityError::Busy`] when too many are waiting.
    pub(crate) async fn verify(
        &self,
        password: &SecretString,
        hash: Option<String>,
    ) -> Result<bool, IdentityError> {
        let (argon2, password, is_known) = (self.argon2(), password.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.nobodys.clone());
        let matches = self
            .off_the_runtime(move || {
                let hash = PasswordHash::new(&hash)?;
                match argon2.verify_password(password.expose_secret().as_bytes(), &hash) {
                    Ok(()) => Ok(true),
                    Err(password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(matches && is_known)
    }

    /// Takes `places` of those that may wait.
    #[cfg(test)]
    pub(crate) async fn occupy(&self, places: usize) -> OwnedSemaphorePermit {
        let places = u32::try_from(places).unwrap();
        Arc::clone(&self.admitted)
            .acquire_many_owned(places)
            .await
            .unwrap()
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
    ) -> Result<T, IdentityError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| IdentityError::Busy)?;
        let admitted = Admitted::new(admitted);
        // The permit goes along: a caller that gives up does not free the memory, the end of the work does.
        let outcome = self
            .threads
            .run(move || {
                let _permit = admitted;
                work()
            })
            .await;
        match outcome {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) | None => Err(CryptoError::NotHashed.into()),
        }
    }
}

/// A place among the admitted, counted while it is held.
struct Admitted {
    _permit: OwnedSemaphorePermit,
}

impl Admitted {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(telemetry::PASSWORD_CHECKS).increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::gauge!(telemetry::PASSWORD_CHECKS).decrement(1.0);
    }
}

#[expect(
    clippy::expect_used,
    reason = "both are within the limits of Argon2, as a test shows"
)]
fn params(cost: PasswordCost) -> Params {
    match cost {
        PasswordCost::Production => Params::new(19 * 1024, 2, 1, None),
        PasswordCost::Fast => Params::new(Params::MIN_M_COST, 1, 1, None),
    }
    .expect("the parameters are within the limits of Argon2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn the_production_cost_is_the_one_owasp_asks_for() {
        let passwords = Passwords::start(PasswordCost::Production).await.unwrap();
        assert!(
            passwords.nobodys.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            passwords.nobodys
        );
        let hash = passwords.hash(&secret("correct horse")).await.unwrap();
        assert!(
            passwords
                .verify(&secret("correct horse"), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify(&secret("wrong horse"), Some(hash))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn the_same_password_is_stored_differently_each_time() {
        let passwords = Passwords::start(PasswordCost::Fast).await.unwrap();
        let (one, two) = (
            passwords.hash(&secret("x")).await.unwrap(),
            passwords.hash(&secret("x")).await.unwrap(),
        );
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn without_a_hash_not_even_the_stand_in_password_is_accepted() {
        let mut passwords = Passwords::start(PasswordCost::Fast).await.unwrap();
        passwords.nobodys = passwords.hash(&secret("stand-in")).await.unwrap();
        assert!(!passwords.verify(&secret("stand-in"), None).await.unwrap());
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_told_that_we_are_busy_and_served_when_there_is_room() {
        let passwords = Passwords::start(PasswordCost::Fast).await.unwrap();
        let one_left = passwords.occupy(ADMITTED_MAX - 1).await;
        assert!(passwords.hash(&secret("x")).await.is_ok());
        let all = (one_left, passwords.occupy(1).await);
        assert!(matches!(
            passwords.hash(&secret("x")).await,
            Err(IdentityError::Busy)
        ));
        assert!(matches!(
            passwords.verify(&secret("x"), None).await,
            Err(IdentityError::Busy)
        ));
        drop(all);
        assert!(passwords.hash(&secret("x")).await.is_ok());
    }

    #[tokio::test]
    async fn an_unreadable_hash_is_a_failure_and_not_a_wrong_password() {
        let passwords = Passwords::start(PasswordCost::Fast).await.unwrap();
        let error = passwords
            .verify(&secret("x"), Some("not a hash".to_owned()))
            .await
            .unwrap_err();
        assert!(
            matches!(error, IdentityError::Crypto(CryptoError::NotHashed)),
            "{error}"
        );
    }
}
