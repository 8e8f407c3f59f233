//! Tokens of personas between their ticks. A password is checked slowly on purpose (a good part of a tick's processor
//! time), so a persona that acts again soon comes back with the token it has, as a person's client does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use events::PersonaId;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Tokens that are kept at once; who comes after logs in each time.
const KEPT_MAX: usize = 4_096;
/// How long a token has to hold beyond the tick it is used for.
const MARGIN: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    kept: Mutex<HashMap<PersonaId, Pass>>,
}

#[derive(Debug)]
struct Pass {
    token: SecretString,
    ends_at: Timestamp,
}

impl Passes {
    /// The persona's token, if it holds for a tick of at most `deadline` from `now` on.
    pub(crate) fn get(
        &self,
        persona_id: &PersonaId,
        now: Timestamp,
        deadline: Duration,
    ) -> Option<SecretString> {
        let wanted = SignedDuration::try_from(deadline.saturating_add(MARGIN)).ok()?;
        let mut kept = self.kept();
        let pass = kept.get(persona_id)?;
        if pass.ends_at.duration_since(now) >= wanted {
            return Some(pass.token.clone());
        }
        kept.remove(persona_id);
        None
    }

    /// Keeps `token`, if it says itself how long it holds.
    pub(crate) fn keep(&self, persona_id: &PersonaId, token: &SecretString, now: Timestamp) {
        let Some(ends_at) = ends_at(token.expose_secret()) else {
            return;
        };
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, pass| pass.ends_at > now);
        }
        if kept.len() < KEPT_MAX {
            let token = token.clone();
            kept.insert(persona_id.clone(), Pass { token, ends_at });
        }
    }

    /// Forgets the persona's token: it was not accepted.
    pub(crate) fn forget(&self, persona_id: &PersonaId) {
        self.kept().remove(persona_id);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<PersonaId, Pass>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a JSON Web Token says of its end (`exp`, RFC 7519 §4.1.4). Nothing is proved by it: whoever is asked with the
/// token decides.
fn ends_at(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(exp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_mins(10);

    fn token(ends_at: i64) -> SecretString {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{ends_at}}}"));
        format!("e30.{claims}.c2ln").into()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_used_again_as_long_as_it_holds_for_a_whole_tick() {
        let (passes, anna) = (Passes::default(), PersonaId::try_new("anna").unwrap());
        assert!(passes.get(&anna, at(0), TICK).is_none());
        passes.keep(&anna, &token(1_000), at(0));
        assert_eq!(
            passes.get(&anna, at(340), TICK).unwrap().expose_secret(),
            token(1_000).expose_secret()
        );
        assert!(passes.get(&anna, at(341), TICK).is_none());
        assert!(passes.get(&anna, at(0), TICK).is_none(), "it is forgotten");
        passes.keep(&anna, &token(1_000), at(0));
        passes.forget(&anna);
        assert!(passes.get(&anna, at(0), TICK).is_none());
    }

    #[test]
    fn a_token_that_does_not_say_how_long_it_holds_is_not_kept() {
        let (passes, anna) = (Passes::default(), PersonaId::try_new("anna").unwrap());
        for unsaid in ["opaque", "e30.e30.c2ln", "e30.!.c2ln", ""] {
            passes.keep(&anna, &unsaid.to_owned().into(), at(0));
            assert!(passes.get(&anna, at(0), TICK).is_none(), "{unsaid}");
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let passes = Passes::default();
        for n in 0..=KEPT_MAX {
            passes.keep(
                &PersonaId::try_new(format!("p{n}")).unwrap(),
                &token(1_000),
                at(0),
            );
        }
        assert_eq!(passes.kept().len(), KEPT_MAX);
        passes.keep(&PersonaId::try_new("late").unwrap(), &token(9_000), at(1_001));
        assert_eq!(passes.kept().len(), 1, "what is over makes room");
    }
}
