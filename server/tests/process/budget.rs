//! A day's budget against eight personas at once, through the whole program: the bill is the model server's own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{FakeApi, FakeModel, Reply};

use crate::common::{Up, events};

/// Millionths of a dollar: the cap of five cents.
const CAP: u64 = 50_000;

/// Answers with a call three times in a tick, then ends it; loses every seventh answer on its way.
async fn busy_model() -> FakeModel {
    let asked = AtomicU64::new(0);
    let fake = FakeModel::directed(FakeApi::Anthropic, move |request| {
        let said = request["messages"].as_array().map_or(0, Vec::len);
        // By count and not by what was asked: whoever asks the same again is answered.
        if asked.fetch_add(1, Ordering::Relaxed) % 7 == 6 {
            Reply::CutMidBody
        } else if said > 6 || request.get("output_config").is_some() {
            Reply::say("Done.")
        } else {
            Reply::call([(format!("id-{said}").as_str(), "todo__list", json!({}))])
        }
    })
    .await;
    // Whoever asks first waits, so that all eight have begun before anybody is done.
    fake.then(Reply::Slow(Duration::from_secs(3), Box::new(Reply::say("Done."))));
    fake
}

/// The most ticks that were open at one time.
fn at_once(events: &[Value]) -> i32 {
    let steps = events
        .iter()
        .map(|event| match event["type"].as_str().unwrap_or_default() {
            "TickStarted" => 1,
            "TickFinished" => -1,
            _ => 0,
        });
    let open = steps.scan(0, |open, step| {
        *open += step;
        Some(*open)
    });
    open.max().unwrap_or_default()
}

/// The negative control: in `purse.rs`, `Purse::reserve`, leave out the line that inserts into `held`, and this fails.
#[tokio::test(flavor = "multi_thread")]
async fn eight_personas_at_once_never_cost_more_than_a_cap_of_five_cents_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let prices = dir.path().join("prices.toml");
    std::fs::write(&prices, FakeModel::price_list()).unwrap();
    let fake = busy_model().await;
    let (base_url, prices) = (fake.base_url(), prices.display().to_string());
    let settings = [
        ("DRAMATIS_BRAIN", "anthropic"),
        ("ANTHROPIC_API_KEY", FakeModel::key()),
        ("DRAMATIS_ANTHROPIC_BASE_URL", base_url.as_str()),
        ("DRAMATIS_ANTHROPIC_MODEL", "fake-model"),
        ("DRAMATIS_MODEL_MAX_TOKENS", "256"),
        ("DRAMATIS_PRICES_FILE", prices.as_str()),
        ("DRAMATIS_BUDGET_DAY_USD", "0.05"),
        ("PERSONA_CONCURRENCY", "8"),
    ];
    let up = Up::start_with(&data, &settings);
    up.json(&["seed"]);
    let mut last = 0;
    loop {
        up.json(&["tick", "--all"]);
        let bill = fake.bill_micro_usd();
        assert!(bill <= CAP, "a bill of {bill}");
        if bill == last {
            break;
        }
        last = bill;
    }
    // Eight may act; how many of their ticks overlap in the log is the machine's business.
    assert!(at_once(&events(&data, &[])) > 4, "they did act at once");
    assert!(last > CAP / 3, "a bill of {last}: the cap was not tried");
    let refused: Vec<Value> = events(&data, &["--type", "TickFinished"])
        .into_iter()
        .filter(|event| {
            let reason = event["data"]["reason"].as_str().unwrap_or_default();
            reason.contains("the budget of a day ($0.05)")
        })
        .collect();
    assert!(refused.len() >= 8, "{} ticks met the cap", refused.len());

    // The next life of the program knows what was spent.
    up.kill();
    let up = Up::start_with(&data, &settings);
    up.json(&["tick", "--all"]);
    assert!(
        fake.bill_micro_usd() <= CAP,
        "after a restart: {}",
        fake.bill_micro_usd()
    );
    assert_eq!(fake.faults(), Vec::<String>::new());
}
