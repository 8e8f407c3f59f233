//! Who owns which MCP session, and how long it has rested.
//!
//! A session id on the wire is a handle, not a proof: it is looked up only for the one owner it was given to. What
//! is bound is (issuer, account, space), never a token, so that a fresh token of the same account goes on with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, SessionId, SpaceId, UserId};

/// The one whom a session obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) issuer: String,
    pub(crate) user_id: UserId,
    pub(crate) space_id: SpaceId,
}

/// An open MCP session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its name in events. It follows from the handle one way only, so that a reader of the log cannot take it over.
    pub(crate) id: SessionId,
    pub(crate) owner: Owner,
    pub(crate) handle: Arc<str>,
    in_use: AtomicUsize,
    rested_since_ms: AtomicU64,
}

impl Session {
    fn is_idle(&self) -> bool {
        self.in_use.load(Ordering::SeqCst) == 0
    }

    fn rested_since(&self) -> Duration {
        Duration::from_millis(self.rested_since_ms.load(Ordering::SeqCst))
    }
}

/// While one lives, its session does not rest.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) session: Arc<Session>,
    clock: Arc<dyn Clock>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.session
            .rested_since_ms
            .store(millis(self.clock.monotonic()), Ordering::SeqCst);
        self.session.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why a handle opens nothing for a caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotYours {
    /// No session has it, or none any more.
    Unknown,
    /// It is somebody else's. The session is named for the record.
    Foreign(SessionId),
    /// It is the caller's own, but of another space.
    OtherSpace,
}

/// All open sessions of this process.
#[derive(Debug)]
pub(crate) struct Sessions {
    clock: Arc<dyn Clock>,
    per_user_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_handle: HashMap<Arc<str>, Arc<Session>>,
    opening: HashMap<UserId, usize>,
}

/// A place for a session that is being opened; given back on drop.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    sessions: &'a Sessions,
    user_id: UserId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        if let Some(opening) = table.opening.get_mut(&self.user_id) {
            *opening -= 1;
            if *opening == 0 {
                table.opening.remove(&self.user_id);
            }
        }
    }
}

impl Sessions {
    pub(crate) fn new(clock: Arc<dyn Clock>, per_user_max: usize) -> Self {
        Self {
            clock,
            per_user_max,
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of `handle`, for its owner alone, kept from resting from this moment.
    pub(crate) fn find(&self, handle: &str, owner: &Owner) -> Result<InUse, NotYours> {
        let table = self.table();
        let session = table.by_handle.get(handle).ok_or(NotYours::Unknown)?;
        // The whole guard against taking over somebody's session is this comparison.
        if session.owner.issuer != owner.issuer || session.owner.user_id != owner.user_id {
            return Err(NotYours::Foreign(session.id.clone()));
        }
        if session.owner.space_id != owner.space_id {
            return Err(NotYours::OtherSpace);
        }
        Ok(self.hold(session))
    }

    /// Keeps `session` from resting for as long as the answer lives.
    pub(crate) fn hold(&self, session: &Arc<Session>) -> InUse {
        session.in_use.fetch_add(1, Ordering::SeqCst);
        InUse {
            session: session.clone(),
            clock: self.clock.clone(),
        }
    }

    /// A place for one more session of `user_id`, and the sessions that had to make room for it.
    ///
    /// `None` when the user holds as many as allowed and all of them are in use.
    pub(crate) fn place_for(&self, user_id: &UserId) -> Option<(Place<'_>, Vec<Arc<Session>>)> {
        let mut table = self.table();
        let opening = table.opening.get(user_id).copied().unwrap_or_default();
        let mut open: Vec<_> = table
            .by_handle
            .values()
            .filter(|session| session.owner.user_id == *user_id)
            .cloned()
            .collect();
        let too_many = (open.len() + opening + 1).saturating_sub(self.per_user_max);
        open.retain(|session| session.is_idle());
        if open.len() < too_many {
            return None;
        }
        open.sort_by_key(|session| session.rested_since());
        open.truncate(too_many);
        for session in &open {
            table.by_handle.remove(&session.handle);
        }
        *table.opening.entry(user_id.clone()).or_default() += 1;
        drop(table);
        Some((
            Place {
                sessions: self,
                user_id: user_id.clone(),
            },
            open,
        ))
    }

    /// Gives the session behind `handle` to `owner`.
    pub(crate) fn bind(&self, handle: &str, owner: Owner) -> Arc<Session> {
        let handle: Arc<str> = handle.into();
        let session = Arc::new(Session {
            id: SessionId::derived(&["mcp", &handle]),
            owner,
            handle: handle.clone(),
            in_use: AtomicUsize::new(0),
            rested_since_ms: AtomicU64::new(millis(self.clock.monotonic())),
        });
        self.table().by_handle.insert(handle, session.clone());
        session
    }

    /// Takes a session out. `true` for the one caller that did, who then records the end.
    pub(crate) fn remove(&self, session: &Session) -> bool {
        self.table().by_handle.remove(&session.handle).is_some()
    }

    /// Takes out the sessions that have rested for `limit` or longer.
    pub(crate) fn take_rested(&self, limit: Duration) -> Vec<Arc<Session>> {
        let now = self.clock.monotonic();
        let has_rested =
            |session: &Session| session.is_idle() && now.saturating_sub(session.rested_since()) >= limit;
        let mut table = self.table();
        table
            .by_handle
            .extract_if(|_, session| has_rested(session))
            .map(|(_, session)| session)
            .collect()
    }

    /// Takes out all of one user's.
    pub(crate) fn take_of(&self, user_id: &UserId) -> Vec<Arc<Session>> {
        self.table()
            .by_handle
            .extract_if(|_, session| session.owner.user_id == *user_id)
            .map(|(_, session)| session)
            .collect()
    }

    /// Takes out all of them.
    pub(crate) fn take_all(&self) -> Vec<Arc<Session>> {
        self.table()
            .by_handle
            .drain()
            .map(|(_, session)| session)
            .collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table().by_handle.len()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::ManualClock;
    use events::testing::id;
    use jiff::Timestamp;

    fn owner(user: &str) -> Owner {
        Owner {
            issuer: "dramatis".to_owned(),
            user_id: id(user),
            space_id: id("space"),
        }
    }

    fn sessions(per_user_max: usize) -> (Sessions, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        (Sessions::new(clock.clone(), per_user_max), clock)
    }

    #[test]
    fn a_handle_opens_its_session_for_its_owner_alone() {
        let (sessions, _) = sessions(2);
        let session = sessions.bind("handle", owner("anna"));
        assert!(sessions.find("handle", &owner("anna")).is_ok());
        assert_eq!(
            sessions.find("handle", &owner("ben")).err(),
            Some(NotYours::Foreign(session.id.clone()))
        );
        let other_issuer = Owner {
            issuer: "elsewhere".to_owned(),
            ..owner("anna")
        };
        assert_eq!(
            sessions.find("handle", &other_issuer).err(),
            Some(NotYours::Foreign(session.id.clone()))
        );
        let other_space = Owner {
            space_id: id("team"),
            ..owner("anna")
        };
        assert_eq!(
            sessions.find("handle", &other_space).err(),
            Some(NotYours::OtherSpace)
        );
        assert_eq!(
            sessions.find("other", &owner("anna")).err(),
            Some(NotYours::Unknown)
        );
    }

    #[test]
    fn the_name_in_events_is_not_the_handle() {
        let (sessions, _) = sessions(2);
        assert_ne!(sessions.bind("handle", owner("anna")).id.as_str(), "handle");
    }

    #[test]
    fn at_the_limit_the_longest_rested_makes_room_and_one_in_use_never_does() {
        let (sessions, clock) = sessions(2);
        let first = sessions.bind("first", owner("anna"));
        clock.advance(Duration::from_secs(1));
        let second = sessions.bind("second", owner("anna"));
        sessions.bind("bens", owner("ben"));
        let busy = sessions.hold(&first);
        let (place, evicted) = sessions.place_for(&id("anna")).expect("the second is idle");
        assert_eq!(
            evicted.iter().map(|session| &session.id).collect::<Vec<_>>(),
            [&second.id]
        );
        assert!(
            sessions.place_for(&id("anna")).is_none(),
            "one is in use, the other place is being opened"
        );
        drop(place);
        assert!(sessions.place_for(&id("anna")).is_some());
        drop(busy);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_session_in_use_does_not_rest_however_long_it_takes() {
        let (sessions, clock) = sessions(2);
        let session = sessions.bind("handle", owner("anna"));
        let call = sessions.hold(&session);
        clock.advance(Duration::from_hours(1));
        assert!(sessions.take_rested(Duration::from_mins(5)).is_empty());
        drop(call);
        assert!(sessions.take_rested(Duration::from_mins(5)).is_empty());
        clock.advance(Duration::from_mins(5));
        assert_eq!(sessions.take_rested(Duration::from_mins(5)).len(), 1);
    }
}
