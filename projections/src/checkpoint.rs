//! How far a fold has come, and on which log.

use events::{CommitId, StreamIdentity, StreamSeq};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::column;
use crate::database::{Db, query};

/// The name of the one projection that holds all folded tables of a database: they share a checkpoint, so that a
/// page that joins them sees one moment.
pub(crate) const NAME: &str = "tables";

/// The last commit folded and the log it is in. It is written in the transaction of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// Place of the last commit folded.
    pub seq: StreamSeq,
    /// Its id; `None` where the message had no readable one.
    pub commit_id: Option<CommitId>,
    /// Name of the stream.
    pub stream_name: String,
    /// When the stream was made, to the microsecond.
    #[schemars(with = "events::Moment")]
    pub stream_created: Timestamp,
}

impl Checkpoint {
    /// The place of `checkpoint`, [`StreamSeq::ZERO`] where there is none yet.
    pub(crate) fn seq_of(checkpoint: Option<&Self>) -> StreamSeq {
        checkpoint.map_or(StreamSeq::ZERO, |checkpoint| checkpoint.seq)
    }

    /// Whether it stands on the log that `identity` names. The tables keep microseconds, streams nanoseconds.
    pub(crate) fn is_of(&self, identity: &StreamIdentity) -> bool {
        self.stream_name == identity.name
            && self.stream_created.as_microsecond() == identity.created.as_microsecond()
    }
}

/// The checkpoint as it stands.
pub(crate) async fn read(db: &mut Db<'_>) -> Result<Option<Checkpoint>, sqlx::Error> {
    let row = query(
        "-- name: read_checkpoint
         SELECT seq,
                commit_id,
                stream_name,
                stream_created
         FROM projection_checkpoints
         WHERE name = $1",
    )
    .bind(NAME)
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Checkpoint {
            seq: column::seq(&row, "seq")?,
            commit_id: column::parsed_option(&row, "commit_id")?,
            stream_name: row.try_get("stream_name")?,
            stream_created: column::time(&row, "stream_created")?,
        })
    })
    .transpose()
}

/// Moves the checkpoint from `previous` to `next` if it still stands at `previous`; says whether it did. `false`
/// means that somebody else has folded meanwhile.
#[must_use = "when the checkpoint did not move, the rows must not be committed"]
pub(crate) async fn advance(
    db: &mut Db<'_>,
    previous: StreamSeq,
    next: &Checkpoint,
) -> Result<bool, sqlx::Error> {
    let moved = if previous == StreamSeq::ZERO {
        query(
            "-- name: first_checkpoint
             INSERT INTO projection_checkpoints (name, seq, commit_id, stream_name, stream_created)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO NOTHING",
        )
    } else {
        query(
            "-- name: advance_checkpoint
             UPDATE projection_checkpoints
             SET seq = $2,
                 commit_id = $3,
                 stream_name = $4,
                 stream_created = $5,
                 moved_by = 'fold'
             WHERE name = $1
               AND seq = $6",
        )
    }
    .bind(NAME)
    .bind(column::bigint(next.seq.0))
    .bind(next.commit_id.map(|id| id.to_string()))
    .bind(next.stream_name.as_str())
    .bind(next.stream_created.as_microsecond());
    let moved = if previous == StreamSeq::ZERO {
        moved
    } else {
        moved.bind(column::bigint(previous.0))
    };
    Ok(moved.execute(db).await? == 1)
}

/// Keeps the checkpoint where it is until the transaction ends. A transaction that writes does so on SQLite.
pub(crate) async fn hold(db: &mut Db<'_>) -> Result<(), sqlx::Error> {
    if matches!(db, Db::Postgres(_)) {
        query("SELECT seq FROM projection_checkpoints WHERE name = $1 FOR UPDATE")
            .bind(NAME)
            .fetch_all(db)
            .await?;
    }
    Ok(())
}

/// Notes that a rebuild has put the checkpoint where it is.
pub(crate) async fn moved_by_rebuild(db: &mut Db<'_>) -> Result<(), sqlx::Error> {
    query("UPDATE projection_checkpoints SET moved_by = 'rebuild' WHERE name = $1")
        .bind(NAME)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether it was a rebuild that moved the checkpoint last.
pub(crate) async fn was_moved_by_rebuild(db: &mut Db<'_>) -> Result<bool, sqlx::Error> {
    let row = query("SELECT name FROM projection_checkpoints WHERE name = $1 AND moved_by = 'rebuild'")
        .bind(NAME)
        .fetch_optional(db)
        .await?;
    Ok(row.is_some())
}
