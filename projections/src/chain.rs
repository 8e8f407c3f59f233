//! Is the log what was written? In the words of a report.
//!
//! Two witnesses are heard. The chains are in the log itself: they say whether it fits together. The seals are in the
//! tables: they say whether it is what was folded, commit by commit, on every subject.

mod names;

use std::collections::{BTreeSet, HashMap};

use events::{AuditReport, ChainBreak, ChainStart, EventLog, Seal, StreamSeq};
use serde::Serialize;

use crate::database::Db;
use crate::error::FoldError;
use crate::seals::{self, Compared, Difference};
use names::Names;

/// Breaks named.
const BREAKS_NAMED_MAX: usize = 100;

/// Whether the commits that were read are the ones that were written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ChainReport {
    /// Links checked.
    pub links: u64,
    /// Commits held against the seals kept of them.
    pub sealed: u64,
    /// Where the log is not what was written, in its order, at most 100.
    pub breaks: Vec<ChainBreakAt>,
    /// How many there are.
    pub breaks_total: u64,
}

/// One place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainBreakAt {
    /// The commit at which it shows.
    pub seq: StreamSeq,
    /// Whose it is, or was.
    pub subject: String,
    /// What is wrong, in a word.
    pub kind: BreakKind,
    /// What is wrong, in a sentence.
    pub reason: String,
}

/// What is wrong at a place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// The commit is not what was written there.
    Altered,
    /// The commit is gone.
    Missing,
    /// A commit stands where none was.
    PutIn,
    /// Another commit of the log stands there.
    Moved,
    /// A commit of another subject stands there.
    Replaced,
    /// The commit does not follow from the one before it.
    Gap,
    /// The commit carries no link.
    Unlinked,
    /// The first commits of a subject are gone, and nothing says that it was erased.
    Beginning,
    /// The log ends before, or goes on otherwise after, the last commit that was folded.
    End,
}

impl ChainReport {
    /// What the log says of itself.
    pub(crate) fn of(report: &AuditReport) -> Self {
        let mut breaks: Vec<ChainBreakAt> = report.breaks.iter().map(of_chain).collect();
        let starts = report.starts.iter().filter_map(|(subject, start)| match start {
            ChainStart::Given(at) if !report.erased.contains(subject) => Some(ChainBreakAt {
                seq: *at,
                subject: subject.clone(),
                kind: BreakKind::Beginning,
                reason: format!(
                    "{subject}: commit {at} is the first that is left, and not the first that was written"
                ),
            }),
            _ => None,
        });
        breaks.extend(starts);
        let found = breaks.len() as u64;
        let mut report = Self {
            links: report.links,
            sealed: 0,
            breaks_total: found + report.breaks_total - report.breaks.len() as u64,
            breaks,
        };
        report.keep_first();
        report
    }

    /// Adds that the log does not hold the last commit that was folded, unless what is missing is named already.
    pub(crate) fn with_end(mut self, seq: StreamSeq, reason: Option<String>) -> Self {
        if let Some(reason) = reason.filter(|_| self.holds()) {
            self.breaks_total += 1;
            self.breaks.push(ChainBreakAt {
                seq,
                subject: String::new(),
                kind: BreakKind::End,
                reason,
            });
        }
        self
    }

    /// Adds what the seals in `live` say. Where both speak of a commit, the seal's word counts.
    pub(crate) async fn with_seals(
        mut self,
        compared: &Compared,
        log: &dyn EventLog,
        live: &mut Db<'_>,
    ) -> Result<Self, FoldError> {
        self.sealed = compared.commits;
        if compared.total == 0 {
            return Ok(self);
        }
        let differences = &compared.differences[..compared.differences.len().min(BREAKS_NAMED_MAX)];
        let mut names = Names::of(live).await?;
        let written_at: HashMap<Seal, StreamSeq> = compared
            .differences
            .iter()
            .filter_map(|difference| Some((difference.kept?, difference.seq)))
            .collect();
        let mut found = Vec::with_capacity(differences.len());
        for difference in differences {
            let mut from = difference.found.and_then(|seal| written_at.get(&seal).copied());
            if let (None, Some(seal)) = (from, difference.found) {
                from = seals::copies_of(live, seal).await?.first().copied();
            }
            found.push(of_seal(difference, from, &mut names, log).await?);
        }
        let places: BTreeSet<StreamSeq> = found.iter().map(|found| found.seq).collect();
        let before = self.breaks.len();
        self.breaks.retain(|said| !places.contains(&said.seq));
        self.breaks_total += compared.total;
        self.breaks_total -= (before - self.breaks.len()) as u64;
        self.breaks.extend(found);
        self.keep_first();
        Ok(self)
    }

    fn keep_first(&mut self) {
        self.breaks.sort_by_key(|found| found.seq);
        self.breaks.truncate(BREAKS_NAMED_MAX);
    }

    /// Whether the log is what was written.
    pub fn holds(&self) -> bool {
        self.breaks_total == 0
    }
}

fn of_chain(found: &ChainBreak) -> ChainBreakAt {
    ChainBreakAt {
        seq: found.at(),
        subject: found.subject().to_owned(),
        kind: match found {
            ChainBreak::Altered { .. } => BreakKind::Altered,
            ChainBreak::Gap { .. } => BreakKind::Gap,
            ChainBreak::Unlinked { .. } => BreakKind::Unlinked,
        },
        reason: found.to_string(),
    }
}

/// Names one difference; `from` is where what stands there was folded.
async fn of_seal(
    difference: &Difference,
    from: Option<StreamSeq>,
    names: &mut Names,
    log: &dyn EventLog,
) -> Result<ChainBreakAt, FoldError> {
    let Difference { seq, kept, found } = *difference;
    let there = match found {
        Some(_) => log.at(seq).await?.map(|delivery| delivery.subject()),
        None => None,
    };
    if let Some(there) = &there {
        names.add(there);
    }
    let was = kept.map(|kept| names.of_tag(kept.subject()));
    let subject = was.clone().or(there.clone()).unwrap_or_default();
    let there = there.unwrap_or_default();
    let (kind, what) = match (kept, found, from) {
        (Some(_), None, _) => (BreakKind::Missing, "is gone".to_owned()),
        (Some(_), Some(_), Some(from)) => (
            BreakKind::Moved,
            format!("is not the one that was written there: commit {from} of {there} stands in its place"),
        ),
        (Some(kept), Some(found), None) if kept.subject() != found.subject() => (
            BreakKind::Replaced,
            format!("is not the one that was written there: one of {there} stands in its place"),
        ),
        (Some(_), Some(_), None) => (BreakKind::Altered, "was changed after it was written".to_owned()),
        (None, _, Some(from)) => (
            BreakKind::PutIn,
            format!("was put in where none was: it is commit {from} once more"),
        ),
        (None, _, None) => (BreakKind::PutIn, "was put in where none was".to_owned()),
    };
    Ok(ChainBreakAt {
        seq,
        reason: format!("{subject}: commit {seq} {what}"),
        subject,
        kind,
    })
}
