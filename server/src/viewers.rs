//! Viewers: credentials for dashboards outside the house, each with a name, an expiry and the right to look.
//!
//! They stand in `nats/viewers.json`, readable by its user only, beside the house's own password. The command line
//! writes it; the child nats-server's watcher sees that it changed, writes the server's configuration anew and has it
//! read again, which cuts off who is no longer in it.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::Ids;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::CommandError;
use crate::nats_child::write_private;
use crate::surface::Permissions;

/// Viewers of one server.
const VIEWERS_MAX: usize = 200;
/// Characters of a viewer's name.
const NAME_CHARS_MAX: usize = 40;

/// One viewer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Viewer {
    /// Its user name.
    pub(crate) name: String,
    /// Its password; worth nothing after the expiry.
    pub(crate) password: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("name", &self.name)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Viewer {
    /// Where its replies arrive; its client has to be told.
    pub(crate) fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}", self.name)
    }

    /// What it may do.
    pub(crate) fn permissions(&self) -> Permissions {
        Permissions::of_viewer(&self.inbox_prefix())
    }

    /// Its entry in the `users` of nats-server's configuration, which reads JSON strings.
    pub(crate) fn for_nats_server(&self) -> String {
        format!(
            "{{ user: {}, password: {}, permissions: {} }}",
            serde_json::Value::from(self.name.as_str()),
            serde_json::Value::from(self.password.as_str()),
            self.permissions().for_nats_server()
        )
    }
}

/// Everybody who may look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Viewers {
    viewers: Vec<Viewer>,
}

impl Viewers {
    /// Those of the nats-server in `dir`; nobody where no file says so.
    ///
    /// # Errors
    /// [`CommandError::Failed`] for a file that cannot be read: who may look must not depend on a guess.
    pub(crate) fn read(dir: &Path) -> Result<Self, CommandError> {
        let file = file(dir);
        let unreadable =
            |error: String| CommandError::Failed(format!("cannot read {}: {error}", file.display()));
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| unreadable(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Writes them, so that a reader sees all of the old or all of the new.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the folder cannot be written to.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), CommandError> {
        let failed =
            |error: String| CommandError::Failed(format!("cannot write {}: {error}", file(dir).display()));
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        let beside = dir.join("viewers.json.new");
        write_private(&beside, &text)?;
        fs::rename(&beside, file(dir)).map_err(|error| failed(error.to_string()))
    }

    /// Those whose time is not over.
    pub(crate) fn at(&self, now: Timestamp) -> Vec<&Viewer> {
        self.viewers
            .iter()
            .filter(|viewer| viewer.expires_at > now)
            .collect()
    }

    /// Everybody, expired or not.
    pub(crate) fn all(&self) -> &[Viewer] {
        &self.viewers
    }

    /// Makes a viewer. Those whose time is over are forgotten on the occasion.
    ///
    /// # Errors
    /// [`CommandError::Usage`] for a name that is taken or cannot be one, or when there are too many.
    pub(crate) fn add(
        &mut self,
        name: Option<&str>,
        now: Timestamp,
        expires_at: Timestamp,
        ids: &dyn Ids,
    ) -> Result<Viewer, CommandError> {
        self.viewers.retain(|viewer| viewer.expires_at > now);
        let name = match name {
            Some(name) => named(name)?,
            None => format!("viewer-{}", &ids.uuid().simple().to_string()[..12]),
        };
        if self.viewers.iter().any(|viewer| viewer.name == name) {
            return Err(CommandError::Usage(format!(
                "there is a viewer {name} already; revoke it first, or choose another name"
            )));
        }
        if self.viewers.len() >= VIEWERS_MAX {
            return Err(CommandError::Usage(format!(
                "there are {VIEWERS_MAX} viewers; revoke some first"
            )));
        }
        let mut bytes = [0; 24];
        ids.fill(&mut bytes);
        let viewer = Viewer {
            name,
            password: URL_SAFE_NO_PAD.encode(bytes),
            created_at: now,
            expires_at,
        };
        self.viewers.push(viewer.clone());
        Ok(viewer)
    }

    /// Takes a viewer out; says whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.viewers.len();
        self.viewers.retain(|viewer| viewer.name != name);
        self.viewers.len() < before
    }
}

/// A name becomes a user and a part of subjects: a plain word, and not the house's own.
fn named(name: &str) -> Result<String, CommandError> {
    let is_plain = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_plain && name != crate::nats_child::USER {
        Ok(name.to_owned())
    } else {
        Err(CommandError::Usage(format!(
            "--name takes 1 to {NAME_CHARS_MAX} letters, digits, - and _, and not {}",
            crate::nats_child::USER
        )))
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("viewers.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SeededIds;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_viewer_is_there_until_its_time_is_over_and_its_name_is_free_then() {
        let ids = SeededIds::new(1);
        let dir = tempfile::tempdir().unwrap();
        let mut viewers = Viewers::read(dir.path()).unwrap();
        let made = viewers.add(Some("wall"), at(0), at(60), &ids).unwrap();
        viewers.write(dir.path()).unwrap();
        let mut viewers = Viewers::read(dir.path()).unwrap();
        assert_eq!(viewers.at(at(59)), [&made]);
        assert!(viewers.at(at(60)).is_empty());
        assert!(matches!(
            viewers.add(Some("wall"), at(1), at(60), &ids),
            Err(CommandError::Usage(_))
        ));
        assert!(viewers.add(Some("wall"), at(61), at(90), &ids).is_ok());
        assert!(viewers.remove("wall"));
        assert!(!viewers.remove("wall"));
    }

    #[test]
    fn a_name_that_could_be_a_subject_or_the_house_is_refused_and_a_broken_file_is_no_empty_one() {
        let (ids, mut viewers) = (SeededIds::new(1), Viewers::default());
        for odd in ["", "a.b", "*", ">", "a b", "dramatis", "\"x\"", &"x".repeat(41)] {
            assert!(viewers.add(Some(odd), at(0), at(60), &ids).is_err(), "{odd}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("viewers.json"), "{").unwrap();
        assert!(Viewers::read(dir.path()).is_err());
    }

    #[test]
    fn a_password_is_not_in_debug_output() {
        let viewer = Viewers::default()
            .add(None, at(0), at(60), &SeededIds::new(1))
            .unwrap();
        assert!(!format!("{viewer:?}").contains(&viewer.password));
    }
}
