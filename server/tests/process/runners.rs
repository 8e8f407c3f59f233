//! Three runners as processes of their own share what is due, and one of them is killed with ticks in its hands.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{NatsServer, wait_until};

use crate::common::{Up, dramatis, events, run};

const PERSONAS: usize = 24;
/// Longer than all of it takes on a busy machine; the work queue alone waits half a minute for one that says nothing.
const PATIENCE: Duration = Duration::from_mins(4);

/// A runner. Killed (`SIGKILL`) when dropped.
struct Runner(Child);

impl Runner {
    fn start(up: &Up, nats: &NatsServer, folder: &Path) -> Self {
        let child = dramatis(&up.data)
            .args(["runner", "--nats", &nats.url(), "--gateway", &up.api])
            .env("DRAMATIS_NATS_MONITOR", nats.monitor_url())
            .env("TICK_INTERVAL_MS", "500")
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The built-in cast over and over, each persona under a name of its own.
fn catalog(file: &Path) {
    let cast: Value = serde_json::from_str(catalog::Catalog::embedded_text()).unwrap();
    let is_on = |persona: &&Value| persona["enabled"] != json!(false);
    let cast = cast["personas"].as_array().unwrap().iter().filter(is_on);
    let personas: Vec<Value> = cast
        .cycle()
        .take(PERSONAS)
        .enumerate()
        .map(|(number, persona)| {
            let mut persona = persona.clone();
            persona["email"] = json!(format!("persona.p{number}@mana.test"));
            persona["name"] = json!(format!("P {number}"));
            persona["tickCadence"] = json!("daily");
            persona["partners"] = json!([]);
            persona
        })
        .collect();
    fs::write(file, json!({ "personas": personas }).to_string()).unwrap();
}

/// How often each value of `member` is in the data of events of this type.
fn counts(events: &[Value], type_name: &str, member: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == type_name) {
        if let Some(value) = event["data"][member].as_str() {
            *counts.entry(value.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn once_each(counts: &BTreeMap<String, u32>) -> bool {
    counts.values().all(|count| *count == 1)
}

/// The negative control: let `JetStreamTicks` hand a tick on after a second and runners live what was handed on
/// (`recover::close_unfinished` never says `Elsewhere`, `tick::begin` lets a number that was begun begin again), and
/// personas live two ticks.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_runners_one_is_killed_and_no_tick_is_lived_twice_none_is_lost_and_no_call_is_sent_twice() {
    let (dir, nats) = (tempfile::tempdir().unwrap(), NatsServer::start());
    let (url, monitor) = (nats.url(), nats.monitor_url());
    let settings = [
        ("DRAMATIS_NATS", url.as_str()),
        ("DRAMATIS_NATS_MONITOR", &monitor),
    ];
    let up = Up::start_with(&dir.path().join("data"), &settings);
    let file = dir.path().join("cast.json");
    catalog(&file);
    let (seeded, code) = up.json(&["seed", "--catalog", file.to_str().unwrap()]);
    assert_eq!(
        (seeded["created"].as_u64(), code),
        (Some(PERSONAS as u64), 0),
        "{seeded}"
    );

    let started = |type_name: &str| events(&up.data, &["--type", type_name]).len();
    let mut runners: Vec<Runner> = (0..3)
        .map(|number| Runner::start(&up, &nats, &dir.path().join(format!("runner-{number}.log"))))
        .collect();
    assert!(
        wait_until(PATIENCE, || started("TickStarted") >= 4),
        "the runners take ticks"
    );
    drop(runners.remove(0));
    let ended = || started("TickFinished") + started("TickInterrupted");
    assert!(wait_until(PATIENCE, || ended() >= PERSONAS), "{} ended", ended());
    drop(runners);

    let all = events(&up.data, &[]);
    let (begun, lived) = (
        counts(&all, "TickStarted", "tick_id"),
        counts(&all, "TickStarted", "persona_id"),
    );
    assert_eq!((begun.len(), lived.len()), (PERSONAS, PERSONAS), "none is lost");
    assert!(
        once_each(&begun) && once_each(&lived),
        "none is lived twice: {lived:?}"
    );
    let mut ends = counts(&all, "TickFinished", "tick_id");
    ends.extend(counts(&all, "TickInterrupted", "tick_id"));
    assert_eq!(ends.len(), PERSONAS, "every tick has one end");
    let (called, came) = (
        counts(&all, "ToolCalled", "call_id"),
        counts(&all, "CallStarted", "client_call_id"),
    );
    assert!(called.len() > PERSONAS, "{} calls", called.len());
    assert!(once_each(&called) && once_each(&came), "no call is sent twice");
    assert!(
        came.keys().all(|call| called.contains_key(call)),
        "and none that was not written down first"
    );
    let verified = run(&up.data, &["verify"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}
