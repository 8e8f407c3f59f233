//! The policy file and its commands, on a house that has lived a day.

use crate::common::{Up, json, run};

#[test]
fn policy_explain_and_test_say_what_rules_decide() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    let (ticked, code) = up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!(code, 0, "{ticked}");
    assert_eq!(up.stop(), Some(0));

    let explain = [
        "policy",
        "explain",
        "--user",
        "persona.anna@mana.test",
        "--tool",
        "todo.list",
        "--json",
    ];
    let explained = json(&data, &explain);
    assert_eq!(
        (&explained["is_listed"], &explained["is_allowed"]),
        (&true.into(), &true.into())
    );
    assert_eq!(explained["grants"], serde_json::json!(["everyone"]));

    // The built-in rules, which everything was decided by, decide nothing otherwise.
    let built_in = run(&data, &["policy", "default"]);
    let file = dir.path().join("policy.toml");
    std::fs::write(&file, built_in.stdout).unwrap();
    let tried = json(&data, &["policy", "test", file.to_str().unwrap(), "--json"]);
    assert_eq!(
        (&tried["differing"], &tried["open"]),
        (&0.into(), &0.into()),
        "{tried}"
    );
    assert!(tried["same"].as_u64() >= Some(1), "{tried}");

    let none = "version = 2\n[[grant]]\nid = \"people\"\nkinds = [\"human\"]\n";
    std::fs::write(&file, none).unwrap();
    let refused = run(&data, &["policy", "test", file.to_str().unwrap(), "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let tried: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(tried["newly_refused"].as_u64() >= Some(1), "{tried}");
    assert_eq!(tried["calls_differing"][0]["rule"], "not-granted");

    std::fs::write(&file, "version = 2\n[[grant]]\nid = \"x\"\nroles = [\"owner\"]\n").unwrap();
    let broken = run(&data, &["policy", "test", file.to_str().unwrap()]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("none of user, admin"));
}
