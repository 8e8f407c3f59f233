//! Spaces that get another owner, and spaces that end.

use events::{SpaceId, UserId};
use identity::{
    Account, GrantError, GrantRequest, IdentityError, NewSpace, RecoveryWrap, SpaceRole, SpaceType,
};

use crate::room::Room;

struct Team {
    room: Room,
    space: SpaceId,
    anna: Account,
    ben: Account,
    eva: Account,
}

impl Team {
    /// Anna's space with Ben in it; Eva is a stranger.
    async fn found() -> Self {
        let room = Room::open().await;
        let (anna, ben, eva) = (
            room.person("Anna").await,
            room.person("Ben").await,
            room.person("Eva").await,
        );
        let team = NewSpace {
            name: "Team".to_owned(),
            space_type: SpaceType::Team,
        };
        let space = room.identity.create_space(&anna.id, team).await.unwrap().space_id;
        let joined = room.identity.add_member(&space, &ben.id, SpaceRole::Member);
        joined.await.unwrap();
        Self {
            room,
            space,
            anna,
            ben,
            eva,
        }
    }

    async fn hand_over(&self, by: &Account, to: &Account) -> Result<(), IdentityError> {
        let handed = self.room.identity.hand_over_space(&by.id, &self.space, &to.id);
        handed.await.map(drop)
    }

    async fn role(&self, of: &UserId) -> Option<SpaceRole> {
        let place = self.room.identity.membership(&self.space, of).await.unwrap();
        place.map(|place| place.role)
    }

    /// The keys the space's fields open with, today's first.
    async fn keys(&self) -> Vec<[u8; 32]> {
        let keys = self.room.identity.space_keys(&self.space).await.unwrap();
        std::iter::once(keys.current)
            .chain(keys.past)
            .map(|key| *key.key)
            .collect()
    }

    async fn key_of(&self, account: &Account) -> [u8; 32] {
        *self.room.identity.vault_key(&account.id).await.unwrap().key
    }

    async fn make_zero_knowledge(&self, account: &Account) -> Result<(), IdentityError> {
        let wrap = RecoveryWrap {
            wrapped_key: "AAAA".to_owned(),
            iv: "AAAA".to_owned(),
        };
        self.room.identity.set_recovery_wrap(&account.id, &wrap).await?;
        self.room.identity.zero_knowledge_on(&account.id).await
    }
}

#[tokio::test]
async fn the_next_owners_key_seals_at_once_and_the_past_owners_opens_until_nothing_needs_it() {
    let team = Team::found().await;
    let (identity, anna, ben) = (&team.room.identity, &team.anna, &team.ben);
    let (annas, bens) = (team.key_of(anna).await, team.key_of(ben).await);
    let changes = identity.key_changes();
    team.hand_over(anna, ben).await.unwrap();
    assert!(
        identity.key_changes() > changes,
        "whoever keeps keys forgets them"
    );
    assert_eq!(team.role(&ben.id).await, Some(SpaceRole::Owner));
    assert_eq!(team.role(&anna.id).await, Some(SpaceRole::Admin));
    assert_eq!(team.keys().await, [bens, annas]);

    // Who handed it over may go; what it sealed there can still be read.
    identity
        .remove_member(&anna.id, &team.space, &anna.id)
        .await
        .unwrap();
    assert_eq!(team.keys().await, [bens, annas]);

    let handovers = identity.handovers().await.unwrap();
    assert_eq!((handovers.len(), &handovers[0].space_id), (1, &team.space));
    let before = handovers[0].at - jiff::SignedDuration::from_secs(1);
    identity.finish_handover(&team.space, before).await.unwrap();
    assert_eq!(team.keys().await, [bens, annas], "it was handed over since");
    identity
        .finish_handover(&team.space, handovers[0].at)
        .await
        .unwrap();
    assert_eq!(team.keys().await, [bens]);
    assert!(identity.handovers().await.unwrap().is_empty());

    let acts = identity.acts(None, None, 100).await.unwrap();
    let said = |act: &str| acts.iter().any(|entry| entry.act.as_str() == act);
    assert!(said("space.handed-over") && said("space.sealed-anew"), "{acts:?}");
}

#[tokio::test]
async fn a_space_that_comes_back_is_sealed_with_its_first_owners_key_again() {
    let team = Team::found().await;
    let (anna, ben) = (&team.anna, &team.ben);
    team.hand_over(anna, ben).await.unwrap();
    team.hand_over(ben, anna).await.unwrap();
    assert_eq!(
        team.keys().await,
        [team.key_of(anna).await, team.key_of(ben).await]
    );
}

#[tokio::test]
async fn only_the_owner_hands_over_and_only_to_a_member_and_never_a_personal_space() {
    let team = Team::found().await;
    let (identity, anna, ben, eva) = (&team.room.identity, &team.anna, &team.ben, &team.eva);
    let by_member = team.hand_over(ben, anna).await;
    assert!(
        matches!(
            by_member,
            Err(IdentityError::SpaceRoleNeeded { needed: "the owner" })
        ),
        "{by_member:?}"
    );
    for (by, to) in [(eva, ben), (anna, eva)] {
        let refused = team.hand_over(by, to).await;
        assert!(matches!(refused, Err(IdentityError::NotFound)), "{refused:?}");
    }
    let personal = identity.personal_space(&anna.id).await.unwrap();
    let refused = identity.hand_over_space(&anna.id, &personal, &anna.id).await;
    assert!(matches!(refused, Err(IdentityError::OwnerStays)), "{refused:?}");
    identity.suspend(&ben.id).await.unwrap();
    let refused = team.hand_over(anna, ben).await;
    assert!(matches!(refused, Err(IdentityError::Suspended)), "{refused:?}");
    assert_eq!(team.role(&anna.id).await, Some(SpaceRole::Owner));
}

#[tokio::test]
async fn a_space_whose_owner_or_next_owner_is_zero_knowledge_stays_where_it_is() {
    let team = Team::found().await;
    team.make_zero_knowledge(&team.ben).await.unwrap();
    let refused = team.hand_over(&team.anna, &team.ben).await.unwrap_err();
    assert!(
        matches!(
            refused,
            IdentityError::ZeroKnowledgeHandover {
                whose: "the member's"
            }
        ),
        "{refused}"
    );
    let team = Team::found().await;
    team.make_zero_knowledge(&team.anna).await.unwrap();
    let refused = team.hand_over(&team.anna, &team.ben).await.unwrap_err();
    assert!(
        matches!(refused, IdentityError::ZeroKnowledgeHandover { whose: "yours" }),
        "{refused}"
    );
    assert_eq!(team.role(&team.anna.id).await, Some(SpaceRole::Owner));
}

#[tokio::test]
async fn keys_that_a_handed_over_space_needs_are_not_destroyed() {
    let team = Team::found().await;
    let identity = &team.room.identity;
    identity.vault_rotate(&team.anna.id).await.unwrap();
    team.hand_over(&team.anna, &team.ben).await.unwrap();
    assert_eq!(team.keys().await.len(), 3, "past ones of the past owner too");
    for account in [&team.anna, &team.ben] {
        let refused = team.make_zero_knowledge(account).await;
        assert!(
            matches!(refused, Err(IdentityError::HandoverUnderWay)),
            "{}: {refused:?}",
            account.name
        );
    }
    let refused = identity.destroy_past_keys(&team.anna.id).await;
    assert!(
        matches!(refused, Err(IdentityError::HandoverUnderWay)),
        "{refused:?}"
    );
    team.make_zero_knowledge(&team.eva).await.unwrap();
    let at = identity.handovers().await.unwrap()[0].at;
    identity.finish_handover(&team.space, at).await.unwrap();
    team.make_zero_knowledge(&team.anna).await.unwrap();
}

#[tokio::test]
async fn a_grant_ends_when_its_owner_owns_the_space_no_more() {
    let team = Team::found().await;
    let identity = &team.room.identity;
    let request = GrantRequest {
        mission_id: "mission".to_owned(),
        space_id: Some(team.space.clone()),
        tables: vec!["notes".to_owned()],
        record_ids: vec!["r1".to_owned()],
        holds: None,
    };
    let grant = identity
        .keep_client_grant(&team.anna.id, request, "AAAA".to_owned())
        .await
        .unwrap();
    identity.use_grant(&grant.id, "notes", "r1").await.unwrap();
    team.hand_over(&team.anna, &team.ben).await.unwrap();
    let refused = identity.use_grant(&grant.id, "notes", "r1").await;
    assert!(matches!(refused, Err(GrantError::Revoked)), "{refused:?}");
}

#[tokio::test]
async fn a_deleted_space_is_nobodys_at_once_and_remembered_until_its_records_are_gone() {
    let team = Team::found().await;
    let (identity, anna, ben) = (&team.room.identity, &team.anna, &team.ben);
    let by_member = identity.delete_space(&ben.id, &team.space).await;
    assert!(
        matches!(by_member, Err(IdentityError::SpaceRoleNeeded { .. })),
        "{by_member:?}"
    );
    let by_stranger = identity.delete_space(&team.eva.id, &team.space).await;
    assert!(
        matches!(by_stranger, Err(IdentityError::NotFound)),
        "{by_stranger:?}"
    );
    let personal = identity.personal_space(&anna.id).await.unwrap();
    let refused = identity.delete_space(&anna.id, &personal).await;
    assert!(matches!(refused, Err(IdentityError::OwnerStays)), "{refused:?}");

    identity.delete_space(&anna.id, &team.space).await.unwrap();
    for account in [anna, ben] {
        assert_eq!(team.role(&account.id).await, None, "{}", account.name);
    }
    let keys = identity.space_keys(&team.space).await;
    assert!(matches!(keys, Err(IdentityError::NotFound)), "{keys:?}");
    let again = identity.delete_space(&anna.id, &team.space).await;
    assert!(matches!(again, Err(IdentityError::NotFound)), "{again:?}");
    let sole = identity.sole_spaces(&anna.id).await.unwrap();
    assert!(
        sole.contains(&team.space),
        "its records go with its owner at the latest"
    );
    assert_eq!(identity.deleted_spaces().await.unwrap()[0].space_id, team.space);
    identity.forget_deleted_space(&team.space).await.unwrap();
    assert!(identity.deleted_spaces().await.unwrap().is_empty());
}
