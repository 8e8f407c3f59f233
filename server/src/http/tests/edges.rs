//! A persona that brings edge input, through the real gateway: what comes round, what is judged, what is in the ledger.

use std::collections::BTreeSet;

use events::{EdgeVerdict, Event, Intent, Subject};
use http::StatusCode;
use jiff::SignedDuration;
use projections::findings::{FindingKind, FindingsQuery};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{TestHouse, sample};
use crate::virtual_days;

#[tokio::test]
async fn edge_input_is_taken_or_refused_cleanly_and_every_bit_of_it_is_in_the_ledger() {
    let house = TestHouse::open().await;
    virtual_days::begin(&house.app).await.unwrap();
    let identity = &house.app.identity;
    let admin = identity
        .account_by_email("admin@example.org")
        .await
        .unwrap()
        .unwrap();
    let token = identity.mint(&admin.id).await.unwrap().token;
    let mut persona = sample::persona("persona.zazie@mana.test");
    persona["archetype"] = json!("chaos");
    persona["tickCadence"] = json!("hourly");
    persona["moduleMix"] = json!({ "todo": 2, "notes": 2, "habits": 1, "journal": 1 });
    let path = "/api/v1/personas/admin";
    let answer = house
        .ask_as(token.expose_secret(), "POST", path, Some(&persona))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let ticks = virtual_days::live(&house.app, SignedDuration::from_hours(36), || Ok(()))
        .await
        .unwrap();
    assert!(ticks.iter().all(actors::TickReport::succeeded), "{ticks:?}");
    house.settled().await;

    let mut calls = BTreeSet::new();
    let mut tried = Vec::new();
    for recorded in house.log.inner.commits() {
        if !matches!(recorded.commit.subject, Subject::Persona(_)) {
            continue;
        }
        for event in recorded.commit.events {
            match event {
                Event::ToolCalled(called) if called.intent == Intent::Chaos => {
                    calls.insert(called.call_id);
                }
                Event::EdgeTried(edge) => tried.push(edge),
                _ => {}
            }
        }
    }
    assert!(tried.len() > 200, "{}", tried.len());
    assert!(tried.iter().all(|edge| calls.contains(&edge.call_id)));
    let classes: BTreeSet<&str> = tried.iter().map(|edge| edge.class.as_str()).collect();
    assert_eq!(classes.len(), 23, "{classes:?}");
    // Both happen, and nothing else does: this app stands what it is given.
    let of = |verdict| tried.iter().filter(|edge| edge.verdict == verdict).count();
    assert!(of(EdgeVerdict::Accepted) > 20 && of(EdgeVerdict::Refused) > 20);
    let bad: Vec<_> = tried.iter().filter(|edge| !edge.verdict.is_well()).collect();
    assert!(bad.is_empty(), "{bad:#?}");

    let ledger = house.app.tables.edge_ledger().await.unwrap();
    let counted: u64 = ledger.items.iter().map(|row| row.accepted + row.refused).sum();
    assert_eq!(counted, tried.len() as u64);
    let fields: BTreeSet<_> = tried
        .iter()
        .map(|edge| (&edge.tool, &edge.field, &edge.class))
        .collect();
    assert_eq!(ledger.items.len(), fields.len());
    let asked = FindingsQuery {
        since: None,
        as_of: None,
        offered_tools: Vec::new(),
    };
    let report = house.app.tables.findings(&asked).await.unwrap().unwrap();
    assert_eq!(report.edges, ledger.items);
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.kind != FindingKind::EdgeCase)
    );
    // Edge input is nobody's day: no module is rated by it.
    assert!(
        report.tools.iter().all(|tool| tool.errors.of == 0),
        "{:?}",
        report.tools
    );
}
