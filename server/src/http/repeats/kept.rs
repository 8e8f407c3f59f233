//! The keys and the answers that are kept, within bounds: a day, so many of an account, so many and so large in all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::watch;

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// Keys of one account; beyond it new ones are refused until old ones end.
const OF_ACCOUNT_MAX: usize = 1_000;
/// Keys in all; beyond it the oldest that is done is forgotten.
const KEYS_MAX: usize = 10_000;
/// Bytes of answers in all; beyond it the oldest is forgotten.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request as its sender names it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) key: String,
    /// Digest of what is asked.
    pub(super) request: [u8; 32],
}

/// What was answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// `None` when it is too large to be kept.
    pub(super) body: Option<Bytes>,
}

/// What a key turned out to be.
#[derive(Debug)]
pub(super) enum Begun {
    /// New: the caller is to do it.
    New(Doing),
    /// Begun before; the answer comes here. The channel closes when there is none after all.
    Before(watch::Receiver<Option<Answer>>),
    /// Another request's.
    Another,
    /// One too many of this account.
    Full {
        /// When the oldest of them ends.
        retry_after_s: u64,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeptAnswers(Mutex<Kept>);

/// Whose a key is, and the key.
type Name = (String, String);
/// When a key was begun, and a running number.
type Age = (Duration, u64);

/// Everything is found by its name or taken from the front of an order: a request costs as little with many kept.
#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Name, Entry>,
    /// Those that are done, oldest first: they alone end or make room.
    done: BTreeMap<Age, Name>,
    /// All of an account, oldest first.
    of_accounts: HashMap<String, BTreeSet<Age>>,
    /// Of all answers.
    bytes: usize,
    begun: u64,
}

#[derive(Debug)]
struct Entry {
    request: [u8; 32],
    age: Age,
    /// Of the answer, as soon as there is one.
    bytes: usize,
    answer: watch::Receiver<Option<Answer>>,
}

impl Kept {
    fn insert(&mut self, place: &Place, now: Duration, answer: watch::Receiver<Option<Answer>>) {
        let age = (now, self.begun);
        self.begun += 1;
        let of_account = self.of_accounts.entry(place.account.clone()).or_default();
        of_account.insert(age);
        let entry = Entry {
            request: place.request,
            age,
            bytes: 0,
            answer,
        };
        self.entries.insert(place.name(), entry);
        self.gauge();
    }

    fn finish(&mut self, name: Name, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.bytes = bytes;
            self.bytes += bytes;
            self.done.insert(entry.age, name);
        }
        while self.bytes > BYTES_MAX && self.forget_oldest() {}
    }

    fn remove(&mut self, name: &Name) {
        let Some(entry) = self.entries.remove(name) else {
            return;
        };
        self.bytes -= entry.bytes;
        self.done.remove(&entry.age);
        if let Some(of_account) = self.of_accounts.get_mut(&name.0) {
            of_account.remove(&entry.age);
            if of_account.is_empty() {
                self.of_accounts.remove(&name.0);
            }
        }
        self.gauge();
    }

    /// Whether there was one that is done.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, name)) = self.done.pop_first() else {
            return false;
        };
        self.remove(&name);
        true
    }

    fn forget_ended(&mut self, now: Duration) {
        while let Some(((began, _), _)) = self.done.first_key_value()
            && now.saturating_sub(*began) >= KEPT_FOR
        {
            self.forget_oldest();
        }
    }

    fn gauge(&self) {
        metrics::gauge!("dramatis_idempotency_keys").set(self.entries.len() as f64);
    }
}

/// Somebody does what a key stands for. Dropped without an answer, the key is free again.
#[derive(Debug)]
pub(super) struct Doing {
    kept: Arc<KeptAnswers>,
    place: Place,
    tell: watch::Sender<Option<Answer>>,
}

impl Doing {
    /// Keeps the answer, and tells those who wait.
    pub(super) fn done(self, answer: Answer) {
        let bytes = answer.body.as_ref().map_or(0, Bytes::len);
        self.tell.send_replace(Some(answer));
        self.kept.lock().finish(self.place.name(), bytes);
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        if self.tell.borrow().is_none() {
            self.kept.lock().remove(&self.place.name());
        }
    }
}

impl Place {
    fn name(&self) -> Name {
        (self.account.clone(), self.key.clone())
    }
}

impl KeptAnswers {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a key up, and takes it when it is new.
    pub(super) fn begin(self: &Arc<Self>, place: &Place, now: Duration) -> Begun {
        let mut kept = self.lock();
        kept.forget_ended(now);
        if let Some(entry) = kept.entries.get(&place.name()) {
            return if entry.request == place.request {
                Begun::Before(entry.answer.clone())
            } else {
                Begun::Another
            };
        }
        if let Some(of_account) = kept.of_accounts.get(&place.account)
            && of_account.len() >= OF_ACCOUNT_MAX
        {
            let oldest = of_account.first().map_or(now, |(began, _)| *began);
            let ends_in = (oldest + KEPT_FOR).saturating_sub(now);
            return Begun::Full {
                retry_after_s: ends_in.as_secs().max(1),
            };
        }
        while kept.entries.len() >= KEYS_MAX && kept.forget_oldest() {}
        let (tell, answer) = watch::channel(None);
        kept.insert(place, now, answer);
        Begun::New(Doing {
            kept: self.clone(),
            place: place.clone(),
            tell,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(account: &str, key: &str, request: u8) -> Place {
        Place {
            account: account.to_owned(),
            key: key.to_owned(),
            request: [request; 32],
        }
    }

    fn answer(bytes: usize) -> Answer {
        Answer {
            status: StatusCode::OK,
            content_type: None,
            body: Some(vec![0; bytes].into()),
        }
    }

    /// Does it, if it is new.
    fn go(kept: &Arc<KeptAnswers>, place: &Place, at: Duration, bytes: usize) -> bool {
        match kept.begin(place, at) {
            Begun::New(doing) => {
                doing.done(answer(bytes));
                true
            }
            _ => false,
        }
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn an_answer_is_kept_for_a_day_and_a_key_is_an_accounts_own() {
        let kept = Arc::new(KeptAnswers::default());
        assert!(go(&kept, &place("anna", "k", 1), Duration::ZERO, 1));
        assert!(!go(&kept, &place("anna", "k", 1), HOUR * 23, 1));
        assert!(matches!(
            kept.begin(&place("anna", "k", 2), HOUR * 23),
            Begun::Another
        ));
        assert!(go(&kept, &place("ben", "k", 2), HOUR * 23, 1));
        assert!(go(&kept, &place("anna", "k", 2), HOUR * 24, 1));
    }

    #[test]
    fn what_broke_off_leaves_its_key_free_and_what_is_under_way_does_not_end() {
        let kept = Arc::new(KeptAnswers::default());
        let Begun::New(doing) = kept.begin(&place("anna", "k", 1), Duration::ZERO) else {
            panic!("the key is new");
        };
        assert!(matches!(
            kept.begin(&place("anna", "k", 1), HOUR * 100),
            Begun::Before(_)
        ));
        drop(doing);
        assert!(matches!(
            kept.begin(&place("anna", "k", 2), HOUR * 100),
            Begun::New(_)
        ));
    }

    #[test]
    fn an_account_has_so_many_and_then_is_told_when_there_is_room() {
        let kept = Arc::new(KeptAnswers::default());
        for number in 0..OF_ACCOUNT_MAX {
            assert!(go(&kept, &place("anna", &number.to_string(), 1), HOUR, 1));
        }
        let one_more = place("anna", "more", 1);
        let Begun::Full { retry_after_s } = kept.begin(&one_more, HOUR * 2) else {
            panic!("there is room for one more");
        };
        assert_eq!(retry_after_s, 23 * 3_600);
        assert!(go(&kept, &place("ben", "more", 1), HOUR * 2, 1));
        assert!(go(&kept, &one_more, HOUR * 25, 1));
    }

    #[test]
    fn all_together_are_bounded_in_number_and_bytes() {
        let kept = Arc::new(KeptAnswers::default());
        let accounts = KEYS_MAX / OF_ACCOUNT_MAX;
        for number in 0..=KEYS_MAX {
            let account = format!("account-{}", number % (accounts + 1));
            let at = Duration::from_millis(number as u64);
            assert!(go(&kept, &place(&account, &number.to_string(), 1), at, 1));
        }
        assert_eq!(kept.lock().entries.len(), KEYS_MAX);
        let oldest = place("account-0", "0", 1);
        assert!(
            matches!(kept.begin(&oldest, HOUR), Begun::New(_)),
            "the oldest was forgotten"
        );

        let kept = Arc::new(KeptAnswers::default());
        for number in 0..200 {
            go(
                &kept,
                &place("anna", &number.to_string(), 1),
                Duration::from_secs(number),
                512 * 1024,
            );
        }
        assert_eq!(kept.lock().bytes, BYTES_MAX);
        assert_counts(&kept.lock());
    }

    /// What is counted on the way is what a count of everything gives.
    fn assert_counts(kept: &Kept) {
        assert_eq!(
            kept.bytes,
            kept.entries.values().map(|entry| entry.bytes).sum::<usize>()
        );
        let of_accounts: usize = kept.of_accounts.values().map(BTreeSet::len).sum();
        assert_eq!(of_accounts, kept.entries.len());
        let done = kept
            .entries
            .values()
            .filter(|entry| entry.answer.borrow().is_some());
        assert_eq!(done.count(), kept.done.len());
    }

    #[test]
    fn counts_stay_right_whatever_ends_and_nothing_is_left_of_who_has_no_key() {
        let kept = Arc::new(KeptAnswers::default());
        let mut under_way = Vec::new();
        for number in 0..500_u16 {
            let place = place(&format!("account-{}", number % 7), &number.to_string(), 1);
            let Begun::New(doing) = kept.begin(&place, HOUR * u32::from(number / 50)) else {
                panic!("the key is new");
            };
            match number % 3 {
                0 => doing.done(answer(usize::from(number))),
                1 => drop(doing),
                _ => under_way.push(doing),
            }
            assert_counts(&kept.lock());
        }
        drop(under_way);
        assert!(go(&kept, &place("ben", "k", 1), HOUR * 40, 3));
        let kept = kept.lock();
        assert_counts(&kept);
        assert_eq!(
            (kept.entries.len(), kept.of_accounts.len(), kept.bytes),
            (1, 1, 3)
        );
    }
}
