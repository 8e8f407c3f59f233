//! Where the rooms of these tests are: each in a SQLite file of its own.

use std::path::PathBuf;

use identity::Database;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

/// Accounts of a test that is about many.
pub(crate) const PEOPLE: usize = 300;

pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("identity.db")
    }

    pub(crate) fn database(&self) -> Database {
        self.file().into()
    }

    /// The same database, seen from beside the room.
    pub(crate) async fn sql(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.file())
            .foreign_keys(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// Whether any file of the database holds `needle`.
    #[expect(clippy::unused_async, reason = "the other database has to be asked first")]
    pub(crate) async fn holds(&self, needle: &[u8]) -> bool {
        std::fs::read_dir(self.dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    }
}
