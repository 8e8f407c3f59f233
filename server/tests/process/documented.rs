//! The pages say what the program says of itself: its settings, its metrics, and the tests that hold its invariants.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::{Up, json};

/// The text of a file of the project, if there is one.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).ok()
}

/// The names in the first column of the table under `## heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = read("docs/operations.md").unwrap();
    let section = page
        .lines()
        .skip_while(|line| *line != format!("## {heading}"))
        .skip(1);
    let rows = section.take_while(|line| !line.starts_with("## "));
    rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect()
}

#[test]
fn every_setting_is_described_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let printed = json(&dir.path().join("data"), &["config", "print", "--json"]);
    let keys: BTreeSet<String> = printed
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| setting["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, documented("Settings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_fresh_server_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let scraped = reqwest::get(format!("{}/metrics", up.api))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let names: BTreeSet<String> = scraped
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let documented = documented("Metrics");
    let missing: Vec<_> = names.difference(&documented).collect();
    assert!(
        !names.is_empty() && missing.is_empty(),
        "not in docs/operations.md: {missing:?}\n{scraped}"
    );
}

/// The names of our metrics in `text`, without what a histogram adds to its name.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_of_a_name(c));
    let ours = words.filter(|word| {
        let room = word.split('_').next().unwrap();
        word.contains('_') && ["dramatis", "gateway", "cast", "projection", "nats"].contains(&room)
    });
    let plain = |word: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let suffix = suffixes.iter().find_map(|suffix| word.strip_suffix(suffix));
        suffix.unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

/// An expression over a metric that is not there is not an error: it is a panel without data, and an alarm that never
/// comes. What is labelled by what is used is there once it was used.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_boards_and_rules_ask_for_is_there_after_one_tick() {
    let dir = tempfile::tempdir().unwrap();
    let mount = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/clients/mounted_shop.py");
    let settings = format!("[mounts.shop]\ncommand = [\"python3\", {mount:?}]\n");
    fs::write(dir.path().join("dramatis.toml"), settings).unwrap();
    let up = Up::start(&dir.path().join("data"));
    up.json(&["seed"]);
    let (ticked, code) = up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!(code, 0, "{ticked}");
    let stranger = reqwest::Client::new()
        .post(format!("{}/mcp", up.api))
        .bearer_auth("x.y.z");
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let scraped = reqwest::get(format!("{}/metrics", up.api))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let there: BTreeSet<String> = scraped
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let rules = read("deploy/prometheus/rules.yml").unwrap();
    let rules = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut asked: BTreeSet<String> = rules.flat_map(metrics_in).collect();
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/dashboards");
    for board in fs::read_dir(boards).unwrap() {
        let board: serde_json::Value =
            serde_json::from_slice(&fs::read(board.unwrap().path()).unwrap()).unwrap();
        let targets = board["panels"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|panel| panel["targets"].as_array().unwrap());
        asked.extend(targets.flat_map(|target| metrics_in(target["expr"].as_str().unwrap())));
    }
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.difference(&there).collect();
    assert_eq!(missing, Vec::<&String>::new(), "asked for and not on /metrics");
    assert_eq!(up.stop(), Some(0));
}

/// How many tests a table of invariants names, and those that are not there: a file, then one or more of its tests.
fn named_tests(page: &str) -> (usize, Vec<String>) {
    let rows = page.lines().skip_while(|line| *line != "## Invariants").skip(1);
    let (mut named, mut missing) = (0, Vec::new());
    for row in rows.take_while(|line| !line.starts_with("## ")) {
        let mut file = "";
        // Every other piece stands between backquotes.
        for word in row.split('`').skip(1).step_by(2) {
            if Path::new(word)
                .extension()
                .is_some_and(|extension| extension == "rs")
            {
                file = word;
            } else if !file.is_empty() {
                named += 1;
                if !read(file).is_some_and(|source| source.contains(&format!("fn {word}("))) {
                    missing.push(format!("{file} {word}"));
                }
            }
        }
    }
    (named, missing)
}

#[test]
fn every_test_that_holds_an_invariant_is_there() {
    let (named, missing) = named_tests(&read("docs/architecture.md").unwrap());
    assert_eq!(missing, Vec::<String>::new());
    assert!(named >= 15, "only {named} tests are named");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let page =
        "## Invariants\n| a | `server/tests/rooms.rs` `no_such_test`, `every_keeper_keeps_something` |\n";
    assert_eq!(
        named_tests(page),
        (2, vec!["server/tests/rooms.rs no_such_test".to_owned()])
    );
}
