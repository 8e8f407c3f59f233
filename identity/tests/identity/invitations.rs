//! Coming into a space and going again: both sides agree, and nobody learns more than they may.

use events::{InvitationId, SpaceId};
use identity::{Account, IdentityError, NewSpace, SpaceRole, SpaceType};
use std::time::Duration;

use crate::room::Room;

/// A family of Anna's; Ben and Eva are not in it.
struct Family {
    room: Room,
    anna: Account,
    ben: Account,
    eva: Account,
    space: SpaceId,
}

impl Family {
    async fn found() -> Self {
        let room = Room::open().await;
        let (anna, ben, eva) = (
            room.person("Anna").await,
            room.person("Ben").await,
            room.person("Eva").await,
        );
        let family = NewSpace {
            name: "Family".to_owned(),
            space_type: SpaceType::Family,
        };
        let space = room
            .identity
            .create_space(&anna.id, family)
            .await
            .unwrap()
            .space_id;
        Self {
            room,
            anna,
            ben,
            eva,
            space,
        }
    }

    async fn invite(
        &self,
        by: &Account,
        whom: &Account,
        role: SpaceRole,
    ) -> Result<InvitationId, IdentityError> {
        let identity = &self.room.identity;
        Ok(identity.invite(&by.id, &self.space, &whom.email, role).await?.id)
    }

    async fn join(&self, whom: &Account, role: SpaceRole) {
        let invitation = self.invite(&self.anna, whom, role).await.unwrap();
        let joined = self.room.identity.accept_invitation(&whom.id, &invitation).await;
        assert_eq!(joined.unwrap().role, role);
    }

    async fn is_member(&self, who: &Account) -> bool {
        let place = self.room.identity.membership(&self.space, &who.id).await;
        place.unwrap().is_some()
    }
}

#[tokio::test]
async fn who_is_invited_sees_it_and_is_in_only_after_accepting() {
    let family = Family::found().await;
    let id = family
        .invite(&family.anna, &family.ben, SpaceRole::Member)
        .await
        .unwrap();
    assert!(!family.is_member(&family.ben).await);
    let seen = family.room.identity.invitations_to(&family.ben.id).await.unwrap();
    assert_eq!(
        (
            seen.len(),
            seen[0].space_name.as_str(),
            seen[0].invited_by.as_str()
        ),
        (1, "Family", "Anna")
    );
    let joined = family
        .room
        .identity
        .accept_invitation(&family.ben.id, &id)
        .await
        .unwrap();
    assert_eq!(
        (joined.space_id, joined.role),
        (family.space.clone(), SpaceRole::Member)
    );
    assert!(family.is_member(&family.ben).await);
    let again = family.room.identity.accept_invitation(&family.ben.id, &id).await;
    assert!(matches!(again, Err(IdentityError::NotFound)), "{again:?}");
}

#[tokio::test]
async fn an_invitation_is_of_use_to_the_invited_alone_and_to_nobody_once_declined_withdrawn_or_old() {
    let family = Family::found().await;
    let identity = &family.room.identity;
    let invite = || family.invite(&family.anna, &family.ben, SpaceRole::Member);
    let accept = async |who: &Account, id: &InvitationId| {
        let outcome = identity.accept_invitation(&who.id, id).await;
        matches!(outcome, Err(IdentityError::NotFound))
    };

    let id = invite().await.unwrap();
    assert!(accept(&family.eva, &id).await, "another's");
    let declined = identity.decline_invitation(&family.eva.id, &id).await;
    assert!(matches!(declined, Err(IdentityError::NotFound)), "{declined:?}");
    identity.decline_invitation(&family.ben.id, &id).await.unwrap();
    assert!(accept(&family.ben, &id).await, "declined");

    let id = invite().await.unwrap();
    identity
        .withdraw_invitation(&family.anna.id, &family.space, &id)
        .await
        .unwrap();
    assert!(accept(&family.ben, &id).await, "withdrawn");

    let first = invite().await.unwrap();
    let second = invite().await.unwrap();
    assert!(accept(&family.ben, &first).await, "renewed by another");
    family.room.clock.advance(Duration::from_hours(7 * 24));
    assert!(accept(&family.ben, &second).await, "too old");
    assert!(identity.invitations_to(&family.ben.id).await.unwrap().is_empty());
    let open = identity
        .invitations_of_space(&family.anna.id, &family.space)
        .await;
    assert!(open.unwrap().is_empty());
    assert!(!family.is_member(&family.ben).await);
}

#[tokio::test]
async fn who_may_invite_and_as_what_follows_from_the_role() {
    let family = Family::found().await;
    let (anna, ben, eva) = (&family.anna, &family.ben, &family.eva);
    let stranger = family.invite(ben, eva, SpaceRole::Member).await;
    assert!(matches!(stranger, Err(IdentityError::NotFound)), "{stranger:?}");
    family.join(ben, SpaceRole::Member).await;
    for role in [SpaceRole::Member, SpaceRole::Admin] {
        let member = family.invite(ben, eva, role).await;
        assert!(
            matches!(member, Err(IdentityError::SpaceRoleNeeded { .. })),
            "{member:?}"
        );
    }
    let open = family
        .room
        .identity
        .invitations_of_space(&ben.id, &family.space)
        .await;
    assert!(
        matches!(open, Err(IdentityError::SpaceRoleNeeded { .. })),
        "{open:?}"
    );
    family
        .room
        .identity
        .set_member_role(&anna.id, &family.space, &ben.id, SpaceRole::Admin)
        .await
        .unwrap();
    let admin = family.invite(ben, eva, SpaceRole::Admin).await;
    assert!(
        matches!(admin, Err(IdentityError::SpaceRoleNeeded { .. })),
        "{admin:?}"
    );
    family.invite(ben, eva, SpaceRole::Member).await.unwrap();
    let owner = family.invite(anna, eva, SpaceRole::Owner).await;
    assert!(
        matches!(owner, Err(IdentityError::InvalidField { field: "role", .. })),
        "{owner:?}"
    );
    let again = family.invite(anna, ben, SpaceRole::Member).await;
    assert!(matches!(again, Err(IdentityError::AlreadyMember)), "{again:?}");
}

#[tokio::test]
async fn inviting_tells_nobody_who_is_registered_and_lets_in_who_registers_later() {
    let family = Family::found().await;
    let identity = &family.room.identity;
    let to = async |email: &str| {
        identity
            .invite(&family.anna.id, &family.space, email, SpaceRole::Member)
            .await
            .unwrap()
    };
    let (known, unknown) = (to("Ben@example.test").await, to("zoe@example.test").await);
    assert_eq!(known.email, "ben@example.test");
    assert_eq!((known.role, known.expires_at), (unknown.role, unknown.expires_at));
    let zoe = family.room.person("Zoe").await;
    identity.accept_invitation(&zoe.id, &unknown.id).await.unwrap();
    assert!(family.is_member(&zoe).await);
}

#[tokio::test]
async fn a_member_leaves_or_is_taken_out_at_once_and_the_owner_stays() {
    let family = Family::found().await;
    let (anna, ben, eva) = (&family.anna, &family.ben, &family.eva);
    let identity = &family.room.identity;
    family.join(ben, SpaceRole::Admin).await;
    family.join(eva, SpaceRole::Member).await;
    let take_out =
        async |by: &Account, whom: &Account| identity.remove_member(&by.id, &family.space, &whom.id).await;
    for (by, whom) in [(eva, ben), (ben, anna), (anna, anna)] {
        let refused = take_out(by, whom).await;
        assert!(
            matches!(
                refused,
                Err(IdentityError::SpaceRoleNeeded { .. } | IdentityError::OwnerStays)
            ),
            "{} takes out {}: {refused:?}",
            by.name,
            whom.name
        );
    }
    take_out(ben, eva).await.unwrap();
    assert!(!family.is_member(eva).await);
    assert!(matches!(take_out(eva, ben).await, Err(IdentityError::NotFound)));
    let sent = family.invite(ben, eva, SpaceRole::Member).await.unwrap();
    take_out(ben, ben).await.unwrap();
    assert!(!family.is_member(ben).await);
    let late = identity.accept_invitation(&eva.id, &sent).await;
    assert!(matches!(late, Err(IdentityError::NotFound)), "its sender is gone");
    let personal = identity.personal_space(&anna.id).await.unwrap();
    let own = identity.remove_member(&anna.id, &personal, &anna.id).await;
    assert!(matches!(own, Err(IdentityError::OwnerStays)), "{own:?}");
}

#[tokio::test]
async fn roles_are_the_owners_to_give() {
    let family = Family::found().await;
    let (anna, ben, eva) = (&family.anna, &family.ben, &family.eva);
    let identity = &family.room.identity;
    family.join(ben, SpaceRole::Admin).await;
    let give = async |by: &Account, whom: &Account, role: SpaceRole| {
        identity
            .set_member_role(&by.id, &family.space, &whom.id, role)
            .await
    };
    let by_admin = give(ben, ben, SpaceRole::Member).await;
    assert!(
        matches!(by_admin, Err(IdentityError::SpaceRoleNeeded { .. })),
        "{by_admin:?}"
    );
    let to_stranger = give(anna, eva, SpaceRole::Admin).await;
    assert!(
        matches!(to_stranger, Err(IdentityError::NotFound)),
        "{to_stranger:?}"
    );
    let own = give(anna, anna, SpaceRole::Member).await;
    assert!(matches!(own, Err(IdentityError::OwnerStays)), "{own:?}");
    let sent = family.invite(ben, eva, SpaceRole::Member).await.unwrap();
    give(anna, ben, SpaceRole::Member).await.unwrap();
    let late = identity.accept_invitation(&eva.id, &sent).await;
    assert!(
        matches!(late, Err(IdentityError::NotFound)),
        "its sender may invite no more"
    );
}

#[tokio::test]
async fn only_members_see_members() {
    let family = Family::found().await;
    let identity = &family.room.identity;
    family.join(&family.ben, SpaceRole::Member).await;
    let members = identity.members(&family.ben.id, &family.space).await.unwrap();
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(members.len(), 2);
    assert!(names.contains(&"Anna") && names.contains(&"Ben"));
    let stranger = identity.members(&family.eva.id, &family.space).await;
    assert!(matches!(stranger, Err(IdentityError::NotFound)), "{stranger:?}");
}

#[tokio::test]
async fn invitations_to_and_from_an_account_go_with_it() {
    let family = Family::found().await;
    let identity = &family.room.identity;
    family.join(&family.ben, SpaceRole::Admin).await;
    family
        .invite(&family.ben, &family.eva, SpaceRole::Member)
        .await
        .unwrap();
    let to_zoe = identity
        .invite(
            &family.anna.id,
            &family.space,
            "zoe@example.test",
            SpaceRole::Member,
        )
        .await
        .unwrap();
    let zoe = family.room.person("Zoe").await;
    identity.delete_account(&family.ben.id).await.unwrap();
    assert!(identity.invitations_to(&family.eva.id).await.unwrap().is_empty());
    identity.delete_account(&zoe.id).await.unwrap();
    let open = identity
        .invitations_of_space(&family.anna.id, &family.space)
        .await
        .unwrap();
    assert!(
        open.iter().all(|invitation| invitation.id != to_zoe.id),
        "{open:?}"
    );
}

#[tokio::test]
async fn who_came_and_went_is_on_record_and_whom_others_invited_is_not() {
    let family = Family::found().await;
    family.join(&family.ben, SpaceRole::Member).await;
    let identity = &family.room.identity;
    identity
        .set_member_role(&family.anna.id, &family.space, &family.ben.id, SpaceRole::Admin)
        .await
        .unwrap();
    identity
        .remove_member(&family.anna.id, &family.space, &family.ben.id)
        .await
        .unwrap();
    let acts = identity.acts(None, None, 100).await.unwrap();
    let of_spaces: Vec<(&str, Option<&str>)> = acts
        .iter()
        .rev()
        .filter(|entry| entry.act.as_str().starts_with("space."))
        .map(|entry| (entry.act.as_str(), entry.by_id.as_deref()))
        .collect();
    let (anna, ben) = (Some(family.anna.id.as_str()), Some(family.ben.id.as_str()));
    let expected = [
        ("space.made", anna),
        ("space.invited", anna),
        ("space.joined", ben),
        ("space.role-changed", anna),
        ("space.left", anna),
    ];
    assert_eq!(of_spaces, expected);
    let told = format!("{acts:?}");
    assert!(told.contains(family.space.as_str()) && !told.contains(&family.ben.email));
}
