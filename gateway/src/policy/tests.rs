use events::testing::id;
use proptest::prelude::*;
use serde_json::json;

use super::windows::Full;
use super::*;
use std::time::Duration;

const TOOLS: [(&str, Hint); 6] = [
    ("todo.list", Hint::Read),
    ("todo.create", Hint::Write),
    ("todo.shred", Hint::Destructive),
    ("notes.list", Hint::Read),
    ("notes.create", Hint::Write),
    ("notes.burn", Hint::Destructive),
];

fn anna() -> UserId {
    id("anna")
}

fn subject(user_id: &UserId) -> PolicySubject<'_> {
    PolicySubject {
        user_id,
        email: "anna@mana.test",
        role: "user",
        tier: "free",
        kind: "human",
    }
}

fn tool(name: &str, hint: Hint) -> PolicyTool<'_> {
    PolicyTool {
        name,
        scope: Scope::UserSpace,
        hint,
    }
}

fn rules(text: &str) -> PolicyRules {
    PolicyRules::parse(&format!("version = 7\n{text}")).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// The rule that refuses, and whether it hides the tool.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the arguments in place"
)]
fn refused(rules: &PolicyRules, name: &str, hint: Hint, arguments: Value) -> Option<(String, bool)> {
    match rules.judge(&subject(&anna()), &tool(name, hint), &arguments) {
        Ruling::Allow => None,
        Ruling::Refuse { rule, answer, .. } => Some((rule.to_string(), answer == RefusalAnswer::LikeUnknown)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what `refused` gives")]
fn says(rule: &str, is_hidden: bool) -> Option<(String, bool)> {
    Some((rule.to_owned(), is_hidden))
}

#[test]
fn the_built_in_rules_grant_everything_but_destruction_at_thirty_calls_a_minute() {
    let rules = PolicyRules::built_in();
    assert_eq!(rules.version, 1);
    assert_eq!(refused(&rules, "todo.list", Hint::Read, json!({})), None);
    assert_eq!(refused(&rules, "todo.create", Hint::Write, json!({})), None);
    assert_eq!(
        refused(&rules, "todo.shred", Hint::Destructive, json!({})),
        says("destructive", false)
    );
    let windows = Windows::default();
    let user_id = anna();
    let take = |at| {
        windows.take(
            &rules,
            &subject(&user_id),
            &tool("todo.list", Hint::Read),
            Duration::from_secs(at),
            false,
        )
    };
    for at in 0..30 {
        assert_eq!(take(at), None);
    }
    assert!(take(59).is_some_and(|full| &*full.rule == "rate"));
    assert_eq!(take(60), None, "the first has left");
}

#[test]
fn what_nobody_grants_does_not_exist() {
    let rules = rules("");
    for (name, hint) in TOOLS {
        assert_eq!(refused(&rules, name, hint, json!({})), says("not-granted", true));
        assert!(!rules.is_visible(PolicyMode::Enforce, &subject(&anna()), &tool(name, hint)));
    }
}

#[test]
fn each_part_of_a_grant_narrows_it() {
    for (part, is_granted) in [
        ("", true),
        ("tools = [\"todo.*\"]", true),
        ("tools = [\"notes.*\"]", false),
        ("hints = [\"read\"]", true),
        ("hints = [\"write\", \"destructive\"]", false),
        ("roles = [\"user\"]", true),
        ("roles = [\"admin\"]", false),
        ("tiers = [\"pro\"]", false),
        ("kinds = [\"persona\"]", false),
        ("kinds = [\"human\"]", true),
        ("users = [\"Anna@mana.test\"]", true),
        ("users = [\"anna\"]", true),
        ("users = [\"ben@mana.test\"]", false),
        ("roles = [\"user\"]\ntiers = [\"pro\"]", false),
    ] {
        let rules = rules(&format!("[[grant]]\nid = \"g\"\n{part}"));
        let expected = (!is_granted).then(|| ("not-granted".to_owned(), true));
        assert_eq!(
            refused(&rules, "todo.list", Hint::Read, json!({})),
            expected,
            "{part}"
        );
    }
}

#[test]
fn destroying_needs_to_be_allowed_by_name() {
    let rules =
        rules("[[grant]]\nid = \"all\"\n[[destructive]]\nusers = [\"anna@mana.test\"]\ntools = [\"todo.*\"]");
    assert_eq!(refused(&rules, "todo.shred", Hint::Destructive, json!({})), None);
    assert_eq!(
        refused(&rules, "notes.burn", Hint::Destructive, json!({})),
        says("destructive", false)
    );
}

#[test]
fn conditions_refuse_calls_and_say_what_is_allowed_and_leave_the_tool_on_the_list() {
    let rules = rules(
        r#"
        [[grant]]
        id = "small-lists"
        where = [{ argument = "limit", at_most = 50 }]
        [[refuse]]
        id = "no-secrets"
        tools = ["*.create"]
        where = [{ argument = "kind", one_of = ["secret"] }]
        reason = "secrets go elsewhere"
    "#,
    );
    assert_eq!(
        refused(&rules, "todo.list", Hint::Read, json!({"limit": 50})),
        None
    );
    assert_eq!(
        refused(&rules, "todo.list", Hint::Read, json!({"limit": 51})),
        says("arguments", false)
    );
    let user_id = anna();
    let over = rules.judge(
        &subject(&user_id),
        &tool("todo.list", Hint::Read),
        &json!({"limit": 51}),
    );
    let Ruling::Refuse {
        answer: RefusalAnswer::Told(reason),
        ..
    } = over
    else {
        panic!("{over:?}")
    };
    assert!(reason.ends_with("allowed is limit at most 50"), "{reason}");
    let secret = json!({"limit": 1, "kind": "secret"});
    assert_eq!(
        refused(&rules, "todo.create", Hint::Write, secret),
        says("no-secrets", false)
    );
    assert!(rules.is_visible(
        PolicyMode::Enforce,
        &subject(&anna()),
        &tool("todo.create", Hint::Write)
    ));
}

#[test]
fn a_refusal_without_conditions_hides_what_a_grant_gave() {
    let rules = rules("[[grant]]\nid = \"all\"\n[[refuse]]\nid = \"no-notes\"\ntools = [\"notes.*\"]");
    assert_eq!(
        refused(&rules, "notes.list", Hint::Read, json!({})),
        says("no-notes", true)
    );
    assert_eq!(refused(&rules, "todo.list", Hint::Read, json!({})), None);
}

#[test]
fn a_file_that_cannot_be_meant_names_every_fault() {
    let faulty = r#"
        version = 0
        [[grant]]
        id = "Not A Word"
        roles = ["owner"]
        tools = []
        [[grant]]
        id = "destructive"
        where = [{ argument = "limit" }]
        [[rate]]
        id = "destructive"
        per = "tool"
        calls = 0
        window_s = 0
        tools = ["no such name"]
    "#;
    let PolicyFault(told) = PolicyRules::parse(faulty).unwrap_err();
    for fault in [
        "version: from 1 on",
        "\"Not A Word\"",
        "roles: \"owner\" is none of user, admin",
        "tools: empty",
        "stands for a decision without a rule",
        "used twice",
        "exactly one of",
        "calls: from 1 on",
        "window_s",
        "can fit no tool's name",
    ] {
        assert!(told.contains(fault), "{fault}:\n{told}");
    }
    for unreadable in [
        "version = 2\n[[grants]]\nid = \"g\"",
        "version = \"two\"",
        "",
        "[[grant]]\nid = \"g\"",
    ] {
        PolicyRules::parse(unreadable).unwrap_err();
    }
}

#[test]
fn a_total_counts_all_tools_together_and_a_refused_call_takes_no_place() {
    let rules = rules(
        r#"
        [[grant]]
        id = "all"
        [[rate]]
        id = "each"
        per = "tool"
        calls = 2
        window_s = 60
        [[rate]]
        id = "total"
        per = "user"
        calls = 3
        window_s = 60
    "#,
    );
    let (windows, user_id, ben) = (Windows::default(), anna(), id("ben"));
    let take = |user: &UserId, name, at| -> Option<String> {
        let full: Option<Full> = windows.take(
            &rules,
            &subject(user),
            &tool(name, Hint::Read),
            Duration::from_secs(at),
            false,
        );
        full.map(|full| full.rule.to_string())
    };
    assert_eq!(take(&user_id, "todo.list", 0), None);
    assert_eq!(take(&user_id, "todo.list", 1), None);
    assert_eq!(take(&user_id, "todo.list", 2), Some("each".to_owned()));
    assert_eq!(
        take(&user_id, "notes.list", 3),
        None,
        "a refused call took no place in the total"
    );
    assert_eq!(take(&user_id, "notes.list", 4), Some("total".to_owned()));
    assert_eq!(
        take(&ben, "notes.list", 4),
        None,
        "others have windows of their own"
    );
    assert_eq!(take(&user_id, "notes.list", 60), None);
    windows.prune(Duration::from_secs(1_000));
    assert_eq!(take(&user_id, "todo.list", 1_000), None);
}

#[test]
fn a_full_window_says_when_there_is_room_again() {
    let rules = PolicyRules::built_in().with_calls_per_window(2);
    let (windows, user_id) = (Windows::default(), anna());
    let take = |at| {
        let named = tool("todo.list", Hint::Read);
        windows.take(
            &rules,
            &subject(&user_id),
            &named,
            Duration::from_millis(at),
            false,
        )
    };
    assert_eq!((take(10_000), take(20_000)), (None, None));
    let full = take(59_500).unwrap();
    assert_eq!(full.retry_after, Duration::from_millis(10_500));
    assert!(full.reason.ends_with("try again in 11 s"), "{}", full.reason);
}

#[test]
fn rules_tried_on_recorded_calls_decide_as_they_would_have() {
    let new = rules(
        r#"
        [[grant]]
        id = "lists"
        tools = ["*.list"]
        [[grant]]
        id = "short"
        tools = ["todo.create"]
        where = [{ argument = "title", length_at_most = 10 }]
        [[rate]]
        id = "slow"
        per = "tool"
        calls = 1
        window_s = 60
    "#,
    );
    let mut replay = Replay::new(new);
    let user_id = anna();
    let mut next = |name, hint, second: i64, was_refused| {
        let replayed = replay.next(&RecordedCall {
            call_id: "c",
            subject: subject(&user_id),
            tool: tool(name, hint),
            at: jiff::Timestamp::from_second(1_000 + second).unwrap(),
            was_refused,
        });
        (replayed.now, replayed.is_different(), replayed.rule)
    };
    let rule = |word: &str| Some(word.to_owned());
    assert_eq!(next("todo.list", Hint::Read, 0, false), ("allowed", false, None));
    assert_eq!(
        next("todo.list", Hint::Read, 59, false),
        ("refused", true, rule("slow"))
    );
    assert_eq!(next("todo.list", Hint::Read, 60, true), ("allowed", true, None));
    assert_eq!(
        next("notes.create", Hint::Write, 61, false),
        ("refused", true, rule("not-granted"))
    );
    assert_eq!(
        next("notes.create", Hint::Write, 62, true),
        ("refused", false, rule("not-granted"))
    );
    assert_eq!(next("todo.create", Hint::Write, 63, false), ("open", false, None));
}

/// The text of a policy that may say anything this form can say.
fn any_policy() -> impl Strategy<Value = String> {
    let part = |name: &'static str, words: &'static [&'static str]| {
        prop::option::of(prop::sample::subsequence(words, 1..=words.len()))
            .prop_map(move |words| words.map_or_else(String::new, |words| format!("{name} = {words:?}\n")))
    };
    let condition = prop::sample::select(vec![
        "",
        "where = [{ argument = \"limit\", at_most = 5 }]\n",
        "where = [{ argument = \"limit\", present = false }]\n",
        "where = [{ argument = \"kind\", one_of = [\"a\", 1] }, { argument = \"limit\", at_least = 2 }]\n",
    ]);
    let rule = (
        part("tools", &["todo.*", "*.list", "notes.create", "notes.burn"]),
        part("hints", &["read", "write", "destructive"]),
        part("roles", &["user", "admin"]),
        part("kinds", &["human", "persona"]),
        part("users", &["anna@mana.test", "ben"]),
        condition,
    )
        .prop_map(|(tools, hints, roles, kinds, users, condition)| {
            format!("{tools}{hints}{roles}{kinds}{users}{condition}")
        });
    let rules = |name: &'static str| {
        let rule = rule.clone();
        prop::collection::vec(rule, 0..4).prop_map(move |rules| {
            let numbered = rules.iter().enumerate();
            let spelled: Vec<String> = numbered
                .map(|(number, rule)| format!("[[{name}]]\nid = \"{name}-{number}\"\n{rule}"))
                .collect();
            spelled.concat()
        })
    };
    (rules("grant"), rules("refuse"), any::<bool>()).prop_map(|(grants, refusals, may_destroy)| {
        let destructive = if may_destroy {
            "[[destructive]]\nusers = [\"anna\"]\ntools = [\"todo.*\"]\n"
        } else {
            ""
        };
        format!("version = 2\n{grants}{refusals}{destructive}")
    })
}

proptest! {
    /// Whoever sees a tool is never told that there is none, and whoever does not see it always is.
    #[test]
    fn list_and_call_agree_whatever_the_rules(
        text in any_policy(),
        kind in prop::sample::select(vec!["human", "persona", "system"]),
        role in prop::sample::select(vec!["user", "admin"]),
        is_admin_scope: bool,
        limit in prop::option::of(0..10_i64),
    ) {
        let rules = PolicyRules::parse(&text).unwrap();
        let user_id = anna();
        let subject = PolicySubject { role, kind, ..subject(&user_id) };
        let arguments = limit.map_or_else(|| json!({}), |limit| json!({"limit": limit, "kind": "a"}));
        for (name, hint) in TOOLS {
            let scope = if is_admin_scope { Scope::Admin } else { Scope::UserSpace };
            let tool = PolicyTool { name, scope, hint };
            let is_listed = rules.is_visible(PolicyMode::Enforce, &subject, &tool);
            let like_unknown = matches!(
                rules.judge(&subject, &tool, &arguments),
                Ruling::Refuse { answer: RefusalAnswer::LikeUnknown, .. }
            );
            prop_assert_eq!(is_listed, !like_unknown, "{}\n{}", name, text);
            // The tool is granted to nobody else's profit: without a grant that fits, nothing goes through.
            let explained = rules.explain(PolicyMode::Enforce, &subject, &tool, &arguments);
            prop_assert!(!explained.is_allowed || !explained.grants.is_empty());
            prop_assert_eq!(explained.is_listed, is_listed);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,200}") {
        let _ = PolicyRules::parse(&text);
    }
}
