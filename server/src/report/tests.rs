use super::*;
use projections::{ModuleDay, ModuleStars, Stumble, ToolFailures};

const MODULES: [&str; 5] = ["habits", "journal", "notes", "spaces", "todo"];

fn persona(number: u8, name: &str, archetype: &str, counts: [u64; 4], stars: [Option<u8>; 5]) -> PersonaDay {
    let [calls, errors, retries, mistakes] = counts;
    let ratings = MODULES.into_iter().zip(stars).filter_map(|(module, rating)| {
        let notes = format!("{errors} of {calls} calls went wrong, {retries} were tried again");
        // No stars at all: the module was not used. Zero: used, and the rating turn gave nothing.
        rating.map(|stars| ModuleStars {
            module: module.to_owned(),
            rating: (stars > 0).then_some(stars),
            friction: Some(f64::from(5 - stars) / 5.0),
            notes: if stars > 0 {
                notes
            } else {
                "no usable answer".to_owned()
            },
        })
    });
    PersonaDay {
        persona_id: format!("p{number}"),
        email: format!("p{number}@mana.test"),
        name: name.to_owned(),
        archetype: archetype.to_owned(),
        ticks: 1,
        interrupted: 0,
        calls,
        errors,
        retries,
        mistakes,
        outcome: Some("completed".to_owned()),
        ratings: ratings.collect(),
    }
}

fn day() -> DayReport {
    let mut personas = vec![
        persona(
            0,
            "Anna Berger",
            "adhd-student",
            [14, 1, 1, 0],
            [Some(4), None, Some(5), None, Some(3)],
        ),
        persona(
            1,
            "Marcus Thoma",
            "ceo-busy",
            [6, 0, 0, 0],
            [None, None, None, Some(5), Some(5)],
        ),
        persona(
            2,
            "Inês Carvalho",
            "creative-parent",
            [17, 2, 1, 0],
            [Some(4), Some(4), Some(3), None, Some(4)],
        ),
        persona(
            3,
            "Nuria Castellanos",
            "overwhelmed-newbie",
            [21, 7, 4, 6],
            [Some(2), Some(0), Some(2), Some(4), Some(1)],
        ),
    ];
    personas[2].interrupted = 1;
    personas[3].outcome = Some("abandoned".to_owned());
    let module = |number: usize, calls, errors, ratings, stars_mean, friction_mean| ModuleDay {
        module: MODULES[number].to_owned(),
        calls,
        errors,
        ratings,
        stars_mean,
        friction_mean,
    };
    DayReport {
        personas,
        modules: vec![
            module(0, 11, 1, 3, Some(10.0 / 3.0), Some(0.21)),
            module(1, 6, 2, 1, Some(4.0), Some(0.34)),
            module(2, 15, 1, 3, Some(10.0 / 3.0), Some(0.07)),
            module(3, 4, 0, 2, Some(4.5), Some(0.0)),
            module(4, 22, 6, 4, Some(3.25), Some(0.62)),
        ],
        failing_tools: vec![
            failures(
                "todo.create",
                9,
                4,
                3,
                2,
                "title must not be longer than 500 characters, but this one has 612",
            ),
            failures(
                "journal.add",
                6,
                2,
                1,
                1,
                "mood \"super\" is not one of dankbar, glücklich, zufrieden, neutral",
            ),
            failures("habits.update", 3, 1, 0, 1, "no habit has this id in this space"),
            failures("todo.complete", 5, 1, 1, 1, "no task has this id in this space"),
        ],
        newcomers: vec![
            stumble(
                "todo.create",
                "title-too-long",
                3,
                0,
                2,
                Some("title must not be longer than 500 characters"),
            ),
            stumble(
                "journal.add",
                "unknown-mood",
                2,
                0,
                1,
                Some("mood \"super\" is not one of dankbar, glücklich"),
            ),
            stumble("todo.create", "duplicate", 1, 1, 0, None),
        ],
        as_of_seq: StreamSeq(141),
    }
}

fn failures(
    tool: &str,
    calls: u64,
    errors: u64,
    mistakes: u64,
    personas_affected: u64,
    error: &str,
) -> ToolFailures {
    ToolFailures {
        tool: tool.to_owned(),
        calls,
        errors,
        mistakes,
        personas_affected,
        error_rate: errors as f64 / calls as f64,
        example_error: error.to_owned(),
        example_call_id: format!("call-of-{tool}"),
    }
}

fn stumble(
    tool: &str,
    mistake: &str,
    times: u64,
    accepted: u64,
    recovered: u64,
    error: Option<&str>,
) -> Stumble {
    Stumble {
        persona_name: "Nuria Castellanos".to_owned(),
        tool: tool.to_owned(),
        mistake: mistake.to_owned(),
        times,
        accepted,
        recovered,
        example_error: error.map(str::to_owned),
    }
}

fn counts() -> TableCounts {
    TableCounts {
        personas: 4,
        actions: 58,
        actions_pending: 0,
        actions_unknown: 1,
        feedback: 14,
        ticks: 5,
        ticks_interrupted: 1,
        records: 33,
        sessions: 5,
        refusals: 0,
        calls: 58,
        calls_pending: 0,
        parked: 0,
        as_of_seq: StreamSeq(141),
    }
}

fn log() -> LogCounts {
    let events = [
        ("PersonaEnrolled", 4),
        ("TickStarted", 5),
        ("TickInterrupted", 1),
        ("TickFinished", 4),
        ("ToolCalled", 58),
        ("ToolReturned", 47),
        ("ToolFailed", 10),
        ("Rated", 13),
        ("RatingFailed", 1),
        ("SessionOpened", 5),
        ("SessionClosed", 4),
        ("CallStarted", 58),
        ("CallEnded", 58),
        ("RecordChanged", 36),
    ];
    LogCounts {
        commits: 141,
        personas: 4,
        events_by_type: events
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        last_seq: StreamSeq(141),
    }
}

fn places() -> Places {
    Places {
        dashboard_url: "http://127.0.0.1:3069/".to_owned(),
        log: "dramatis events cat --data dramatis-data".to_owned(),
        tables: "dramatis-data/dramatis.sqlite".to_owned(),
        data_dir: "dramatis-data".to_owned(),
    }
}

fn morning() -> MorningReport {
    MorningReport::new(day(), counts(), log(), places(), 12_480, 1)
}

const PLAIN: Paint = Paint { colour: false };

#[test]
fn the_text_reads_well_at_100_columns() {
    let text = morning().text(100, PLAIN);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn on_a_narrow_terminal_the_stars_move_into_one_column() {
    let text = morning().text(72, PLAIN);
    assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_json_form_is_stable() {
    insta::assert_json_snapshot!(morning());
}

#[test]
fn colour_is_used_only_when_asked_for() {
    assert!(!morning().text(100, PLAIN).contains('\u{1b}'));
    assert!(morning().text(100, Paint { colour: true }).contains("\u{1b}["));
}

#[test]
fn a_name_or_error_cannot_send_commands_to_the_terminal() {
    let mut morning = morning();
    morning.report.personas[0].name = "\u{1b}]0;owned\u{7}Anna\nBerger".to_owned();
    morning.report.failing_tools[0].example_error = "\u{9b}2J".to_owned();
    let text = morning.text(100, PLAIN);
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{text:?}");
}

#[test]
fn calls_whose_outcome_nobody_knows_are_not_passed_over() {
    let without = "without an outcome";
    assert!(morning().text(140, PLAIN).contains(&format!("· 1 {without} ·")));
    let known = TableCounts {
        actions_unknown: 0,
        ..counts()
    };
    assert!(
        !MorningReport::new(day(), known, log(), places(), 1, 1)
            .text(140, PLAIN)
            .contains(without)
    );
}

#[test]
fn an_empty_house_has_a_report_that_says_so() {
    let empty = DayReport {
        personas: vec![],
        modules: vec![],
        failing_tools: vec![],
        newcomers: vec![],
        as_of_seq: StreamSeq::ZERO,
    };
    let morning = MorningReport::new(
        empty,
        TableCounts::default(),
        LogCounts::default(),
        places(),
        3,
        1,
    );
    assert!(morning.agrees());
    let text = morning.text(100, PLAIN);
    for said in [
        "Nobody is enrolled",
        "No call failed",
        "No module was used",
        "They agree",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[test]
fn a_row_too_few_is_a_disagreement() {
    let lines = agreement(
        &log(),
        &TableCounts {
            actions: 57,
            ..counts()
        },
    );
    let differing: Vec<_> = lines
        .iter()
        .filter(|line| !line.agrees)
        .map(|line| line.what)
        .collect();
    assert_eq!(differing, ["tool calls", "outcomes of calls"]);
    let text = MorningReport::new(
        day(),
        TableCounts {
            actions: 57,
            ..counts()
        },
        log(),
        places(),
        1,
        1,
    )
    .text(100, PLAIN);
    assert!(text.contains('✗') && text.contains("dramatis verify"), "{text}");
}

#[test]
fn every_count_is_held_against_the_log() {
    type Change = fn(&mut TableCounts);
    let cases: [(&str, Change); 9] = [
        ("personas", |counts| counts.personas += 1),
        ("ticks", |counts| counts.ticks += 1),
        ("ticks interrupted", |counts| counts.ticks_interrupted += 1),
        ("tool calls", |counts| {
            counts.actions += 1;
            counts.actions_pending += 1;
        }),
        ("outcomes of calls", |counts| counts.actions_unknown += 1),
        ("ratings", |counts| counts.feedback += 1),
        ("sessions", |counts| counts.sessions += 1),
        ("refused calls", |counts| counts.refusals += 1),
        ("calls at the gateway", |counts| counts.calls += 1),
    ];
    assert!(agreement(&log(), &counts()).iter().all(|line| line.agrees));
    for (what, change) in cases {
        let mut changed = counts();
        change(&mut changed);
        let lines = agreement(&log(), &changed);
        assert_eq!(
            lines
                .iter()
                .filter(|line| !line.agrees)
                .map(|line| line.what)
                .collect::<Vec<_>>(),
            [what]
        );
    }
}

#[test]
fn rows_of_erased_personas_may_be_gone_but_none_may_be_added() {
    let mut erased = log();
    erased.events_by_type.insert("PersonaErased".to_owned(), 1);
    erased.personas = 3;
    let after = TableCounts {
        personas: 3,
        actions: 37,
        feedback: 9,
        ticks: 4,
        ..counts()
    };
    let lines = agreement(&erased, &after);
    assert!(lines.iter().all(|line| line.agrees), "{lines:?}");
    assert_eq!(lines[0].note.as_deref(), Some("1 more erased"));
    assert_eq!(
        lines[3].note.as_deref(),
        Some("the rows of 1 erased persona are gone")
    );
    let added = TableCounts {
        feedback: 15,
        ..after
    };
    assert!(!agreement(&erased, &added).iter().all(|line| line.agrees));
    let kept = TableCounts { personas: 4, ..after };
    assert!(!agreement(&erased, &kept).iter().all(|line| line.agrees));
}

#[test]
fn what_is_parked_explains_what_is_missing() {
    let lines = agreement(
        &log(),
        &TableCounts {
            sessions: 4,
            parked: 1,
            ..counts()
        },
    );
    let sessions = lines.iter().find(|line| line.what == "sessions").expect("a line");
    assert!(!sessions.agrees);
    assert_eq!(
        sessions.note.as_deref(),
        Some("1 commits could not be folded and are parked")
    );
}

#[test]
fn stars_and_bars_round_to_the_nearest_and_never_overflow() {
    assert_eq!(
        [0.0, 1.0, 3.49, 3.5, 5.0, 9.0].map(stars),
        ["☆☆☆☆☆", "★☆☆☆☆", "★★★☆☆", "★★★★☆", "★★★★★", "★★★★★"]
    );
    assert_eq!(
        [0.0, 0.01, 0.5, 1.0, 7.0].map(friction_bar),
        [
            "░░░░░░░░░░",
            "█░░░░░░░░░",
            "█████░░░░░",
            "██████████",
            "██████████"
        ]
    );
}

#[test]
fn only_complaints_are_among_the_lowest_ratings() {
    let day = day();
    let low: Vec<_> = lowest(&day)
        .into_iter()
        .map(|(name, module, stars, _)| (name, module, stars))
        .collect();
    assert_eq!(
        low,
        [
            ("Nuria Castellanos", "todo", 1),
            ("Nuria Castellanos", "habits", 2),
            ("Nuria Castellanos", "notes", 2)
        ]
    );
}
