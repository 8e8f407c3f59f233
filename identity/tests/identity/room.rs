//! A room of one test's own, that can be closed and opened again.

use std::sync::Arc;
use std::time::Duration;

use events::testing::sample_time;
use events::{Ids, ManualClock, SystemIds};
use identity::{
    Account, AccountKind, Identity, IdentityError, IdentitySettings, KeyEncryptionKey, KeyRing, PasswordCost,
    PersonaAccount, Registration, Role, Tier,
};
use secrecy::SecretString;

use crate::place::Place;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Room {
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) place: Place,
}

impl Room {
    pub(crate) async fn open() -> Self {
        Self::open_with(Arc::new(SystemIds)).await
    }

    pub(crate) async fn open_with(ids: Arc<dyn Ids>) -> Self {
        let place = Place::new();
        let clock = Arc::new(ManualClock::new(sample_time()));
        let settings = settings(&place, KeyEncryptionKey::new("kek-2026", [7; 32]));
        let identity = Identity::open(settings, clock.clone(), ids).await.unwrap();
        Self {
            identity,
            clock,
            place,
        }
    }

    /// Closes it, and opens the same database with `kek`.
    pub(crate) async fn reopen_with(
        self,
        kek: impl Into<KeyRing>,
    ) -> (Result<Identity, IdentityError>, Place) {
        self.identity.close().await;
        let opened = Identity::open(
            settings(&self.place, kek),
            self.clock.clone(),
            Arc::new(SystemIds),
        )
        .await;
        (opened, self.place)
    }

    /// Closes it, and opens it as it was.
    pub(crate) async fn reopen(self) -> Self {
        let clock = self.clock.clone();
        let (identity, place) = self.reopen_with(KeyEncryptionKey::new("kek-2026", [7; 32])).await;
        Self {
            identity: identity.unwrap(),
            clock,
            place,
        }
    }

    pub(crate) async fn person(&self, name: &str) -> Account {
        self.identity.register(person(name)).await.unwrap()
    }

    pub(crate) async fn token(&self, account: &Account) -> String {
        use secrecy::ExposeSecret as _;
        self.identity
            .mint(&account.id)
            .await
            .unwrap()
            .token
            .expose_secret()
            .to_owned()
    }
}

pub(crate) fn settings(place: &Place, kek: impl Into<KeyRing>) -> IdentitySettings {
    IdentitySettings {
        database: place.database(),
        keks: kek.into(),
        issuer: "https://dramatis.test".to_owned(),
        audiences: vec!["mana".to_owned(), "https://dramatis.test/mcp".to_owned()],
        token_ttl: Duration::from_hours(1),
        password_cost: PasswordCost::Fast,
    }
}

pub(crate) fn password() -> SecretString {
    SecretString::from(PASSWORD)
}

pub(crate) fn person(name: &str) -> Registration {
    Registration {
        email: format!("{}@example.test", name.to_lowercase()),
        password: password(),
        name: Some(name.to_owned()),
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: None,
    }
}

pub(crate) fn persona(name: &str) -> PersonaAccount {
    PersonaAccount {
        email: format!("persona.{}@mana.test", name.to_lowercase()),
        name: name.to_owned(),
        password: password(),
        time_zone: Some("Europe/Berlin".to_owned()),
    }
}
