//! What one process does, seen by another on the same accounts.

use std::sync::Arc;
use std::time::Duration;

use events::SystemIds;
use futures::future::join_all;
use identity::{Identity, IdentityError, KeyEncryptionKey, KeyRing, TokenError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::room::{Room, password, person, settings};

/// Longer than anything seen is believed.
const A_MOMENT: Duration = Duration::from_secs(3);

/// Another process on the accounts of `room`, by the same clock.
async fn beside(room: &Room) -> Identity {
    beside_with(room, KeyEncryptionKey::new("kek-2026", [7; 32])).await
}

async fn beside_with(room: &Room, keks: impl Into<KeyRing>) -> Identity {
    let settings = settings(&room.place, keks);
    Identity::open(settings, room.clock.clone(), Arc::new(SystemIds))
        .await
        .unwrap()
}

#[tokio::test]
async fn wrong_passwords_count_wherever_they_are_tried_and_through_a_restart() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let other = beside(&room).await;
    let wrong = SecretString::from("not the password");
    for guess in 0..10 {
        let at = if guess % 2 == 0 { &room.identity } else { &other };
        let outcome = at.login(&anna.email, &wrong).await;
        assert!(
            matches!(outcome, Err(IdentityError::BadCredentials)),
            "{guess}: {outcome:?}"
        );
    }
    for at in [&room.identity, &other] {
        let outcome = at.login(&anna.email, &password()).await;
        assert!(
            matches!(outcome, Err(IdentityError::Throttled { .. })),
            "{outcome:?}"
        );
    }
    let room = room.reopen().await;
    let outcome = room.identity.login(&anna.email, &password()).await;
    assert!(
        matches!(outcome, Err(IdentityError::Throttled { .. })),
        "{outcome:?}"
    );
    room.clock.advance(Duration::from_mins(15));
    room.identity.login(&anna.email, &password()).await.unwrap();
    // And a right one clears the rest for everybody.
    for _ in 0..9 {
        other.login(&anna.email, &wrong).await.unwrap_err();
    }
    room.identity.login(&anna.email, &password()).await.unwrap();
    other.login(&anna.email, &wrong).await.unwrap_err();
    other.login(&anna.email, &password()).await.unwrap();
}

#[tokio::test]
async fn a_key_that_ends_here_is_forgotten_there_within_two_seconds() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let bens = room.token(&ben).await;
    let other = beside(&room).await;
    other.authenticate(&bens).await.unwrap();
    let before = other.key_changes();
    room.identity.vault_rotate(&anna.id).await.unwrap();
    assert_eq!(other.key_changes(), before, "it has not looked yet");
    room.clock.advance(A_MOMENT);
    // Whoever's request it is: it may need Anna's key.
    other.authenticate(&bens).await.unwrap();
    let rotated = other.key_changes();
    assert!(rotated > before);
    room.clock.advance(A_MOMENT);
    other.authenticate(&bens).await.unwrap();
    assert_eq!(other.key_changes(), rotated, "nothing changed meanwhile");
    room.identity.delete_account(&anna.id).await.unwrap();
    room.clock.advance(A_MOMENT);
    other.authenticate(&bens).await.unwrap();
    assert!(other.key_changes() > rotated);
}

#[tokio::test]
async fn tokens_that_are_taken_back_here_are_refused_there_within_two_seconds() {
    let room = Room::open().await;
    let people = [
        room.person("Anna").await,
        room.person("Ben").await,
        room.person("Cleo").await,
        room.person("Dora").await,
    ];
    let [anna, ben, cleo, dora] = &people;
    let other = beside(&room).await;
    let mut tokens = Vec::new();
    for someone in &people {
        let token = room.token(someone).await;
        other.authenticate(&token).await.unwrap();
        tokens.push(token);
    }
    room.identity.revoke_all(&anna.id).await.unwrap();
    let bens = room.identity.authenticate(&tokens[1]).await.unwrap();
    room.identity.log_out(&bens).await.unwrap();
    room.identity.suspend(&cleo.id).await.unwrap();
    room.identity.delete_account(&dora.id).await.unwrap();
    room.clock.advance(A_MOMENT);
    for (someone, token) in people.iter().zip(&tokens) {
        let error = other.authenticate(token).await.unwrap_err();
        let is_told = match error {
            TokenError::Revoked => [&anna.id, &ben.id].contains(&&someone.id),
            _ => [&cleo.id, &dora.id].contains(&&someone.id),
        };
        assert!(is_told, "{}: {error:?}", someone.name);
    }
    // A login of after the revocation holds everywhere.
    let fresh = room.identity.login(&anna.email, &password()).await.unwrap();
    other.authenticate(fresh.token.expose_secret()).await.unwrap();
}

#[tokio::test]
async fn whoever_writes_has_the_accounts_to_itself_in_whatever_process() {
    const ROTATIONS: usize = 10;
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let other = beside(&room).await;
    // Each reads which key there is before it writes the next: two at once would make the same.
    let rotations =
        (0..ROTATIONS).flat_map(|_| [room.identity.vault_rotate(&anna.id), other.vault_rotate(&anna.id)]);
    for rotated in join_all(rotations).await {
        rotated.unwrap();
    }
    let status = other.vault_status(&anna.id).await.unwrap().unwrap();
    assert_eq!(status.key_version as usize, 1 + 2 * ROTATIONS);
    let space = other.personal_space(&anna.id).await.unwrap();
    assert_eq!(other.space_keys(&space).await.unwrap().past.len(), 2 * ROTATIONS);
    // And of many that register one email, one has it.
    let registrations = (0..4).flat_map(|_| {
        [
            room.identity.register(person("Ben")),
            other.register(person("Ben")),
        ]
    });
    let outcomes = join_all(registrations).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, IdentityError::EmailTaken), "{refused:?}");
    }
}

#[tokio::test]
async fn two_seal_all_keys_anew_at_once_while_a_third_reads() {
    const PEOPLE: usize = 30;
    let room = Room::open().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(room.person(&format!("Anna{n}")).await);
    }
    let both = || {
        KeyRing::new(KeyEncryptionKey::new("kek-2027", [8; 32]))
            .try_with(KeyEncryptionKey::new("kek-2026", [7; 32]))
            .unwrap()
    };
    let [one, two, third] = [
        beside_with(&room, both()).await,
        beside_with(&room, both()).await,
        beside_with(&room, both()).await,
    ];
    let rewrap = async |identity: &Identity| while !identity.rewrap(4).await.unwrap().is_complete {};
    let reading = async {
        for someone in &people {
            third.vault_key(&someone.id).await.unwrap();
        }
    };
    tokio::join!(rewrap(&one), rewrap(&two), reading);
    let sealed = third.sealed_by_key().await.unwrap();
    assert_eq!(sealed, [("kek-2027".to_owned(), PEOPLE as u64 + 1)]);
}

#[tokio::test]
async fn a_grant_that_is_revoked_here_is_of_no_use_there() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let other = beside(&room).await;
    let request = identity::GrantRequest {
        mission_id: "mission".to_owned(),
        space_id: None,
        tables: vec!["tasks".to_owned()],
        record_ids: vec!["one".to_owned()],
        holds: None,
    };
    let grant = room
        .identity
        .keep_client_grant(&anna.id, request, "d3JhcHBlZA==".to_owned())
        .await
        .unwrap();
    other.use_grant(&grant.id, "tasks", "one").await.unwrap();
    room.identity.revoke_grant(&anna.id, &grant.id).await.unwrap();
    let refused = other.use_grant(&grant.id, "tasks", "one").await;
    assert!(
        matches!(refused, Err(identity::GrantError::Revoked)),
        "{refused:?}"
    );
}
