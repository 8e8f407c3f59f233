//! A room for tests that look inside it. Tests of what others see are in `tests/identity/`.

use std::sync::Arc;
use std::time::Duration;

use events::{ManualClock, SystemIds, testing::sample_time};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::{
    AccountKind, Identity, IdentitySettings, KeyEncryptionKey, PasswordCost, Registration, Role, Tier,
};

/// A fresh room at the sample time, in a folder that lives as long as the second answer.
pub(crate) async fn room() -> (Identity, TempDir) {
    room_at(Arc::new(ManualClock::new(sample_time()))).await
}

/// A fresh room that goes by `clock`.
pub(crate) async fn room_at(clock: Arc<ManualClock>) -> (Identity, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings = IdentitySettings {
        database: dir.path().join("identity.db").into(),
        keks: KeyEncryptionKey::new("test-kek", [7; 32]).into(),
        issuer: "https://dramatis.test".to_owned(),
        audiences: vec!["mana".to_owned(), "https://dramatis.test/mcp".to_owned()],
        token_ttl: Duration::from_hours(1),
        password_cost: PasswordCost::Fast,
    };
    let identity = Identity::open(settings, clock, Arc::new(SystemIds))
        .await
        .unwrap();
    (identity, dir)
}

/// Anna, who is a person.
pub(crate) fn anna() -> Registration {
    Registration {
        email: "anna@example.test".to_owned(),
        password: SecretString::from("correct horse battery"),
        name: Some("Anna".to_owned()),
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: Some("Europe/Berlin".to_owned()),
    }
}
