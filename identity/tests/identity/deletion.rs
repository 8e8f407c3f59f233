//! What is gone after an account is deleted, and what stays.

use events::UserId;
use identity::{IdentityError, NewSpace, SpaceRole, SpaceType, TokenError};

use crate::room::{Room, password, person};

fn team() -> NewSpace {
    NewSpace {
        name: "The Team".to_owned(),
        space_type: SpaceType::Team,
    }
}

#[tokio::test]
async fn deleting_an_account_removes_everything_that_was_its_alone_and_nothing_else() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let personal = room.identity.personal_space(&anna.id).await.unwrap();
    let alone = room
        .identity
        .create_space(&anna.id, team())
        .await
        .unwrap()
        .space_id;
    let bens = room.identity.spaces_of(&ben.id).await.unwrap();

    let mut foretold = room.identity.sole_spaces(&anna.id).await.unwrap();
    let mut gone = room.identity.delete_account(&anna.id).await.unwrap().spaces;
    foretold.sort();
    gone.sort();
    let mut wanted = vec![personal, alone];
    wanted.sort();
    assert_eq!(gone, wanted);
    assert_eq!(foretold, wanted);

    let mut sql = room.place.sql().await;
    for (table, column, bens_rows) in [
        ("users", "id", 1_i64),
        ("credentials", "user_id", 1),
        ("vaults", "user_id", 1),
        ("space_members", "user_id", 1),
    ] {
        let query = format!("SELECT count(*), count(*) FILTER (WHERE {column} = $1) FROM {table}");
        let (all, annas): (i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(anna.id.as_str())
            .fetch_one(&mut sql)
            .await
            .unwrap();
        assert_eq!((all, annas), (bens_rows, 0), "{table}");
    }
    let spaces: i64 = sqlx::query_scalar("SELECT count(*) FROM spaces")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(spaces, 1);
    assert_eq!(room.identity.account(&ben.id).await.unwrap(), Some(ben.clone()));
    assert_eq!(room.identity.spaces_of(&ben.id).await.unwrap(), bens);
}

#[tokio::test]
async fn a_deleted_accounts_token_password_and_vault_die_at_once() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let token = room.token(&anna).await;
    room.identity.authenticate(&token).await.unwrap();
    room.identity.delete_account(&anna.id).await.unwrap();
    let error = room.identity.authenticate(&token).await.unwrap_err();
    assert!(matches!(error, TokenError::UnknownAccount), "{error}");
    assert!(matches!(
        room.identity.login(&anna.email, &password()).await,
        Err(IdentityError::BadCredentials)
    ));
    assert!(matches!(
        room.identity.vault_key(&anna.id).await,
        Err(IdentityError::VaultNotInitialised)
    ));
    assert!(matches!(
        room.identity.vault_init(&anna.id).await,
        Err(IdentityError::NotFound)
    ));
    assert!(matches!(
        room.identity.personal_space(&anna.id).await,
        Err(IdentityError::NotFound)
    ));
}

#[tokio::test]
async fn requests_under_way_during_a_deletion_cannot_bring_the_account_back() {
    let room = Room::open().await;
    for round in 0..20 {
        let anna = room.person(&format!("Anna{round}")).await;
        let token = room.token(&anna).await;
        let busy = futures::future::join_all((0..8).map(|_| room.identity.authenticate(&token)));
        let (_, deleted) = tokio::join!(busy, room.identity.delete_account(&anna.id));
        deleted.unwrap();
        let outcome = room.identity.authenticate(&token).await;
        assert!(
            matches!(outcome, Err(TokenError::UnknownAccount)),
            "round {round}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn whoever_registers_a_deleted_email_again_is_somebody_else() {
    let room = Room::open().await;
    let first = room.person("Anna").await;
    let old_token = room.token(&first).await;
    let old_key = room.identity.vault_key(&first.id).await.unwrap().key;
    room.identity.delete_account(&first.id).await.unwrap();
    let second = room.identity.register(person("Anna")).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_ne!(room.identity.vault_key(&second.id).await.unwrap().key, old_key);
    assert!(room.identity.authenticate(&old_token).await.is_err());
}

#[tokio::test]
async fn a_shared_space_goes_on_under_an_admin_first_then_whoever_joined_first() {
    let room = Room::open().await;
    let (anna, ben, cleo) = (
        room.person("Anna").await,
        room.person("Ben").await,
        room.person("Cleo").await,
    );
    let space = room
        .identity
        .create_space(&anna.id, team())
        .await
        .unwrap()
        .space_id;
    room.identity
        .add_member(&space, &ben.id, SpaceRole::Member)
        .await
        .unwrap();
    room.identity
        .add_member(&space, &cleo.id, SpaceRole::Admin)
        .await
        .unwrap();
    assert!(
        !room
            .identity
            .sole_spaces(&anna.id)
            .await
            .unwrap()
            .contains(&space)
    );

    assert!(
        !room
            .identity
            .delete_account(&anna.id)
            .await
            .unwrap()
            .spaces
            .contains(&space)
    );
    let role = async |user: &UserId| {
        room.identity
            .membership(&space, user)
            .await
            .unwrap()
            .map(|membership| membership.role)
    };
    assert_eq!(role(&cleo.id).await, Some(SpaceRole::Owner));
    assert_eq!(role(&ben.id).await, Some(SpaceRole::Member));
    let key = room.identity.space_key(&space).await.unwrap().key;
    assert_eq!(key, room.identity.vault_key(&cleo.id).await.unwrap().key);

    room.identity.delete_account(&cleo.id).await.unwrap();
    assert_eq!(role(&ben.id).await, Some(SpaceRole::Owner));
    assert!(
        room.identity
            .delete_account(&ben.id)
            .await
            .unwrap()
            .spaces
            .contains(&space)
    );
    assert!(matches!(
        room.identity.space_key(&space).await,
        Err(IdentityError::NotFound)
    ));
}

#[tokio::test]
async fn a_shared_space_named_after_a_deleted_account_loses_its_name() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let named = NewSpace {
        name: "Ben & Anna".to_owned(),
        ..team()
    };
    let space = room.identity.create_space(&ben.id, named).await.unwrap().space_id;
    room.identity
        .add_member(&space, &anna.id, SpaceRole::Member)
        .await
        .unwrap();
    room.identity.delete_account(&anna.id).await.unwrap();
    let left = room.identity.membership(&space, &ben.id).await.unwrap().unwrap();
    assert_eq!(left.name, "Ben & (gone)");
    assert!(left.slug.starts_with("ben-gone-"), "{}", left.slug);
}

#[tokio::test]
async fn deleting_nobody_is_not_found_and_deleting_twice_too() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    room.identity.delete_account(&anna.id).await.unwrap();
    for id in [anna.id, UserId::derived(&["nobody"])] {
        assert!(matches!(
            room.identity.delete_account(&id).await,
            Err(IdentityError::NotFound)
        ));
        assert_eq!(room.identity.sole_spaces(&id).await.unwrap(), []);
    }
}
