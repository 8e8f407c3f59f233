use events::Intent;
use events::testing::id;
use serde_json::json;

use super::*;
use crate::brain::{EdgeClass, PlannedCall, ToolInfo};

#[expect(clippy::needless_pass_by_value, reason = "callers write the value in place")]
fn edge(class: EdgeClass, sent: Value) -> EdgeCall {
    EdgeCall {
        call: PlannedCall {
            tool: "todo.create".to_owned(),
            arguments: json!({"title": sent}),
            intent: Intent::Chaos,
            mistake: Some(class.name().to_owned()),
            retry_of: None,
            unsent: None,
        },
        field: "title".to_owned(),
        class,
        raw: None,
    }
}

fn past(outcome: CallOutcome) -> PastCall {
    PastCall {
        call_id: id("c"),
        tool: "todo.create".to_owned(),
        module: "todo".to_owned(),
        arguments: json!({}),
        intent: Intent::Chaos,
        mistake: None,
        retry_of: None,
        was_sent: true,
        outcome,
    }
}

fn taken(title: &Value) -> PastCall {
    past(CallOutcome::Ok {
        structured: json!({"task": {"id": "t1", "title": title}}),
        latency_ms: 1,
    })
}

fn refused(message: &str, cause: Cause) -> PastCall {
    past(CallOutcome::Error {
        message: message.to_owned(),
        latency_ms: 1,
        cause,
    })
}

/// What a module's list says afterwards.
fn listed(list: Option<Value>) -> Lists {
    let tool = ToolInfo {
        name: "todo.list".to_owned(),
        module: "todo".to_owned(),
        description: String::new(),
        input_schema: json!({"type": "object", "properties": {"limit": {"type": "integer", "maximum": 2}}}),
        read_only: true,
        destructive: false,
    };
    Lists::from([("todo".to_owned(), (brain::look(&[tool], "todo").unwrap(), list))])
}

fn verdict(class: EdgeClass, call: &PastCall, lists: &Lists) -> EdgeVerdict {
    let sent = json!("Cafe\u{301}");
    judge(&edge(class, sent), call, lists).0
}

#[test]
fn a_clean_refusal_and_a_clean_success_are_well_and_nothing_else_is() {
    let sent = json!("Cafe\u{301}");
    let twin = EdgeClass::DecomposedTwin;
    let list = listed(Some(json!({"tasks": [{"id": "t1", "title": sent}]})));
    assert_eq!(verdict(twin, &taken(&sent), &list), EdgeVerdict::Accepted);
    let no = refused("title: too long", Cause::Persona);
    assert_eq!(verdict(twin, &no, &list), EdgeVerdict::Refused);
    let inside = refused("error: SQLITE_CONSTRAINT", Cause::Persona);
    assert_eq!(verdict(twin, &inside, &list), EdgeVerdict::Broke);
    assert_eq!(
        verdict(twin, &refused("internal error", Cause::App), &list),
        EdgeVerdict::Broke
    );
    assert_eq!(
        verdict(twin, &refused("no answer", Cause::Infra), &list),
        EdgeVerdict::Unanswered
    );
}

#[test]
fn what_reads_otherwise_than_it_was_sent_is_altered_wherever_it_is_read() {
    let (sent, other) = (json!("Cafe\u{301}"), json!("Café"));
    let twin = EdgeClass::DecomposedTwin;
    let fine = listed(Some(json!({"tasks": [{"id": "t1", "title": sent}]})));
    assert_eq!(verdict(twin, &taken(&other), &fine), EdgeVerdict::Altered);
    let changed = listed(Some(json!({"tasks": [{"id": "t1", "title": other}]})));
    assert_eq!(verdict(twin, &taken(&sent), &changed), EdgeVerdict::Altered);
    let lost = listed(Some(json!({"tasks": [{"id": "t2"}]})));
    assert_eq!(verdict(twin, &taken(&sent), &lost), EdgeVerdict::Altered);
    let full = listed(Some(json!({"tasks": [{"id": "t2"}, {"id": "t3"}]})));
    assert_eq!(verdict(twin, &taken(&sent), &full), EdgeVerdict::Accepted);
    // A date may be written otherwise and mean the same.
    assert_eq!(
        verdict(EdgeClass::ImpossibleDate, &taken(&other), &fine),
        EdgeVerdict::Accepted
    );
}

#[test]
fn what_makes_a_list_fail_has_broken_the_app() {
    let (verdict, detail) = judge(
        &edge(EdgeClass::Nul, json!("a\u{0}")),
        &taken(&json!("a\u{0}")),
        &listed(None),
    );
    assert_eq!(verdict, EdgeVerdict::Broke);
    assert!(detail.unwrap().contains("todo"));
}

#[test]
fn a_number_that_was_rounded_is_named() {
    let (sent, read) = (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64));
    let (verdict, detail) = judge(&edge(EdgeClass::BeyondDouble, sent), &taken(&read), &Lists::new());
    assert_eq!(verdict, EdgeVerdict::Altered);
    assert_eq!(
        detail.unwrap(),
        "9007199254740993 was read back as 9007199254740992"
    );
}
