//! Who thinks for whom: one brain for everybody, and others for some.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::brain::Brain;

/// The brains of a cast. They may be mixed: ratings carry which one gave them.
#[derive(Debug, Clone)]
pub struct Brains {
    everybody: Arc<dyn Brain>,
    by_email: BTreeMap<String, Arc<dyn Brain>>,
}

impl Brains {
    /// One brain for everybody.
    pub fn all(brain: Arc<dyn Brain>) -> Self {
        Self {
            everybody: brain,
            by_email: BTreeMap::new(),
        }
    }

    /// The same, with a brain of its own for the persona of that email.
    #[must_use]
    pub fn with(mut self, email: impl Into<String>, brain: Arc<dyn Brain>) -> Self {
        self.by_email.insert(email.into(), brain);
        self
    }

    /// Who thinks for the persona of that email.
    pub(crate) fn of(&self, email: &str) -> Arc<dyn Brain> {
        self.by_email.get(email).unwrap_or(&self.everybody).clone()
    }
}
