//! What we say of an account to somebody else: a short statement under our signature, for one reader.

use std::time::Duration;

use events::UserId;
use secrecy::SecretString;

use crate::Identity;
use crate::error::IdentityError;

/// How long a statement is good for. It is made when it is about to be read.
const TTL: Duration = Duration::from_mins(1);

impl Identity {
    /// States under our signature who `user` is, to `audience` alone. It opens no door of ours: an audience that is
    /// one of our own is refused.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] for an audience that is empty or ours, [`IdentityError::NotFound`] when there
    /// is no such account, [`IdentityError::Suspended`] when it is being erased.
    pub async fn vouch(&self, user: &UserId, audience: &str) -> Result<SecretString, IdentityError> {
        let account = self.account(user).await?.ok_or(IdentityError::NotFound)?;
        account.refuse_if_suspended()?;
        self.refresh_signing_keys().await;
        let now = self.inner.clock.now();
        let key = self.inner.signing_keys.signing(now);
        let id = self.inner.ids.uuid().to_string();
        self.inner
            .tokens
            .sign_for(&key, &account, audience, &id, TTL, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{anna, room};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use secrecy::ExposeSecret as _;
    use serde_json::Value;

    const READER: &str = "https://tokens.example/exchange";

    #[tokio::test]
    async fn a_statement_names_the_account_and_its_one_reader_and_opens_no_door_of_ours() {
        let (identity, _dir) = room().await;
        let anna = identity.register(anna()).await.unwrap();
        let stated = identity.vouch(&anna.id, READER).await.unwrap();
        let claims = stated.expose_secret().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["iss"], "https://dramatis.test");
        assert_eq!(claims["aud"], READER);
        assert_eq!(claims["sub"], anna.id.as_str());
        assert_eq!(claims["email"], "anna@example.test");
        let (from, until) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        assert_eq!(until - from, 60);
        assert!(claims.get("role").is_none(), "{claims}");
        identity.authenticate(stated.expose_secret()).await.unwrap_err();
    }

    #[tokio::test]
    async fn no_statement_is_made_to_ourselves_to_nobody_or_of_nobody() {
        let (identity, _dir) = room().await;
        let anna = identity.register(anna()).await.unwrap();
        for reader in ["", "mana", "https://dramatis.test/mcp"] {
            let refused = identity.vouch(&anna.id, reader).await.unwrap_err();
            assert!(
                matches!(refused, IdentityError::InvalidField { .. }),
                "{reader}: {refused}"
            );
        }
        let nobody = UserId::try_new("nobody").unwrap();
        let refused = identity.vouch(&nobody, READER).await.unwrap_err();
        assert!(matches!(refused, IdentityError::NotFound), "{refused}");
    }
}
