//! What operators ask: the figures equal plain SQL, and pages neither skip nor repeat.

use std::collections::BTreeMap;

use events::testing::id;
use events::{Event, Subject, ToolFailed};
use jiff::Timestamp;
use projections::{ActionFilter, Cursor, PageRequest, RatingFilter, StoryTick, Tables};
use sqlx::Row as _;
use testkit::Postgres;

use crate::support::*;

/// Three personas with three ticks each; who likes what is spread.
fn history() -> Vec<(Subject, Vec<Event>)> {
    let mut commits = Vec::new();
    for (persona, base) in [("anna", 1u8), ("ben", 3), ("cleo", 4)] {
        commits.push((of_persona(persona), vec![enrolled(persona)]));
        for number in 0..3u8 {
            let tick = &format!("{persona}-{number}");
            let mut slip = ToolFailed {
                tick_id: id(tick),
                call_id: id("b"),
                error: "title: required".to_owned(),
                latency_ms: Some(u64::from(number) * 100),
                cause: events::Cause::Persona,
            };
            if number == 2 {
                slip.cause = events::Cause::App;
            }
            commits.push((
                of_persona(persona),
                vec![
                    began(persona, tick),
                    call(tick, "a", 0, "todo.list").into(),
                    call(tick, "b", 1, "todo.create").into(),
                ],
            ));
            commits.push((
                of_persona(persona),
                vec![
                    returned(tick, "a"),
                    slip.into(),
                    rated(tick, "todo", (base + number).clamp(1, 5)),
                    rated(tick, "notes", 5 - number),
                    finished(tick),
                ],
            ));
        }
        commits.extend(session_of(persona));
    }
    commits
}

/// The beginning of time, so that everything counts.
fn ever() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

#[tokio::test]
async fn each_cell_of_the_heat_map_equals_an_aggregate_in_plain_sql() {
    let (bench, _) = Bench::folded(history()).await;
    let map = bench.tables.heatmap(ever(), None).await.unwrap();
    let mut db = raw(bench.tables.path().unwrap()).await;
    let rows = sqlx::query(
        "SELECT f.module, p.archetype, COUNT(f.rating) AS n, AVG(f.rating) AS mean
         FROM persona_feedback f JOIN personas p ON p.id = f.persona_id
         WHERE f.rating IS NOT NULL GROUP BY 1, 2",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let plain: BTreeMap<(String, String), (i64, f64)> = rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))))
        .collect();
    assert_eq!(map.cells.len(), plain.len());
    assert_eq!(
        (map.source, map.cells.len()),
        (Some(events::RatingSource::Simulated), 2)
    );
    for cell in &map.cells {
        let (count, mean) = plain[&(cell.module.clone(), cell.archetype.clone())];
        assert_eq!((cell.ratings, cell.personas), (u64::try_from(count).unwrap(), 3));
        assert_eq!(cell.stars.iter().sum::<u64>(), cell.ratings);
        assert!((cell.stars_mean - mean).abs() < 1e-12, "{cell:?} {mean}");
        assert!(cell.half_width.unwrap() > 0.0 && cell.is_few);
    }
}

#[tokio::test]
async fn ratings_of_another_source_are_counted_and_share_no_cell() {
    let mut commits = history();
    let mut outside = rated("anna-9", "todo", 1);
    if let Event::Rated(rated) = &mut outside {
        rated.source = events::RatingSource::External;
    }
    commits.push((of_persona("anna"), vec![began("anna", "anna-9"), outside]));
    let (bench, _) = Bench::folded(commits).await;
    let usual = bench.tables.heatmap(ever(), None).await.unwrap();
    assert_eq!(usual.sources.len(), 2);
    assert_eq!(usual.cells.iter().map(|cell| cell.ratings).sum::<u64>(), 18);
    let external = bench
        .tables
        .heatmap(ever(), Some(events::RatingSource::External))
        .await
        .unwrap();
    assert_eq!((external.cells.len(), external.cells[0].stars_mean), (1, 1.0));
    assert_eq!(external.cells[0].half_width, None, "one rating has no interval");
    let later = bench.tables.heatmap(Timestamp::MAX, None).await.unwrap();
    assert_eq!((later.source, later.cells.len()), (None, 0));
}

/// All rows, page by page.
async fn pages(tables: &Tables, limit: u32) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest { cursor, limit };
        let page = tables
            .recent_actions_page(&ActionFilter::default(), &request)
            .await
            .unwrap();
        assert!(page.items.len() <= limit as usize);
        ids.extend(page.items.into_iter().map(|recent| recent.action.id));
        let Some(next) = page.next_cursor else {
            return ids;
        };
        cursor = Some(next.parse::<Cursor>().unwrap());
    }
}

#[tokio::test]
async fn pages_of_any_size_hold_every_row_once_newest_first() {
    let (bench, _) = Bench::folded(history()).await;
    let whole = pages(&bench.tables, 500).await;
    assert_eq!(whole.len(), 18);
    assert!(whole[0].starts_with("cleo-2"));
    for limit in [1, 2, 5, 18] {
        assert_eq!(pages(&bench.tables, limit).await, whole, "{limit}");
    }
}

#[tokio::test]
async fn filters_hold_back_what_does_not_fit() {
    let (bench, _) = Bench::folded(history()).await;
    let filter = ActionFilter {
        persona: Some(id("ben")),
        tool: Some("todo.create".to_owned()),
        result: Some(projections::CallResult::Error),
    };
    let page = bench
        .tables
        .recent_actions_page(&filter, &PageRequest::first(50))
        .await
        .unwrap();
    assert_eq!(
        (page.items.len(), page.items[0].persona_name.as_str()),
        (3, "ben")
    );
    let filter = RatingFilter {
        module: Some("notes".to_owned()),
        archetype: Some("researcher".to_owned()),
        ..RatingFilter::default()
    };
    let page = bench
        .tables
        .recent_ratings(&filter, &PageRequest::first(4))
        .await
        .unwrap();
    assert_eq!(page.items.len(), 4);
    assert!(page.next_cursor.is_some() && page.items.iter().all(|rating| rating.module == "notes"));
}

#[tokio::test]
async fn a_story_tells_each_tick_with_its_own_calls_and_ratings() {
    let (bench, _) = Bench::folded(history()).await;
    let story = bench
        .tables
        .story(&id("ben"), &PageRequest::first(2))
        .await
        .unwrap();
    let ticks: Vec<&str> = story.items.iter().map(|tick| tick.tick_id.as_str()).collect();
    assert_eq!(ticks, ["ben-2", "ben-1"]);
    let told = |tick: &StoryTick| (tick.actions.len(), tick.ratings.len(), tick.outcome.clone());
    assert_eq!(told(&story.items[0]), (2, 2, Some("completed".to_owned())));
    assert_eq!(
        story.items[0].actions[1].error_message.as_deref(),
        Some("title: required")
    );
    let request = PageRequest {
        cursor: Some(story.next_cursor.unwrap().parse().unwrap()),
        limit: 2,
    };
    let rest = bench.tables.story(&id("ben"), &request).await.unwrap();
    assert_eq!((rest.items.len(), rest.next_cursor), (1, None));
    assert!(
        bench
            .tables
            .story(&id("nobody"), &request)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_trace_holds_the_calls_of_its_tick_from_both_sides() {
    let (bench, _) = Bench::folded([day_of("anna"), session_of("anna"), session_of("ben")].concat()).await;
    let trace = bench.tables.trace(&id("tick-of-anna")).await.unwrap().unwrap();
    assert_eq!((trace.tick.actions.len(), trace.gateway.len()), (3, 1));
    assert_eq!(
        (trace.gateway[0].call_id.as_str(), trace.gateway[0].duration_ms),
        ("call-1", Some(3))
    );
    assert!(bench.tables.trace(&id("tick-of-nobody")).await.unwrap().is_none());
}

#[tokio::test]
async fn tools_tell_whose_fault_errors_were_and_how_long_calls_took() {
    let (bench, _) = Bench::folded(history()).await;
    let report = bench.tables.tool_stats(ever()).await.unwrap();
    let [create, list] = &report.tools[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (create.tool.as_str(), create.calls, create.errors),
        ("todo.create", 9, 9)
    );
    assert_eq!(
        (create.errors_persona, create.errors_app, create.errors_infra),
        (6, 3, 0)
    );
    assert!((create.confusion - 6.0 / 9.0).abs() < 1e-12);
    assert_eq!(
        (create.p50_ms, create.p95_ms, create.personas_affected),
        (Some(100), Some(200), 3)
    );
    assert_eq!(create.example_error.as_deref(), Some("title: required"));
    assert_eq!(
        (list.errors, list.p95_ms, list.example_error.as_deref()),
        (0, Some(12), None)
    );
}

#[tokio::test]
async fn scores_fall_into_their_days_and_costs_into_theirs() {
    let (bench, _) = Bench::folded(history()).await;
    let now = events::testing::sample_time();
    let scores = bench.tables.module_scores(now, 7).await.unwrap();
    assert_eq!((scores.days.len(), scores.modules.len()), (7, 2));
    let notes = &scores.modules[0];
    assert_eq!(
        (notes.module.as_str(), notes.ratings, notes.stars_mean),
        ("notes", 9, 4.0)
    );
    assert_eq!(notes.days[6].stars_mean, Some(4.0));
    assert!(notes.days[..6].iter().all(|day| day.stars_mean.is_none()));
    let spend = bench.tables.spend(ever(), now).await.unwrap();
    assert_eq!((spend.total_micro_usd, spend.ticks_unknown), (0, 0));
    assert_eq!(spend.personas.iter().map(|persona| persona.ticks).sum::<u64>(), 9);
}

/// Every question on `tables`, as JSON.
async fn all_answers(tables: &Tables) -> Vec<serde_json::Value> {
    let (now, page) = (events::testing::sample_time(), PageRequest::first(3));
    let json = |answer: serde_json::Result<serde_json::Value>| answer.unwrap();
    vec![
        json(serde_json::to_value(tables.cast(ever(), &page).await.unwrap())),
        json(serde_json::to_value(tables.heatmap(ever(), None).await.unwrap())),
        json(serde_json::to_value(tables.module_scores(now, 7).await.unwrap())),
        json(serde_json::to_value(tables.tool_stats(ever()).await.unwrap())),
        json(serde_json::to_value(tables.spend(ever(), now).await.unwrap())),
        json(serde_json::to_value(tables.gateway_stats(ever()).await.unwrap())),
        json(serde_json::to_value(tables.recent_sessions(&page).await.unwrap())),
        json(serde_json::to_value(tables.recent_refusals(&page).await.unwrap())),
        json(serde_json::to_value(
            tables
                .recent_actions_page(&ActionFilter::default(), &page)
                .await
                .unwrap(),
        )),
        json(serde_json::to_value(
            tables
                .recent_ratings(&RatingFilter::default(), &page)
                .await
                .unwrap(),
        )),
        json(serde_json::to_value(
            tables.story(&id("anna"), &page).await.unwrap(),
        )),
        json(serde_json::to_value(tables.trace(&id("anna-0")).await.unwrap())),
    ]
}

#[tokio::test]
async fn both_databases_answer_operators_alike() {
    let server = Postgres::start();
    let (bench, log) = Bench::folded(history()).await;
    let tables = Tables::connect(&server.url()).await.unwrap();
    fold_to_end(log, &tables, 2_000).await.unwrap();
    let (on_sqlite, on_postgres) = (all_answers(&bench.tables).await, all_answers(&tables).await);
    for (sqlite, postgres) in on_sqlite.iter().zip(&on_postgres) {
        assert_eq!(sqlite, postgres);
        let as_of = sqlite.get("as_of_seq").unwrap();
        assert!(as_of.as_u64().unwrap() > 20, "{as_of}");
    }
    tables.close().await;
}
