//! Where the caller acts: the space it names, if it is a member, else its own.

use events::{SpaceId, UserId};
use http::{HeaderMap, StatusCode};
use identity::Identity;

use crate::problem::Problem;
use crate::telemetry;

/// The header that names the space.
pub(crate) const SPACE_HEADER: &str = "x-mana-space";

/// The space of a request. A space that does not exist and one the caller is no member of are told apart by nobody.
pub(crate) async fn of(identity: &Identity, user: &UserId, headers: &HeaderMap) -> Result<SpaceId, Problem> {
    let mut named = headers.get_all(SPACE_HEADER).iter();
    let Some(space) = named.next() else {
        return identity
            .personal_space(user)
            .await
            .map_err(|error| unreadable(&error));
    };
    let space = space
        .to_str()
        .ok()
        .filter(|_| named.next().is_none())
        .and_then(|space| SpaceId::try_new(space).ok());
    let space = space.ok_or_else(|| {
        let detail = "the X-Mana-Space header must be one space id, as spaces.list gives it";
        Problem::new(StatusCode::BAD_REQUEST, "bad_space", detail)
    })?;
    match identity.membership(&space, user).await {
        Ok(Some(_)) => Ok(space),
        Ok(None) => {
            telemetry::auth_failure("not-a-member");
            let detail = "you are not a member of the space in the X-Mana-Space header; spaces.list shows yours, and \
                          without the header your personal space is used";
            Err(Problem::forbidden("not_a_member", detail))
        }
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &identity::IdentityError) -> Problem {
    tracing::error!(error = %error, "a caller's space could not be read");
    Problem::unavailable(
        "space_not_read",
        "your space cannot be read right now; try again",
        1,
    )
}
