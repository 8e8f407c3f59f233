//! The rules in force, and the file they come from: looked at every moment, and taken over only whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use events::Clock;
use tokio_util::sync::CancellationToken;

use super::{PolicyFault, PolicyRules};
use crate::telemetry;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct LivePolicy {
    file: Option<PathBuf>,
    now: RwLock<Arc<PolicyRules>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The file as it was read last, good or not: a fault is told once.
    stamp: Option<(SystemTime, u64)>,
    /// Hashes of the rules that had a number in this process: one number never stands for two sets of rules.
    hashes: HashMap<u32, String>,
}

/// What came of a look at the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nothing is new.
    Unchanged,
    /// New rules are in force.
    Loaded,
    /// The file cannot be meant; the rules before it stay.
    Refused(PolicyFault),
}

impl LivePolicy {
    /// `rules`, until `file` says otherwise.
    pub(crate) fn new(rules: PolicyRules, file: Option<PathBuf>) -> Self {
        telemetry::policy_version(rules.version);
        let built_in = PolicyRules::built_in();
        let hashes = [
            (built_in.version, built_in.hash),
            (rules.version, rules.hash.clone()),
        ];
        let seen = Seen {
            stamp: file.as_deref().and_then(stamp),
            hashes: hashes.into(),
        };
        Self {
            file,
            now: RwLock::new(Arc::new(rules)),
            seen: Mutex::new(seen),
        }
    }

    /// The rules in force now.
    pub(crate) fn rules(&self) -> Arc<PolicyRules> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file if it has changed.
    pub(crate) fn look(&self) -> Looked {
        let Some(file) = &self.file else {
            return Looked::Unchanged;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(file);
        if stamp == seen.stamp {
            return Looked::Unchanged;
        }
        seen.stamp = stamp;
        let looked = match read(file).and_then(|rules| seen.accept(rules)) {
            Ok(rules) if rules.hash == self.rules().hash => Looked::Unchanged,
            Ok(rules) => {
                tracing::info!(
                    policy.version = rules.version,
                    policy.hash = rules.hash,
                    "new rules are in force"
                );
                telemetry::policy_version(rules.version);
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                Looked::Loaded
            }
            Err(fault) => {
                tracing::error!(file = %file.display(), error = %fault, policy.version = self.rules().version, "the policy file cannot be meant; the rules before it stay in force");
                Looked::Refused(fault)
            }
        };
        telemetry::policy_looked(&looked);
        looked
    }
}

impl Seen {
    fn accept(&mut self, rules: PolicyRules) -> Result<PolicyRules, PolicyFault> {
        let known = self
            .hashes
            .entry(rules.version)
            .or_insert_with(|| rules.hash.clone());
        if *known == rules.hash {
            return Ok(rules);
        }
        Err(PolicyFault(format!(
            "version {} stood for other rules before; raise it with every change",
            rules.version
        )))
    }
}

fn read(file: &Path) -> Result<PolicyRules, PolicyFault> {
    let text = std::fs::read_to_string(file).map_err(|error| PolicyFault(error.to_string()))?;
    PolicyRules::parse(&text)
}

/// What tells one writing of the file from another; `None` while it is not there.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// Looks at the file until the gateway stops, and tells clients whose tools are others under new rules.
pub(crate) async fn watch(
    policy: std::sync::Weak<crate::gateway::Inner>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        // Whichever is first; a sleep given up loses nothing.
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(LOOK_EVERY) => {}
        }
        let Some(inner) = policy.upgrade() else {
            return;
        };
        let before = inner.policy.rules();
        if inner.policy.look() == Looked::Loaded {
            inner.announce_rules(&before).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OnDisk {
        dir: tempfile::TempDir,
        writes: std::cell::Cell<u64>,
    }

    impl OnDisk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                dir,
                writes: std::cell::Cell::new(0),
            }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("policy.toml")
        }

        /// Writes the file, each time with a time of its own: the disk's clock may be too coarse for a test.
        fn write(&self, text: &str) {
            std::fs::write(self.path(), text).unwrap();
            self.writes.set(self.writes.get() + 1);
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.writes.get());
            let file = std::fs::File::options().write(true).open(self.path()).unwrap();
            file.set_modified(at).unwrap();
        }

        fn live(&self) -> LivePolicy {
            LivePolicy::new(read(&self.path()).unwrap(), Some(self.path()))
        }
    }

    fn text(version: u32, id: &str) -> String {
        format!("version = {version}\n[[grant]]\nid = \"{id}\"\n")
    }

    #[test]
    fn a_changed_file_is_in_force_at_the_next_look_and_an_unchanged_one_is_not_read() {
        let file = OnDisk::new();
        file.write(&text(2, "first"));
        let live = file.live();
        assert_eq!(live.look(), Looked::Unchanged);
        file.write(&text(3, "second"));
        assert_eq!(live.look(), Looked::Loaded);
        assert_eq!(live.rules().version, 3);
        assert_eq!(live.look(), Looked::Unchanged);
        // Going back to rules that were in force is no other use of their number.
        file.write(&text(2, "first"));
        assert_eq!(live.look(), Looked::Loaded);
        assert_eq!(live.rules().version, 2);
    }

    #[test]
    fn a_file_that_cannot_be_meant_or_is_gone_leaves_the_rules_before_it_and_is_told_once() {
        let file = OnDisk::new();
        file.write(&text(2, "first"));
        let live = file.live();
        for broken in ["version = 3\n[[grant]]\n", "version = 0", "not toml at all ["] {
            file.write(broken);
            assert!(matches!(live.look(), Looked::Refused(_)), "{broken}");
            assert_eq!(live.look(), Looked::Unchanged);
            assert_eq!(live.rules().version, 2);
        }
        std::fs::remove_file(file.path()).unwrap();
        assert!(matches!(live.look(), Looked::Refused(_)));
        assert_eq!(live.rules().version, 2);
        file.write(&text(3, "mended"));
        assert_eq!(live.look(), Looked::Loaded);
    }

    #[test]
    fn one_number_never_stands_for_two_sets_of_rules() {
        let file = OnDisk::new();
        file.write(&text(2, "first"));
        let live = file.live();
        for taken in [text(2, "other"), text(1, "built-in-is-one")] {
            file.write(&taken);
            assert!(matches!(live.look(), Looked::Refused(_)), "{taken}");
        }
    }
}
