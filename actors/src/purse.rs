//! What models may cost and have cost: budgets per persona and day, per day, and per month.
//!
//! The books are a fold of the log, so that a crash forgets nothing: what was put aside for a request that never ended
//! counts as spent. Between a reservation and the moment the fold has seen its end, the reservation itself counts, so
//! that no two personas spend the same dollar. Days and months are those of UTC, as vendors bill them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use events::{Event, PersonaId, RecordedCommit, RequestId, Subject};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Days whose sums are kept: a month and then some.
const DAYS_KEPT: i32 = 62;

/// The most that may be spent, in millionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendLimits {
    /// By one tick.
    pub tick: u64,
    /// By one persona in a day.
    pub persona_day: u64,
    /// By all in a day.
    pub day: u64,
    /// By all in a calendar month.
    pub month: u64,
}

impl Default for SpendLimits {
    /// A quarter of a dollar a tick, one dollar a persona and day, ten dollars a day, a hundred a month.
    fn default() -> Self {
        Self {
            tick: 250_000,
            persona_day: 1_000_000,
            day: 10_000_000,
            month: 100_000_000,
        }
    }
}

/// A budget that a request would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the budget of {what} ({}) does not cover the next request: {} is spent or put aside, and it may cost {}", dollars(*.limit), dollars(*.spent), dollars(*.wanted))]
pub(crate) struct Overdrawn {
    what: &'static str,
    limit: u64,
    spent: u64,
    wanted: u64,
    /// When there is a new budget.
    pub(crate) resume_at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Purse {
    limits: SpendLimits,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Requests of this process whose end the fold has not seen.
    held: BTreeMap<RequestId, Item>,
    /// Requests the log knows to have begun and not to have ended, of other processes and of crashed ones.
    open: BTreeMap<RequestId, Item>,
    /// What ended, by day and persona.
    spent: BTreeMap<Date, BTreeMap<PersonaId, u64>>,
}

#[derive(Debug, Clone)]
struct Item {
    persona_id: PersonaId,
    day: Date,
    micro_usd: u64,
}

impl Purse {
    pub(crate) fn new(limits: SpendLimits) -> Self {
        Self {
            limits,
            books: Mutex::default(),
        }
    }

    /// Puts `micro_usd` aside for a request of `persona_id`, if every budget covers it. The caller knows what the tick
    /// may spend.
    pub(crate) fn reserve(
        &self,
        request_id: &RequestId,
        persona_id: &PersonaId,
        now: Timestamp,
        micro_usd: u64,
    ) -> Result<(), Overdrawn> {
        let today = day(now);
        let mut books = self.books();
        let checks = [
            (
                "a persona's day",
                self.limits.persona_day,
                midnight(today.tomorrow().ok()),
                books.total(|item_day, who| item_day == today && who == persona_id),
            ),
            (
                "a day",
                self.limits.day,
                midnight(today.tomorrow().ok()),
                books.total(|item_day, _| item_day == today),
            ),
            (
                "a month",
                self.limits.month,
                midnight(today.last_of_month().tomorrow().ok()),
                books.total(|item_day, _| item_day.first_of_month() == today.first_of_month()),
            ),
        ];
        for (what, limit, resume_at, spent) in checks {
            if spent.saturating_add(micro_usd) > limit {
                let wanted = micro_usd;
                return Err(Overdrawn {
                    what,
                    limit,
                    spent,
                    wanted,
                    resume_at,
                });
            }
        }
        let (persona_id, day) = (persona_id.clone(), today);
        books.held.insert(
            request_id.clone(),
            Item {
                persona_id,
                day,
                micro_usd,
            },
        );
        Ok(())
    }

    /// The request cost so much; `None` keeps what was put aside. It counts so until the fold has seen it.
    pub(crate) fn settle(&self, request_id: &RequestId, micro_usd: Option<u64>) {
        if let (Some(item), Some(micro_usd)) = (self.books().held.get_mut(request_id), micro_usd) {
            item.micro_usd = micro_usd;
        }
    }

    /// The request was never sent.
    pub(crate) fn release(&self, request_id: &RequestId) {
        self.books().held.remove(request_id);
    }

    /// Takes in what the log says of requests.
    pub(crate) fn fold(&self, recorded: &RecordedCommit) {
        let Subject::Persona(persona_id) = &recorded.commit.subject else {
            return;
        };
        for (_, event) in recorded.events() {
            match event {
                Event::ModelAsked(asked) => {
                    let mut books = self.books();
                    if !books.held.contains_key(&asked.request_id) {
                        let item = Item {
                            persona_id: persona_id.clone(),
                            day: day(asked.asked_at),
                            micro_usd: asked.reserved_micro_usd,
                        };
                        books.open.insert(asked.request_id.clone(), item);
                    }
                }
                Event::ModelCalled(called) => {
                    if let Some(request_id) = &called.request_id {
                        self.books().end(request_id, called.cost_micro_usd);
                    }
                }
                _ => {}
            }
        }
    }

    /// Forgets what was folded; the log is about to be folded from its beginning.
    pub(crate) fn fold_anew(&self) {
        let mut books = self.books();
        books.open.clear();
        books.spent.clear();
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn end(&mut self, request_id: &RequestId, cost: Option<u64>) {
        let held = self.held.remove(request_id);
        let Some(item) = self.open.remove(request_id).or(held) else {
            return;
        };
        let of_day = self.spent.entry(item.day).or_default();
        *of_day.entry(item.persona_id).or_default() += cost.unwrap_or(item.micro_usd);
        if let Some((latest, _)) = self.spent.last_key_value() {
            let oldest = latest.saturating_sub(DAYS_KEPT.days());
            self.spent.retain(|day, _| *day >= oldest);
        }
    }

    /// What is spent or put aside where `counts` says so.
    fn total(&self, counts: impl Fn(Date, &PersonaId) -> bool) -> u64 {
        let unfinished = self.held.values().chain(self.open.values());
        let unfinished = unfinished.filter(|item| counts(item.day, &item.persona_id));
        let spent = self.spent.iter().flat_map(|(day, of_day)| {
            of_day
                .iter()
                .filter(|(who, _)| counts(*day, who))
                .map(|(_, spent)| *spent)
        });
        spent
            .chain(unfinished.map(|item| item.micro_usd))
            .fold(0, u64::saturating_add)
    }
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn midnight(day: Option<Date>) -> Timestamp {
    day.and_then(|day| day.to_zoned(TimeZone::UTC).ok())
        .map_or(Timestamp::MAX, |at| at.timestamp())
}

/// `$0.05` of 50,000 millionths.
pub(crate) fn dollars(micro_usd: u64) -> String {
    let text = format!("${}.{:06}", micro_usd / 1_000_000, micro_usd % 1_000_000);
    let kept = text.trim_end_matches('0').len().max(text.len() - 4);
    text.get(..kept).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
