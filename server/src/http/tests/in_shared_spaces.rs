//! Personas that share a space, through the real gateway: what one puts there the other finds, unless the app loses it.

use std::collections::BTreeMap;

use events::{
    Clock as _, Commit, CommitId, Event, EventLog as _, ExpectationOutcome, ExpectationRaised, ExpectedSeq,
    RecordChanged, RecordOp, Subject,
};
use http::StatusCode;
use jiff::SignedDuration;
use projections::PageRequest;
use projections::findings::{FindingKind, FindingsQuery, FindingsReport};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{TestHouse, sample};
use crate::virtual_days;

const PAIR: [(&str, &str); 2] = [
    ("persona.anna@mana.test", "persona.ben@mana.test"),
    ("persona.ben@mana.test", "persona.anna@mana.test"),
];

/// Two partners at the beginning of their days, acting every hour.
async fn open() -> TestHouse {
    let house = TestHouse::open().await;
    virtual_days::begin(&house.app).await.unwrap();
    let identity = &house.app.identity;
    let admin = identity
        .account_by_email("admin@example.org")
        .await
        .unwrap()
        .unwrap();
    // One that is good by the clock of that day.
    let token = identity.mint(&admin.id).await.unwrap().token;
    for (email, partner) in PAIR {
        let mut persona = sample::persona(email);
        persona["name"] = json!(email.split(['.', '@']).nth(1));
        persona["tickCadence"] = json!("hourly");
        persona["moduleMix"] = json!({ "todo": 3, "notes": 2 });
        persona["partners"] = json!([partner]);
        let path = "/api/v1/personas/admin";
        let answer = house
            .ask_as(token.expose_secret(), "POST", path, Some(&persona))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    house
}

async fn live(house: &TestHouse, hours: i64) {
    let ticks = virtual_days::live(&house.app, SignedDuration::from_hours(hours), || Ok(()))
        .await
        .unwrap();
    assert!(ticks.iter().all(actors::TickReport::succeeded), "{ticks:?}");
}

/// Every event of a persona, with whose it is.
fn events_of(house: &TestHouse) -> Vec<(String, Event)> {
    let commits = house.log.inner.commits().into_iter();
    commits
        .flat_map(|recorded| {
            let Subject::Persona(persona) = recorded.commit.subject else {
                return Vec::new();
            };
            recorded
                .commit
                .events
                .into_iter()
                .map(|event| (persona.to_string(), event))
                .collect()
        })
        .collect()
}

fn raised(house: &TestHouse) -> Vec<ExpectationRaised> {
    let only_raised = |(_, event)| {
        if let Event::ExpectationRaised(raised) = event {
            Some(raised)
        } else {
            None
        }
    };
    events_of(house).into_iter().filter_map(only_raised).collect()
}

fn outcomes(house: &TestHouse) -> BTreeMap<&'static str, usize> {
    let mut outcomes = BTreeMap::new();
    for (_, event) in events_of(house) {
        if let Event::ExpectationChecked(checked) = event {
            *outcomes.entry(checked.outcome.as_str()).or_default() += 1;
        }
    }
    outcomes
}

async fn findings(house: &TestHouse) -> FindingsReport {
    house.settled().await;
    let asked = FindingsQuery {
        since: None,
        as_of: None,
        offered_tools: Vec::new(),
    };
    house.app.tables.findings(&asked).await.unwrap().unwrap()
}

/// As an app would that loses a record: it is gone, and no persona had a hand in it.
async fn lose(house: &TestHouse, raised: &ExpectationRaised) {
    let table = if raised.thing.module == "todo" {
        "tasks"
    } else {
        "notes"
    };
    let lost = RecordChanged {
        space_id: raised.space_id.clone(),
        table: table.to_owned(),
        record_id: raised.thing.id.parse().unwrap(),
        op: RecordOp::Delete,
        fields: BTreeMap::new(),
        actor: "nobody".parse().unwrap(),
        tool: None,
        call_id: None,
        synced: None,
        changed_at: house.app.clock.now(),
    };
    let commit = Commit::new(
        CommitId::derived(&["lost", &raised.thing.id]),
        Subject::Record(raised.space_id.clone()),
        house.app.clock.now(),
        vec![lost.into()],
    );
    let _ = house
        .log
        .append(&commit, ExpectedSeq::Any)
        .await
        .unwrap()
        .unwrap();
}

/// The negative control: let `tick::look::raised` name a thing by another id, and it is broken.
#[tokio::test]
async fn what_one_puts_into_a_shared_space_the_other_finds_at_its_next_tick_there() {
    let house = open().await;
    live(&house, 16).await;
    let events = events_of(&house);
    let acted_in: Vec<&str> = events
        .iter()
        .filter_map(|(_, event)| {
            if let Event::SpaceEntered(entered) = event {
                Some(entered.space_type.as_str())
            } else {
                None
            }
        })
        .collect();
    let ticks = events
        .iter()
        .filter(|(_, event)| matches!(event, Event::TickStarted(_)))
        .count();
    assert!(
        (4..ticks - 4).contains(&acted_in.len()),
        "{} of {ticks}",
        acted_in.len()
    );

    let raised = raised(&house);
    assert!(
        raised.len() >= 3 && raised.iter().all(|raised| raised.partners.len() == 1),
        "{raised:?}"
    );
    let outcomes = outcomes(&house);
    assert!(
        outcomes.get("kept").is_some_and(|kept| *kept >= 2),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.get("broken"), None, "{outcomes:?}");

    let report = findings(&house).await;
    let kept: u64 = report.expectations.iter().map(|figures| figures.kept).sum();
    assert_eq!(kept, outcomes["kept"] as u64);
    let is_broken = |finding: &projections::findings::Finding| finding.kind == FindingKind::BrokenExpectation;
    assert!(!report.findings.iter().any(is_broken), "{:?}", report.findings);
    // One row each, and none that the log does not know.
    let page = house
        .app
        .tables
        .expectations(None, &PageRequest::first(200))
        .await
        .unwrap();
    assert_eq!(page.items.len(), raised.len());
    assert!(
        page.items
            .iter()
            .all(|row| row.maker_id != row.partner_id && !row.maker_name.is_empty())
    );
}

#[tokio::test]
async fn what_the_app_loses_is_a_broken_expectation_with_evidence_of_both_accounts() {
    let house = open().await;
    let mut lost = None;
    for _ in 0..40 {
        live(&house, 1).await;
        let open = house
            .app
            .tables
            .expectations(Some("open"), &PageRequest::first(200))
            .await
            .unwrap();
        let is_open =
            |raised: &ExpectationRaised| open.items.iter().any(|row| row.thing_id == raised.thing.id);
        if let Some(raised) = raised(&house).into_iter().find(is_open) {
            lose(&house, &raised).await;
            lost = Some(raised);
            break;
        }
    }
    let lost = lost.expect("somebody put something into the shared space");
    let mut broken = None;
    for _ in 0..40 {
        live(&house, 1).await;
        broken = events_of(&house)
            .into_iter()
            .find_map(|(who, event)| match event {
                Event::ExpectationChecked(checked) if checked.outcome == ExpectationOutcome::Broken => {
                    Some((who, checked))
                }
                _ => None,
            });
        if broken.is_some() {
            break;
        }
    }
    let (looker, broken) = broken.expect("the other looked for it");
    assert_eq!(
        (&broken.thing, &looker),
        (&lost.thing, &lost.partners[0].to_string())
    );

    let report = findings(&house).await;
    let is_broken =
        |finding: &&projections::findings::Finding| finding.kind == FindingKind::BrokenExpectation;
    let finding = report
        .findings
        .iter()
        .find(is_broken)
        .unwrap_or_else(|| panic!("{:?}", report.findings));
    assert_eq!(
        (finding.module.as_str(), finding.personas_affected),
        (lost.thing.module.as_str(), 2)
    );
    let calls: Vec<_> = finding
        .evidence
        .iter()
        .filter_map(|row| row.call_id.as_deref())
        .collect();
    assert!(calls.contains(&lost.call_id.as_str()), "{calls:?}");
    assert!(calls.contains(&broken.call_id.unwrap().as_str()), "{calls:?}");

    let tick = house
        .app
        .tables
        .story_tick(&broken.tick_id)
        .await
        .unwrap()
        .unwrap();
    assert!(tick.space_type.is_some());
    assert!(
        tick.expectations
            .iter()
            .any(|row| row.state == "broken" && row.thing_id == lost.thing.id)
    );
}
