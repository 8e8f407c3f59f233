//! Ledger, log and tables held against one another.

use std::collections::BTreeSet;

use crate::ledger::{Entry, Kind, Pages};
use crate::log_view::{Counts, LogView};
use crate::table_view::TableView;

/// Ids named in one fault; the count says how many there are.
const NAMED_MAX: usize = 5;

/// What is wrong, one line each; nothing when all is well.
pub(crate) fn faults(pages: &Pages, log: &LogView, tables: &TableView) -> Vec<String> {
    let mut faults = Faults::default();
    let by_kind = [
        (Kind::Action, &log.calls, &tables.calls),
        (Kind::Rating, &log.ratings, &tables.ratings),
        (Kind::Record, &log.records, &tables.records),
    ];
    for (kind, in_log, in_tables) in by_kind {
        let of_kind = |entries: &BTreeSet<Entry>| -> Vec<String> {
            let entries = entries.iter().filter(|entry| entry.kind == kind);
            entries.map(|entry| entry.id.clone()).collect()
        };
        let acknowledged = of_kind(&pages.acknowledged);
        faults.named(
            "acknowledged and not in the log",
            acknowledged.iter().filter(|id| !in_log.contains_key(*id)),
        );
        faults.named(
            "acknowledged and not in the tables",
            acknowledged.iter().filter(|id| !in_tables.contains_key(*id)),
        );
        faults.named("in the log more than once", more_than_once(in_log));
        faults.named("in the tables more than once", more_than_once(in_tables));
        faults.named(
            "in the log and not in the tables",
            in_log.keys().filter(|id| !in_tables.contains_key(*id)),
        );
        faults.named(
            "in the tables and not in the log",
            in_tables.keys().filter(|id| !in_log.contains_key(*id)),
        );
    }
    for (place, titles) in [("log", &log.titles), ("tables", &tables.titles)] {
        let twice = more_than_once(titles).filter(|title| pages.titles.contains_key(*title));
        faults.named(&format!("asked for once, made twice in the {place}"), twice);
    }
    let mut seen = BTreeSet::new();
    faults.named(
        "a message id twice in the log",
        log.message_ids.iter().filter(|id| !seen.insert(id.as_str())),
    );
    faults.named("begun more than once", more_than_once(&log.ticks));
    faults.named("a tick left open", &log.open_ticks);
    faults.named("odd in the log", &log.oddities);
    faults.named("refused and should not be", &pages.refusals);
    faults.number(tables.parked, "commits parked");
    faults.number(
        tables.pending_in_ended_ticks,
        "calls pending although their tick has ended",
    );
    if tables.checkpoint != log.last_seq {
        faults.0.push(format!(
            "the tables stand at {}, the log at {}",
            tables.checkpoint, log.last_seq
        ));
    }
    faults.0
}

fn more_than_once(counts: &Counts) -> impl Iterator<Item = &String> {
    counts.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id)
}

#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn named<'a>(&mut self, what: &str, ids: impl IntoIterator<Item = &'a String>) {
        let ids: Vec<&String> = ids.into_iter().collect();
        if ids.is_empty() {
            return;
        }
        let named: Vec<&str> = ids.iter().take(NAMED_MAX).map(|id| id.as_str()).collect();
        self.0.push(format!("{} {what}: {}", ids.len(), named.join(", ")));
    }

    fn number(&mut self, number: u64, what: &str) {
        if number > 0 {
            self.0.push(format!("{number} {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ids: &[&str]) -> Counts {
        let mut counts = Counts::new();
        for id in ids {
            *counts.entry((*id).to_owned()).or_default() += 1;
        }
        counts
    }

    /// One call and one habit, acknowledged, stored and folded; one more call in doubt.
    fn all_well() -> (Pages, LogView, TableView) {
        let mut pages = Pages::default();
        pages.acknowledged = [Entry::new(Kind::Action, "c1"), Entry::new(Kind::Record, "r1")].into();
        pages.in_doubt = [Entry::new(Kind::Action, "c2")].into();
        pages.titles = [("run".to_owned(), Some("r1".to_owned()))].into();
        let log = LogView {
            last_seq: 2,
            message_ids: vec!["m1".to_owned(), "m2".to_owned()],
            calls: counts(&["c1"]),
            records: counts(&["r1"]),
            titles: counts(&["run"]),
            ..LogView::default()
        };
        let tables = TableView {
            checkpoint: 2,
            calls: counts(&["c1"]),
            records: counts(&["r1"]),
            titles: counts(&["run"]),
            ..TableView::default()
        };
        (pages, log, tables)
    }

    /// The faults after `harm` was done to what was well.
    fn after(harm: impl FnOnce(&mut Pages, &mut LogView, &mut TableView)) -> Vec<String> {
        let (mut pages, mut log, mut tables) = all_well();
        harm(&mut pages, &mut log, &mut tables);
        faults(&pages, &log, &tables)
    }

    #[test]
    fn what_was_acknowledged_once_and_is_there_once_is_well() {
        assert_eq!(after(|_, _, _| ()), Vec::<String>::new());
    }

    #[test]
    fn what_nobody_acknowledged_may_be_there_once() {
        let found = after(|_, log, tables| {
            log.calls = counts(&["c1", "c2"]);
            tables.calls = counts(&["c1", "c2"]);
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_loss_is_named_wherever_it_happened() {
        let lost = after(|_, log, tables| {
            log.calls.clear();
            tables.calls.clear();
        });
        assert_eq!(
            lost,
            [
                "1 acknowledged and not in the log: c1",
                "1 acknowledged and not in the tables: c1"
            ]
        );
        let unfolded = after(|_, _, tables| tables.records.clear());
        assert_eq!(
            unfolded,
            [
                "1 acknowledged and not in the tables: r1",
                "1 in the log and not in the tables: r1"
            ]
        );
    }

    #[test]
    fn a_double_is_named_wherever_it_happened() {
        let stored = after(|_, log, _| log.calls = counts(&["c1", "c1"]));
        assert_eq!(stored, ["1 in the log more than once: c1"]);
        let folded = after(|_, _, tables| tables.calls = counts(&["c1", "c1"]));
        assert_eq!(folded, ["1 in the tables more than once: c1"]);
        let made = after(|_, log, tables| {
            log.records = counts(&["r1", "r2"]);
            tables.records = counts(&["r1", "r2"]);
            (log.titles, tables.titles) = (counts(&["run", "run"]), counts(&["run", "run"]));
        });
        assert_eq!(
            made,
            [
                "1 asked for once, made twice in the log: run",
                "1 asked for once, made twice in the tables: run"
            ]
        );
        let sent = after(|_, log, _| log.message_ids[1] = "m1".to_owned());
        assert_eq!(sent, ["1 a message id twice in the log: m1"]);
    }

    #[test]
    fn what_is_left_behind_is_named() {
        let found = after(|pages, log, tables| {
            log.ticks = counts(&["anna-1", "anna-1", "anna-2"]);
            log.open_ticks.insert("t1".to_owned());
            pages.refusals.push("409".to_owned());
            (tables.parked, tables.pending_in_ended_ticks, tables.checkpoint) = (1, 2, 1);
        });
        assert_eq!(
            found,
            [
                "1 begun more than once: anna-1",
                "1 a tick left open: t1",
                "1 refused and should not be: 409",
                "1 commits parked",
                "2 calls pending although their tick has ended",
                "the tables stand at 1, the log at 2",
            ]
        );
    }
}
