//! Lists: pages that belong to one caller, and word of a change for those whom it concerns.

use gateway::{CallContext, Change, GatewaySettings, Hint, PolicyRules, Scope, ToolError};
use serde_json::{Value, json};

use crate::harness::{House, Nothing, Plan, SOON, User, Whatever, message, rpc, tool};
use crate::stateless::modern;

async fn page(house: &House, user: &User, session: &str, cursor: Option<&str>) -> Value {
    let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
    let list = house
        .post(&user.token, rpc("tools/list", params))
        .header("mcp-session-id", session);
    message(list.send().await.unwrap()).await
}

fn names(page: &Value) -> Vec<String> {
    let tools = page["result"]["tools"].as_array().expect("a page of tools");
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end_and_together_are_the_sorted_list() {
    let house = House::with(|settings| settings.list_page_max = 4).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let (mut all, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = page(&house, &anna, &session, cursor.as_deref()).await;
        all.extend(names(&page));
        pages += 1;
        match page["result"]["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!((all.len(), pages), (11, 3));
    assert!(all.is_sorted());
    let empty = page(&house, &anna, &session, Some("")).await;
    assert_eq!(names(&empty).len(), 4, "an empty cursor is the start");
    let stateless = modern(&house, &anna, "tools/list", json!({"cursor": cursor}));
    let stateless = message(stateless.send().await.unwrap()).await;
    assert_eq!(
        names(&stateless).len(),
        3,
        "a cursor is the caller's, not the session's"
    );
    assert_eq!(stateless["result"]["cacheScope"], "private");
    house.stop().await;
}

#[tokio::test]
async fn a_list_begun_at_one_door_goes_on_at_another_of_the_same_house_and_for_its_owner_alone() {
    let settings = GatewaySettings {
        list_page_max: 4,
        ..GatewaySettings::default()
    };
    let house = House::with(|of_house| of_house.list_page_max = 4).await;
    let other = house.another_door(settings).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let list = async |house: &House, user: &User, params| {
        message(modern(house, user, "tools/list", params).send().await.unwrap()).await
    };
    let first = list(&house, &anna, json!({})).await;
    let cursor = json!({"cursor": first["result"]["nextCursor"]});
    let here = list(&house, &anna, cursor.clone()).await;
    let there = list(&other, &anna, cursor.clone()).await;
    assert_eq!((names(&there).len(), names(&here)), (4, names(&there)));
    let refused = list(&other, &ben, cursor).await;
    assert_eq!(refused["error"]["code"], -32_602, "{refused}");
    other.stop().await;
    house.stop().await;
}

#[tokio::test]
async fn a_cursor_of_somebody_else_or_of_nobody_is_invalid() {
    let house = House::with(|settings| settings.list_page_max = 4).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let (annas, bens) = (house.open_session(&anna).await, house.open_session(&ben).await);
    let first = page(&house, &anna, &annas, None).await;
    let cursor = first["result"]["nextCursor"].as_str().unwrap();
    assert_eq!(names(&page(&house, &anna, &annas, Some(cursor)).await).len(), 4);
    for (user, session, cursor) in [
        (&ben, &bens, cursor),
        (&anna, &annas, "4"),
        (&anna, &annas, "journal.add"),
        (&anna, &annas, &cursor[1..]),
    ] {
        let refused = page(&house, user, session, Some(cursor)).await;
        assert_eq!(refused["error"]["code"], -32_602, "{refused}");
    }
    house.stop().await;
}

/// What comes next on a stream that carries a message.
pub(crate) async fn next(stream: &mut reqwest::Response) -> Value {
    let mut text = String::new();
    loop {
        let chunk = tokio::time::timeout(SOON, stream.chunk()).await;
        let chunk = chunk
            .expect("something is said")
            .unwrap()
            .expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk));
        let mut data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        if let Some(message) = data.find_map(|data| serde_json::from_str(data.trim()).ok()) {
            return message;
        }
    }
}

#[tokio::test]
async fn a_change_is_told_to_those_whom_it_concerns_in_both_revisions() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let mut heard = Vec::new();
    for user in [&anna, &ben] {
        let session = house.open_session(user).await;
        let standing = house
            .http
            .get(format!("{}/mcp", house.url))
            .bearer_auth(&user.token);
        let standing = standing
            .header("mcp-session-id", &session)
            .header("accept", "text/event-stream");
        let listen = json!({"notifications": {"toolsListChanged": true}});
        let mut listening = modern(&house, user, "subscriptions/listen", listen)
            .send()
            .await
            .unwrap();
        let acknowledged = next(&mut listening).await;
        assert_eq!(
            acknowledged["method"], "notifications/subscriptions/acknowledged",
            "{acknowledged}"
        );
        heard.push((standing.send().await.unwrap(), listening));
    }
    house
        .gateway
        .notices()
        .announce(&Change::Tools, Some(&anna.id))
        .await;
    // Everybody's second notice is the first that concerns Ben: had he heard hers, it would come before this.
    house.gateway.notices().announce(&Change::Prompts, None).await;
    let [(mut annas, mut annas_listening), (mut bens, _bens_listening)] =
        <[_; 2]>::try_from(heard).expect("two of them");
    assert_eq!(
        next(&mut annas).await["method"],
        "notifications/tools/list_changed"
    );
    let tagged = next(&mut annas_listening).await;
    assert_eq!(tagged["method"], "notifications/tools/list_changed");
    let meta = &tagged["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 1, "{tagged}");
    let first_of_bens = next(&mut bens).await;
    assert_eq!(
        first_of_bens["method"], "notifications/prompts/list_changed",
        "hers is none of his business"
    );
    house.stop().await;
}

#[tokio::test]
async fn new_rules_are_told_to_those_whose_tools_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let rules = |version: u32, more: &str| {
        format!("version = {version}\n[[grant]]\nid = \"all\"\ntools = [\"todo.*\"]\n{more}")
    };
    std::fs::write(&file, rules(2, "")).unwrap();
    let house = House::with(|settings| {
        settings.policy.rules = PolicyRules::parse(&rules(2, "")).unwrap();
        settings.policy.file = Some(file.clone());
    })
    .await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let mut heard = Vec::new();
    for user in [&anna, &ben] {
        let session = house.open_session(user).await;
        let standing = house
            .http
            .get(format!("{}/mcp", house.url))
            .bearer_auth(&user.token);
        let standing = standing
            .header("mcp-session-id", &session)
            .header("accept", "text/event-stream");
        heard.push(standing.send().await.unwrap());
    }
    let hers = "[[grant]]\nid = \"hers\"\nusers = [\"anna@mana.test\"]\ntools = [\"notes.*\"]\n";
    std::fs::write(&file, rules(3, hers)).unwrap();
    assert_eq!(
        next(&mut heard[0]).await["method"],
        "notifications/tools/list_changed"
    );
    // What comes next is the first that Ben hears: hers was none of his business.
    house.gateway.notices().announce(&Change::Prompts, None).await;
    assert_eq!(
        next(&mut heard[1]).await["method"],
        "notifications/prompts/list_changed"
    );
    house.stop().await;
}

#[tokio::test]
async fn listening_does_not_keep_the_server_from_stopping_and_ends_in_good_order() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let listen = json!({"notifications": {"toolsListChanged": true}});
    let mut listening = modern(&house, &anna, "subscriptions/listen", listen)
        .send()
        .await
        .unwrap();
    next(&mut listening).await;
    let drained = house.gateway.drain(SOON);
    let told = next(&mut listening);
    let ((), last) = tokio::join!(drained, told);
    assert!(last["result"].is_object(), "the last word is the result: {last}");
    house.stop().await;
}

#[tokio::test]
async fn a_tool_nobody_is_shown_is_on_no_page() {
    let hidden = tool(
        "hidden.run",
        Scope::Admin,
        Hint::Read,
        |_: CallContext, _: Nothing| async { Ok::<_, ToolError>(Whatever { number: 1 }) },
    );
    let mut plan = Plan {
        tools: vec![hidden],
        ..Plan::default()
    };
    plan.settings.list_page_max = 1;
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let mut cursor = None;
    for _ in 0..11 {
        let page = page(&house, &anna, &session, cursor.as_deref()).await;
        assert_ne!(names(&page), ["hidden.run"]);
        cursor = page["result"]["nextCursor"].as_str().map(str::to_owned);
    }
    assert_eq!(cursor, None, "eleven pages of one tool each");
    house.stop().await;
}
