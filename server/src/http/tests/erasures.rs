//! Deleting a persona for good, and finishing it wherever it broke off.

use std::sync::atomic::Ordering;
use std::time::Duration;

use events::{Event, PersonaId, SpaceId, Subject, UserId};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::personas::events_of;
use super::{TestHouse, sample};

/// How long anything may take that is only waited for.
const SOON: Duration = Duration::from_mins(1);
const ALL: &str = "/api/v1/personas/admin";
const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";

impl TestHouse {
    async fn is_account(&self, id: &str) -> bool {
        let user = UserId::try_new(id).unwrap();
        self.app.identity.account(&user).await.unwrap().is_some()
    }

    async fn personal_space(&self, id: &str) -> SpaceId {
        let user = UserId::try_new(id).unwrap();
        self.app.identity.personal_space(&user).await.unwrap()
    }

    /// Lets the persona live a tick, so that there is something of it everywhere.
    async fn tick(&self, email: &str) {
        let body = json!({ "persona": email });
        let answer = self
            .ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&body))
            .await;
        assert_eq!(answer.json["succeeded"], 1, "{}", answer.text);
        self.settled().await;
    }

    /// Commits in the log of the persona, its sessions and its own space.
    async fn commits_of(&self, id: &str, space: &SpaceId) -> [usize; 3] {
        let persona = PersonaId::try_new(id).unwrap();
        let subjects = [
            Subject::Persona(persona.clone()),
            Subject::Session(persona.into()),
            Subject::Record(space.clone()),
        ];
        let mut commits = [0; 3];
        for (commits, subject) in commits.iter_mut().zip(subjects) {
            *commits = self.log.inner_read(&subject).await.len();
        }
        commits
    }
}

#[tokio::test]
async fn a_deleted_persona_is_gone_from_tables_and_accounts() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let login = house
        .ask("POST", "/api/v1/auth/login", Some(&sample::persona(ANNA)))
        .await;
    let token = login.json["token"].as_str().unwrap().to_owned();
    let deleted = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    assert_eq!(
        (deleted.status, deleted.json),
        (StatusCode::OK, json!({ "ok": true, "deleted": id }))
    );
    assert_eq!(
        house.ask_as_admin("GET", ALL, None).await.json,
        json!({ "personas": [] })
    );
    for method in ["GET", "DELETE"] {
        let answer = house.ask_as_admin(method, &format!("{ALL}/{id}"), None).await;
        answer.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
    }
    let answer = house
        .ask_as(&token, "GET", "/api/auth/organization/list", None)
        .await;
    answer.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_INVALID");
    assert_eq!(events_of(&house, &id).await, ["PersonaErased"]);
}

#[tokio::test]
async fn the_erasure_names_the_spaces_that_were_the_personas_alone() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let persona = PersonaId::try_new(id.clone()).unwrap();
    let personal = house
        .app
        .identity
        .personal_space(&persona.clone().into())
        .await
        .unwrap();
    house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    let commits = house.log.inner_read(&Subject::Persona(persona)).await;
    let Event::PersonaErased(erased) = &commits[0].commit.events[0] else {
        panic!("the last event is the erasure")
    };
    assert_eq!(erased.spaces, [personal]);
}

#[tokio::test]
async fn a_deletion_that_broke_off_can_be_made_again() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house.log.mute(true);
    let broken = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    broken.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE");
    assert!(!broken.text.contains("secret-host"), "a cause stays here");
    house.log.mute(false);
    let login = house
        .ask("POST", "/api/v1/auth/login", Some(&sample::persona(ANNA)))
        .await;
    login.assert_problem(StatusCode::UNAUTHORIZED, "BAD_CREDENTIALS");
    assert!(house.is_account(&id).await, "it remembers that the erasure began");
    let again = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
}

#[tokio::test]
async fn an_erased_persona_whose_account_was_left_is_finished_without_a_second_event() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let persona = PersonaId::try_new(id.clone()).unwrap();
    let erased = events::PersonaErased {
        persona_id: persona.clone(),
        spaces: house
            .app
            .identity
            .sole_spaces(&persona.clone().into())
            .await
            .unwrap(),
    };
    let subject = Subject::Persona(persona);
    let commit = events::Commit::new(
        events::CommitId::derived(&["an earlier try"]),
        subject,
        events::Clock::now(&*house.app.clock),
        vec![erased.into()],
    );
    let appended = house
        .app
        .log
        .append(&commit, events::ExpectedSeq::Any)
        .await
        .unwrap();
    assert!(appended.is_ok());
    let at = house.commits().await;
    let deleted = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
    assert_eq!(house.app.log.state().await.unwrap().last_seq.0, at);
    assert_eq!(events_of(&house, &id).await, ["PersonaErased"]);
}

#[tokio::test]
async fn an_account_outlives_a_deletion_that_the_tables_do_not_show_yet() {
    let mut house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house.without_fold();
    for _ in 0..2 {
        let answer = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
        answer.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "TABLES_BEHIND");
    }
    let login = house
        .ask("POST", "/api/v1/auth/login", Some(&sample::persona(ANNA)))
        .await;
    login.assert_problem(StatusCode::UNAUTHORIZED, "BAD_CREDENTIALS");
    assert!(house.is_account(&id).await, "it is there to try again with");
    assert_eq!(events_of(&house, &id).await, ["PersonaEnrolled", "PersonaErased"]);
}

#[tokio::test]
async fn what_a_persona_left_in_the_log_is_gone_but_for_the_event_that_says_so() {
    let house = TestHouse::open().await;
    let (anna, ben) = (house.enrol(ANNA).await, house.enrol(BEN).await);
    for email in [ANNA, BEN] {
        house.tick(email).await;
    }
    let (annas, bens) = (
        house.personal_space(&anna).await,
        house.personal_space(&ben).await,
    );
    let (before, of_ben) = (
        house.commits_of(&anna, &annas).await,
        house.commits_of(&ben, &bens).await,
    );
    assert!(before.iter().all(|commits| *commits > 1), "{before:?}");
    let deleted = house.ask_as_admin("DELETE", &format!("{ALL}/{anna}"), None).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
    assert_eq!(house.commits_of(&anna, &annas).await, [1, 0, 0]);
    assert_eq!(house.commits_of(&ben, &bens).await, of_ben);
}

#[tokio::test]
async fn a_deletion_is_finished_wherever_in_the_log_it_broke_off() {
    let house = TestHouse::open().await;
    for purges in 0..3 {
        let id = house.enrol(ANNA).await;
        house.tick(ANNA).await;
        let space = house.personal_space(&id).await;
        house.log.let_purge(Some(purges));
        let broken = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
        broken.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE");
        assert!(house.is_account(&id).await, "{purges}");
        let meanwhile = house
            .ask_as_admin("POST", ALL, Some(&sample::persona(ANNA)))
            .await;
        meanwhile.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "ACCOUNT_SUSPENDED");
        house.log.let_purge(None);
        let again = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.text);
        assert_eq!(house.commits_of(&id, &space).await, [1, 0, 0], "{purges}");
        assert!(!house.is_account(&id).await, "{purges}");
    }
    let newcomer = house.enrol(ANNA).await;
    assert_eq!(events_of(&house, &newcomer).await, ["PersonaEnrolled"]);
}

#[tokio::test]
async fn a_deletion_nobody_asks_for_again_is_finished_all_the_same() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house.tick(ANNA).await;
    let space = house.personal_space(&id).await;
    house.log.let_purge(Some(1));
    house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    house.log.let_purge(None);
    assert_eq!(
        house.ask_as_admin("GET", ALL, None).await.json,
        json!({ "personas": [] }),
        "no list names it any more"
    );
    let stop = CancellationToken::new();
    let finishing = crate::http::finish_begun(house.app.clone(), stop.clone());
    let finished = async {
        let is_gone = || async { !house.is_account(&id).await };
        assert!(testkit::wait_until_async(SOON, is_gone).await);
        stop.cancel();
    };
    tokio::join!(finishing, finished);
    assert_eq!(house.commits_of(&id, &space).await, [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_under_way_is_waited_for_and_erased_with_the_rest() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let space = house.personal_space(&id).await;
    let held = house.log.records.lock().await;
    // Its first write waits for the log, and with it the tick.
    let body = json!({ "persona": ANNA });
    let tick = house.ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&body));
    let delete = async {
        let is_writing = || async { house.log.records_wanted.load(Ordering::SeqCst) > 0 };
        assert!(testkit::wait_until_async(SOON, is_writing).await);
        let path = format!("{ALL}/{id}");
        let mut deletion = std::pin::pin!(house.ask_as_admin("DELETE", &path, None));
        let hasty = tokio::time::timeout(Duration::from_millis(500), &mut deletion).await;
        assert!(
            hasty.is_err(),
            "it must not be done before the write is: {hasty:?}"
        );
        drop(held);
        deletion.await
    };
    let (_, deleted) = tokio::join!(tick, delete);
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
    assert_eq!(house.commits_of(&id, &space).await, [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persona_deleted_in_the_middle_of_its_tick_stands_down_and_leaves_nothing_behind() {
    let house = TestHouse::open().await;
    for round in 0..5 {
        let id = house.enrol(ANNA).await;
        let space = house.personal_space(&id).await;
        let body = json!({ "persona": ANNA });
        let tick = house.ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&body));
        let delete = async {
            let has_begun = || async { house.commits_of(&id, &space).await[0] > 2 + round };
            assert!(testkit::wait_until_async(SOON, has_begun).await);
            house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await
        };
        let (ticked, deleted) = tokio::join!(tick, delete);
        assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
        assert_eq!(ticked.status, StatusCode::OK, "{}", ticked.text);
        assert_eq!(house.commits_of(&id, &space).await, [1, 0, 0], "round {round}");
        assert_eq!(events_of(&house, &id).await, ["PersonaErased"]);
    }
    let end = house.app.log.state().await.unwrap().last_seq;
    house.app.projector.wait_for(end, SOON).await.unwrap();
    let counts = house.app.tables.counts().await.unwrap();
    assert_eq!(
        (
            counts.personas,
            counts.ticks,
            counts.actions,
            counts.sessions,
            counts.records
        ),
        (0, 0, 0, 0, 0),
        "{counts:?}"
    );
}
