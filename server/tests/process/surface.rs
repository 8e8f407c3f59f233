//! What other programs see over NATS: the feed, alarms, jobs and the micro service, as their description says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use events::{
    Commit, CommitId, Delivery, EventLog as _, ExpectedSeq, SessionClosed, StreamSeq, Subject, read_to_end,
};
use futures::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use testkit::wait_until_async;

use crate::common::{Up, json as command_json, log_of, run};
use crate::viewers::{connect, house_client};

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);

async fn next(subscriber: &mut Subscriber) -> Message {
    tokio::time::timeout(WITHIN, subscriber.next())
        .await
        .unwrap()
        .unwrap()
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

async fn ask(client: &Client, subject: &str, question: Value) -> Value {
    let answer = client
        .request(subject.to_owned(), question.to_string().into())
        .await;
    body(&answer.unwrap())
}

fn description(name: &str) -> Value {
    let email = format!("persona.{name}@mana.test");
    let secret = SecretString::from(catalog::DEVELOPMENT_SEED_SECRET);
    let password = catalog::derive_password(&secret, &email);
    json!({
        "email": email, "name": name, "password": password.expose_secret(),
        "archetype": "adhd-student", "systemPrompt": "You are a secret.", "moduleMix": {"todo": 1}, "tickCadence": "daily",
    })
}

async fn enrolled(up: &Up, name: &str) -> String {
    let answer = reqwest::Client::new()
        .post(format!("{}/api/v1/personas/admin", up.api))
        .bearer_auth(up.admin_token())
        .json(&description(name))
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["userId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_the_tables_and_the_log_tell_of_one_event_by_one_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let credential = command_json(&up.data, &["viewers", "create", "--json"]);
    let (viewer, _) = connect(&credential).await;
    let mut feed = viewer.subscribe("dramatis.live.>").await.unwrap();
    viewer.flush().await.unwrap();

    let persona = enrolled(&up, "ada").await;
    let message = next(&mut feed).await;
    assert_eq!(
        message.subject.as_str(),
        format!("dramatis.live.persona.{persona}")
    );
    let told = body(&message);
    let headers = message.headers.clone().unwrap();
    assert_eq!(
        headers.get("Nats-Sequence").unwrap().as_str(),
        told["seq"].to_string()
    );
    assert_eq!(told["events"][0]["type"], "PersonaEnrolled");
    assert_eq!(told["events"][0]["data"]["name"], "ada");
    let text = told.to_string();
    assert!(!text.contains("secret") && !text.contains("@mana.test"), "{text}");

    // What the feed told is in the tables by then, and in the log at that place.
    let shown = ask(
        &viewer,
        "dramatis.query.personas.get",
        json!({ "persona": persona }),
    )
    .await;
    assert_eq!(shown["persona"]["name"], "ada");
    assert!(shown["as_of_seq"].as_u64().unwrap() >= told["seq"].as_u64().unwrap());
    let at = StreamSeq(told["seq"].as_u64().unwrap());
    let Some(Delivery::Commit(recorded)) = log_of(&up).await.at(at).await.unwrap() else {
        panic!("nothing at {at}");
    };
    assert_eq!(recorded.commit.id.to_string(), told["id"].as_str().unwrap());

    // A tick, all of it: every commit about the persona, in order, each naming the one before it.
    let (answer, code) = up.json(&["tick", "--all"]);
    assert_eq!(code, 0, "{answer}");
    let end = log_of(&up).await.state().await.unwrap().last_seq;
    let mut expected = Vec::new();
    read_to_end::<events::LogError>(&log_of(&up).await, at, |delivery| {
        if let Delivery::Commit(recorded) = delivery
            && recorded.commit.subject.live().is_some()
        {
            expected.push(recorded.seq.0);
        }
        Ok(())
    })
    .await
    .unwrap();
    let (mut seqs, mut previous) = (Vec::new(), at.0);
    while seqs.last() != expected.last() {
        let told = body(&next(&mut feed).await);
        assert_eq!(told["previous_seq"], previous);
        previous = told["seq"].as_u64().unwrap();
        seqs.push(previous);
    }
    assert_eq!(seqs, expected);

    // Who missed all of it asks, page by page, and gets the same.
    let (mut filled, mut after) = (Vec::new(), at.0);
    loop {
        let page = ask(
            &viewer,
            "dramatis.query.feed.since",
            json!({ "after": after, "limit": 3 }),
        )
        .await;
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() <= 3);
        filled.extend(messages.iter().map(|message| message["seq"].as_u64().unwrap()));
        after = page["next_after"].as_u64().unwrap();
        if page["at_end"] == true && after >= end.0 {
            break;
        }
    }
    assert_eq!(filled, expected);
}

/// The description of the surface: each address as the words between its dots, `{id}` standing for any one.
struct Described {
    document: Value,
}

impl Described {
    fn channels(&self) -> BTreeMap<String, Vec<String>> {
        let channels = self.document["channels"].as_object().unwrap().iter();
        channels
            .map(|(name, channel)| {
                let address = channel["address"].as_str().unwrap();
                (name.clone(), address.split('.').map(str::to_owned).collect())
            })
            .collect()
    }

    /// The channel that `subject` belongs to.
    fn channel_of(&self, subject: &str) -> Option<String> {
        let words: Vec<&str> = subject.split('.').collect();
        self.channels()
            .into_iter()
            .find(|(_, address)| {
                address.len() == words.len()
                    && address
                        .iter()
                        .zip(&words)
                        .all(|(word, is)| word == "{id}" || word == is)
            })
            .map(|(name, _)| name)
    }

    /// Holds `payload` against the schema that the channel's message names.
    fn check(&self, channel: &str, message: &str, payload: &Value) {
        let Some(reference) =
            self.document["channels"][channel]["messages"][message]["payload"]["$ref"].as_str()
        else {
            return;
        };
        let schema = self
            .document
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap();
        let validator = jsonschema::validator_for(schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(payload)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{channel} {message}: {faults:?}\n{payload}");
    }
}

/// Asks at every endpoint, well and badly, and holds questions and answers against their schemas.
async fn ask_everything(house: &Client, described: &Described, persona: &str) {
    for (name, question, should_fail) in [
        ("personas.list", json!({ "limit": 1 }), false),
        ("personas.get", json!({ "persona": persona }), false),
        ("personas.get", json!({ "persona": "nobody" }), true),
        ("feedback.summary", json!({}), false),
        ("actions.recent", json!({}), false),
        ("actions.recent", json!({ "persona": persona, "limit": 2 }), false),
        ("actions.recent", json!({ "limit": 0 }), true),
        ("tools.stats", json!({}), false),
        ("projections.status", json!({}), false),
        ("projections.status", json!({ "odd": 1 }), true),
        ("feed.since", json!({ "after": 0 }), false),
        ("alarms.list", json!({}), false),
        ("runner.pause", json!({}), false),
        ("runner.resume", json!({}), false),
        ("runner.pause", json!({}), false),
        ("runner.tick", json!({ "all": true }), false),
        ("runner.tick", json!({ "persona": "nobody@mana.test" }), true),
    ] {
        let subject = described.channels()[name].join(".");
        let request = async_nats::Request::new()
            .payload(question.to_string().into())
            .timeout(Some(WITHIN));
        let answer = house.send_request(subject, request).await.unwrap();
        let is_refused = answer
            .headers
            .as_ref()
            .is_some_and(|headers| headers.get("Nats-Service-Error-Code").is_some());
        assert_eq!(is_refused, should_fail, "{name}: {:?}", body(&answer));
        if !is_refused {
            assert!(body(&answer)["as_of_seq"].is_u64(), "{name}");
            described.check(name, "question", &question);
        }
        described.check(
            name,
            if is_refused { "refusal" } else { "answer" },
            &body(&answer),
        );
    }
}

/// Asks as `nats micro` does, in each of its ways.
async fn find_the_service(house: &Client, described: &Described) {
    let info = ask(house, "$SRV.INFO.dramatis", json!({})).await;
    let id = info["id"].as_str().unwrap();
    for verb in ["PING", "INFO", "STATS"] {
        for subject in [
            format!("$SRV.{verb}"),
            format!("$SRV.{verb}.dramatis"),
            format!("$SRV.{verb}.dramatis.{id}"),
        ] {
            let answer = ask(house, &subject, json!({})).await;
            described.check(&described.channel_of(&subject).unwrap(), "answer", &answer);
            assert_eq!(
                answer["type"],
                format!("io.nats.micro.v1.{}_response", verb.to_lowercase())
            );
        }
    }
    let stats = ask(house, "$SRV.STATS.dramatis", json!({})).await;
    let of = |name: &str| {
        let endpoints = stats["endpoints"].as_array().unwrap();
        endpoints
            .iter()
            .find(|endpoint| endpoint["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            &of("actions-recent")["num_requests"],
            &of("actions-recent")["num_errors"]
        ),
        (&json!(3), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subject_of_the_description_is_on_the_wire_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let described = Described {
        document: command_json(&up.data, &["schema", "asyncapi"]),
    };
    let house = house_client(&up).await;
    let mut wire = house.subscribe(">").await.unwrap();
    house.flush().await.unwrap();

    let persona = enrolled(&up, "ada").await;
    let (answer, code) = up.json(&["tick", "--all"]);
    assert_eq!(code, 0, "{answer}");
    ask_everything(&house, &described, &persona).await;
    find_the_service(&house, &described).await;
    assert!(
        run(&up.data, &["mark", "deploy", "v2", "--note", "faster"])
            .status
            .success()
    );
    // Progress of jobs, whoever runs them.
    assert!(run(&up.data, &["verify", "--json"]).status.success());
    assert!(run(&up.data, &["rebuild", "--json"]).status.success());
    // An alarm: a message that nobody can fold.
    house
        .publish("dramatis.persona.broken", "not a commit".into())
        .await
        .unwrap();
    let raised = async || {
        let alarms = ask(&house, "dramatis.query.alarms.list", json!({})).await;
        described.check("alarms.list", "answer", &alarms);
        alarms["alarms"][0]["rule"] == "events-parked"
    };
    assert!(wait_until_async(WITHIN, raised).await);

    let (mut seen, mut strays) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let message = next(&mut wire).await;
        let subject = message.subject.as_str();
        if subject == "the.end" {
            break;
        }
        if subject.starts_with("$JS.") || subject.starts_with("_INBOX.") {
            continue;
        }
        match described.channel_of(subject) {
            Some(channel) => {
                let is_told = ["live.", "alarm.", "job."]
                    .iter()
                    .any(|kind| channel.starts_with(kind));
                if is_told {
                    described.check(&channel, "message", &body(&message));
                }
                // It stands before it is told, and nothing else is waited for.
                if channel == "alarm.events-parked" {
                    house.publish("the.end", "".into()).await.unwrap();
                }
                seen.insert(channel);
            }
            None => drop(strays.insert(subject.to_owned())),
        }
    }
    assert_eq!(strays, BTreeSet::new());
    // Those need faults that other tests make.
    let elsewhere = [
        "alarm.log-down",
        "alarm.projection-halted",
        "alarm.projection-lag",
        "alarm.cast-down",
    ];
    let missing: Vec<String> = described
        .channels()
        .into_keys()
        .filter(|channel| !seen.contains(channel) && !elsewhere.contains(&channel.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Commits of 20 kB, as the feed tells them.
async fn append_large(log: &events::JetStreamLog, count: u64) {
    let subject: Subject = "dramatis.session.nobody".parse().unwrap();
    for number in 0..count {
        let closed = SessionClosed {
            session_id: events::testing::id("nobody's"),
            reason: "x".repeat(20_000),
            closed_at: events::testing::sample_time(),
        };
        let id = CommitId::derived(&["large", &number.to_string()]);
        let commit = Commit::new(
            id,
            subject.clone(),
            events::testing::sample_time(),
            vec![closed.into()],
        );
        assert!(
            !log.append(&commit, ExpectedSeq::Any)
                .await
                .unwrap()
                .unwrap()
                .duplicate
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_keeps_nobody_from_writing_or_reading() {
    // More than the sockets between them hold.
    const COMMITS: u64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let credential = command_json(&up.data, &["viewers", "create", "--json"]);
    let (viewer, _) = connect(&credential).await;
    let mut feed = viewer.subscribe("dramatis.live.>").await.unwrap();
    viewer.flush().await.unwrap();

    // Subscribes, and never reads a byte.
    let address = credential["url"]
        .as_str()
        .unwrap()
        .trim_start_matches("nats://")
        .to_owned();
    let mut stalled = TcpStream::connect(address).unwrap();
    let hello = json!({
        "verbose": false, "pedantic": false, "user": credential["user"], "pass": credential["password"],
        "lang": "test", "version": "0", "protocol": 1, "headers": true,
    });
    write!(stalled, "CONNECT {hello}\r\nSUB dramatis.live.> 1\r\nPING\r\n").unwrap();

    let log = log_of(&up).await;
    append_large(&log, COMMITS).await;
    let mut heard = 0;
    while heard < COMMITS {
        if body(&next(&mut feed).await)["subject"] == "dramatis.session.nobody" {
            heard += 1;
        }
    }
    drop(stalled);
    assert_eq!(up.stop(), Some(0));
}
