//! What is printed of findings, and when they make a pipeline fail.

use clap::Parser;
use projections::EdgeRow;
use projections::findings::{
    Evidence, ExpectationFigures, Finding, GapFigures, Rater, Recovery, Share, ToolFigures, TwinGap,
};

use super::*;
use crate::output::Paint;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: FindingsArgs,
}

fn args(line: &[&str]) -> Result<FindingsArgs, String> {
    let line = ["findings"].iter().chain(line);
    let parsed = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    Ok(parsed.args)
}

fn report() -> FindingsReport {
    let errors = Share { of: 14, total: 49 };
    FindingsReport {
        as_of: "2026-03-30T08:00:00Z".parse().unwrap(),
        since: "2026-03-23T08:00:00Z".parse().unwrap(),
        as_of_seq: events::StreamSeq(4_711),
        findings: vec![Finding {
            kind: FindingKind::Regression,
            module: "habits".to_owned(),
            tool: Some("habits.list".to_owned()),
            headline: "habits.list fails 29 % of the time; before it was 0 %".to_owned(),
            detail: "14 of 49 calls failed in the last 7 days, 0 of 190 in the 28 before; it says: upstream\u{1b}[2J 503".to_owned(),
            since: Some("2026-03-24T08:00:00Z".parse().unwrap()),
            deploy: Some("v1.4".parse().unwrap()),
            personas_affected: 6,
            p_value: Some(1e-9),
            false_discovery_rate: Some(1e-8),
            evidence: vec![Evidence {
                kind: "call",
                id: "tick-3-habits.list".to_owned(),
                call_id: Some("call-3".to_owned()),
                persona_id: "anna".to_owned(),
                stream_seq: events::StreamSeq(4_700),
            }],
        }],
        since_deploy: None,
        deploys: Vec::new(),
        tools: vec![ToolFigures {
            tool: "habits.list".to_owned(),
            module: "habits".to_owned(),
            calls: 50,
            errors,
            error_interval: errors.interval(),
            unanswered: Share { of: 1, total: 50 },
            retries: Share { of: 9, total: 50 },
            retry_interval: Share { of: 9, total: 50 }.interval(),
            personas_affected: 6,
            p50_ms: Some(12),
            p95_ms: Some(40),
        }],
        modules: Vec::new(),
        recoveries: vec![Recovery {
            module: "todo".to_owned(),
            recovered: Share { of: 11, total: 12 },
            interval: None,
            accepted: 2,
        }],
        confusion: Vec::new(),
        expectations: vec![ExpectationFigures {
            module: "todo".to_owned(),
            kept: 11,
            broken: 1,
            void: 2,
        }],
        edges: vec![EdgeRow {
            tool: "todo.create".to_owned(),
            field: "title".to_owned(),
            class: "nul".to_owned(),
            accepted: 1,
            refused: 0,
            altered: 0,
            broke: 0,
            unanswered: 0,
            last_at: "2026-03-30T07:00:00Z".parse().unwrap(),
        }],
        newcomers: Vec::new(),
        unused_tools: Vec::new(),
        flattery: Vec::new(),
        raters: Vec::new(),
        calibration: vec![TwinGap {
            rater: Rater {
                source: "model".to_owned(),
                brain: Some("anthropic".to_owned()),
                model: Some("m-2".to_owned()),
                prompt_version: Some(2),
                rubric_version: 1,
            },
            all: GapFigures {
                good_ratings: 6,
                good: Some(4.5),
                bad_ratings: 6,
                bad: Some(4.0),
                gap: Some(0.5),
            },
            weeks: Vec::new(),
            failed: 0,
        }],
        failed_ratings: Vec::new(),
        is_shortened: false,
    }
}

#[test]
fn a_report_says_first_what_got_worse_since_when_and_what_shows_it() {
    insta::assert_snapshot!(text::text(&report(), 100, Paint { colour: false }));
}

#[test]
fn a_morning_without_findings_says_so_and_no_control_character_reaches_the_terminal() {
    let quiet = FindingsReport {
        findings: Vec::new(),
        ..report()
    };
    assert!(text::text(&quiet, 80, Paint { colour: false }).contains("Nothing got worse."));
    assert!(!text::text(&report(), 80, Paint { colour: false }).contains('\u{1b}'));
}

#[test]
fn a_pipeline_fails_on_the_kinds_it_names_and_on_no_other() {
    let judged = |line: &[&str]| judge(&args(line).unwrap(), &report());
    assert!(judged(&[]).is_ok());
    assert!(judged(&["--fail-on", "rated-worse"]).is_ok());
    for line in [
        &["--fail-on", "regression"][..],
        &["--fail-on", "any"],
        &["--fail-on", "rated-worse", "--fail-on", "regression"],
    ] {
        let failed = judged(line).unwrap_err();
        assert_eq!(failed.exit_code(), 1);
        assert!(failed.to_string().contains("habits.list fails 29 %"), "{failed}");
    }
    assert!(
        args(&["--fail-on", "everything"])
            .unwrap_err()
            .contains("regression")
    );
}

#[test]
fn a_beginning_is_days_a_time_or_a_deployment() {
    assert_eq!(parse_since("14d"), Ok(Since::Days(14)));
    assert!(parse_since("0d").is_err() && parse_since("90d").is_err());
    let time = "2026-01-05T08:00:00Z";
    assert_eq!(parse_since(time), Ok(Since::Time(time.parse().unwrap())));
    assert_eq!(parse_since("v1.4"), Ok(Since::Deploy("v1.4".parse().unwrap())));
    assert!(parse_since("").is_err());
}

#[tokio::test]
async fn without_a_tick_or_a_deployment_of_that_name_there_is_nothing_to_report() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(&dir.path().join("tables.sqlite")).await.unwrap();
    for line in [&[][..], &["--since", "7d"], &["--since", "v9"]] {
        let refused = super::report(&args(line).unwrap(), &tables).await.unwrap_err();
        assert_eq!(refused.exit_code(), 3, "{refused}");
    }
    let config = Config {
        data: dir.path().join("nothing"),
        ..Config::default()
    };
    let (mut out, _) = Out::captured(Format::Text);
    let refused = run(&args(&[]).unwrap(), &config, &mut out).await.unwrap_err();
    assert_eq!(refused.exit_code(), 3);
}
