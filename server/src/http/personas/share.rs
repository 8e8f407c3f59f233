//! Partners share a space with one another.

use events::{SpaceId, UserId};
use identity::{Account, AccountKind, IdentityError, NewSpace, SpaceRole, SpaceType};
use tokio::sync::Mutex;

use crate::http::App;

/// Two partners created at the same moment would otherwise each make a space for both.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Sees to it that the persona shares a space with each of its partners that exists. Whoever of two is created
/// second brings the space about; doing it again changes nothing. A space once shared is not taken away.
pub(super) async fn with_partners(
    app: &App,
    persona: &Account,
    partners: &[String],
) -> Result<(), IdentityError> {
    if app.external.is_some() {
        // Spaces are shared where they are kept.
        return Ok(());
    }
    let _guard = ONE_AT_A_TIME.lock().await;
    for email in partners.iter().filter(|email| **email != persona.email) {
        let Some(partner) = app.identity.account_by_email(email).await? else {
            continue;
        };
        // One that is being erased is as good as gone.
        if partner.kind == AccountKind::Persona && partner.suspended_at.is_none() {
            share(app, persona, &partner).await?;
        }
    }
    Ok(())
}

async fn share(app: &App, persona: &Account, partner: &Account) -> Result<(), IdentityError> {
    let (own, theirs) = (
        shared_spaces(app, &persona.id).await?,
        shared_spaces(app, &partner.id).await?,
    );
    if own
        .iter()
        .any(|(space, _)| theirs.iter().any(|(other, _)| other == space))
    {
        return Ok(());
    }
    let name = format!("{} & {}", partner.name, persona.name);
    // One that was made for these two, and left half made when an earlier try broke off.
    let half_made = theirs
        .into_iter()
        .find(|(_, known)| *known == name)
        .map(|(space, _)| space);
    let space = if let Some(space) = half_made {
        space
    } else {
        let space = NewSpace {
            name,
            space_type: type_of(&partner.email, &persona.email),
        };
        app.identity.create_space(&partner.id, space).await?.space_id
    };
    // With the consent of both, in the steps of the public interface.
    let member = SpaceRole::Member;
    let invitation = app
        .identity
        .invite(&partner.id, &space, &persona.email, member)
        .await?;
    app.identity
        .accept_invitation(&persona.id, &invitation.id)
        .await?;
    Ok(())
}

/// What sort of group two personas make: each sort has its pairs, and a pair always the same.
fn type_of(one: &str, other: &str) -> SpaceType {
    const TYPES: [SpaceType; 5] = [
        SpaceType::Family,
        SpaceType::Team,
        SpaceType::Practice,
        SpaceType::Brand,
        SpaceType::Club,
    ];
    let mut pair = [one, other];
    pair.sort_unstable();
    let mixed = pair.concat().bytes().fold(0_u32, |mixed, byte| {
        mixed.wrapping_mul(12).wrapping_add(u32::from(byte))
    });
    let at = usize::try_from(mixed).unwrap_or_default() % TYPES.len();
    TYPES.get(at).copied().unwrap_or(SpaceType::Team)
}

/// The account's spaces that may have more than one member, with their names.
async fn shared_spaces(app: &App, user: &UserId) -> Result<Vec<(SpaceId, String)>, IdentityError> {
    let memberships = app.identity.spaces_of(user).await?;
    let shared = memberships
        .into_iter()
        .filter(|membership| membership.space_type != SpaceType::Personal);
    Ok(shared
        .map(|membership| (membership.space_id, membership.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_shipped_pairs_share_a_space_of_each_sort() {
        let catalog = catalog::Catalog::parse(
            "shipped",
            catalog::Catalog::embedded_text(),
            &gateway::module_names(),
        )
        .unwrap();
        let sorts: BTreeSet<String> = catalog
            .personas
            .iter()
            .flat_map(|persona| persona.partners.iter().map(move |other| (&persona.email, other)))
            .map(|(one, other)| {
                assert_eq!(type_of(one, other), type_of(other, one));
                format!("{:?}", type_of(one, other))
            })
            .collect();
        assert_eq!(sorts.len(), 5, "{sorts:?}");
    }
}
