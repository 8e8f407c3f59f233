//! Writing the whole file anew after an erasure, so that nothing of the erased is left in its unused parts.
//!
//! Deleted rows stay readable in free pages until something else is written there. `secure_delete` would overwrite
//! them, but not the copies that rows leave behind where a page was split or rebuilt as they grew, and it would cost
//! every fold a little; a file that is written anew holds what its tables hold and nothing else.

use crate::tables::{Tables, TablesError};

impl Tables {
    /// Leaves nothing in the files but what the tables show. Costs about as much as copying the file, and folds wait
    /// meanwhile; readers do not.
    ///
    /// # Errors
    /// [`TablesError::ReaderInTheWay`] when somebody read on from before for longer than a statement may wait; asking
    /// again is safe.
    pub async fn scrub(&self) -> Result<(), TablesError> {
        let mut db = self.writer().acquire().await?;
        sqlx::query("VACUUM").execute(&mut *db).await?;
        // Its old pages are still in the file, and its new ones in the write-ahead log, until they change places.
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *db)
            .await?;
        if busy == 0 {
            Ok(())
        } else {
            Err(TablesError::ReaderInTheWay)
        }
    }
}
