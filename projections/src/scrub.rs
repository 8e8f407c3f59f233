//! Writing the whole file anew after an erasure, so that nothing of the erased is left in its unused parts.
//!
//! Deleted rows stay readable in free pages until something else is written there. `secure_delete` would overwrite
//! them, but not the copies that rows leave behind where a page was split or rebuilt as they grew, and it would cost
//! every fold a little; a file that is written anew holds what its tables hold and nothing else.

use crate::database::{DbPool, query, query_text};
use crate::row::FoldedTable;
use crate::schema::FOLDED_TABLES;
use crate::scratch::{Leave, Scratch};
use crate::tables::{Tables, TablesError};

impl Tables {
    /// Leaves nothing in the files but what the tables show, and no copy beside them: neither what an unfinished
    /// rebuild left nor copies of the past, which hold what was erased since. Costs about as much as copying the file,
    /// and folds wait meanwhile; readers do not.
    ///
    /// On Postgres the tables' files are written anew too, each locked while it is; what its server keeps in its own
    /// write-ahead log goes with that log's age.
    ///
    /// # Errors
    /// [`TablesError::ReaderInTheWay`] when somebody read on from before for longer than a statement may wait, and
    /// [`TablesError::CopyInUse`] while a rebuild or a verification is at its copy; asking again is safe.
    pub async fn scrub(&self) -> Result<(), TablesError> {
        let is_copy_in_use = Scratch::sweep(self.location(), Leave::Nothing).await?;
        match self.writer() {
            DbPool::Sqlite(_) => self.scrub_file().await?,
            DbPool::Postgres(_) => self.scrub_schema().await?,
        }
        // It may hold what was just erased, and be left where it is when it is killed.
        if is_copy_in_use {
            return Err(TablesError::CopyInUse);
        }
        Ok(())
    }

    async fn scrub_schema(&self) -> Result<(), TablesError> {
        for FoldedTable { name, .. } in FOLDED_TABLES {
            // With new statistics: the old ones hold samples of what was there.
            query_text(format!("VACUUM (FULL, ANALYZE) {name}"))
                .execute(self.writer())
                .await?;
        }
        // Who does not own the catalog is passed over with a warning, and the samples go when Postgres vacuums it itself.
        query("VACUUM (FULL) pg_catalog.pg_statistic")
            .execute(self.writer())
            .await?;
        Ok(())
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
