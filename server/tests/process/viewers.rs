//! A viewer's credential: it may look, and nothing else, whatever it tries.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use events::EventLog as _;
use futures::StreamExt as _;
use serde_json::{Value, json};
use testkit::wait_until_async;

use crate::common::{Up, json as command_json, log_of, run};

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);

/// Connects with a credential as `viewers create --json` printed it, and keeps what the server says against it.
pub(crate) async fn connect(credential: &Value) -> (Client, Arc<Mutex<Vec<String>>>) {
    let text = |name: &str| credential[name].as_str().unwrap().to_owned();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    let client = ConnectOptions::new()
        .user_and_password(text("user"), text("password"))
        .custom_inbox_prefix(text("inbox_prefix"))
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                heard.lock().unwrap().push(error.to_string());
            }
            async {}
        })
        .connect(text("url"))
        .await
        .unwrap();
    (client, said)
}

/// Everything that writes, steers or manages, as far as NATS knows ways to.
fn mutating_subjects() -> Vec<String> {
    let mut subjects: Vec<String> = [
        "dramatis.persona.p",
        "dramatis.record.r",
        "dramatis.session.s",
        "dramatis.live.persona.p",
        "dramatis.live.session.s",
        "dramatis.alarm.critical.log-down",
        "dramatis.job.rebuild.progress",
        "dramatis.control.runner.pause",
        "dramatis.control.runner.resume",
        "dramatis.control.runner.tick",
        "dramatis.control.anything.else",
        "dramatis.personas.list",
        "dramatis.query",
        "dramatis",
        "DRAMATIS",
        "DRAMATIS_TICKS",
        "dramatis.tick.due.p",
        "anything.at.all",
        "_INBOX.somebody.else",
        "_INBOX_another.1",
        "$KV.bucket.key",
        "$O.bucket.C.object",
        "$JS.ACK.DRAMATIS.c.1.1.1.1.1",
        "$JS.FC.DRAMATIS.c.1",
        "$SRV",
        "$SRV.SCHEMA",
        "$SRV.PING.another",
        "$SRV.INFO.another.id",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.SERVER.X.RELOAD",
        "$SYS.REQ.ACCOUNT.$G.CONNZ",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.CLAIMS.DELETE",
        "$SYS.REQ.ACCOUNT.A.CLAIMS.UPDATE",
        "$SYS.REQ.USER.AUTH",
        "$SYS.ACCOUNT.$G.DISCONNECT",
    ]
    .map(str::to_owned)
    .to_vec();
    for verb in [
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "STREAM.CREATE.DRAMATIS",
        "STREAM.CREATE.OTHER",
        "STREAM.UPDATE.DRAMATIS",
        "STREAM.DELETE.DRAMATIS",
        "STREAM.PURGE.DRAMATIS",
        "STREAM.INFO.DRAMATIS",
        "STREAM.MSG.GET.DRAMATIS",
        "STREAM.MSG.DELETE.DRAMATIS",
        "STREAM.SNAPSHOT.DRAMATIS",
        "STREAM.RESTORE.DRAMATIS",
        "STREAM.PEER.REMOVE.DRAMATIS",
        "STREAM.LEADER.STEPDOWN.DRAMATIS",
        "STREAM.TEMPLATE.CREATE.T",
        "STREAM.TEMPLATE.DELETE.T",
        "CONSUMER.CREATE.DRAMATIS",
        "CONSUMER.CREATE.DRAMATIS.c",
        "CONSUMER.CREATE.DRAMATIS.c.dramatis.persona.p",
        "CONSUMER.DURABLE.CREATE.DRAMATIS.c",
        "CONSUMER.DELETE.DRAMATIS.c",
        "CONSUMER.PAUSE.DRAMATIS.c",
        "CONSUMER.RESET.DRAMATIS.c",
        "CONSUMER.UNPIN.DRAMATIS.c",
        "CONSUMER.NAMES.DRAMATIS",
        "CONSUMER.LIST.DRAMATIS",
        "CONSUMER.INFO.DRAMATIS.c",
        "CONSUMER.MSG.NEXT.DRAMATIS.c",
        "CONSUMER.LEADER.STEPDOWN.DRAMATIS.c",
        "DIRECT.GET.DRAMATIS",
        "DIRECT.GET.DRAMATIS.dramatis.persona.p",
        "META.LEADER.STEPDOWN",
        "SERVER.REMOVE",
        "SERVER.STREAM.MOVE.$G.DRAMATIS",
        "SERVER.STREAM.CANCEL_MOVE.$G.DRAMATIS",
        "ACCOUNT.PURGE.$G",
    ] {
        subjects.push(format!("$JS.API.{verb}"));
    }
    for kind in ["persona", "record", "session", "deploy"] {
        for id in ["a", "a%2Eb", "018f0000-0000-7000-8000-000000000001"] {
            subjects.push(format!("dramatis.{kind}.{id}"));
        }
    }
    subjects
}

/// What a viewer may not hear.
const CLOSED_SUBJECTS: [&str; 12] = [
    ">",
    "*.>",
    "dramatis.>",
    "dramatis.persona.>",
    "dramatis.record.*",
    "dramatis.session.>",
    "dramatis.query.>",
    "dramatis.control.>",
    "_INBOX.>",
    "_INBOX_another.>",
    "$JS.>",
    "$SRV.>",
];

/// Whether the server has said no to everything in `tried`.
async fn all_refused(said: &Mutex<Vec<String>>, tried: &[String]) -> Vec<String> {
    let missing = || -> Vec<String> {
        let said = said.lock().unwrap();
        let refused = |subject: &String| {
            said.iter().any(|line| {
                line.to_lowercase()
                    .contains(&format!("\"{}\"", subject.to_lowercase()))
            })
        };
        tried
            .iter()
            .filter(|subject| !refused(subject))
            .cloned()
            .collect()
    };
    wait_until_async(WITHIN, || async { missing().is_empty() }).await;
    missing()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_ask_and_hear_and_is_refused_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let credential = command_json(
        &up.data,
        &["viewers", "create", "--name", "wall", "--expires", "1h", "--json"],
    );
    let (viewer, said) = connect(&credential).await;
    let log = log_of(&up).await;
    let before = log.state().await.unwrap();

    let answer = viewer
        .request("dramatis.query.personas.list", "".into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["personas"], json!([]));
    assert!(answer["as_of_seq"].is_u64());
    for subject in ["dramatis.live.>", "dramatis.alarm.>", "dramatis.job.>"] {
        drop(viewer.subscribe(subject).await.unwrap());
    }
    viewer.flush().await.unwrap();
    assert_eq!(*said.lock().unwrap(), Vec::<String>::new());

    let tried = mutating_subjects();
    assert!(
        tried.iter().collect::<BTreeSet<_>>().len() >= 80,
        "{}",
        tried.len()
    );
    for subject in &tried {
        viewer.publish(subject.clone(), "{}".into()).await.unwrap();
    }
    viewer.flush().await.unwrap();
    assert_eq!(all_refused(&said, &tried).await, Vec::<String>::new());

    let closed = CLOSED_SUBJECTS.map(str::to_owned);
    let mut subscriptions = Vec::new();
    for subject in &closed {
        subscriptions.push(viewer.subscribe(subject.clone()).await.unwrap());
    }
    viewer.flush().await.unwrap();
    assert_eq!(all_refused(&said, &closed).await, Vec::<String>::new());

    let after = log.state().await.unwrap();
    assert_eq!(
        (after.last_seq, after.messages),
        (before.last_seq, before.messages)
    );
    assert_eq!(up.stop(), Some(0));
}

/// The house answers in its own right, to whatever subject the asker names: it must not be made to write.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_the_house_write_by_naming_where_its_answer_goes() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let credential = command_json(&up.data, &["viewers", "create", "--json"]);
    let (viewer, _) = connect(&credential).await;
    let (house, mut wrong) = {
        let log = log_of(&up).await;
        let client = house_client(&up).await;
        let wrong = client.subscribe("target.>").await.unwrap();
        client.flush().await.unwrap();
        (log, wrong)
    };
    let before = house.state().await.unwrap();
    let asked = [
        "dramatis.query.personas.list",
        "dramatis.query.no.such.thing",
        "$SRV.PING",
        "$SRV.INFO.dramatis",
        "$SRV.STATS.dramatis",
    ];
    let targets = [
        "dramatis.persona.p",
        "dramatis.record.r",
        "dramatis.session.s",
        "$JS.API.STREAM.PURGE.DRAMATIS",
        "$JS.API.STREAM.DELETE.DRAMATIS",
        "dramatis.control.runner.pause",
        "target.of.an.answer",
    ];
    for subject in asked {
        for target in targets {
            viewer
                .publish_with_reply(subject, target, "".into())
                .await
                .unwrap();
        }
        // Questions of one subscription are taken in order: once this one is answered, those before it were taken.
        viewer.request(subject, "".into()).await.unwrap();
    }
    let after = house.state().await.unwrap();
    assert_eq!(
        (after.last_seq, after.messages),
        (before.last_seq, before.messages)
    );
    let house = house_client(&up).await;
    house.publish("target.after", "".into()).await.unwrap();
    let first = tokio::time::timeout(WITHIN, wrong.next()).await.unwrap().unwrap();
    assert_eq!(first.subject.as_str(), "target.after");
}

/// A client with the house's own rights.
pub(crate) async fn house_client(up: &Up) -> Client {
    let run = fs::read_to_string(up.data.join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    let address: async_nats::ServerAddr = run["nats"].as_str().unwrap().parse().unwrap();
    ConnectOptions::new()
        .user_and_password(
            address.username().unwrap().to_owned(),
            address.password().unwrap().to_owned(),
        )
        .connect(address)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_ends_when_it_is_revoked_and_when_its_time_is_over_also_where_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let revoked = command_json(&up.data, &["viewers", "create", "--name", "one", "--json"]);
    let expired = command_json(&up.data, &["viewers", "create", "--name", "two", "--json"]);
    let stays = command_json(&up.data, &["viewers", "create", "--name", "three", "--json"]);
    let (revoked, _) = connect(&revoked).await;
    let (expired, _) = connect(&expired).await;
    let (stays, _) = connect(&stays).await;

    assert!(run(&up.data, &["viewers", "revoke", "one"]).status.success());
    assert_eq!(
        run(&up.data, &["viewers", "revoke", "one"]).status.code(),
        Some(3)
    );
    let is_cut = |client: Client| async move { client.connection_state() != State::Connected };
    assert!(wait_until_async(WITHIN, || is_cut(revoked.clone())).await);

    // Its time is over: the file says so, as it would at the expiry.
    let file = up.data.join("nats/viewers.json");
    let mut viewers: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for viewer in viewers["viewers"].as_array_mut().unwrap() {
        if viewer["name"] == "two" {
            viewer["expires_at"] = "2020-01-01T00:00:00Z".into();
        }
    }
    fs::write(&file, viewers.to_string()).unwrap();
    assert!(wait_until_async(WITHIN, || is_cut(expired.clone())).await);

    let answer = stays
        .request("dramatis.query.projections.status", "".into())
        .await
        .unwrap();
    assert!(serde_json::from_slice::<Value>(&answer.payload).unwrap()["as_of_seq"].is_u64());
    let listed = command_json(&up.data, &["viewers", "list", "--json"]);
    assert_eq!(listed["viewers"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains("password"), "{listed}");
}

#[test]
fn for_a_server_of_ones_own_the_entry_of_its_configuration_is_printed_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let printed = command_json(
        &data,
        &[
            "viewers",
            "create",
            "--nats",
            "nats://nats.invalid:4222",
            "--json",
        ],
    );
    let entry = printed["nats_server_user"].as_str().unwrap();
    assert!(
        entry.contains("dramatis.query.>") && entry.contains("_INBOX_viewer-"),
        "{entry}"
    );
    assert!(!entry.contains("$JS"), "{entry}");
    assert!(!data.join("nats/viewers.json").exists());
    for odd in [
        ["--expires", "0h"],
        ["--expires", "soon"],
        ["--name", "a.b"],
        ["--name", "dramatis"],
    ] {
        let output = run(&data, &[&["viewers", "create"][..], &odd].concat());
        assert_eq!(output.status.code(), Some(2), "{odd:?}");
    }
}
