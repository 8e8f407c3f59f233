//! A persona whose brain asks a model: what goes over the wire, and what a tick makes of what comes back.

use std::time::Duration;

use actors::{Api, Brain, CastSettings, Endpoints, ModelBrain, ModelSettings, Prices};
use events::{Event, ModelCalled, Rated, TickFinished, TickOutcome};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use testkit::{FakeApi, FakeModel, Reply};

use crate::house::{House, SOON, arrives, types};

/// A brain that asks `fake`.
pub(crate) fn brain_of(fake: &FakeModel, api: FakeApi) -> ModelBrain {
    brain_in(&mut Endpoints::default(), fake, api)
}

pub(crate) fn brain_in(endpoints: &mut Endpoints, fake: &FakeModel, api: FakeApi) -> ModelBrain {
    let (api, member) = match api {
        FakeApi::Anthropic => (Api::Anthropic, "max_tokens"),
        FakeApi::OpenAi => (Api::OpenAi, "max_completion_tokens"),
    };
    let key = SecretString::from(FakeModel::key());
    ModelBrain::new(ModelSettings {
        endpoint: endpoints.of(api, &fake.base_url(), Some(&key)).unwrap(),
        model: "fake-model".to_owned(),
        max_tokens: 1_000,
        max_tokens_member: member.to_owned(),
        extra: Map::new(),
    })
}

pub(crate) fn with_prices(settings: &mut CastSettings) {
    settings.model.prices = Prices::parse(&FakeModel::price_list()).unwrap();
}

pub(crate) async fn house_of(fake: &FakeModel, api: FakeApi) -> House {
    House::start(brain_of(fake, api), with_prices).await
}

/// Whether the request is the one for ratings.
pub(crate) fn is_rating(request: &Value) -> bool {
    request.get("output_config").is_some() || request.get("response_format").is_some()
}

/// A rating of `module` that rests on its evidence.
pub(crate) fn rating(module: &str, stars: i64, went_well: &[&str], friction: &[&str]) -> Value {
    let well: Vec<Value> = went_well
        .iter()
        .map(|event| json!({"event": event, "what": "it worked"}))
        .collect();
    let bad = friction
        .iter()
        .map(|event| json!({"event": event, "what": "it failed", "cause": "app"}));
    json!({
        "module": module,
        "went_well": well,
        "friction": bad.collect::<Vec<_>>(),
        "could_finish": "yes",
        "would_return": "maybe",
        "vs_last_time": "first",
        "stars": stars,
        "note": "as it was",
    })
}

pub(crate) fn ratings(ratings: &[Value]) -> Reply {
    Reply::say(json!({"ratings": ratings}).to_string())
}

fn model_calls(story: &[Event]) -> Vec<&ModelCalled> {
    let calls = story.iter().filter_map(|event| match event {
        Event::ModelCalled(called) => Some(called),
        _ => None,
    });
    calls.collect()
}

fn rated(story: &[Event]) -> Vec<&Rated> {
    let rated = story.iter().filter_map(|event| match event {
        Event::Rated(rated) => Some(rated),
        _ => None,
    });
    rated.collect()
}

fn failed_ratings(story: &[Event]) -> Vec<(String, String)> {
    let failed = story.iter().filter_map(|event| match event {
        Event::RatingFailed(failed) => Some((failed.module.clone(), failed.reason.clone())),
        _ => None,
    });
    failed.collect()
}

pub(crate) fn finished(story: &[Event]) -> &TickFinished {
    let Some(Event::TickFinished(finished)) = story.last() else {
        panic!("{story:#?}")
    };
    finished
}

/// The results a request carries, as (id, is an error, content), in its order.
fn results(request: &Value) -> Vec<(String, bool, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let messages = request["messages"].as_array().unwrap();
    let mut found = Vec::new();
    for message in messages {
        if message["role"] == "tool" {
            let content = text(&message["content"]);
            found.push((
                text(&message["tool_call_id"]),
                content.starts_with("{\"is_error\":true"),
                content,
            ));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            if block["type"] == "tool_result" {
                let is_error = block["is_error"].as_bool().unwrap();
                found.push((text(&block["tool_use_id"]), is_error, text(&block["content"])));
            }
        }
    }
    found
}

const BOTH: [FakeApi; 2] = [FakeApi::Anthropic, FakeApi::OpenAi];

#[tokio::test]
async fn parallel_calls_are_answered_together_whatever_order_they_finish_in() {
    for api in BOTH {
        let fake = FakeModel::start(api).await;
        fake.then(Reply::call([
            ("a", "todo__create", json!({"gate": "late", "title": "Milch"})),
            ("b", "notes__create", json!({"answer": "refuse"})),
            ("c", "todo__list", json!({})),
        ]));
        fake.then(Reply::say("That was it."));
        fake.then(ratings(&[
            rating("notes", 2, &[], &["c2"]),
            rating("todo", 5, &["c1", "c3"], &[]),
        ]));
        let house = house_of(&fake, api).await;
        let anna = house.enrol("anna").await;
        let (report, ()) = tokio::join!(house.tick(&anna), async {
            arrives(|| async {
                house
                    .story(&anna)
                    .iter()
                    .filter(|event| matches!(event, Event::ToolReturned(_) | Event::ToolFailed(_)))
                    .count()
                    == 2
            })
            .await;
            house.door.open("late");
        });
        assert_eq!(fake.faults(), Vec::<String>::new(), "{api:?}");
        assert_eq!(
            (
                report.outcome.as_str(),
                report.calls,
                report.errors,
                report.ratings
            ),
            ("completed", 3, 1, 2)
        );
        let requests = fake.requests();
        assert_eq!(requests.len(), 3, "act, act, rate");
        let told = results(&requests[1]);
        let ids: Vec<(&str, bool)> = told
            .iter()
            .map(|(id, is_error, _)| (id.as_str(), *is_error))
            .collect();
        assert_eq!(ids, [("a", false), ("b", true), ("c", false)], "{api:?}");
        assert!(
            told[0].2.contains("Milch") && told[1].2.contains("title: required"),
            "{told:?}"
        );

        let story = house.story(&anna);
        assert_eq!(
            types(&story)[..3],
            ["TickStarted", "ModelAsked", "ModelCalled"],
            "asked before anything else"
        );
        let calls = model_calls(&story);
        assert_eq!(calls.len(), 3);
        let cost: u64 = calls.iter().map(|called| called.cost_micro_usd.unwrap()).sum();
        assert_eq!(finished(&story).cost_micro_usd, Some(cost));
        assert!(
            cost >= fake.bill_micro_usd(),
            "{cost} for a bill of {}",
            fake.bill_micro_usd()
        );
        let stars: Vec<(u8, Option<&str>)> = rated(&story)
            .iter()
            .map(|rated| (rated.rating, rated.unsupported.as_deref()))
            .collect();
        assert_eq!(stars, [(2, None), (5, None)]);
        assert_eq!(rated(&story)[0].model.as_deref(), Some("fake-model"));
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn calls_that_nobody_can_make_are_answered_and_not_sent() {
    let fake = FakeModel::start(FakeApi::OpenAi).await;
    fake.then(Reply::Message {
        text: String::new(),
        calls: vec![
            ("a".into(), "multi_tool_use.parallel".into(), "{}".into()),
            ("b".into(), "todo__create".into(), "{\"title\": ".into()),
            ("c".into(), "todo__list".into(), "{}".into()),
        ],
        // Some servers say so although there are calls.
        stop: Some("stop".to_owned()),
        extra: json!({}),
    });
    fake.then(Reply::call([("d", "todo__create", json!({"title": "half"}))]).stopping("length"));
    let house = house_of(&fake, FakeApi::OpenAi).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.calls, report.errors), (4, 3));
    let sent: Vec<String> = house.door.seen().into_iter().map(|seen| seen.tool).collect();
    assert_eq!(sent, ["todo.list"], "the one that could be made");
    assert_eq!(fake.faults(), Vec::<String>::new());
    let requests = fake.requests();
    let told = results(&requests[2]);
    let ids: Vec<(&str, bool)> = told
        .iter()
        .map(|(id, is_error, _)| (id.as_str(), *is_error))
        .collect();
    assert_eq!(ids, [("a", true), ("b", true), ("c", false), ("d", true)]);
    assert!(told[0].2.contains("no tool"), "{told:?}");
    assert!(told[3].2.contains("cut off"), "{told:?}");
    let story = house.story(&anna);
    let modules: Vec<String> = failed_ratings(&story)
        .into_iter()
        .map(|(module, _)| module)
        .collect();
    assert_eq!(
        modules,
        ["todo"],
        "a tool that does not exist has no module to rate"
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn every_way_to_stop_ends_the_tick_as_what_it_is() {
    let cases = [
        (Reply::say("No.").stopping("refusal"), TickOutcome::Refused),
        (
            Reply::say("and then I").stopping("max_tokens"),
            TickOutcome::Limit,
        ),
        (
            Reply::say("long").stopping("model_context_window_exceeded"),
            TickOutcome::Limit,
        ),
        (Reply::say("done").stopping("of_tomorrow"), TickOutcome::Completed),
        (
            Reply::say("").with(json!({"content": []})),
            TickOutcome::Completed,
        ),
    ];
    for (reply, expected) in cases {
        let fake = FakeModel::start(FakeApi::Anthropic).await;
        fake.then(reply);
        let house = house_of(&fake, FakeApi::Anthropic).await;
        let anna = house.enrol("anna").await;
        house.tick(&anna).await;
        let story = house.story(&anna);
        assert_eq!(finished(&story).outcome, expected);
        assert_eq!((fake.requests().len(), fake.faults()), (1, Vec::new()));
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_pause_goes_on_with_what_was_said_as_it_was_said() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::call([("a", "todo__list", json!({}))]));
    fake.then(Reply::say("still here").stopping("end_turn"));
    let house = house_of(&fake, FakeApi::Anthropic).await;
    let anna = house.enrol("anna").await;
    house.tick(&anna).await;
    assert_eq!(
        fake.faults(),
        Vec::<String>::new(),
        "thinking blocks go back unchanged"
    );
    let second = &fake.requests()[1];
    assert_eq!(second["messages"][1]["content"][0]["type"], "thinking");
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn what_passes_is_asked_again_and_every_attempt_is_on_record() {
    for api in BOTH {
        let fake = FakeModel::start(api).await;
        fake.then(Reply::rate_limited("0.01"));
        fake.then(Reply::overloaded());
        fake.then(Reply::MalformedJson);
        fake.then(Reply::CutMidBody);
        fake.then(Reply::say("At last."));
        let house = house_of(&fake, api).await;
        let anna = house.enrol("anna").await;
        let report = house.tick(&anna).await;
        assert_eq!(report.outcome, "completed", "{report:?}");
        let story = house.story(&anna);
        let attempts: Vec<(u32, bool, Option<u64>)> = model_calls(&story)
            .iter()
            .map(|called| {
                (
                    called.retries,
                    called.error.is_some(),
                    called.cost_micro_usd.filter(|cost| *cost == 0),
                )
            })
            .collect();
        assert_eq!(
            attempts,
            [
                (0, true, Some(0)),
                (1, true, Some(0)),
                (2, true, None),
                (3, true, None),
                (4, false, None)
            ],
            "refused costs nothing, what was worked out may"
        );
        assert_eq!(finished(&story).cost_micro_usd, None, "not known is not a number");
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_spend_limit_is_asked_once() {
    for api in BOTH {
        let fake = FakeModel::start(api).await;
        fake.then(Reply::spend_limit(api));
        let house = house_of(&fake, api).await;
        let anna = house.enrol("anna").await;
        let report = house.tick(&anna).await;
        assert_eq!(
            (report.outcome.as_str(), fake.requests().len()),
            ("failed", 1),
            "{report:?}"
        );
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_refused_key_shows_in_no_event_and_no_report() {
    let fake = FakeModel::start(FakeApi::OpenAi).await;
    let key = SecretString::from("sk-wrong-and-secret");
    let endpoint = Endpoints::default()
        .of(Api::OpenAi, &fake.base_url(), Some(&key))
        .unwrap();
    let brain = ModelBrain::new(ModelSettings {
        endpoint,
        model: "fake-model".to_owned(),
        max_tokens: 100,
        max_tokens_member: "max_completion_tokens".to_owned(),
        extra: Map::new(),
    });
    assert!(!format!("{brain:?}").contains("sk-wrong"));
    let house = House::start(brain, with_prices).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(report.outcome, "failed");
    let told = format!("{report:?} {:?}", house.story(&anna));
    assert!(told.contains("401") && !told.contains("sk-wrong"), "{told}");
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_model_without_a_price_is_not_asked() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |_| {}).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.outcome.as_str(), fake.requests().len()), ("failed", 0));
    assert!(
        report
            .reason
            .unwrap()
            .contains("no price is known for the model fake-model")
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_model_that_never_ends_is_ended_by_the_turn_limit() {
    let fake = FakeModel::directed(FakeApi::Anthropic, |request| {
        if is_rating(request) {
            return ratings(&[rating("todo", 3, &["c1"], &[])]);
        }
        let id = format!("id-{}", request["messages"].as_array().unwrap().len());
        Reply::call([(id.as_str(), "todo__list", json!({}))])
    })
    .await;
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |settings| {
        with_prices(settings);
        settings.model.turns_per_tick_max = 3;
    })
    .await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(
        report.reason.as_deref(),
        Some("the limit of 3 model turns was reached")
    );
    assert_eq!(
        (report.calls, report.ratings),
        (3, 1),
        "its part is kept, and rated"
    );
    assert_eq!(
        fake.faults(),
        Vec::<String>::new(),
        "calls that were not carried out are answered too"
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_s_time_ends_a_request_that_takes_too_long() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::Slow(Duration::from_mins(1), Box::new(Reply::say("late"))));
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |settings| {
        with_prices(settings);
        settings.tick_deadline = Duration::from_secs(3);
    })
    .await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(report.outcome, "limit");
    let story = house.story(&anna);
    assert_eq!(model_calls(&story)[0].cost_micro_usd, None, "it may be billed");
    house.cast.stop(SOON).await;
}

/// The ratings that the issue names, one after the other through a whole tick: none of them counts.
#[tokio::test]
async fn no_rating_counts_that_does_not_rest_on_what_happened() {
    let unsupported =
        |stars, well: &[&str], friction: &[&str]| ratings(&[rating("todo", stars, well, friction)]);
    let cases: Vec<(&str, Vec<Reply>, &str)> = vec![
        (
            "foreign evidence",
            vec![unsupported(4, &["c99"], &[])],
            "\"c99\" names no call",
        ),
        (
            "seven stars",
            vec![unsupported(7, &["c1"], &[])],
            "7 is not a rating",
        ),
        (
            "prose",
            vec![Reply::say("I loved it, five stars!"), Reply::say("Really.")],
            "of no use, twice",
        ),
        (
            "calls instead",
            vec![Reply::call([("x", "todo__list", json!({}))]), Reply::say("{")],
            "of no use, twice",
        ),
        (
            "flattery",
            vec![unsupported(5, &["c6"], &["c1"])],
            "5 stars although 5 of 6 calls failed",
        ),
        (
            "the other module",
            vec![ratings(&[rating("notes", 5, &["c6"], &[])])],
            "said nothing",
        ),
        (
            "a refusal",
            vec![Reply::say("no").stopping("refusal")],
            "refused to rate",
        ),
    ];
    for (case, replies, reason) in cases {
        let fake = FakeModel::start(FakeApi::Anthropic).await;
        let refused = |id| (id, "todo__create", json!({"answer": "refuse"}));
        fake.then(Reply::call([
            refused("a"),
            refused("b"),
            refused("c"),
            refused("d"),
            refused("e"),
            ("f", "todo__list", json!({})),
        ]));
        fake.then(Reply::say("Enough."));
        for reply in replies {
            fake.then(reply);
        }
        let house = house_of(&fake, FakeApi::Anthropic).await;
        let anna = house.enrol("anna").await;
        let report = house.tick(&anna).await;
        let story = house.story(&anna);
        assert_eq!(
            (report.outcome.as_str(), report.ratings),
            ("completed", 0),
            "{case}"
        );
        let of_todo = rated(&story)
            .into_iter()
            .find_map(|rated| rated.unsupported.clone())
            .unwrap_or_else(|| {
                let failed = failed_ratings(&story);
                failed
                    .iter()
                    .find(|(module, _)| module == "todo")
                    .unwrap()
                    .1
                    .clone()
            });
        assert!(of_todo.contains(reason), "{case}: {of_todo}");
        assert_eq!(fake.faults(), Vec::<String>::new(), "{case}");
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn prose_once_and_then_the_json_is_a_rating() {
    let fake = FakeModel::start(FakeApi::OpenAi).await;
    fake.then(Reply::call([("a", "todo__list", json!({}))]));
    fake.then(Reply::say("Done."));
    fake.then(Reply::say("It was nice."));
    fake.then(Reply::say(format!(
        "```json\n{}\n```",
        json!({"ratings": [rating("todo", 4, &["c1"], &[])]})
    )));
    let house = house_of(&fake, FakeApi::OpenAi).await;
    let anna = house.enrol("anna").await;
    assert_eq!(house.tick(&anna).await.ratings, 1);
    let story = house.story(&anna);
    let answers = rated(&story)[0].answers.clone().unwrap();
    assert_eq!(
        (answers.could_finish.as_str(), answers.vs_last_time.as_str()),
        ("yes", "first")
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn personas_may_have_brains_of_their_own() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    let model = brain_of(&fake, FakeApi::Anthropic);
    assert_eq!(model.identity().name, "anthropic");
    let brains = actors::Brains::all(std::sync::Arc::new(crate::scripted::Scripted::rounds(Vec::new())))
        .with("ben@mana.test", std::sync::Arc::new(model));
    let house = House::start_with(brains, with_prices).await;
    let (anna, ben) = (house.enrol("anna").await, house.enrol("ben").await);
    house.tick(&anna).await;
    assert_eq!(fake.requests().len(), 0);
    house.tick(&ben).await;
    assert_eq!(fake.requests().len(), 1);
    let started = |story: &[Event]| match &story[0] {
        Event::TickStarted(started) => (started.brain.clone(), started.model.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(started(&house.story(&anna)), ("scripted".to_owned(), None));
    assert_eq!(
        started(&house.story(&ben)),
        ("anthropic".to_owned(), Some("fake-model".to_owned()))
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn the_second_day_begins_with_what_the_first_one_left() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    let made = "018f0000-0000-7000-8000-00000000000a";
    fake.then(Reply::call([(
        "a",
        "todo__create",
        json!({"id": made, "title": "Geheim: Milch"}),
    )]));
    fake.then(Reply::say("Done."));
    fake.then(ratings(&[rating("todo", 4, &["c1"], &[])]));
    let house = house_of(&fake, FakeApi::Anthropic).await;
    let anna = house.enrol("anna").await;
    house.tick(&anna).await;
    let story = house.story(&anna);
    let written = story.iter().find_map(|event| match event {
        Event::DiaryWritten(written) => Some(written.clone()),
        _ => None,
    });
    assert_eq!(written.unwrap().made[0].id, made);
    assert!(!format!("{story:?}").contains("Geheim"), "ids alone");

    house.tick(&anna).await;
    let request = fake.requests().pop().unwrap();
    let told = request["messages"][0]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(told.contains(made) && told.contains("visit 1 on"), "{told}");
    assert!(
        !request["system"].as_str().unwrap().contains(made),
        "what is cached stays the same"
    );
    house.cast.stop(SOON).await;
}
