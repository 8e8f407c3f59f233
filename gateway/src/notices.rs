//! Telling clients that something has changed: those whom it concerns, on the one stream each of them listens on.
//!
//! A client of 2025-11-25 listens on the standing stream of its session, one of 2026-07-28 by `subscriptions/listen`.
//! Nobody waits for a slow listener: it is left out after a moment and finds the change in the next list it asks for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use events::UserId;
use rmcp::model::{
    JsonRpcMessage, PromptListChangedNotification, ResourceListChangedNotification,
    ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerNotification,
    ToolListChangedNotification,
};
use rmcp::service::SubscriptionSink;
use tokio_util::sync::CancellationToken;

use crate::call::Principal;
use crate::gateway::Inner;
use crate::policy::PolicyRules;
use crate::registry::Registered;

/// How long listeners may take for one notice.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Which tools there are.
    Tools,
    /// Which prompts there are.
    Prompts,
    /// Which resources there are.
    Resources,
    /// What is in the resource with this address.
    Resource(String),
}

impl Change {
    fn notification(&self) -> ServerNotification {
        match self {
            Self::Tools => ToolListChangedNotification::default().into(),
            Self::Prompts => PromptListChangedNotification::default().into(),
            Self::Resources => ResourceListChangedNotification::default().into(),
            Self::Resource(uri) => {
                ResourceUpdatedNotification::new(ResourceUpdatedNotificationParam::new(uri)).into()
            }
        }
    }
}

/// The way to tell clients of a change. Cheap to clone; it keeps nothing alive.
#[derive(Debug, Clone)]
pub struct Notices(pub(crate) Weak<Inner>);

impl Notices {
    /// Tells the clients of `user`, or everybody's, of a change. Returns when they have it or were too slow.
    pub async fn announce(&self, change: &Change, user: Option<&UserId>) {
        if let Some(inner) = self.0.upgrade() {
            inner.announce(change, user).await;
        }
    }
}

impl Inner {
    pub(crate) async fn announce(&self, change: &Change, user: Option<&UserId>) {
        for session in self.sessions.of(user) {
            let wants = match change {
                Change::Resource(uri) => session.desk.watches(uri),
                Change::Tools | Change::Prompts | Change::Resources => true,
            };
            if wants {
                session
                    .desk
                    .tell(JsonRpcMessage::notification(change.notification()));
            }
        }
        let told = self.listeners.sinks_of(user).into_iter().map(|sink| async move {
            // Refused when the client did not ask for this kind, or is gone: either way it is none of its business.
            let _ = sink.send(change.notification()).await;
        });
        // Whichever is first: whoever has not taken it by then goes without.
        tokio::select! {
            () = async { futures::future::join_all(told).await; } => {}
            () = self.clock.sleep(HEARD_WITHIN) => {
                tracing::warn!("a client that listens for changes does not read them");
            }
        }
    }
}

impl Inner {
    /// Tells those whose list of tools is another one under the rules in force now than it was under `before`.
    pub(crate) async fn announce_rules(&self, before: &PolicyRules) {
        let now = self.policy.rules();
        self.announce_tools_where(|caller| {
            self.names_under(before, caller) != self.names_under(&now, caller)
        })
        .await;
    }

    /// Tells those who are shown one of the tools that have `changed`, or were.
    pub(crate) async fn announce_tools(&self, changed: &[Arc<Registered>]) {
        let (rules, mode) = (self.policy.rules(), self.settings.policy.mode);
        self.announce_tools_where(|caller| {
            let subject = caller.subject();
            let is_shown =
                |tool: &Arc<Registered>| rules.is_visible(mode, &subject, &tool.spec.about.for_policy());
            changed.iter().any(is_shown)
        })
        .await;
    }

    async fn announce_tools_where(&self, concerns: impl Fn(&Principal) -> bool) {
        let sessions = self.sessions.of(None);
        let everybody = sessions.iter().map(|session| session.opened_by.clone());
        let everybody = everybody.chain(self.listeners.callers());
        let concerned: HashSet<UserId> = everybody
            .filter(|caller| concerns(caller))
            .map(|caller| caller.user_id.clone())
            .collect();
        for user in concerned {
            self.announce(&Change::Tools, Some(&user)).await;
        }
    }

    fn names_under(&self, rules: &PolicyRules, caller: &Principal) -> Vec<String> {
        let (subject, mode) = (caller.subject(), self.settings.policy.mode);
        let shown = self
            .registry
            .listed_where(|about| rules.is_visible(mode, &subject, &about.for_policy()));
        shown.into_iter().map(|tool| tool.name.into_owned()).collect()
    }
}

/// Who listens by `subscriptions/listen`.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    listening: HashMap<u64, Listener>,
}

#[derive(Debug)]
struct Listener {
    caller: Arc<Principal>,
    sink: SubscriptionSink,
    end: CancellationToken,
}

/// While one lives, its client is told of changes.
#[derive(Debug)]
pub(crate) struct Listening<'a> {
    listeners: &'a Listeners,
    number: u64,
    /// Cancelled when the listening is to end in good order.
    pub(crate) end: CancellationToken,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.listeners.table().listening.remove(&self.number);
    }
}

impl Listeners {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one for `caller`; `None` when it has `per_user_max` already.
    pub(crate) fn listen(
        &self,
        caller: Arc<Principal>,
        sink: SubscriptionSink,
        per_user_max: usize,
    ) -> Option<Listening<'_>> {
        let mut table = self.table();
        let theirs = table
            .listening
            .values()
            .filter(|one| one.caller.user_id == caller.user_id);
        if theirs.count() >= per_user_max {
            return None;
        }
        table.last += 1;
        let (number, end) = (table.last, CancellationToken::new());
        let listener = Listener {
            caller,
            sink,
            end: end.clone(),
        };
        table.listening.insert(number, listener);
        drop(table);
        Some(Listening {
            listeners: self,
            number,
            end,
        })
    }

    fn sinks_of(&self, user: Option<&UserId>) -> Vec<SubscriptionSink> {
        let table = self.table();
        let theirs = table
            .listening
            .values()
            .filter(|one| user.is_none_or(|user| one.caller.user_id == *user));
        theirs.map(|one| one.sink.clone()).collect()
    }

    fn callers(&self) -> Vec<Arc<Principal>> {
        let table = self.table();
        table.listening.values().map(|one| one.caller.clone()).collect()
    }

    /// Ends the listening of `user`, or everybody's, in good order.
    pub(crate) fn end(&self, user: Option<&UserId>) {
        let table = self.table();
        for one in table.listening.values() {
            if user.is_none_or(|user| one.caller.user_id == *user) {
                one.end.cancel();
            }
        }
    }
}
