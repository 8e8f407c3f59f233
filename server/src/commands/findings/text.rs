//! The findings for a terminal: what crossed a rule first, each with what to do next; the figures after it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use projections::EdgeRow;
use projections::findings::{
    Discriminates, Evidence, Finding, FindingKind, FindingsReport, Interval, ModuleTrend, Share, SinceDeploy,
    ToolFigures, Verdict,
};

use crate::output::{Paint, count_of, printable, table};

/// Tools shown.
const TOOLS_MAX: usize = 8;
/// Pieces of evidence shown of a finding; the JSON has all.
const EVIDENCE_MAX: usize = 3;

pub(super) fn text(report: &FindingsReport, width: u16, paint: Paint) -> String {
    let mut page = Page {
        text: String::new(),
        width: usize::from(width),
    };
    let days = report
        .as_of
        .duration_since(report.since)
        .as_hours()
        .div_euclid(24)
        .max(1);
    page.line(&paint.bold(format!(
        "Findings as of {}, figures of {}",
        time(report.as_of),
        count_of(days.unsigned_abs(), "day")
    )));
    if report.findings.is_empty() {
        page.line("");
        page.line(&paint.green("Nothing got worse."));
    }
    for (number, finding) in (1..).zip(&report.findings) {
        one(&mut page, number, finding, paint);
    }
    if let Some(since) = &report.since_deploy {
        page.section(
            paint,
            &format!(
                "Since {} ({})",
                printable(since.deploy.name.as_str()),
                time(since.deploy.deployed_at)
            ),
            &since_deploy(since),
        );
    }
    page.section(paint, "Tools", &tools(report, width, paint));
    if !report.modules.is_empty() {
        page.section(paint, "Modules", &modules(report, width, paint));
    }
    let people = people(report);
    if !people.is_empty() {
        page.section(paint, "People", &people.join("\n"));
    }
    let raters = raters(report);
    if !raters.is_empty() {
        page.section(paint, "Raters", &raters.join("\n"));
    }
    if report.is_shortened {
        page.line("");
        page.prose(
            "More went wrong than is looked at one by one: older failures are not in these figures.",
            "",
        );
    }
    page.text
}

/// Lines of at most a width.
struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn section(&mut self, paint: Paint, heading: &str, body: &str) {
        self.line("");
        self.line(&paint.bold(heading));
        for line in body.lines() {
            if line.chars().count() > self.width && !line.contains('─') && !line.contains("\u{1b}[") {
                self.prose(line, "");
            } else {
                self.line(line);
            }
        }
    }

    /// A sentence broken between words, each line after `indent`.
    fn prose(&mut self, text: &str, indent: &str) {
        self.prose_after(text, indent, indent);
    }

    /// The same, with something else before the first line.
    fn prose_after(&mut self, text: &str, mark: &str, indent: &str) {
        let mut line = mark.to_owned();
        let mut is_fresh = true;
        for word in printable(text).split_whitespace() {
            if !is_fresh && line.chars().count() + 1 + word.chars().count() > self.width {
                self.line(&line);
                indent.clone_into(&mut line);
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(word);
            is_fresh = false;
        }
        self.line(&line);
    }
}

fn one(page: &mut Page, number: u64, finding: &Finding, paint: Paint) {
    let headline = printable(&finding.headline);
    page.line("");
    page.line(&paint.red(format!("{number}. {headline}")));
    let mut facts = vec![count_of(finding.personas_affected, "persona")];
    if let Some(since) = finding.since {
        facts.push(format!("since about {}", since.strftime("%Y-%m-%d")));
    }
    if let Some(deploy) = &finding.deploy {
        facts.push(format!("right after {}", deploy.as_str()));
    }
    if let Some(chance) = finding.false_discovery_rate.or(finding.p_value) {
        facts.push(format!("chance {}", chance_text(chance)));
    }
    page.prose(&facts.join(" · "), "   ");
    page.prose(&finding.detail, "   ");
    let shown: Vec<String> = finding.evidence.iter().take(EVIDENCE_MAX).map(evidence).collect();
    if !shown.is_empty() {
        page.prose(&format!("evidence: {}", shown.join(", ")), "   ");
    }
    page.prose_after(next(finding.kind), "   → ", "     ");
}

/// What to do with a finding.
fn next(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Regression | FindingKind::NewError => {
            "read a failing call with `dramatis events cat --from SEQUENCE`, then the app's own log at that time"
        }
        FindingKind::UnhelpfulErrors => "let the refusal name the field and say what it takes",
        FindingKind::RatedWorse => {
            "read the notes of its lowest ratings; `personas show` has the calls beside them"
        }
        FindingKind::BrokenExpectation => {
            "read both calls with `dramatis events cat --from SEQUENCE`: who may see the thing, and where did it go"
        }
        FindingKind::AcceptedMistake => "refuse it, and let the refusal name the field",
        FindingKind::EdgeCase => "take it as it is, or refuse it with a word on what is taken",
    }
}

fn evidence(evidence: &Evidence) -> String {
    format!("{} at sequence {}", evidence.id, evidence.stream_seq)
}

fn chance_text(chance: f64) -> String {
    if chance < 0.0001 {
        "below 1 in 10 000".to_owned()
    } else {
        format!("{:.2} %", chance * 100.0)
    }
}

fn since_deploy(since: &SinceDeploy) -> String {
    let mut lines = Vec::new();
    for tool in &since.tools {
        let word = if tool.is_worse { "worse" } else { "better" };
        lines.push(format!(
            "{}: {word}, {} of calls fail, {} before",
            printable(&tool.tool),
            percent(tool.after.rate()),
            percent(tool.before.rate())
        ));
    }
    for module in &since.modules {
        let interval = module.interval.map(interval_of_stars).unwrap_or_default();
        lines.push(format!(
            "{}: {:+.2} stars{interval}, {} against themselves, by {}",
            printable(&module.module),
            module.difference,
            count_of(module.personas as u64, "persona"),
            module.rater
        ));
    }
    if lines.is_empty() {
        lines.push(format!(
            "{} since; too few, or nothing that stands out",
            count_of(since.calls_since, "call")
        ));
    }
    lines.join("\n")
}

fn interval_of_stars(interval: Interval) -> String {
    format!(" ({:+.2} to {:+.2})", interval.low, interval.high)
}

fn tools(report: &FindingsReport, width: u16, paint: Paint) -> String {
    let headings = [
        "tool",
        "calls",
        "failed",
        "95 %",
        "tried again",
        "95 %",
        "p50",
        "p95",
        "personas hit",
    ];
    let mut rows = table(&headings, &[1, 2, 3, 4, 5, 6, 7, 8], width, paint);
    let between = |share: Share, interval: Option<Interval>| {
        interval
            .filter(|_| share.total > 0)
            .map_or_else(String::new, |interval| {
                format!("{:.0}–{:.0} %", interval.low * 100.0, interval.high * 100.0)
            })
    };
    let ms = |ms: Option<u64>| ms.map_or_else(String::new, |ms| format!("{ms} ms"));
    for tool in report.tools.iter().take(TOOLS_MAX) {
        let ToolFigures { errors, retries, .. } = *tool;
        rows.add_row([
            printable(&tool.tool),
            tool.calls.to_string(),
            percent(errors.rate()),
            between(errors, tool.error_interval),
            percent(retries.rate()),
            between(retries, tool.retry_interval),
            ms(tool.p50_ms),
            ms(tool.p95_ms),
            tool.personas_affected.to_string(),
        ]);
    }
    let mut text = rows.to_string();
    let more = report.tools.len().saturating_sub(TOOLS_MAX);
    if more > 0 {
        text.push_str("\nand ");
        text.push_str(&count_of(more as u64, "tool"));
        text.push_str(", less troubled");
    }
    text
}

fn modules(report: &FindingsReport, width: u16, paint: Paint) -> String {
    let headings = ["module", "stars", "3 weeks", "verdict", "rated by"];
    let mut rows = table(&headings, &[1, 2], width, paint);
    for trend in &report.modules {
        let (difference, verdict) = verdict(trend);
        rows.add_row([
            printable(&trend.module),
            trend
                .stars_mean
                .map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1}")),
            difference,
            verdict,
            printable(&trend.rater.to_string()),
        ]);
    }
    rows.to_string()
}

fn verdict(trend: &ModuleTrend) -> (String, String) {
    match trend.verdict {
        Verdict::Worse {
            difference, personas, ..
        } => (
            format!("{difference:+.2}"),
            format!("worse ({personas} personas)"),
        ),
        Verdict::Steady {
            difference, personas, ..
        } => (
            format!("{difference:+.2}"),
            format!("steady ({personas} personas)"),
        ),
        Verdict::TooLittle { personas } => (
            String::new(),
            format!("not enough evidence ({personas} of 6 personas)"),
        ),
    }
}

/// How much edge input was brought, and what of it was not stood.
fn edges(report: &FindingsReport) -> Option<String> {
    let distinct = |of: fn(&EdgeRow) -> (&str, &str)| {
        let set: BTreeSet<_> = report.edges.iter().map(of).collect();
        set.len() as u64
    };
    let bad = report.edges.iter().filter(|edge| edge.is_bad()).count() as u64;
    (!report.edges.is_empty()).then(|| {
        format!(
            "edge input: {} brought to {} of {}; {}",
            count_of(distinct(|edge| (edge.class.as_str(), "")), "kind"),
            count_of(
                distinct(|edge| (edge.tool.as_str(), edge.field.as_str())),
                "field"
            ),
            count_of(distinct(|edge| (edge.tool.as_str(), "")), "tool"),
            match bad {
                0 => "all of it was stood".to_owned(),
                bad => format!("{bad} not stood"),
            }
        )
    })
}

fn people(report: &FindingsReport) -> Vec<String> {
    let mut lines = Vec::new();
    for recovery in report
        .recoveries
        .iter()
        .filter(|recovery| recovery.recovered.total > 0)
    {
        lines.push(format!(
            "{}: {} of {} mistakes mended within two tries{}",
            printable(&recovery.module),
            recovery.recovered.of,
            recovery.recovered.total,
            if recovery.accepted > 0 {
                format!("; {} taken as if right", recovery.accepted)
            } else {
                String::new()
            }
        ));
    }
    for shared in &report.expectations {
        lines.push(format!(
            "{}: {} of {} put into a shared space were found there by others{}",
            printable(&shared.module),
            shared.kept,
            count_of(shared.kept + shared.broken, "thing"),
            if shared.void > 0 {
                format!("; {} changed before anybody looked", shared.void)
            } else {
                String::new()
            }
        ));
    }
    lines.extend(edges(report));
    for gap in &report.newcomers {
        if gap.newcomers.errors.rate() > 2.0 * gap.others.errors.rate() && gap.newcomers.errors.of > 0 {
            lines.push(format!(
                "newcomers fail {} of their calls in {}, others {}",
                percent(gap.newcomers.errors.rate()),
                printable(&gap.module),
                percent(gap.others.errors.rate())
            ));
        }
    }
    for confusion in report.confusion.iter().take(3) {
        lines.push(format!(
            "told the same again in {}: {} ({} of {})",
            count_of(confusion.ticks, "tick"),
            printable(&confusion.told),
            printable(&confusion.tool),
            count_of(confusion.personas_affected, "persona")
        ));
    }
    for unused in report.unused_tools.iter().filter(|unused| unused.by_nobody) {
        lines.push(format!("nobody has found {}", printable(&unused.tool)));
    }
    for unused in report.unused_tools.iter().filter(|unused| !unused.by_nobody) {
        lines.push(format!(
            "{} was never called by {}",
            printable(&unused.tool),
            printable(&unused.archetypes.join(", "))
        ));
    }
    lines
}

fn raters(report: &FindingsReport) -> Vec<String> {
    let mut lines: Vec<String> = report
        .raters
        .iter()
        .map(|meter| {
            let word = match meter.discriminates {
                Discriminates::Yes => "tells good days from bad ones",
                Discriminates::No => "DOES NOT tell good days from bad ones: its trends mean nothing",
                Discriminates::Unknown => "too few or too even ratings to say whether it discriminates",
            };
            let correlation = meter
                .correlation
                .map(|correlation| format!(", {correlation:+.2} against friction"))
                .unwrap_or_default();
            format!(
                "{}: {word} ({}, deviation {:.2}{correlation}, {} unsupported; since {})",
                printable(&meter.rater.to_string()),
                count_of(meter.ratings, "rating"),
                meter.deviation,
                percent(meter.unsupported.rate()),
                meter.first_at.strftime("%Y-%m-%d")
            )
        })
        .collect();
    for gap in &report.calibration {
        let stars = |mean: Option<f64>| mean.map_or_else(|| "none".to_owned(), |mean| format!("{mean:.1}"));
        let apart = match gap.all.gap {
            Some(apart) => format!("{apart:+.1} stars between the twins"),
            None => "one of the twins has no rating yet".to_owned(),
        };
        lines.push(format!(
            "{}: {apart} (known good {}, known bad {}; {}{})",
            printable(&gap.rater.to_string()),
            stars(gap.all.good),
            stars(gap.all.bad),
            count_of(gap.all.good_ratings + gap.all.bad_ratings, "rating"),
            match gap.all.tells_apart() {
                Some(true) => "",
                Some(false) => "; it DOES NOT tell them apart",
                None => "; too few to say",
            }
        ));
    }
    for row in report.flattery.iter().take(3) {
        lines.push(format!(
            "flattery: {} stars for {} beside a friction of {:.2} ({} at sequence {})",
            row.rating,
            printable(&row.module),
            row.friction.unwrap_or_default(),
            row.id,
            row.stream_seq
        ));
    }
    let failed: Vec<String> = report
        .failed_ratings
        .iter()
        .map(|failed| format!("{} {}", printable(&failed.module), failed.count))
        .collect();
    if !failed.is_empty() {
        lines.push(format!(
            "ratings of which nothing usable came: {}",
            failed.join(", ")
        ));
    }
    lines
}

fn percent(rate: f64) -> String {
    format!("{:.0} %", rate * 100.0)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
