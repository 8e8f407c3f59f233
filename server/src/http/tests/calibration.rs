//! Personas that visit the calibration twins, through the real gateway: rated, told apart, and no part of the app.

use events::{Event, Subject};
use http::StatusCode;
use jiff::SignedDuration;
use projections::findings::{FindingsQuery, FindingsReport};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{TestHouse, sample};
use crate::virtual_days;

/// Two weeks and some days of three personas who act daily.
async fn lived() -> TestHouse {
    let house = TestHouse::open_with(false, true).await;
    virtual_days::begin(&house.app).await.unwrap();
    let identity = &house.app.identity;
    let admin = identity
        .account_by_email("admin@example.org")
        .await
        .unwrap()
        .unwrap();
    for name in ["anna", "ben", "kai"] {
        let mut persona = sample::persona(&format!("persona.{name}@mana.test"));
        persona["name"] = json!(name);
        // One that is good by the clock of that day.
        let token = identity.mint(&admin.id).await.unwrap().token;
        let path = "/api/v1/personas/admin";
        let answer = house
            .ask_as(token.expose_secret(), "POST", path, Some(&persona))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let ticks = virtual_days::live(&house.app, SignedDuration::from_hours(24 * 17), || Ok(()))
        .await
        .unwrap();
    assert!(ticks.iter().all(actors::TickReport::succeeded), "{ticks:?}");
    house.settled().await;
    house
}

async fn report(house: &TestHouse) -> FindingsReport {
    let asked = FindingsQuery {
        since: None,
        as_of: None,
        offered_tools: Vec::new(),
    };
    house.app.tables.findings(&asked).await.unwrap().unwrap()
}

/// The negative control: let both paths of `gateway/src/calibration.rs` serve the good twin, and there is no gap.
#[tokio::test]
async fn the_twins_are_told_apart_weekly_and_enter_nothing_of_the_app_s() {
    let house = lived().await;
    let commits = house.log.inner.commits();
    let events = commits
        .iter()
        .flat_map(|recorded| match &recorded.commit.subject {
            Subject::Persona(_) => recorded.commit.events.as_slice(),
            _ => &[],
        });
    let mut twins = 0;
    for event in events {
        match event {
            Event::TwinRated(rated) => {
                twins += 1;
                assert!(rated.rating.is_some() && rated.calls >= 3, "{rated:?}");
            }
            Event::ToolCalled(called) => assert_ne!(called.module, "shelf"),
            Event::Rated(rated) => assert_ne!(rated.module, "shelf"),
            _ => {}
        }
    }
    // Three personas, in the first, second and third week, both twins.
    assert_eq!(twins, 18);

    let report = report(&house).await;
    assert_eq!(report.calibration.len(), 1, "{:?}", report.calibration);
    let gap = &report.calibration[0];
    assert_eq!((gap.all.good_ratings, gap.all.bad_ratings, gap.failed), (9, 9, 0));
    assert_eq!(gap.all.tells_apart(), Some(true), "{gap:?}");
    assert!(gap.weeks.len() >= 2);
    assert!(
        report.raters[0]
            .twins
            .is_some_and(|twins| twins.gap == gap.all.gap)
    );
    assert!(report.modules.iter().all(|trend| trend.module != "shelf"));
    assert!(report.tools.iter().all(|tool| !tool.tool.starts_with("shelf")));
}
