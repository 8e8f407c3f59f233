//! The calibration twins: what each does, and who finds them.

use std::time::Duration;

use http::StatusCode;
use identity::{AccountKind, PersonaAccount};
use rmcp::ServiceExt as _;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{Client, House, call, refused, rpc};

async fn house() -> House {
    House::with(|settings| settings.calibration = Some(Duration::from_millis(20))).await
}

/// A persona's token.
async fn persona(house: &House) -> String {
    let account = PersonaAccount {
        email: "persona.anna@mana.test".to_owned(),
        name: "Anna".to_owned(),
        password: SecretString::from("correct horse"),
        time_zone: None,
    };
    let account = house.identity.upsert_persona(account).await.unwrap().account;
    assert_eq!(account.kind, AccountKind::Persona);
    house.token(&account.id).await
}

async fn visit(house: &House, token: &str, twin: &str) -> Client {
    let url = format!("{}/mcp/calibration/{twin}", house.url);
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
    let client = ().serve(StreamableHttpClientTransport::from_config(config)).await;
    client.unwrap()
}

/// How many of ten things, each of the size the test says, are taken, and how many of those are on the shelf then.
async fn ten(client: &Client, size: &str) -> (usize, usize) {
    let mut taken = Vec::new();
    for number in 0..10 {
        let thing = json!({"title": format!("thing {number}"), "size": size});
        taken.push(call(client, "shelf.add", thing).await["thing"]["id"].clone());
    }
    let listed = call(client, "shelf.list", json!({})).await;
    let is_there = |id: &&Value| {
        listed["things"]
            .as_array()
            .unwrap()
            .iter()
            .any(|thing| thing["id"] == **id)
    };
    (taken.len(), taken.iter().filter(is_there).count())
}

#[tokio::test]
async fn the_good_twin_does_what_it_says_and_the_bad_one_has_its_three_faults() {
    let house = house().await;
    let token = persona(&house).await;
    let (good, bad) = (
        visit(&house, &token, "good").await,
        visit(&house, &token, "bad").await,
    );
    let shown = [
        good.list_all_tools().await.unwrap(),
        bad.list_all_tools().await.unwrap(),
    ];
    assert_eq!(
        shown[0], shown[1],
        "they cannot be told apart by what they say of themselves"
    );

    for size in ["medium", "large"] {
        let thing = json!({"title": "a", "size": size});
        assert_eq!(
            call(&good, "shelf.add", thing.clone()).await["thing"]["size"],
            size
        );
        assert_eq!(refused(&bad, "shelf.add", thing).await, "invalid input");
    }
    assert_eq!(ten(&good, "small").await, (10, 10));
    assert_eq!(ten(&bad, "small").await, (10, 5));
    let odd = json!({"title": "a", "size": "vast"});
    assert!(refused(&good, "shelf.add", odd).await.contains("size"));
    good.cancel().await.unwrap();
    bad.cancel().await.unwrap();
    // Nothing of it is on the record of the app.
    for type_name in ["CallStarted", "SessionOpened", "RecordChanged"] {
        assert!(house.events_of(type_name).await.is_empty(), "{type_name}");
    }
    house.stop().await;
}

#[tokio::test]
async fn nobody_but_a_persona_finds_the_twins_and_nobody_does_where_they_are_off() {
    let with = house().await;
    let anna = with.user("anna").await;
    for (token, status) in [
        (anna.token.as_str(), StatusCode::NOT_FOUND),
        ("nonsense", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(asked(&with, token).await, status);
    }
    let tools = with.connect(&anna).await.list_all_tools().await.unwrap();
    assert!(tools.iter().all(|tool| !tool.name.starts_with("shelf")));
    with.stop().await;

    let without = House::start().await;
    let token = persona(&without).await;
    assert_eq!(asked(&without, &token).await, StatusCode::NOT_FOUND);
    without.stop().await;
}

async fn asked(house: &House, token: &str) -> StatusCode {
    let url = format!("{}/mcp/calibration/good", house.url);
    let request = reqwest::Client::new().post(url).bearer_auth(token);
    let request = request
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    request
        .body(rpc("tools/list", json!({})))
        .send()
        .await
        .unwrap()
        .status()
}
