//! The seals of all commits that were folded, kept outside the log and in the transaction of their rows. They take 24
//! bytes a commit and one row for 128 of them, so that keeping them costs a batch next to nothing.

mod compare;

use events::{Delivery, Seal, StreamSeq};

use crate::column::bigint;
use crate::database::{Cell, Changed, Db, DbRow, Kind, query, write_rows};
use crate::row::{Column, Field as _, FoldedTable, Row};

pub(crate) use compare::{Compared, Difference, compare, copies_of};

/// Sequences in one row.
const PER_BLOCK: u64 = 128;
/// Stands where there was no commit.
const NONE: &str = "........................";
/// Stands at sequence 0, which no commit has, when folding began at the log's first.
const BEGINNING: &str = "========================";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealBlock {
    block: i64,
    seals: String,
}

impl Row for SealBlock {
    type Key = i64;
    const TABLE: FoldedTable = FoldedTable {
        name: "log_seals",
        key: &["block"],
        columns: &[
            Column {
                name: "block",
                kind: Kind::Int,
            },
            Column {
                name: "seals",
                kind: Kind::Text,
            },
        ],
    };

    fn key(&self) -> i64 {
        self.block
    }

    fn into_cells(self, cells: &mut Vec<Cell>) -> Result<(), sqlx::Error> {
        cells.extend([self.block.into_cell()?, self.seals.into_cell()?]);
        Ok(())
    }

    fn read(row: &DbRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            block: row.try_get(0)?,
            seals: row.try_get(1)?,
        })
    }
}

/// Keeps the seals of `batch`, which follows `previous`.
pub(crate) async fn keep(
    db: &mut Db<'_>,
    previous: StreamSeq,
    batch: &[Delivery],
) -> Result<(), sqlx::Error> {
    let Some(first) = batch.first() else {
        return Ok(());
    };
    let mut blocks = Vec::new();
    let mut open = if previous == StreamSeq::ZERO {
        SealBlock {
            block: 0,
            seals: BEGINNING.to_owned(),
        }
    } else {
        stored(db, block_of(first.seq())).await?
    };
    for delivery in batch {
        let block = block_of(delivery.seq());
        if block != open.block {
            let seals = String::new();
            blocks.push(std::mem::replace(&mut open, SealBlock { block, seals }));
        }
        open.put(delivery.seq(), delivery.seal());
    }
    blocks.push(open);
    write_rows(db, Changed::of(blocks)).await
}

async fn stored(db: &mut Db<'_>, block: i64) -> Result<SealBlock, sqlx::Error> {
    let row = query(
        "-- name: seals_of_block
         SELECT block,
                seals
         FROM log_seals
         WHERE block = $1",
    )
    .bind(block)
    .fetch_optional(db)
    .await?;
    let stored = row.map(|row| SealBlock::read(&row)).transpose()?;
    Ok(stored.unwrap_or_else(|| SealBlock {
        block,
        seals: String::new(),
    }))
}

fn block_of(seq: StreamSeq) -> i64 {
    bigint(seq.0 / PER_BLOCK)
}

impl SealBlock {
    /// Puts the seal of the commit at `seq` behind those of the commits before it.
    fn put(&mut self, seq: StreamSeq, seal: Option<Seal>) {
        let place = usize::try_from(seq.0 % PER_BLOCK).unwrap_or_default();
        self.seals.truncate(place * Seal::CHARS);
        while self.seals.len() < place * Seal::CHARS {
            self.seals.push_str(NONE);
        }
        match seal {
            Some(seal) => self.seals.push_str(&seal.to_string()),
            None => self.seals.push_str(NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Tables;
    use events::EventLog as _;
    use events::testing::{given, id, samples};
    use events::{MemoryLog, Subject};
    use futures::StreamExt as _;

    async fn deliveries(count: usize) -> Vec<Delivery> {
        let log = MemoryLog::new();
        for recorded in given((0..count).map(|_| (Subject::Persona(id("a")), vec![samples().remove(0)]))) {
            let appended = log.append(&recorded.commit, events::ExpectedSeq::Any).await;
            assert!(appended.unwrap().is_ok());
        }
        let end = log.state().await.unwrap().last_seq;
        let read: Vec<_> = log.read(StreamSeq::ZERO, end).await.unwrap().collect().await;
        read.into_iter().map(Result::unwrap).collect()
    }

    async fn kept_in_parts_of(deliveries: &[Delivery], size: usize) -> Vec<SealBlock> {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let mut previous = StreamSeq::ZERO;
        for part in deliveries.chunks(size) {
            let mut connection = tables.writer().acquire().await.unwrap();
            keep(&mut connection.db(), previous, part).await.unwrap();
            previous = part.last().unwrap().seq();
        }
        let rows = query("SELECT block, seals FROM log_seals ORDER BY block")
            .fetch_all(tables.readers())
            .await
            .unwrap();
        rows.iter().map(|row| SealBlock::read(row).unwrap()).collect()
    }

    #[tokio::test]
    async fn seals_stand_at_their_sequences_whatever_the_batches_and_whatever_is_missing() {
        let mut deliveries = deliveries(600).await;
        // Gone from the log: a few, the end of a block, and a whole block.
        deliveries.retain(|delivery| !matches!(delivery.seq().0, 5..8 | 120..130 | 250..400));
        let whole = kept_in_parts_of(&deliveries, 10_000).await;
        for size in [1, 7, 128] {
            assert_eq!(
                kept_in_parts_of(&deliveries, size).await,
                whole,
                "parts of {size}"
            );
        }
        let mut found = Vec::new();
        for block in &whole {
            for place in 0..block.seals.len() / Seal::CHARS {
                let text = &block.seals[place * Seal::CHARS..(place + 1) * Seal::CHARS];
                if let Ok(seal) = text.parse::<Seal>() {
                    let first = u64::try_from(block.block).unwrap() * PER_BLOCK;
                    found.push((first + place as u64, Some(seal)));
                }
            }
        }
        let expected: Vec<_> = deliveries
            .iter()
            .map(|delivery| (delivery.seq().0, delivery.seal()))
            .collect();
        assert_eq!(found, expected);
        assert!(whole[0].seals.starts_with(BEGINNING));
    }
}
