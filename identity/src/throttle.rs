//! Slowing down whoever guesses passwords, without telling which accounts there are: what is counted is the email as it
//! was sent, whether or not it is anybody's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cache::Recent;

/// Wrong passwords for one email in [`WINDOW`], at most.
pub(crate) const WRONG_MAX: u32 = 10;
/// How long wrong passwords are held against an email, from the first of them on.
pub(crate) const WINDOW: Duration = Duration::from_mins(15);
/// Half of the emails remembered. Driving one out of memory takes as many password checks, at tens a second.
const REMEMBERED_HALF: usize = 8_192;

/// See the module. Emails are remembered by their SHA-256.
#[derive(Debug)]
pub(crate) struct Throttle(Mutex<Recent<[u8; 32], Wrong>>);

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    since: Duration,
}

impl Default for Throttle {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(REMEMBERED_HALF)))
    }
}

impl Throttle {
    /// How long `email` has to wait before another password is looked at; `None` when it need not.
    pub(crate) fn wait(&self, email: &str, now: Duration) -> Option<Duration> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = recent.get(&key(email))?;
        let left = WINDOW.saturating_sub(now.saturating_sub(wrong.since));
        (wrong.times >= WRONG_MAX && !left.is_zero()).then_some(left)
    }

    /// Holds one wrong password against `email`.
    pub(crate) fn was_wrong(&self, email: &str, now: Duration) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(email);
        let before = recent.get(&key).copied();
        let wrong = match before {
            Some(wrong) if now.saturating_sub(wrong.since) < WINDOW => Wrong {
                times: wrong.times.saturating_add(1),
                ..wrong
            },
            _ => Wrong { times: 1, since: now },
        };
        recent.insert(key, wrong);
    }

    /// Holds nothing against `email` any more.
    pub(crate) fn was_right(&self, email: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key(email));
    }
}

fn key(email: &str) -> [u8; 32] {
    Sha256::digest(email).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_waits_out_its_window_after_too_many_wrong_passwords() {
        let throttle = Throttle::default();
        for wrong in 0..WRONG_MAX {
            assert_eq!(throttle.wait("anna", Duration::from_mins(1)), None, "{wrong}");
            throttle.was_wrong("anna", Duration::from_mins(1));
        }
        let wait = throttle.wait("anna", Duration::from_mins(2));
        assert_eq!(wait, Some(Duration::from_mins(14)));
        assert_eq!(throttle.wait("ben", Duration::from_mins(2)), None);
        assert_eq!(throttle.wait("anna", Duration::from_mins(16)), None);
    }

    #[test]
    fn a_right_password_clears_what_was_held_against_its_email() {
        let throttle = Throttle::default();
        for _ in 0..WRONG_MAX {
            throttle.was_wrong("anna", Duration::ZERO);
        }
        throttle.was_right("anna");
        assert_eq!(throttle.wait("anna", Duration::ZERO), None);
    }
}
