//! What is true of Postgres alone.

use std::sync::Arc;

use events::SystemIds;
use identity::{
    Database, Identity, IdentityError, IdentitySettings, KeyEncryptionKey, NewSpace, SpaceRole, SpaceType,
    move_accounts,
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, Executor as _};

use crate::room::{Room, password, person, settings};

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_of_the_server_and_the_room_goes_on_by_itself() {
    let mut room = Room::open().await;
    let anna = room.person("Anna").await;
    room.place.server.restart();
    assert_eq!(room.identity.account(&anna.id).await.unwrap(), Some(anna.clone()));
    room.identity.login(&anna.email, &password()).await.unwrap();
}

#[tokio::test]
async fn what_somebody_still_sees_is_written_over_once_they_do_not() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let mut reader = room.place.sql().await;
    reader
        .execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users;")
        .await
        .unwrap();
    // Deleted it is at once; its bytes have to stay for whoever reads as of before.
    room.identity.delete_account(&anna.id).await.unwrap();
    assert_eq!(room.identity.account(&anna.id).await.unwrap(), None);
    assert!(room.place.holds(anna.email.as_bytes()).await);
    let due = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM rewrites_due")
            .fetch_one(&mut room.place.sql().await)
            .await
            .unwrap()
    };
    assert_eq!(due().await, 1, "it stays due");
    reader.close().await.unwrap();
    room.identity.rewrite_if_due().await.unwrap();
    assert_eq!(due().await, 0);
    assert!(!room.place.holds(anna.email.as_bytes()).await);
}

#[tokio::test]
async fn a_server_that_is_not_there_and_an_address_of_none_are_failures_that_keep_the_password() {
    let room = Room::open().await;
    for url in [
        "postgres://postgres:hush-hush@127.0.0.1:1/postgres",
        "postgres://postgres:hush-hush@127.0.0.1:notaport/postgres",
    ] {
        let settings = IdentitySettings {
            database: Database::Postgres(SecretString::from(url)),
            ..settings(&room.place, KeyEncryptionKey::new("k", [1; 32]))
        };
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        let error = Identity::open(settings, room.clock.clone(), Arc::new(SystemIds))
            .await
            .unwrap_err();
        assert!(matches!(error, IdentityError::Database(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn accounts_move_from_a_file_with_their_passwords_keys_spaces_and_tokens() {
    let room = Room::open().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity.sqlite");
    let in_a_file = || IdentitySettings {
        database: file.clone().into(),
        ..settings(&room.place, KeyEncryptionKey::new("kek-2026", [7; 32]))
    };
    let before = Identity::open(in_a_file(), room.clock.clone(), Arc::new(SystemIds))
        .await
        .unwrap();
    let (anna, ben) = (
        before.register(person("Anna")).await.unwrap(),
        before.register(person("Ben")).await.unwrap(),
    );
    before.vault_rotate(&anna.id).await.unwrap();
    let family = NewSpace {
        name: "Family".to_owned(),
        space_type: SpaceType::Family,
    };
    let family = before.create_space(&anna.id, family).await.unwrap();
    before
        .invite(&anna.id, &family.space_id, &ben.email, SpaceRole::Member)
        .await
        .unwrap();
    let token = before.mint(&anna.id).await.unwrap().token;
    let keys = before.space_keys(&family.space_id).await.unwrap();
    let acts = before.acts(None, None, 1_000).await.unwrap();
    before.close().await;

    // Where there are accounts, nothing is moved over them.
    let cleo = room.person("Cleo").await;
    let refused = move_accounts(&file, &room.place.database()).await.unwrap_err();
    assert!(refused.to_string().contains("has accounts already"), "{refused}");
    room.identity.delete_account(&cleo.id).await.unwrap();

    let moved = move_accounts(&file, &room.place.database()).await.unwrap();
    assert_eq!(moved.accounts, 2);
    let room = room.reopen().await;
    let after = &room.identity;
    assert_eq!(after.account(&anna.id).await.unwrap(), Some(anna.clone()));
    assert_eq!(after.acts(None, None, 1_000).await.unwrap(), acts);
    after.login(&ben.email, &password()).await.unwrap();
    after.authenticate(token.expose_secret()).await.unwrap();
    let moved_keys = after.space_keys(&family.space_id).await.unwrap();
    assert_eq!(moved_keys.current.key, keys.current.key);
    assert_eq!(moved_keys.past.len(), 1);
    assert_eq!(moved_keys.past[0].key, keys.past[0].key);
    let invitation = after.invitations_to(&ben.id).await.unwrap().remove(0).invitation;
    after.accept_invitation(&ben.id, &invitation.id).await.unwrap();
    assert_eq!(after.members(&anna.id, &family.space_id).await.unwrap().len(), 2);
}
