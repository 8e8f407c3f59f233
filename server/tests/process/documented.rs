//! `docs/operations.md` says what the program says of itself: its settings and its metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::{Up, json};

/// The names in the first column of the table under `## heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
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
