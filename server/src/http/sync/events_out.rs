//! What a stream says, as server-sent events: one `changes` event for each table of a page.

use std::collections::BTreeMap;

use axum::response::sse::Event as SseEvent;
use gateway::{SyncPage, SyncTold};
use schemars::JsonSchema;
use serde::Serialize;

use super::changes::Change;

/// What a stream's `changes` event says: what is new in one table.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncTold")]
pub(super) struct Told<'a> {
    table: &'a str,
    changes: Vec<Change>,
    synced_until: &'a str,
    has_more: bool,
}

/// The events of one thing told. The last of a page alone carries its cursor as id: a client that lost the connection
/// before it has not seen the page whole, and gets it again.
pub(super) fn of(told: SyncTold) -> Vec<Result<SseEvent, axum::Error>> {
    match told {
        SyncTold::Heartbeat => vec![Ok(SseEvent::default().event("heartbeat").data("{}"))],
        SyncTold::Changes(page) => of_page(&page),
    }
}

fn of_page(page: &SyncPage) -> Vec<Result<SseEvent, axum::Error>> {
    let mut by_table: BTreeMap<&str, Vec<Change>> = BTreeMap::new();
    for change in &page.changes {
        by_table
            .entry(&change.table)
            .or_default()
            .push(Change::from(change));
    }
    let last = by_table.len().saturating_sub(1);
    let event = |(place, (table, changes)): (usize, (&str, Vec<Change>))| {
        let event = SseEvent::default().event("changes").json_data(Told {
            table,
            changes,
            synced_until: &page.synced_until,
            has_more: page.has_more,
        })?;
        Ok(if place == last {
            event.id(&page.synced_until)
        } else {
            event
        })
    };
    by_table.into_iter().enumerate().map(event).collect()
}
