//! Where the rooms of these tests are: each on a Postgres server of its own.

use std::path::Path;

use identity::Database;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};
use testkit::Postgres;

/// Accounts of a test that is about many; a server of its own takes longer for each than a file.
pub(crate) const PEOPLE: usize = 60;

pub(crate) struct Place {
    pub(crate) server: Postgres,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            server: Postgres::start(),
        }
    }

    pub(crate) fn database(&self) -> Database {
        Database::Postgres(SecretString::from(self.server.url()))
    }

    /// The same database, seen from beside the room.
    pub(crate) async fn sql(&self) -> PgConnection {
        let options: PgConnectOptions = self.server.url().parse().unwrap();
        PgConnection::connect_with(&options.options([("search_path", "dramatis_identity")]))
            .await
            .unwrap()
    }

    /// Whether any file of the database's tables holds `needle`, and those of its catalogs. The write-ahead log is not
    /// looked at: it keeps what it has until its own time comes.
    pub(crate) async fn holds(&self, needle: &[u8]) -> bool {
        // What is written later, and what is unlinked later, is so after a checkpoint.
        let mut by_hand = self.sql().await;
        by_hand.execute("CHECKPOINT").await.unwrap();
        let database: String =
            sqlx::query_scalar("SELECT oid::text FROM pg_database WHERE datname = current_database()")
                .fetch_one(&mut by_hand)
                .await
                .unwrap();
        by_hand.close().await.unwrap();
        any_file_holds(&self.server.data_dir().join("base").join(database), needle)
    }
}

fn any_file_holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return any_file_holds(&path, needle);
        }
        // A file may go while it is looked for.
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut places = bytes.windows(needle.len());
        // The first byte alone is looked for where most differ in it: there are tens of megabytes.
        places.any(|window| window[0] == needle[0] && window == needle)
    })
}
