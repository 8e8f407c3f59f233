//! Calls that were let through lately, and whether there is room for one more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::UserId;

use super::file::{Per, Rate};
use super::{PolicyRules, PolicySubject, PolicyTool};

/// A rate whose window is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) rule: Arc<str>,
    /// What the caller reads.
    pub(crate) reason: String,
    /// When trying again may help.
    pub(crate) retry_after: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<HashMap<UserId, Vec<Window>>>);

#[derive(Debug)]
struct Window {
    rule: Arc<str>,
    /// `None` where all tools share it.
    tool: Option<String>,
    span: Duration,
    /// When calls were let through, oldest first.
    calls: VecDeque<Duration>,
}

impl Windows {
    /// Takes a place in every window the call falls in, or says which is full. With `takes_anyway` it takes them even
    /// then, as a call does that is only reported.
    ///
    /// Refused calls do not count, or a caller that keeps trying would never get out.
    pub(crate) fn take(
        &self,
        rules: &PolicyRules,
        subject: &PolicySubject<'_>,
        tool: &PolicyTool<'_>,
        now: Duration,
        takes_anyway: bool,
    ) -> Option<Full> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = match users.get_mut(subject.user_id) {
            Some(windows) => windows,
            None => users.entry(subject.user_id.clone()).or_default(),
        };
        let fitting = || rules.rates.iter().filter(|rate| rate.target.fits(subject, tool));
        let full = fitting().find_map(|rate| {
            let window = window_of(windows, rate, tool);
            window.forget_before(now);
            window.full(rate, tool, now)
        });
        if full.is_none() || takes_anyway {
            for rate in fitting() {
                window_of(windows, rate, tool).calls.push_back(now);
            }
        }
        full
    }

    /// Forgets calls that count for nothing any more.
    pub(crate) fn prune(&self, now: Duration) {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, windows| {
            windows.retain(|window| {
                let newest = window.calls.back();
                newest.is_some_and(|at| now.saturating_sub(*at) < window.span)
            });
            !windows.is_empty()
        });
    }
}

fn window_of<'a>(windows: &'a mut Vec<Window>, rate: &Rate, tool: &PolicyTool<'_>) -> &'a mut Window {
    let name = (rate.per == Per::Tool).then_some(tool.name);
    let found = windows
        .iter()
        .position(|window| window.rule == rate.id && window.tool.as_deref() == name);
    let at = found.unwrap_or_else(|| {
        windows.push(Window {
            rule: rate.id.clone(),
            tool: name.map(str::to_owned),
            span: rate.window,
            calls: VecDeque::new(),
        });
        windows.len() - 1
    });
    let window = &mut windows[at];
    // Rules may have changed since.
    window.span = rate.window;
    window
}

impl Window {
    fn forget_before(&mut self, now: Duration) {
        while self
            .calls
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= self.span)
        {
            self.calls.pop_front();
        }
    }

    fn full(&self, rate: &Rate, tool: &PolicyTool<'_>, now: Duration) -> Option<Full> {
        let calls_max = usize::try_from(rate.calls).unwrap_or(usize::MAX);
        let within = self.calls.len();
        if within < calls_max {
            return None;
        }
        // Room comes when all but `calls_max - 1` of them have left the window.
        let leaves = self.calls.get(within - calls_max)?;
        let retry_after = (*leaves + self.span).saturating_sub(now);
        let what = match rate.per {
            Per::Tool => format!("{} was called", tool.name),
            Per::User => "tools were called".to_owned(),
        };
        let reason = format!(
            "{what} {} times within {} s, which is the limit; try again in {} s",
            rate.calls,
            rate.window.as_secs(),
            retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)
        );
        Some(Full {
            rule: rate.id.clone(),
            reason,
            retry_after,
        })
    }
}
