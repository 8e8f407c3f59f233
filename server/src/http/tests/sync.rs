use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use events::Clock as _;
use futures::StreamExt as _;
use http::{HeaderName, Request, StatusCode};
use serde_json::{Value, json};

use super::{Answer, TestHouse, request};

const EPOCH: &str = "1970-01-01T00:00:00.000Z";
const AT: &str = "2026-03-01T08:00:00.000Z";

/// A sync client as those of the system before this one are.
struct Client<'a> {
    house: &'a TestHouse,
    token: String,
    id: &'static str,
}

impl<'a> Client<'a> {
    async fn of(house: &'a TestHouse, email: &str, id: &'static str) -> Self {
        let (token, _) = house.register(email).await;
        Self { house, token, id }
    }

    /// Another device of the same account.
    fn device(&self, id: &'static str) -> Self {
        Self {
            house: self.house,
            token: self.token.clone(),
            id,
        }
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
        let mut asked = request(method, path, body);
        for (name, value) in [
            ("authorization", format!("Bearer {}", self.token).as_str()),
            ("x-client-id", self.id),
        ] {
            let name = HeaderName::try_from(name).unwrap();
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        asked
    }

    async fn try_push(&self, since: &str, changes: Value) -> Answer {
        let body = json!({ "clientId": self.id, "since": since, "changes": changes });
        self.house
            .send(self.request("POST", "/sync/todo", Some(&body)))
            .await
    }

    async fn push(&self, since: &str, changes: Value) -> Answer {
        let answer = self.try_push(since, changes).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer
    }

    async fn pull(&self, since: &str) -> Answer {
        let path = format!("/sync/todo/pull?collection=tasks&since={since}");
        let answer = self.house.send(self.request("GET", &path, None)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer
    }

    async fn space(&self) -> String {
        let spaces = self
            .house
            .ask_as(&self.token, "GET", "/api/v1/spaces", None)
            .await;
        spaces.json["spaces"][0]["id"].as_str().unwrap().to_owned()
    }
}

fn written(id: &str, field: &str, value: &Value, at: &str) -> Value {
    let fields = json!({ field: { "value": value, "at": at } });
    json!({ "table": "tasks", "id": id, "op": "update", "fields": fields })
}

#[track_caller]
fn changes(answer: &Answer) -> &Vec<Value> {
    answer.json["serverChanges"].as_array().unwrap()
}

#[track_caller]
fn cursor(answer: &Answer) -> &str {
    answer.json["syncedUntil"].as_str().unwrap()
}

/// The way a script of before went: insert, pull, update, pull, delete.
#[tokio::test]
async fn an_older_client_inserts_pulls_updates_and_deletes_in_its_own_words() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let b = a.device("client-b");
    let insert = json!([{ "table": "tasks", "id": "r1", "op": "insert",
        "data": { "id": "r1", "title": "first words", "completed": false } }]);
    let pushed = a.push(EPOCH, insert).await;
    assert_eq!(
        Answer::members(&pushed.json),
        ["conflicts", "serverChanges", "syncedUntil"]
    );
    assert_eq!(
        (changes(&pushed).len(), &pushed.json["conflicts"]),
        (0, &json!([]))
    );

    let pulled = b.pull("1970-01-01T00:00:00Z").await;
    let change = &changes(&pulled)[0];
    assert_eq!(
        (&change["table"], &change["id"], &change["op"]),
        (&json!("tasks"), &json!("r1"), &json!("update"))
    );
    assert_eq!(change["fields"]["title"]["value"], "first words");
    assert_eq!(change["fields"]["completed"]["value"], false);

    let update = json!([{ "table": "tasks", "id": "r1", "op": "update", "fields": {
        "title": { "value": "second words", "updatedAt": "2026-03-01T08:00:00Z" } } }]);
    b.push(cursor(&pulled), update).await;
    let seen = a.pull(cursor(&pushed)).await;
    let title = &changes(&seen)[0]["fields"]["title"];
    assert_eq!(
        *title,
        json!({ "value": "second words", "at": AT, "updatedAt": AT })
    );
    assert_eq!(
        changes(&seen)[0]["fields"].as_object().unwrap().len(),
        1,
        "its own `completed` does not come back: {}",
        seen.text
    );

    a.push(
        cursor(&seen),
        json!([{ "table": "tasks", "id": "r1", "op": "delete" }]),
    )
    .await;
    let gone = b.pull(cursor(&pulled)).await;
    let change = &changes(&gone)[0];
    assert_eq!(change["op"], "delete");
    assert!(
        change["deletedAt"].as_str().unwrap().ends_with('Z'),
        "{}",
        gone.text
    );
    let again = b.pull(cursor(&gone)).await;
    assert_eq!(changes(&again).len(), 0, "{}", again.text);
}

#[tokio::test]
async fn a_client_never_gets_its_own_changes_back_and_sending_twice_is_sending_once() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let change = || json!([written("r1", "priority", &json!("high"), AT)]);
    for _ in 0..2 {
        let pushed = a.push(EPOCH, change()).await;
        assert_eq!(changes(&pushed).len(), 0, "{}", pushed.text);
        assert_eq!(changes(&a.pull(cursor(&pushed)).await).len(), 0);
        assert_eq!(changes(&a.pull(EPOCH).await).len(), 0);
    }
    assert_eq!(changes(&a.device("client-b").pull(EPOCH).await).len(), 1);
}

#[tokio::test]
async fn the_later_write_of_a_field_stands_whoever_comes_first_and_the_loser_is_told() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let b = a.device("client-b");
    let (late, early) = ("2026-03-01T09:00:00.000Z", AT);
    let by_a = a
        .push(EPOCH, json!([written("r1", "priority", &json!("high"), late)]))
        .await;
    // It has seen the later one already, and its clock is behind.
    let seen = b.pull(EPOCH).await;
    let told = b
        .push(
            cursor(&seen),
            json!([written("r1", "priority", &json!("low"), early)]),
        )
        .await;
    assert_eq!(
        changes(&told)[0]["fields"]["priority"]["value"],
        "high",
        "{}",
        told.text
    );
    assert_eq!(
        changes(&a.pull(cursor(&by_a)).await).len(),
        0,
        "nothing changed for it"
    );
    // Of two writes of the same time the same one stands in both orders.
    for (first, second, id) in [("x", "y", "r2"), ("y", "x", "r3")] {
        a.push(EPOCH, json!([written(id, "priority", &json!(first), late)]))
            .await;
        b.push(EPOCH, json!([written(id, "priority", &json!(second), late)]))
            .await;
    }
    let c = a.device("client-c").pull(EPOCH).await;
    let stands = |id: &str| {
        let change = changes(&c).iter().find(|change| change["id"] == id).unwrap();
        change["fields"]["priority"]["value"].clone()
    };
    assert_eq!(stands("r2"), stands("r3"), "{}", c.text);
}

#[tokio::test]
async fn plaintext_of_a_sealed_field_is_stored_sealed_and_handed_out_as_it_came() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let own = "enc:1:AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    a.push(
        EPOCH,
        json!([
            written("r1", "title", &json!("canary-plain"), AT),
            written("r2", "title", &json!(own), AT),
            written("r3", "title", &Value::Null, AT),
        ]),
    )
    .await;
    let pulled = a.device("client-b").pull(EPOCH).await;
    let titles: Vec<&Value> = changes(&pulled)
        .iter()
        .map(|change| &change["fields"]["title"]["value"])
        .collect();
    assert_eq!(titles, [&json!("canary-plain"), &json!(own), &Value::Null]);
    let mut log = String::new();
    events::read_to_end(&house.log.inner, events::StreamSeq::ZERO, |delivery| {
        write!(log, "{delivery:?}").unwrap();
        Ok::<_, events::LogError>(())
    })
    .await
    .unwrap();
    assert!(log.contains("r1") && !log.contains("canary-plain"));
}

#[tokio::test]
async fn pages_lose_nothing_while_others_write_and_end() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let b = a.device("client-b");
    let all: Vec<Value> = (0..1_500)
        .map(|number| written(&format!("r{number}"), "priority", &json!(number), AT))
        .collect();
    a.push(EPOCH, Value::from(all)).await;
    let mut seen = std::collections::BTreeMap::new();
    let (mut since, mut pages) = (EPOCH.to_owned(), 0);
    loop {
        let page = b.pull(&since).await;
        for change in changes(&page) {
            let id = change["id"].as_str().unwrap().to_owned();
            seen.insert(id, change["fields"]["priority"]["value"].clone());
        }
        cursor(&page).clone_into(&mut since);
        pages += 1;
        if pages == 1 {
            assert_eq!(page.json["hasMore"], true, "there are more than a page holds");
            // One that was on the first page, one that is yet to come, one that is new.
            let later = "2026-03-01T09:00:00.000Z";
            let meanwhile = ["r1", "r1400", "new"].map(|id| written(id, "priority", &json!(id), later));
            a.push(EPOCH, json!(meanwhile)).await;
        }
        if page.json["hasMore"] != true && changes(&page).is_empty() {
            break;
        }
        assert!(pages < 20, "it does not end");
    }
    assert_eq!(seen.len(), 1_501);
    for id in ["r1", "r1400", "new"] {
        assert_eq!(seen[id], json!(id));
    }
}

#[tokio::test]
async fn a_space_one_joins_later_comes_whole_and_one_that_is_left_comes_no_more() {
    let house = TestHouse::open().await;
    let anna = Client::of(&house, "anna@example.org", "client-a").await;
    let ben = Client::of(&house, "ben@example.org", "client-b").await;
    let team = json!({ "name": "Team", "type": "team" });
    let team = house
        .ask_as(&anna.token, "POST", "/api/v1/spaces", Some(&team))
        .await;
    let team = team.json["space"]["id"].as_str().unwrap().to_owned();
    let in_team = |id: &str| {
        let mut change = written(id, "priority", &json!("high"), AT);
        change["spaceId"] = json!(team);
        json!([change])
    };
    let refused = ben.try_push(EPOCH, in_team("b0")).await;
    refused.assert_problem(StatusCode::FORBIDDEN, "NOT_A_MEMBER");
    assert!(refused.text.contains("changes[0].spaceId"), "{}", refused.text);

    anna.push(EPOCH, in_team("a1")).await;
    anna.push(EPOCH, json!([written("mine", "priority", &json!("low"), AT)]))
        .await;
    let before = ben.pull(EPOCH).await;
    assert_eq!(changes(&before).len(), 0, "{}", before.text);

    let invitation = json!({ "email": "ben@example.org" });
    let path = format!("/api/v1/spaces/{team}/invitations");
    let invited = house.ask_as(&anna.token, "POST", &path, Some(&invitation)).await;
    let id = invited.json["invitation"]["id"].as_str().unwrap();
    let accept = format!("/api/v1/me/invitations/{id}/accept");
    house.ask_as(&ben.token, "POST", &accept, None).await;
    let after = ben.pull(cursor(&before)).await;
    assert_eq!(changes(&after).len(), 1, "{}", after.text);
    assert_eq!(changes(&after)[0]["spaceId"], json!(team));

    let leave = format!("/api/v1/spaces/{team}/leave");
    house.ask_as(&ben.token, "POST", &leave, None).await;
    anna.push(EPOCH, in_team("a2")).await;
    for since in [EPOCH, cursor(&after)] {
        assert_eq!(changes(&ben.pull(since).await).len(), 0);
    }
    let mut there = ben.request("GET", "/sync/todo/pull?collection=tasks", None);
    there.headers_mut().insert("x-mana-space", team.parse().unwrap());
    house
        .send(there)
        .await
        .assert_problem(StatusCode::FORBIDDEN, "NOT_A_MEMBER");
}

#[tokio::test]
async fn tools_and_sync_clients_write_the_same_records_and_the_one_that_says_done_has_won() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let id = "018f0000-0000-7000-8000-000000000001";
    // Its clock is ahead, within what is taken.
    let ahead = house.app.clock.now() + Duration::from_mins(3);
    let insert = json!([{ "table": "tasks", "id": id, "op": "insert", "data": {
        "title": "Milch", "priority": "high", "isCompleted": false, "updatedAt": ahead.to_string() } }]);
    let pushed = a.push(EPOCH, insert).await;
    let space = a.space().await;
    let done = super::spaces::call(&house, &a.token, &space, "todo.complete", json!({ "id": id })).await;
    assert!(done.text.contains("\"isError\":false"), "{}", done.text);
    let seen = a.pull(cursor(&pushed)).await;
    assert_eq!(
        changes(&seen)[0]["fields"]["isCompleted"]["value"],
        true,
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn a_refusal_names_the_field_and_takes_nothing() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let good = written("good", "priority", &json!("high"), AT);
    let ahead = (house.app.clock.now() + Duration::from_mins(6)).to_string();
    let mut newer = good.clone();
    newer["schemaVersion"] = json!(2);
    let mut timeless = good.clone();
    timeless["fields"]["priority"]["at"] = json!("yesterday");
    for (bad, code, field) in [
        (
            json!({ "id": "r", "op": "update" }),
            "INVALID_FIELDS",
            "changes[1].table",
        ),
        (
            json!({ "table": "tasks", "op": "update" }),
            "INVALID_FIELDS",
            "changes[1].id",
        ),
        (
            json!({ "table": "tasks", "id": "r", "op": "upsert" }),
            "INVALID_FIELDS",
            "changes[1].op",
        ),
        (newer, "INVALID_FIELDS", "changes[1].schemaVersion"),
        (timeless, "INVALID_FIELDS", "changes[1].fields.priority.at"),
        (
            written("r", "priority", &json!(1), &ahead),
            "CLOCK_AHEAD",
            "changes[1].fields.priority.at",
        ),
    ] {
        let answer = a.try_push(EPOCH, json!([good, bad])).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, code);
        assert_eq!(answer.json["faults"][0]["field"], field, "{}", answer.text);
    }
    let large = json!([good, written("r", "notes", &json!("x".repeat(800_000)), AT)]);
    let answer = a.try_push(EPOCH, large).await;
    answer.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
    assert!(answer.text.contains("changes[1]"), "{}", answer.text);
    let beyond = json!([written("r", "notes", &json!("x".repeat(10 * 1024 * 1024)), AT)]);
    let answer = a.try_push(EPOCH, beyond).await;
    answer.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
    let answer = a.try_push("no-cursor", json!([good])).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let newer = json!({ "clientId": "a", "schemaVersion": 2, "changes": [good] });
    let answer = house.send(a.request("POST", "/sync/todo", Some(&newer))).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    assert_eq!(house.commits().await, 0, "nothing of it was taken");
}

#[tokio::test]
async fn several_megabytes_are_taken_in_one_push() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let large: Vec<Value> = (0..12)
        .map(|number| written(&format!("r{number}"), "notes", &json!("x".repeat(600_000)), AT))
        .collect();
    a.push(EPOCH, Value::from(large)).await;
    let (b, mut since, mut count) = (a.device("client-b"), EPOCH.to_owned(), 0);
    loop {
        let page = b.pull(&since).await;
        assert!(page.text.len() < 6 * 1024 * 1024, "a page is bounded");
        count += changes(&page).len();
        cursor(&page).clone_into(&mut since);
        if page.json["hasMore"] != true {
            break;
        }
    }
    assert_eq!(count, 12);
}

#[tokio::test]
async fn a_stream_says_what_is_new_as_it_happens_and_is_taken_up_again_where_it_was() {
    let house = TestHouse::open().await;
    let a = Client::of(&house, "anna@example.org", "client-a").await;
    let b = a.device("client-b");
    let path = "/sync/todo/stream?collections=tasks,projects";
    let open = async |from: Option<&str>| {
        let mut asked = b.request("GET", path, None);
        if let Some(from) = from {
            asked.headers_mut().insert("last-event-id", from.parse().unwrap());
        }
        let response = tower::ServiceExt::oneshot(house.front.clone(), asked)
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body().into_data_stream()
    };
    let next = async |stream: &mut axum::body::BodyDataStream| {
        let told = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        String::from_utf8(told.unwrap().unwrap().unwrap().to_vec()).unwrap()
    };
    let mut stream = open(None).await;
    a.push(EPOCH, json!([written("r1", "priority", &json!("first"), AT)]))
        .await;
    let told = next(&mut stream).await;
    assert!(
        told.starts_with("event: changes\n") && told.contains("\"first\""),
        "{told}"
    );
    let id = told.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    drop(stream);

    a.push(EPOCH, json!([written("r2", "priority", &json!("second"), AT)]))
        .await;
    let told = next(&mut open(Some(id)).await).await;
    assert!(
        told.contains("\"second\"") && !told.contains("\"first\""),
        "{told}"
    );
}

#[tokio::test]
async fn without_a_token_nobody_syncs() {
    let house = TestHouse::open().await;
    let body = json!({ "clientId": "bad", "changes": [] });
    for (method, path, body) in [
        ("POST", "/sync/todo", Some(&body)),
        ("GET", "/sync/todo/pull?collection=tasks", None),
        ("GET", "/sync/todo/stream", None),
    ] {
        let answer = house.ask(method, path, body).await;
        answer.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
    }
}
