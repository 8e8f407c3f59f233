//! Writing the whole file anew after an erasure, so that nothing of the erased is left in its unused parts.
//!
//! Deleted rows stay readable in free pages until something else is written there. `secure_delete` would overwrite
//! them, but not the copies that rows leave behind where a page was split or rebuilt as they grew, and it would cost
//! every fold a little; a file that is written anew holds what its tables hold and nothing else.

use crate::database::{DbPool, query, query_text};
use crate::row::FoldedTable;
use crate::schema::FOLDED_TABLES;
use crate::scratch::Scratch;
use crate::tables::{Tables, TablesError};

impl Tables {
    /// Leaves nothing in the files but what the tables show, and none of the copies that an unfinished rebuild left
    /// beside them. Costs about as much as copying the file, and folds wait meanwhile; readers do not.
    ///
    /// On Postgres the tables' files are written anew too, each locked while it is; what its server keeps in its own
    /// write-ahead log goes with that log's age.
    ///
    /// # Errors
    /// [`TablesError::ReaderInTheWay`] when somebody read on from before for longer than a statement may wait; asking
    /// again is safe.
    pub async fn scrub(&self) -> Result<(), TablesError> {
        Scratch::sweep(self.location(), None).await?;
        match self.writer() {
            DbPool::Sqlite(_) => self.scrub_file().await,
            DbPool::Postgres(_) => {
                for FoldedTable { name, .. } in FOLDED_TABLES {
                    query_text(format!("VACUUM (FULL) {name}"))
                        .execute(self.writer())
                        .await?;
                }
                Ok(())
            }
        }
    }

    async fn scrub_file(&self) -> Result<(), TablesError> {
        query("VACUUM").execute(self.writer()).await?;
        // Its old pages are still in the file, and its new ones in the write-ahead log, until they change places.
        let done = query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(self.writer())
            .await?;
        if done.try_get::<i64, _>(0)? == 0 {
            Ok(())
        } else {
            Err(TablesError::ReaderInTheWay)
        }
    }
}
