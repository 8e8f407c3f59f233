//! What a newcomer is told: every bad field by name, with what it must be, and never what was sent.

use serde_json::json;

use crate::harness::{House, refused};

#[tokio::test]
async fn each_bad_field_is_named_with_what_it_must_be() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    for (tool, arguments, expected) in [
        ("todo.create", json!({}), "title: required"),
        ("todo.create", json!({"title": ""}), "title: must not be empty"),
        ("todo.create", json!({"title": 5}), "title: must be a string"),
        (
            "todo.create",
            json!({"title": "x".repeat(501)}),
            "title: must have at most 500 characters",
        ),
        (
            "todo.create",
            json!({"title": "x", "description": null}),
            "description: must be a string",
        ),
        (
            "todo.create",
            json!({"title": "x", "priority": "asap"}),
            "priority: must be one of low, medium, high, urgent",
        ),
        (
            "todo.create",
            json!({"title": "x", "dueDate": "tomorrow"}),
            "dueDate: must be a date and time such as 2026-01-31T09:00:00Z",
        ),
        (
            "todo.create",
            json!({"title": "x", "due": "tomorrow"}),
            "due: unknown field, known are title, description, priority, dueDate",
        ),
        ("todo.list", json!({"limit": 0}), "limit: must be at least 1"),
        ("todo.list", json!({"limit": 501}), "limit: must be at most 500"),
        (
            "todo.list",
            json!({"limit": 1.5}),
            "limit: must be a whole number",
        ),
        (
            "todo.list",
            json!({"includeCompleted": "yes"}),
            "includeCompleted: must be true or false",
        ),
        (
            "todo.complete",
            json!({"id": "first"}),
            "id: must be an id as the list and create tools give it, such as 3f2b8c1e-5a4d-4e6f-8a7b-9c0d1e2f3a4b",
        ),
        (
            "habits.create",
            json!({"title": "x", "color": "red"}),
            "color: must be a color such as #6366f1",
        ),
        (
            "habits.create",
            json!({"title": "x", "targetPerDay": 0}),
            "targetPerDay: must be at least 1",
        ),
        (
            "habits.create",
            json!({"title": "x", "targetPerDay": "3"}),
            "targetPerDay: must be a whole number or null",
        ),
        (
            "habits.create",
            json!({"title": "x", "targetPerDay": 1e300}),
            "a number is too large",
        ),
        (
            "journal.add",
            json!({"content": "x", "entryDate": "2026-02-30"}),
            "entryDate: must be a date such as 2026-01-31",
        ),
        (
            "journal.add",
            json!({"content": "x", "tags": ["a", 2]}),
            "tags[1]: must be a string",
        ),
        ("notes.search", json!({"query": null}), "query: must be a string"),
        (
            "spaces.list",
            json!({"all": true}),
            "all: unknown field, this tool takes none",
        ),
    ] {
        assert_eq!(
            refused(&client, tool, arguments.clone()).await,
            expected,
            "{tool} {arguments}"
        );
    }
    let mood = refused(&client, "journal.add", json!({"content": "x", "mood": "happy"})).await;
    assert!(
        mood.starts_with("mood: must be one of dankbar, glücklich, zufrieden"),
        "{mood}"
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn all_faults_come_together_and_none_repeats_what_was_sent() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let secret = "CANARY-7731";
    let arguments = json!({"description": [secret], "priority": secret, "dueDate": secret, "id": secret});
    let told = refused(&client, "todo.create", arguments).await;
    assert_eq!(told.split("; ").count(), 5, "{told}");
    assert!(!told.contains(secret), "{told}");
    assert!(house.events_of("RecordChanged").await.is_empty());
    client.cancel().await.unwrap();
    house.stop().await;
}
