//! The keys and the answers that are kept, within bounds: a day, so many of an account, so many and so large in all.

use std::collections::HashMap;
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
pub(crate) struct KeptAnswers(Mutex<HashMap<(String, String), Entry>>);

#[derive(Debug)]
struct Entry {
    request: [u8; 32],
    began: Duration,
    answer: watch::Receiver<Option<Answer>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let answer = self.answer.borrow();
        answer
            .as_ref()
            .and_then(|answer| answer.body.as_ref())
            .map_or(0, Bytes::len)
    }

    fn is_done(&self) -> bool {
        self.answer.borrow().is_some()
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
        self.tell.send_replace(Some(answer));
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
    fn name(&self) -> (String, String) {
        (self.account.clone(), self.key.clone())
    }
}

impl KeptAnswers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a key up, and takes it when it is new.
    pub(super) fn begin(self: &Arc<Self>, place: &Place, now: Duration) -> Begun {
        let mut kept = self.lock();
        kept.retain(|_, entry| !entry.is_done() || now.saturating_sub(entry.began) < KEPT_FOR);
        if let Some(entry) = kept.get(&place.name()) {
            return if entry.request == place.request {
                Begun::Before(entry.answer.clone())
            } else {
                Begun::Another
            };
        }
        let own = kept.iter().filter(|((account, _), _)| *account == place.account);
        let (count, oldest) = own.fold((0, now), |(count, oldest), (_, entry)| {
            (count + 1, oldest.min(entry.began))
        });
        if count >= OF_ACCOUNT_MAX {
            let ends_in = (oldest + KEPT_FOR).saturating_sub(now);
            return Begun::Full {
                retry_after_s: ends_in.as_secs().max(1),
            };
        }
        make_room(&mut kept);
        let (tell, answer) = watch::channel(None);
        let entry = Entry {
            request: place.request,
            began: now,
            answer,
        };
        kept.insert(place.name(), entry);
        metrics::gauge!("dramatis_idempotency_keys").set(kept.len() as f64);
        Begun::New(Doing {
            kept: self.clone(),
            place: place.clone(),
            tell,
        })
    }
}

/// Forgets the oldest that are done, as long as there are too many.
fn make_room(kept: &mut HashMap<(String, String), Entry>) {
    let mut bytes: usize = kept.values().map(Entry::bytes).sum();
    while kept.len() >= KEYS_MAX || bytes > BYTES_MAX {
        let done = kept.iter().filter(|(_, entry)| entry.is_done());
        let Some(name) = done
            .min_by_key(|(_, entry)| entry.began)
            .map(|(name, _)| name.clone())
        else {
            return;
        };
        bytes -= kept.remove(&name).map_or(0, |entry| entry.bytes());
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
        assert_eq!(kept.lock().len(), KEYS_MAX);
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
        let bytes: usize = kept.lock().values().map(Entry::bytes).sum();
        assert!(bytes <= BYTES_MAX + 512 * 1024, "{bytes}");
    }
}
