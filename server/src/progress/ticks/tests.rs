use super::*;
use crate::output::Captured;
use events::{Cause, ManualClock, TickId};
use indicatif::ProgressDrawTarget;
use jiff::Timestamp;
use tokio::sync::broadcast;

fn anna() -> PersonaId {
    PersonaId::try_new("anna").expect("an id")
}

fn started() -> TickProgress {
    TickProgress::Started {
        persona_id: anna(),
        name: "Anna".to_owned(),
        tick_id: TickId::try_new("t1").expect("an id"),
        number: 1,
    }
}

fn called(tool: &str) -> TickProgress {
    TickProgress::Called {
        persona_id: anna(),
        name: "Anna".to_owned(),
        tool: tool.to_owned(),
    }
}

fn failed(tool: &str) -> TickProgress {
    TickProgress::Failed {
        persona_id: anna(),
        name: "Anna".to_owned(),
        tool: tool.to_owned(),
        cause: Cause::App,
        error: "no".to_owned(),
    }
}

fn finished(reason: Option<&str>) -> TickProgress {
    TickProgress::Finished(TickReport {
        persona_id: anna(),
        email: "anna@mana.test".to_owned(),
        name: "Anna".to_owned(),
        tick_id: None,
        outcome: if reason.is_some() { "failed" } else { "completed" }.to_owned(),
        reason: reason.map(str::to_owned),
        calls: 2,
        errors: 1,
        ratings: 1,
        duration_ms: 2_140,
    })
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))
}

#[tokio::test]
async fn without_a_terminal_each_finished_persona_is_one_line() {
    let captured = Captured::default();
    let display = TickDisplay::new(2, clock(), Display::Lines(Box::new(captured.clone())));
    let (sender, steps) = broadcast::channel(16);
    for step in [
        started(),
        called("todo.create"),
        finished(None),
        finished(Some("login refused\u{1b}[2J")),
    ] {
        sender.send(step).expect("somebody listens");
    }
    let done = CancellationToken::new();
    // Cancelled from the start: what was sent before is shown all the same.
    done.cancel();
    display.follow(steps, done).await;
    assert_eq!(
        captured.text(),
        "1/2 Anna: completed, 2 calls, 1 error, 1 module rated, 2.1 s\n\
         2/2 Anna: failed, 2 calls, 1 error, 1 module rated, 2.1 s (login refused [2J)\n"
    );
}

#[tokio::test]
async fn a_display_too_slow_for_its_channel_goes_on_with_what_is_left() {
    let captured = Captured::default();
    let display = TickDisplay::new(1, clock(), Display::Lines(Box::new(captured.clone())));
    let (sender, steps) = broadcast::channel(2);
    for _ in 0..20 {
        sender.send(called("todo.create")).expect("somebody listens");
    }
    sender.send(finished(None)).expect("somebody listens");
    drop(sender);
    display.follow(steps, CancellationToken::new()).await;
    assert!(
        captured.text().starts_with("1/1 Anna: completed"),
        "{}",
        captured.text()
    );
}

#[test]
fn on_a_terminal_there_is_a_line_per_acting_persona_and_a_bar_over_all() {
    let clock = clock();
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    let overall = all.add(overall_bar(4));
    let mut display = TickDisplay::new(
        4,
        clock.clone(),
        Display::Bars {
            overall: overall.clone(),
            all,
        },
    );
    for step in [
        started(),
        called("todo.create"),
        failed("todo.create"),
        called("todo.list"),
    ] {
        display.show(&step);
    }
    let line = display.acting[&anna()]
        .line
        .clone()
        .expect("a line on the terminal");
    assert_eq!(line.prefix(), "Anna");
    assert_eq!(line.message(), "2 calls, 1 error     todo.list");

    clock.advance(Duration::from_secs(2));
    display.show(&finished(None));
    assert!(display.acting.is_empty());
    assert!(line.is_finished());
    assert_eq!((overall.position(), overall.length()), (1, Some(4)));
    assert_eq!(overall.message(), "2 calls, 1.0/s about 6.0 s left");
}
