//! A power cut while a model is being asked: no call and no charge happens twice.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use testkit::{FakeApi, FakeModel, Reply, wait_until};

use crate::common::{Up, events, run};

const ANNA: &str = "persona.anna@mana.test";
const PATIENCE: Duration = Duration::from_mins(1);

/// The negative control: let the roster leave unfinished ticks alone (`Roster::unfinished` gives nobody), and the tick
/// never says that it was interrupted; let a tick begin under a number that was begun, and its call goes out again.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_in_the_middle_of_a_tick_no_call_and_no_charge_happens_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let prices = dir.path().join("prices.toml");
    std::fs::write(&prices, FakeModel::price_list()).unwrap();
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::call([("a", "todo__create", json!({"title": "once"}))]));
    fake.then(Reply::Slow(
        Duration::from_mins(10),
        Box::new(Reply::say("never read")),
    ));
    let (base_url, prices) = (fake.base_url(), prices.display().to_string());
    let settings = [
        ("DRAMATIS_BRAIN", "anthropic"),
        ("ANTHROPIC_API_KEY", FakeModel::key()),
        ("DRAMATIS_ANTHROPIC_BASE_URL", base_url.as_str()),
        ("DRAMATIS_ANTHROPIC_MODEL", "fake-model"),
        ("DRAMATIS_PRICES_FILE", prices.as_str()),
    ];
    let up = Up::start_with(&data, &settings);
    up.json(&["seed"]);
    let mut ticking = up
        .command(&["tick", "--persona", ANNA])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_asked = wait_until(PATIENCE, || fake.requests().len() == 2);
    assert!(is_asked, "a call was made, and the model is asked what next");
    let billed = fake.bill_micro_usd();
    up.kill();
    ticking.wait().unwrap();

    let up = Up::start_with(&data, &settings);
    let said = |type_name: &str| events(&data, &["--type", type_name]).len();
    assert!(
        wait_until(PATIENCE, || said("TickInterrupted") == 1),
        "the tick says that it was interrupted"
    );
    assert_eq!(fake.requests().len(), 2, "no request was made again");
    assert_eq!(fake.bill_micro_usd(), billed, "no charge was made again");
    assert_eq!(
        (said("ToolCalled"), said("CallStarted")),
        (1, 1),
        "no call was made again"
    );
    assert_eq!((said("ModelAsked"), said("ModelCalled")), (2, 1));

    // The day goes on, with a tick of its own.
    let (ticked, code) = up.json(&["tick", "--persona", ANNA]);
    assert_eq!((ticked["succeeded"].as_u64(), code), (Some(1), 0), "{ticked}");
    assert_eq!(said("CallStarted"), 1, "the call of before is not made up for");
    assert_eq!(fake.faults(), Vec::<String>::new());
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
}
