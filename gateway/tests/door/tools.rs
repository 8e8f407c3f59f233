//! The eleven tools, as a client uses them.

use rmcp::model::PaginatedRequestParams;
use serde_json::json;

use crate::harness::{House, call, error_code, refused};

const NOBODY: &str = "3f2b8c1e-5a4d-4e6f-8a7b-9c0d1e2f3a4b";

#[tokio::test]
async fn a_stock_client_sees_eleven_tools_and_reads_back_what_it_wrote() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let tools = client.list_all_tools().await.unwrap();
    assert_eq!(tools.len(), 11);
    assert!(tools.is_sorted_by_key(|tool| tool.name.clone()));
    let read = tools
        .iter()
        .find(|tool| tool.name == "todo.list")
        .unwrap()
        .annotations
        .clone()
        .unwrap();
    assert_eq!(
        (read.read_only_hint, read.destructive_hint, read.open_world_hint),
        (Some(true), Some(false), Some(false))
    );

    let task = json!({"title": "Milch kaufen", "description": "zwei Liter", "priority": "high", "dueDate": "2026-02-01T09:00:00Z"});
    let created = call(&client, "todo.create", task).await["task"].clone();
    let listed = call(&client, "todo.list", json!({})).await["tasks"].clone();
    assert_eq!(listed, json!([created]));
    assert_eq!(
        (&created["title"], &created["description"]),
        (&json!("Milch kaufen"), &json!("zwei Liter"))
    );
    assert_eq!(
        (&created["isCompleted"], &created["completedAt"]),
        (&json!(false), &json!(null))
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_list_has_one_page() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let page = |cursor: &str| {
        client.list_tools(Some(
            PaginatedRequestParams::default().with_cursor(Some(cursor.to_owned())),
        ))
    };
    assert_eq!(page("").await.unwrap().tools.len(), 11);
    assert!(page("2").await.is_err());
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn tasks_are_completed_once_and_then_left_out() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let id = call(&client, "todo.create", json!({"title": "eins"})).await["task"]["id"].clone();
    call(&client, "todo.create", json!({"title": "zwei"})).await;
    for _ in 0..2 {
        assert_eq!(
            call(&client, "todo.complete", json!({"id": id})).await,
            json!({"ok": true})
        );
    }
    assert_eq!(
        house.events_of("RecordChanged").await.len(),
        3,
        "completing again writes nothing"
    );
    let titles = |tasks: serde_json::Value| {
        tasks["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["title"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(call(&client, "todo.list", json!({})).await), ["zwei"]);
    let all = call(&client, "todo.list", json!({"includeCompleted": true})).await;
    assert_eq!(titles(all.clone()), ["eins", "zwei"]);
    assert!(all["tasks"][0]["completedAt"].is_string());
    assert_eq!(
        titles(
            call(
                &client,
                "todo.list",
                json!({"includeCompleted": true, "limit": 1})
            )
            .await
        ),
        ["eins"]
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn habits_are_made_changed_and_put_away() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let habit = call(&client, "habits.create", json!({"title": "Lesen"})).await["habit"].clone();
    assert_eq!(
        (&habit["icon"], &habit["color"], &habit["targetPerDay"]),
        (&json!("star"), &json!("#6366f1"), &json!(null))
    );
    let id = habit["id"].clone();
    call(
        &client,
        "habits.update",
        json!({"id": id, "targetPerDay": 3.0, "title": "Viel lesen"}),
    )
    .await;
    let listed = call(&client, "habits.list", json!({})).await["habits"][0].clone();
    assert_eq!(
        (&listed["title"], &listed["targetPerDay"], &listed["icon"]),
        (&json!("Viel lesen"), &json!(3), &json!("star"))
    );
    call(&client, "habits.update", json!({"id": id, "targetPerDay": null})).await;
    call(&client, "habits.archive", json!({"id": id})).await;
    assert_eq!(call(&client, "habits.list", json!({})).await["habits"], json!([]));
    let archived = call(&client, "habits.list", json!({"includeArchived": true})).await["habits"][0].clone();
    assert_eq!(
        (&archived["isArchived"], &archived["targetPerDay"]),
        (&json!(true), &json!(null))
    );
    call(&client, "habits.archive", json!({"id": id, "archived": false})).await;
    assert_eq!(
        call(&client, "habits.list", json!({})).await["habits"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let nothing = refused(&client, "habits.update", json!({"id": id})).await;
    assert!(nothing.contains("at least one of title"), "{nothing}");
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn notes_are_found_by_any_part_of_their_text_whatever_the_case() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    call(
        &client,
        "notes.create",
        json!({"title": "Einkauf", "content": "Äpfel und Brot"}),
    )
    .await;
    call(
        &client,
        "notes.create",
        json!({"title": "Ideen", "isPinned": true, "color": "gelb"}),
    )
    .await;
    let titles = async |arguments| {
        let found = call(&client, "notes.search", arguments).await;
        found["notes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|note| note["title"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(json!({"query": "äPFEL"})).await, ["Einkauf"]);
    assert_eq!(titles(json!({"query": "idee"})).await, ["Ideen"]);
    assert_eq!(titles(json!({"query": "Birne"})).await, [""; 0]);
    assert_eq!(
        titles(json!({})).await,
        ["Ideen", "Einkauf"],
        "the most recent first"
    );
    assert_eq!(titles(json!({"limit": 1})).await, ["Ideen"]);
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_journal_entry_is_for_today_where_its_writer_lives() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let zone = jiff::tz::TimeZone::get("Pacific/Auckland").unwrap();
    let today = || {
        events::Clock::now(&events::SystemClock::new())
            .to_zoned(zone.clone())
            .date()
            .to_string()
    };
    let before = today();
    let entry = json!({"content": "Ein guter Tag.\nWirklich gut.", "mood": "glücklich", "tags": ["sommer"]});
    let entry = call(&client, "journal.add", entry).await["entry"].clone();
    assert!(
        [before, today()].contains(&entry["entryDate"].as_str().unwrap().to_owned()),
        "{entry}"
    );
    assert_eq!(
        (&entry["wordCount"], &entry["mood"], &entry["tags"]),
        (&json!(5), &json!("glücklich"), &json!(["sommer"]))
    );
    assert_eq!(
        (&entry["title"], &entry["isFavorite"]),
        (&json!(null), &json!(false))
    );
    let dated = call(
        &client,
        "journal.add",
        json!({"content": "x", "entryDate": "2026-01-31", "title": "Alt"}),
    )
    .await;
    assert_eq!(
        (&dated["entry"]["entryDate"], &dated["entry"]["title"]),
        (&json!("2026-01-31"), &json!("Alt"))
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn ids_of_nothing_and_of_others_are_errors_that_say_what_to_do() {
    let house = House::start().await;
    let annas = house.connect(&house.user("anna").await).await;
    let bens = house.connect(&house.user("ben").await).await;
    let task = call(&annas, "todo.create", json!({"title": "geheim"})).await["task"]["id"].clone();
    let habit = call(&annas, "habits.create", json!({"title": "Lesen"})).await["habit"]["id"].clone();
    for (tool, arguments, list) in [
        ("todo.complete", json!({"id": NOBODY}), "todo.list"),
        ("todo.complete", json!({"id": task}), "todo.list"),
        ("habits.archive", json!({"id": habit}), "habits.list"),
        (
            "habits.update",
            json!({"id": habit, "title": "mein"}),
            "habits.list",
        ),
        ("habits.update", json!({"id": NOBODY}), "habits.list"),
    ] {
        let reason = refused(&bens, tool, arguments).await;
        assert!(
            reason.contains("there is no") && reason.contains(list),
            "{tool}: {reason}"
        );
    }
    assert_eq!(call(&bens, "todo.list", json!({})).await["tasks"], json!([]));
    assert_eq!(
        call(&annas, "habits.list", json!({})).await["habits"][0]["title"],
        "Lesen"
    );
    annas.cancel().await.unwrap();
    bens.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn members_of_a_space_read_each_others_sealed_fields() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    let in_team = async |user: &crate::harness::User, tool: &str, arguments: serde_json::Value| {
        let body = crate::harness::rpc("tools/call", json!({"name": tool, "arguments": arguments}));
        let opened = house
            .post(&user.token, crate::harness::initialize())
            .header("x-mana-space", team.as_str());
        let session = opened.send().await.unwrap().headers()["mcp-session-id"].clone();
        let request = house
            .post(&user.token, body)
            .header("x-mana-space", team.as_str())
            .header("mcp-session-id", session);
        crate::harness::message(request.send().await.unwrap()).await["result"]["structuredContent"].clone()
    };
    in_team(&anna, "todo.create", json!({"title": "gemeinsam"})).await;
    let seen = in_team(&ben, "todo.list", json!({})).await;
    assert_eq!(seen["tasks"][0]["title"], "gemeinsam", "{seen}");
    let spaces = in_team(&ben, "spaces.list", json!({})).await;
    assert_eq!(
        (&spaces["activeSpaceId"], &spaces["spaces"][0]["type"]),
        (&json!(team.as_str()), &json!("personal"))
    );
    assert_eq!(
        (&spaces["spaces"][1]["type"], &spaces["spaces"][1]["role"]),
        (&json!("team"), &json!("member"))
    );
    house.stop().await;
}

#[tokio::test]
async fn an_unknown_tool_is_invalid_params() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    assert_eq!(error_code(&client, "todo.destroy", json!({})).await, -32_602);
    client.cancel().await.unwrap();
    house.stop().await;
}
