//! Who is in which space, and whose key it has.

use events::{SpaceId, UserId};
use identity::{IdentityError, NewSpace, SpaceRole, SpaceType};

use crate::room::Room;

fn family() -> NewSpace {
    NewSpace {
        name: "Family".to_owned(),
        space_type: SpaceType::Family,
    }
}

#[tokio::test]
async fn the_personal_space_comes_first_whatever_one_joins() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    // The clock stands still, so nothing else puts the personal space before the others.
    for _ in 0..16 {
        let shared = room.identity.create_space(&ben.id, family()).await.unwrap();
        room.identity
            .add_member(&shared.space_id, &anna.id, SpaceRole::Member)
            .await
            .unwrap();
    }
    let spaces = room.identity.spaces_of(&anna.id).await.unwrap();
    assert_eq!(spaces.len(), 17);
    assert_eq!(
        (spaces[0].space_type, spaces[0].role),
        (SpaceType::Personal, SpaceRole::Owner)
    );
    assert!(spaces[1..].iter().all(|space| space.role == SpaceRole::Member));
}

#[tokio::test]
async fn letting_a_member_in_again_changes_its_role() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let space = room
        .identity
        .create_space(&anna.id, family())
        .await
        .unwrap()
        .space_id;
    for role in [SpaceRole::Member, SpaceRole::Admin, SpaceRole::Member] {
        room.identity.add_member(&space, &ben.id, role).await.unwrap();
        assert_eq!(
            room.identity
                .membership(&space, &ben.id)
                .await
                .unwrap()
                .unwrap()
                .role,
            role
        );
    }
    assert_eq!(room.identity.spaces_of(&ben.id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn strangers_have_no_membership_and_a_missing_space_looks_the_same() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let annas = room.identity.personal_space(&anna.id).await.unwrap();
    assert_eq!(room.identity.membership(&annas, &ben.id).await.unwrap(), None);
    assert_eq!(
        room.identity
            .membership(&SpaceId::derived(&["none"]), &ben.id)
            .await
            .unwrap(),
        None
    );
    let own = room.identity.membership(&annas, &anna.id).await.unwrap().unwrap();
    assert_eq!((own.space_id, own.role), (annas, SpaceRole::Owner));
}

#[tokio::test]
async fn all_members_of_a_space_get_its_owners_key() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let shared = room.identity.create_space(&anna.id, family()).await.unwrap();
    room.identity
        .add_member(&shared.space_id, &ben.id, SpaceRole::Admin)
        .await
        .unwrap();
    let key = room.identity.space_key(&shared.space_id).await.unwrap();
    assert_eq!(key.key, room.identity.vault_key(&anna.id).await.unwrap().key);
    assert_ne!(key.key, room.identity.vault_key(&ben.id).await.unwrap().key);
    let missing = room.identity.space_key(&SpaceId::derived(&["none"])).await;
    assert!(matches!(missing, Err(IdentityError::NotFound)));
}

#[tokio::test]
async fn nobody_joins_a_personal_space_and_an_owner_stays_one() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let personal = room.identity.personal_space(&anna.id).await.unwrap();
    let shared = room
        .identity
        .create_space(&anna.id, family())
        .await
        .unwrap()
        .space_id;
    for (space, user, role, wanted) in [
        (&personal, &ben.id, SpaceRole::Member, "space"),
        (&shared, &ben.id, SpaceRole::Owner, "role"),
        (&shared, &anna.id, SpaceRole::Member, "member"),
    ] {
        match room.identity.add_member(space, user, role).await {
            Err(IdentityError::InvalidField { field, .. }) => assert_eq!(field, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    let nobody = UserId::derived(&["nobody"]);
    for (space, user) in [(&shared, &nobody), (&SpaceId::derived(&["none"]), &ben.id)] {
        let outcome = room.identity.add_member(space, user, SpaceRole::Member).await;
        assert!(matches!(outcome, Err(IdentityError::NotFound)), "{outcome:?}");
    }
    assert_eq!(room.identity.spaces_of(&ben.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_space_needs_a_name_an_owner_and_a_type_that_can_be_shared() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    for (space, wanted) in [
        (
            NewSpace {
                space_type: SpaceType::Personal,
                ..family()
            },
            "type",
        ),
        (
            NewSpace {
                name: " ".to_owned(),
                ..family()
            },
            "name",
        ),
        (
            NewSpace {
                name: "x".repeat(201),
                ..family()
            },
            "name",
        ),
    ] {
        match room.identity.create_space(&anna.id, space).await {
            Err(IdentityError::InvalidField { field, .. }) => assert_eq!(field, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    let outcome = room
        .identity
        .create_space(&UserId::derived(&["nobody"]), family())
        .await;
    assert!(matches!(outcome, Err(IdentityError::NotFound)));
}
