//! Who owns which MCP session, and how long it has rested.
//!
//! A session id on the wire is a handle, not a proof: it is looked up only for the one owner it was given to. What
//! is bound is (issuer, account, space), never a token, so that a fresh token of the same account goes on with it.
//!
//! A session is a row. What it has under way is on its [`desk`], which is empty while it rests; no task, no channel
//! and no buffer belongs to it then.

pub(crate) mod desk;
pub(crate) mod exchange;
pub(crate) mod manager;
pub(crate) mod outlet;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, SessionId, SpaceId, UserId};
use rmcp::model::InitializeRequestParams;

use self::desk::Desk;
use self::outlet::EventIds;
use crate::call::Principal;
use crate::seal::Seal;

/// How long a stream that is done can still be taken up by a client that lost its connection.
const RESUMABLE_FOR: Duration = Duration::from_mins(1);

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
    /// What the client said of itself, with the revision agreed on.
    pub(crate) hello: Box<InitializeRequestParams>,
    /// Its owner as it was when the session began: whom a change of the rules concerns is judged by it.
    pub(crate) opened_by: Arc<Principal>,
    pub(crate) desk: Desk,
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
    seal: Arc<Seal>,
    per_user_max: usize,
    total_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_handle: HashMap<Arc<str>, Arc<Session>>,
    opening: HashMap<UserId, usize>,
}

/// Why nobody can open one more session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The user holds as many as allowed, and all of them are in use.
    OfThisUser,
    /// The house does.
    OfAnybody,
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
    pub(crate) fn new(clock: Arc<dyn Clock>, seal: Arc<Seal>, per_user_max: usize, total_max: usize) -> Self {
        Self {
            clock,
            seal,
            per_user_max,
            total_max,
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

    /// The session of `handle`, whose owner the caller has compared.
    pub(crate) fn get(&self, handle: &str) -> Option<Arc<Session>> {
        self.table().by_handle.get(handle).cloned()
    }

    /// The sessions of `user`, or all of them.
    pub(crate) fn of(&self, user: Option<&UserId>) -> Vec<Arc<Session>> {
        let table = self.table();
        let theirs = table
            .by_handle
            .values()
            .filter(|session| user.is_none_or(|user| session.owner.user_id == *user));
        theirs.cloned().collect()
    }

    /// What makes and reads ids of events of `session`.
    pub(crate) fn event_ids(&self, session: &Session) -> EventIds {
        EventIds {
            seal: self.seal.clone(),
            handle: session.handle.clone(),
        }
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
    /// # Errors
    /// [`NoPlace`] when there is none and none can be made.
    pub(crate) fn place_for(&self, user_id: &UserId) -> Result<(Place<'_>, Vec<Arc<Session>>), NoPlace> {
        let mut table = self.table();
        let being_opened: usize = table.opening.values().sum();
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
            return Err(NoPlace::OfThisUser);
        }
        // One more, and as many fewer as make room. Others' sessions never do.
        if table.by_handle.len() + being_opened + 1 > self.total_max + too_many {
            return Err(NoPlace::OfAnybody);
        }
        open.sort_by_key(|session| session.rested_since());
        open.truncate(too_many);
        for session in &open {
            table.by_handle.remove(&session.handle);
        }
        *table.opening.entry(user_id.clone()).or_default() += 1;
        drop(table);
        let place = Place {
            sessions: self,
            user_id: user_id.clone(),
        };
        Ok((place, open))
    }

    /// Gives the session behind `handle` to `owner`.
    pub(crate) fn bind(
        &self,
        handle: &str,
        owner: Owner,
        hello: Box<InitializeRequestParams>,
        opened_by: Arc<Principal>,
    ) -> Arc<Session> {
        let handle: Arc<str> = handle.into();
        let session = Arc::new(Session {
            id: SessionId::derived(&["mcp", &handle]),
            owner,
            handle: handle.clone(),
            hello,
            opened_by,
            desk: Desk::default(),
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

    /// Forgets streams that were done long enough ago.
    pub(crate) fn forget_streams(&self) {
        let Some(limit) = self.clock.monotonic().checked_sub(RESUMABLE_FOR) else {
            return;
        };
        for session in self.of(None) {
            session.desk.forget_streams(limit);
        }
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
    use events::testing::id;
    use events::{ManualClock, SystemIds};
    use identity::{AccountKind, Role, Tier};
    use jiff::Timestamp;

    fn owner(user: &str) -> Owner {
        Owner {
            issuer: "dramatis".to_owned(),
            user_id: id(user),
            space_id: id("space"),
        }
    }

    fn principal(user: &str) -> Principal {
        let owner = owner(user);
        Principal {
            user_id: owner.user_id,
            email: format!("{user}@example.test"),
            kind: AccountKind::Human,
            role: Role::User,
            tier: Tier::Free,
            issuer: owner.issuer,
            space_id: owner.space_id,
            time_zone: "UTC".to_owned(),
            token: None,
            session: None,
        }
    }

    fn sessions(per_user_max: usize) -> (Sessions, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let seal = Arc::new(Seal::new(Arc::new(SystemIds)));
        (Sessions::new(clock.clone(), seal, per_user_max, 3), clock)
    }

    fn bind(sessions: &Sessions, handle: &str, user: &str) -> Arc<Session> {
        sessions.bind(handle, owner(user), Box::default(), Arc::new(principal(user)))
    }

    #[test]
    fn a_handle_opens_its_session_for_its_owner_alone() {
        let (sessions, _) = sessions(2);
        let session = bind(&sessions, "handle", "anna");
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
        assert_ne!(bind(&sessions, "handle", "anna").id.as_str(), "handle");
    }

    #[test]
    fn at_the_limit_the_longest_rested_makes_room_and_one_in_use_never_does() {
        let (sessions, clock) = sessions(2);
        let first = bind(&sessions, "first", "anna");
        clock.advance(Duration::from_secs(1));
        let second = bind(&sessions, "second", "anna");
        bind(&sessions, "bens", "ben");
        let busy = sessions.hold(&first);
        let (place, evicted) = sessions.place_for(&id("anna")).expect("the second is idle");
        assert_eq!(
            evicted.iter().map(|session| &session.id).collect::<Vec<_>>(),
            [&second.id]
        );
        assert_eq!(
            sessions.place_for(&id("anna")).err(),
            Some(NoPlace::OfThisUser),
            "one is in use, the other place is being opened"
        );
        drop(place);
        assert!(sessions.place_for(&id("anna")).is_ok());
        drop(busy);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn when_the_house_is_full_nobody_makes_room_but_the_one_who_asks() {
        let (sessions, _) = sessions(2);
        for (handle, user) in [("a1", "anna"), ("a2", "anna"), ("b1", "ben")] {
            bind(&sessions, handle, user);
        }
        assert_eq!(sessions.place_for(&id("carla")).err(), Some(NoPlace::OfAnybody));
        let (_place, evicted) = sessions.place_for(&id("anna")).unwrap();
        assert_eq!(evicted.len(), 1, "her own");
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_session_in_use_does_not_rest_however_long_it_takes() {
        let (sessions, clock) = sessions(2);
        let session = bind(&sessions, "handle", "anna");
        let call = sessions.hold(&session);
        clock.advance(Duration::from_hours(1));
        assert!(sessions.take_rested(Duration::from_mins(5)).is_empty());
        drop(call);
        assert!(sessions.take_rested(Duration::from_mins(5)).is_empty());
        clock.advance(Duration::from_mins(5));
        assert_eq!(sessions.take_rested(Duration::from_mins(5)).len(), 1);
    }
}
