//! Who uses a copy of the tables: one at a time, and nobody once its process is gone. A locked file beside a file, an
//! advisory lock of a session in Postgres; both end with the process, whatever ends it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::database::{Db, query};
use crate::location::{Location, with_suffix};

/// Held while a copy is in use.
#[derive(Debug)]
pub(crate) enum Guard {
    File { path: PathBuf, _locked: File },
    Session(PgConnection),
}

impl Guard {
    /// Takes the copy at `location`; `None` while somebody else has it.
    pub(super) async fn take(location: &Location) -> Result<Option<Self>, sqlx::Error> {
        match location {
            Location::File(path) => Ok(lock_file(with_suffix(path, ".lock"))?),
            Location::Schema { server, schema } => {
                let mut session = server.connect().await?;
                let taken = query("SELECT pg_try_advisory_lock($1)")
                    .bind(lock_of(schema))
                    .fetch_one(&mut Db::Postgres(&mut session))
                    .await?;
                Ok(taken.try_get::<bool, _>(0)?.then_some(Self::Session(session)))
            }
        }
    }

    /// Lets go of a copy that is no more.
    pub(crate) async fn remove(self) {
        if let Self::File { path, .. } = &self {
            // While the lock is held, so that nobody else can hold a lock on a file that is gone.
            drop(std::fs::remove_file(path));
        }
        self.release().await;
    }

    /// Lets go of a copy that stays, so that whoever comes next can have it at once.
    pub(crate) async fn release(self) {
        if let Self::Session(mut session) = self {
            // The lock ends with the session in any case, but the server takes its time to end one.
            let unlocked = query("SELECT pg_advisory_unlock_all()")
                .execute(&mut Db::Postgres(&mut session))
                .await;
            drop(unlocked);
            drop(session.close().await);
        }
    }
}

fn lock_file(path: PathBuf) -> std::io::Result<Option<Guard>> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it may have removed it between opening and locking; then this lock is on nothing.
        if is_at(&file, &path)? {
            return Ok(Some(Guard::File { path, _locked: file }));
        }
    }
}

fn is_at(file: &File, path: &std::path::Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let locked = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number a schema's lock goes by.
fn lock_of(schema: &str) -> i64 {
    let hash = Sha256::digest(format!("dramatis copy {schema}"));
    hash.iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | i64::from(*byte))
}
