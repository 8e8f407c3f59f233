//! An account whose erasure has begun: it is let in nowhere, gets nothing new, and is remembered until it is deleted.

use events::UserId;
use identity::{IdentityError, NewSpace, SpaceRole, SpaceType, TokenError};

use crate::room::{Room, password, persona};

fn team() -> NewSpace {
    NewSpace {
        name: "The Team".to_owned(),
        space_type: SpaceType::Team,
    }
}

#[tokio::test]
async fn a_suspended_account_is_refused_at_once_by_token_and_by_password() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let token = room.token(&anna).await;
    room.identity.authenticate(&token).await.unwrap();
    let suspended = room.identity.suspend(&anna.id).await.unwrap();
    assert!(suspended.suspended_at.is_some());

    let error = room.identity.authenticate(&token).await.unwrap_err();
    assert!(matches!(error, TokenError::Suspended), "{error}");
    assert_eq!(error.reason(), "suspended");
    assert!(matches!(
        room.identity.login(&anna.email, &password()).await,
        Err(IdentityError::BadCredentials)
    ));
    assert!(matches!(
        room.identity.mint(&anna.id).await,
        Err(IdentityError::Suspended)
    ));
    room.identity.login(&ben.email, &password()).await.unwrap();
}

#[tokio::test]
async fn a_suspension_is_remembered_over_a_restart_until_the_account_is_deleted() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let first = room.identity.suspend(&anna.id).await.unwrap();
    room.clock.advance(std::time::Duration::from_secs(1));
    room.identity.suspend(&ben.id).await.unwrap();
    let again = room.identity.suspend(&anna.id).await.unwrap();
    assert_eq!(again.suspended_at, first.suspended_at);

    let room = room.reopen().await;
    assert_eq!(
        room.identity.suspended().await.unwrap(),
        [anna.id.clone(), ben.id.clone()]
    );
    room.identity.delete_account(&anna.id).await.unwrap();
    assert_eq!(room.identity.suspended().await.unwrap(), [ben.id]);
    for nobody in [anna.id, UserId::derived(&["nobody"])] {
        assert!(matches!(
            room.identity.suspend(&nobody).await,
            Err(IdentityError::NotFound)
        ));
    }
}

#[tokio::test]
async fn a_suspended_persona_is_neither_revised_nor_let_into_a_space() {
    let room = Room::open().await;
    let cleo = room
        .identity
        .upsert_persona(persona("Cleo"))
        .await
        .unwrap()
        .account;
    let ben = room.person("Ben").await;
    let space = room
        .identity
        .create_space(&ben.id, team())
        .await
        .unwrap()
        .space_id;
    room.identity.suspend(&cleo.id).await.unwrap();
    assert!(matches!(
        room.identity.upsert_persona(persona("Cleo")).await,
        Err(IdentityError::Suspended)
    ));
    assert!(matches!(
        room.identity.create_space(&cleo.id, team()).await,
        Err(IdentityError::Suspended)
    ));
    assert!(matches!(
        room.identity
            .add_member(&space, &cleo.id, SpaceRole::Member)
            .await,
        Err(IdentityError::Suspended)
    ));
    room.identity.delete_account(&cleo.id).await.unwrap();
    let again = room.identity.upsert_persona(persona("Cleo")).await.unwrap();
    assert!(
        again.created && again.account.id != cleo.id,
        "the email is free again"
    );
}

#[tokio::test]
async fn of_two_that_share_a_space_and_are_erased_at_once_the_later_one_takes_it_along() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let shared = room
        .identity
        .create_space(&anna.id, team())
        .await
        .unwrap()
        .space_id;
    room.identity
        .add_member(&shared, &ben.id, SpaceRole::Member)
        .await
        .unwrap();
    room.identity.suspend(&anna.id).await.unwrap();
    assert!(
        !room
            .identity
            .sole_spaces(&anna.id)
            .await
            .unwrap()
            .contains(&shared)
    );
    room.identity.suspend(&ben.id).await.unwrap();
    assert!(
        room.identity
            .sole_spaces(&ben.id)
            .await
            .unwrap()
            .contains(&shared)
    );

    let first = room.identity.delete_account(&ben.id).await.unwrap();
    assert!(!first.spaces.contains(&shared), "Anna is in it still");
    let last = room.identity.delete_account(&anna.id).await.unwrap();
    assert!(last.spaces.contains(&shared));
}
