//! The seals that are kept held against those of the log as it is now.

use std::collections::{BTreeMap, HashSet};

use events::{Seal, StreamSeq, SubjectTag};

use super::{BEGINNING, PER_BLOCK, SealBlock};
use crate::column::{bigint, seq};
use crate::database::{Db, query};
use crate::row::Row as _;

/// Rows looked at together: some 1.5 MB on each side.
const BLOCKS_AT_ONCE: i64 = 512;
/// Differences kept; more are only counted.
const DIFFERENCES_MAX: usize = 10_000;

/// What comparing found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Commits that are in the log and have a seal to be held against.
    pub(crate) commits: u64,
    /// Where log and seals differ, in the log's order, at most 10,000.
    pub(crate) differences: Vec<Difference>,
    /// How many there are.
    pub(crate) total: u64,
}

/// A place where the log holds something else than what was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) seq: StreamSeq,
    /// What was there.
    pub(crate) kept: Option<Seal>,
    /// What is there.
    pub(crate) found: Option<Seal>,
}

/// Compares the seals in `live` with those in `folded`, which was folded from the log just now, up to `until`. Commits
/// that are gone from subjects that `live` knows to be erased are no difference.
///
/// Commits that were folded before seals were kept have none and are passed over.
pub(crate) async fn compare(
    live: &mut Db<'_>,
    folded: &mut Db<'_>,
    until: StreamSeq,
) -> Result<Compared, sqlx::Error> {
    let erased = Erased::of(live).await?;
    let mut compared = Compared::default();
    let mut is_sealed = false;
    let end = bigint(until.0 / PER_BLOCK);
    let mut block = 0;
    while block <= end {
        let past = block + BLOCKS_AT_ONCE;
        let (kept, found) = (
            blocks(live, block, past).await?,
            blocks(folded, block, past).await?,
        );
        if block == 0 && kept.get(&0).is_some_and(|seals| seals.starts_with(BEGINNING)) {
            is_sealed = true;
        }
        let mut numbers: Vec<i64> = kept.keys().chain(found.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let text = |of: &BTreeMap<i64, String>| of.get(&number).cloned().unwrap_or_default();
            let (kept, found) = (text(&kept), text(&found));
            let first = u64::try_from(number).unwrap_or_default() * PER_BLOCK;
            for place in 0..PER_BLOCK {
                let seq = StreamSeq(first + place);
                let (kept, found) = (seal_at(&kept, place), seal_at(&found, place));
                is_sealed |= kept.is_some();
                if !is_sealed || seq > until {
                    continue;
                }
                compared.commits += u64::from(found.is_some());
                let is_erased = found.is_none() && kept.is_some_and(|seal| erased.has_taken(seq, seal));
                if kept != found && !is_erased {
                    compared.total += 1;
                    if compared.differences.len() < DIFFERENCES_MAX {
                        compared.differences.push(Difference { seq, kept, found });
                    }
                }
            }
        }
        block = past;
    }
    Ok(compared)
}

/// Whose commits may be missing, and which commits say so.
#[derive(Debug, Default)]
struct Erased {
    subjects: HashSet<SubjectTag>,
    said_at: HashSet<StreamSeq>,
}

impl Erased {
    async fn of(db: &mut Db<'_>) -> Result<Self, sqlx::Error> {
        let mut erased = Self::default();
        for row in &query("SELECT subject, seq FROM erased_subjects")
            .fetch_all(db)
            .await?
        {
            erased.subjects.insert(SubjectTag::of(row.try_get(0)?));
            erased.said_at.insert(seq(row, "seq")?);
        }
        Ok(erased)
    }

    /// The commit that says so stays in the log, and is missed there like any other.
    fn has_taken(&self, seq: StreamSeq, seal: Seal) -> bool {
        self.subjects.contains(&seal.subject()) && !self.said_at.contains(&seq)
    }
}

/// Where else commits with that seal were folded.
pub(crate) async fn copies_of(db: &mut Db<'_>, seal: Seal) -> Result<Vec<StreamSeq>, sqlx::Error> {
    let rows = query("SELECT block, seals FROM log_seals WHERE seals LIKE $1 ORDER BY block")
        .bind(format!("%{seal}%"))
        .fetch_all(db)
        .await?;
    let mut places = Vec::new();
    for row in &rows {
        let SealBlock { block, seals } = SealBlock::read(row)?;
        let first = u64::try_from(block).unwrap_or_default() * PER_BLOCK;
        let holding = (0..PER_BLOCK).filter(|place| seal_at(&seals, *place) == Some(seal));
        places.extend(holding.map(|place| StreamSeq(first + place)));
    }
    Ok(places)
}

async fn blocks(db: &mut Db<'_>, from: i64, past: i64) -> Result<BTreeMap<i64, String>, sqlx::Error> {
    let rows = query(
        "-- name: seals_between
         SELECT block,
                seals
         FROM log_seals
         WHERE block >= $1
           AND block < $2",
    )
    .bind(from)
    .bind(past)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| SealBlock::read(row).map(|SealBlock { block, seals }| (block, seals)))
        .collect()
}

/// What is not a seal is as good as none: somebody changed it.
fn seal_at(seals: &str, place: u64) -> Option<Seal> {
    let start = usize::try_from(place).ok()? * Seal::CHARS;
    seals.get(start..start + Seal::CHARS)?.parse().ok()
}
