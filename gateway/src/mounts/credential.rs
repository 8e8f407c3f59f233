//! What one session with a mounted server shows as its credentials, which may change while the session lasts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;

/// The value of an `Authorization` header. Its text is in no log and no error.
#[derive(Debug)]
pub(super) struct Bearer(HeaderValue);

/// The text cannot stand in a header.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it holds what no header may")]
pub(super) struct NoHeader;

impl Bearer {
    /// `value` as it is to be sent.
    pub(super) fn try_new(value: &str) -> Result<Self, NoHeader> {
        let mut value = HeaderValue::from_str(value).map_err(|_| NoHeader)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// As it is sent.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// What a session shows now, and what of it the server has refused.
#[derive(Debug, Default)]
pub(super) struct Credential(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    now: Option<Arc<Bearer>>,
    refused: Option<Arc<Bearer>>,
    was_refused_without: bool,
}

impl Credential {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `bearer` from now on, or nothing.
    pub(super) fn show(&self, bearer: Option<Arc<Bearer>>) {
        self.shown().now = bearer;
    }

    /// What is shown now.
    pub(super) fn now(&self) -> Option<Arc<Bearer>> {
        self.shown().now.clone()
    }

    /// The server answered `bearer` with 401.
    pub(super) fn refuse(&self, bearer: Option<Arc<Bearer>>) {
        let mut shown = self.shown();
        match bearer {
            Some(bearer) => shown.refused = Some(bearer),
            None => shown.was_refused_without = true,
        }
    }

    /// Whether the server has answered exactly `bearer` with 401.
    pub(super) fn was_refused(&self, bearer: Option<&Arc<Bearer>>) -> bool {
        let shown = self.shown();
        match (bearer, &shown.refused) {
            (Some(bearer), Some(refused)) => Arc::ptr_eq(bearer, refused),
            (Some(_), None) => false,
            (None, _) => shown.was_refused_without,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_refused_counts_as_refused_and_nothing_of_it_is_shown() {
        let [old, new] = ["Bearer old", "Bearer new"].map(|text| Arc::new(Bearer::try_new(text).unwrap()));
        let credential = Credential::default();
        credential.show(Some(old.clone()));
        credential.refuse(credential.now());
        credential.show(Some(new.clone()));
        assert!(credential.was_refused(Some(&old)) && !credential.was_refused(Some(&new)));
        assert!(!credential.was_refused(None));
        assert!(!format!("{credential:?}").contains("old"));
        assert!(Bearer::try_new("Bearer a\r\nb: c").is_err());
    }
}
