//! A session obeys its owner and nobody else.

use serde_json::json;

use crate::harness::{House, message, rpc};
use events::Event;

#[tokio::test]
async fn a_foreign_session_id_gets_403_and_the_owners_session_lives_on() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let annas = house.open_session(&anna).await;

    let refused = house.call_in(&ben.token, &annas).await;
    assert_eq!(refused.status(), 403);
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "foreign_session");
    assert!(
        !problem.to_string().contains(&annas),
        "the handle is not repeated"
    );

    let delete = house
        .http
        .delete(format!("{}/mcp", house.url))
        .bearer_auth(&ben.token)
        .header("mcp-session-id", &annas);
    assert_eq!(delete.send().await.unwrap().status(), 403);
    let listen = house
        .http
        .get(format!("{}/mcp", house.url))
        .bearer_auth(&ben.token)
        .header("mcp-session-id", &annas);
    assert_eq!(
        listen
            .header("accept", "text/event-stream")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    let again = house
        .post(&ben.token, crate::harness::initialize())
        .header("mcp-session-id", &annas);
    assert_eq!(again.send().await.unwrap().status(), 403);

    let answer = house.call_in(&anna.token, &annas).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        message(answer).await["result"]["structuredContent"]["activeSpaceId"],
        anna.space.as_str()
    );
    assert!(
        house.events_of("SessionClosed").await.is_empty(),
        "nobody ended it"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_member_of_the_same_space_is_a_stranger_to_the_session_all_the_same() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    let opened = house
        .post(&anna.token, crate::harness::initialize())
        .header("x-mana-space", team.as_str());
    let annas = opened.send().await.unwrap().headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let call = async |token: &str| {
        let call = rpc("tools/call", json!({"name": "spaces.list", "arguments": {}}));
        let request = house
            .post(token, call)
            .header("mcp-session-id", &annas)
            .header("x-mana-space", team.as_str());
        request.send().await.unwrap()
    };
    let refused = call(&ben.token).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(
        refused.json::<serde_json::Value>().await.unwrap()["code"],
        "foreign_session"
    );
    assert_eq!(call(&anna.token).await.status(), 200);
    house.stop().await;
}

#[tokio::test]
async fn a_session_outlives_its_token_and_goes_on_with_a_fresh_one() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let fresh = house.token(&anna.id).await;
    assert_eq!(house.call_in(&fresh, &session).await.status(), 200);
    assert_eq!(
        house.call_in("not-a-token", &session).await.status(),
        401,
        "the session alone proves nothing"
    );
    house.stop().await;
}

#[tokio::test]
async fn an_unknown_or_ended_session_is_404_and_its_end_is_recorded_once() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    assert_eq!(house.call_in(&anna.token, "never-given").await.status(), 404);
    let session = house.open_session(&anna).await;
    let delete = || {
        house
            .http
            .delete(format!("{}/mcp", house.url))
            .bearer_auth(&anna.token)
            .header("mcp-session-id", &session)
    };
    assert!(delete().send().await.unwrap().status().is_success());
    assert_eq!(delete().send().await.unwrap().status(), 404);
    assert_eq!(house.call_in(&anna.token, &session).await.status(), 404);
    let closed = house.events_of("SessionClosed").await;
    assert!(
        matches!(&closed[..], [Event::SessionClosed(closed)] if closed.reason == "client"),
        "{closed:?}"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_session_stays_in_the_space_it_was_opened_in() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let team = identity::NewSpace {
        name: "Team".to_owned(),
        space_type: identity::SpaceType::Team,
    };
    let team = house
        .identity
        .create_space(&anna.id, team)
        .await
        .unwrap()
        .space_id;
    let opened = house
        .post(&anna.token, crate::harness::initialize())
        .header("x-mana-space", team.as_str());
    let opened = opened.send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();

    let refused = house.call_in(&anna.token, &session).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(
        refused.json::<serde_json::Value>().await.unwrap()["code"],
        "session_of_other_space"
    );

    let call = rpc("tools/call", json!({"name": "spaces.list", "arguments": {}}));
    let same = house
        .post(&anna.token, call)
        .header("mcp-session-id", &session)
        .header("x-mana-space", team.as_str());
    let answer = message(same.send().await.unwrap()).await;
    assert_eq!(
        answer["result"]["structuredContent"]["activeSpaceId"],
        team.as_str()
    );
    house.stop().await;
}

#[tokio::test]
async fn the_log_names_a_session_without_giving_its_handle_away() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let handle = house.open_session(&anna).await;
    let opened = house.events_of("SessionOpened").await;
    let [Event::SessionOpened(opened)] = &opened[..] else {
        panic!("one session: {opened:?}")
    };
    assert_ne!(opened.session_id.as_str(), handle);
    assert_eq!((&opened.user_id, &opened.space_id), (&anna.id, &anna.space));
    assert_eq!(
        (opened.client.as_str(), opened.protocol.as_str()),
        ("by-hand 1", "2025-11-25")
    );
    let by_its_name = house.call_in(&anna.token, opened.session_id.as_str()).await;
    assert_eq!(by_its_name.status(), 404, "the name in the log opens nothing");
    house.stop().await;
}
