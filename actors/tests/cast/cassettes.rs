//! Ticks that are recorded with a model's server and lived again without one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::{Api, Cassette, CassetteMode, Endpoints, ModelBrain, ModelSettings};
use events::{Clock as _, Event, PersonaId, SystemClock};
use secrecy::SecretString;
use serde_json::{Map, json};
use testkit::{FakeApi, FakeModel, Reply};

use crate::house::{House, SOON};
use crate::models::{is_rating, rating, ratings, with_prices};

/// An id as apps hand them out.
const FIRST_NIGHT: &str = "018f0000-0000-7000-8000-000000000001";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

fn brain(api: FakeApi, base_url: &str, cassette: &Arc<Cassette>) -> ModelBrain {
    let (api, member) = match api {
        FakeApi::Anthropic => (Api::Anthropic, "max_tokens"),
        FakeApi::OpenAi => (Api::OpenAi, "max_completion_tokens"),
    };
    let key = (!cassette.plays()).then(|| SecretString::from(FakeModel::key()));
    let mut endpoints = Endpoints::default().with_cassette(cassette.clone());
    ModelBrain::new(ModelSettings {
        endpoint: endpoints.of(api, base_url, key.as_ref()).unwrap(),
        model: "fake-model".to_owned(),
        max_tokens: 1_000,
        max_tokens_member: member.to_owned(),
        extra: Map::new(),
    })
}

fn open(path: &Path, mode: CassetteMode) -> Arc<Cassette> {
    Arc::new(Cassette::open(path, mode).unwrap())
}

/// What a tick did and how it was rated: tool, hash of the arguments, stars; and how it ended.
fn lived(house: &House, persona_id: &PersonaId) -> (Vec<(String, String)>, Vec<u8>, String) {
    let story = house.story(persona_id);
    let calls = story.iter().filter_map(|event| match event {
        Event::ToolCalled(called) => Some((called.tool.clone(), called.input_hash.clone())),
        _ => None,
    });
    let stars = story.iter().filter_map(|event| match event {
        Event::Rated(rated) if rated.unsupported.is_none() => Some(rated.rating),
        _ => None,
    });
    let ended = story.iter().find_map(|event| match event {
        Event::TickFinished(finished) => Some(format!(
            "{}: {}",
            finished.outcome.as_str(),
            finished.reason.clone().unwrap_or_default()
        )),
        _ => None,
    });
    (calls.collect(), stars.collect(), ended.unwrap_or_default())
}

/// Prompts tell the time to the minute, so what is recorded in one is not found in the next.
async fn away_from_the_end_of_a_minute() {
    let second = SystemClock::new().now().as_second().rem_euclid(60);
    if second >= 45 {
        let left = u64::try_from(60 - second).unwrap();
        SystemClock::new().sleep(Duration::from_secs(left)).await;
    }
}

/// Records one tick: a task is made, then looked for by its id, then the module is rated.
async fn recorded(api: FakeApi, path: &Path) -> (Vec<(String, String)>, Vec<u8>, String) {
    away_from_the_end_of_a_minute().await;
    let fake = FakeModel::start(api).await;
    fake.then(Reply::call([(
        "a",
        "todo__create",
        json!({"title": "Milch", "id": FIRST_NIGHT}),
    )]));
    fake.then(Reply::call([("b", "todo__list", json!({"id": FIRST_NIGHT}))]));
    fake.then(Reply::say("That was it."));
    fake.then(ratings(&[rating("todo", 5, &["c1", "c2"], &[])]));
    let cassette = open(path, CassetteMode::Record);
    let house = House::start(brain(api, &fake.base_url(), &cassette), with_prices).await;
    let anna = house.enrol("anna").await;
    house.tick(&anna).await;
    assert_eq!(fake.faults(), Vec::<String>::new());
    assert!(is_rating(fake.requests().last().unwrap()));
    let lived = lived(&house, &anna);
    house.cast.stop(SOON).await;
    assert_eq!((lived.0.len(), &lived.1[..]), (2, &[5][..]));
    lived
}

#[tokio::test]
async fn a_recorded_tick_is_lived_again_call_for_call_without_a_server_and_for_nothing() {
    for api in [FakeApi::Anthropic, FakeApi::OpenAi] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape.jsonl");
        let first = recorded(api, &path).await;
        let cassette = open(&path, CassetteMode::Replay);
        let house = House::start(brain(api, NOWHERE, &cassette), with_prices).await;
        let anna = house.enrol("anna").await;
        house.tick(&anna).await;
        assert_eq!(lived(&house, &anna), first, "{api:?}");
        let cost = house.story(&anna).iter().find_map(|event| match event {
            Event::TickFinished(finished) => finished.cost_micro_usd,
            _ => None,
        });
        assert_eq!((cost, cassette.differences()), (Some(0), Vec::new()));
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_request_that_is_not_on_the_tape_ends_the_tick_and_names_the_nearest_and_where_it_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tape.jsonl");
    recorded(FakeApi::Anthropic, &path).await;
    // The app says something else: on the tape it echoes another title.
    let text = std::fs::read_to_string(&path).unwrap();
    let altered = dir.path().join("altered.jsonl");
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("\"ids\"") {
            Some((request, rest)) => {
                let key = request.replacen(
                    "{\"key\":\"",
                    "{\"key\":\"0",
                    usize::from(request.contains("Milch")),
                );
                format!("{}\"ids\"{rest}", key.replace("Milch", "Brot"))
            }
            None => line.to_owned(),
        })
        .collect();
    std::fs::write(&altered, lines.join("\n")).unwrap();

    let cassette = open(&altered, CassetteMode::Replay);
    let house = House::start(brain(FakeApi::Anthropic, NOWHERE, &cassette), with_prices).await;
    let anna = house.enrol("anna").await;
    house.tick(&anna).await;
    let (calls, _, ended) = lived(&house, &anna);
    assert_eq!(calls.len(), 1, "{ended}");
    assert!(
        ended.contains("the nearest is entry 2, which differs at /messages/1/"),
        "{ended}"
    );
    house.cast.stop(SOON).await;

    // Turn by turn it is lived all the same, and what differs is told.
    let cassette = open(&altered, CassetteMode::ReplayModel);
    let house = House::start(brain(FakeApi::Anthropic, NOWHERE, &cassette), with_prices).await;
    let anna = house.enrol("anna").await;
    house.tick(&anna).await;
    let (calls, stars, ended) = lived(&house, &anna);
    assert_eq!((calls.len(), &stars[..]), (2, &[5][..]), "{ended}");
    let differences = cassette.differences();
    assert!(
        differences[0].starts_with("turn 2 of conversation 1 differs from entry 2 at /messages/1/"),
        "{differences:?}"
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn no_key_is_ever_on_a_tape_also_where_somebody_says_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tape.jsonl");
    let fake = FakeModel::start(FakeApi::OpenAi).await;
    let canary = FakeModel::key();
    fake.then(Reply::call([(
        "a",
        "todo__create",
        json!({"title": format!("my key is {canary}")}),
    )]));
    let cassette = open(&path, CassetteMode::Record);
    let house = House::start(brain(FakeApi::OpenAi, &fake.base_url(), &cassette), with_prices).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.outcome.as_str(), report.calls), ("completed", 1));
    house.cast.stop(SOON).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains(canary) && !text.to_lowercase().contains("bearer"),
        "{text}"
    );
    // All that was said from then on repeats it.
    assert_eq!(
        (text.lines().count(), cassette.withheld()),
        (1, fake.requests().len() as u64)
    );
}

#[tokio::test]
async fn a_tape_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tape.jsonl");
    std::fs::write(&path, "precious").unwrap();
    assert!(Cassette::open(&path, CassetteMode::Record).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert!(Cassette::open(&path, CassetteMode::Replay).is_err());
}
