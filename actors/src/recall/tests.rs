use events::testing::{given, id, sample_time, samples};
use events::{Event, Subject};

use super::*;

fn anna() -> PersonaId {
    id("anna")
}

fn sample(type_name: &str) -> Event {
    let mut samples = samples().into_iter();
    samples.find(|event| event.type_name() == type_name).unwrap()
}

fn enrolled(name: &str) -> Event {
    let mut event = sample("PersonaEnrolled");
    if let Event::PersonaEnrolled(enrolled) = &mut event {
        name.clone_into(&mut enrolled.0.name);
    }
    event
}

fn halted() -> Event {
    sample("PersonaHalted")
}

fn erased() -> Event {
    sample("PersonaErased")
}

fn told(events: impl IntoIterator<Item = Event>) -> Vec<RecordedCommit> {
    given(
        events
            .into_iter()
            .map(|event| (Subject::Persona(anna()), vec![event])),
    )
}

fn folded(commits: &[RecordedCommit]) -> Fold {
    let mut fold = Fold::default();
    fold.fold(commits);
    fold
}

/// What the log gives when it is read after `after`.
fn read(commits: &[RecordedCommit], after: StreamSeq) -> Vec<RecordedCommit> {
    let of_them = commits.iter().filter(|recorded| recorded.seq > after);
    of_them.cloned().collect()
}

#[test]
fn a_fold_that_goes_on_is_the_fold_of_the_whole() {
    let commits = told([
        enrolled("Anna"),
        halted(),
        erased(),
        enrolled("Anna again"),
        halted(),
    ]);
    let whole = folded(&commits).into_persona().unwrap();
    for until in 0..=commits.len() {
        let mut fold = folded(&commits[..until]);
        let rest = read(&commits, fold.read_after());
        assert!(
            rest.len() <= commits.len() - until + 1,
            "no more than that is read"
        );
        assert!(fold.leads_to(&rest));
        fold.fold(&rest);
        assert_eq!(fold.into_persona().unwrap(), whole);
    }
    assert_eq!(whole.0.enrolled_at, sample_time());
}

#[test]
fn a_fold_of_another_past_leads_nowhere() {
    let (past, mut other) = (
        told([enrolled("Anna"), halted()]),
        told([enrolled("Ben"), halted()]),
    );
    other[1].commit.id = CommitId::derived(&["other"]);
    let fold = folded(&past);
    assert!(fold.leads_to(&read(&past, fold.read_after())));
    assert!(!fold.leads_to(&read(&other, fold.read_after())));
    assert!(!fold.leads_to(&[]), "what is purged");
    assert!(Fold::default().leads_to(&[]), "who was never there");
}

#[test]
fn what_was_used_last_is_kept_and_who_is_gone_is_not() {
    let recall = Recall::default();
    let fold = folded(&told([enrolled("Anna")]));
    let name = |number: usize| id::<PersonaId>(&format!("p{number}"));
    for number in 0..KEPT_MAX {
        recall.keep(&name(number), &fold);
    }
    assert!(recall.of(&name(0)).end.is_some());
    recall.keep(&name(KEPT_MAX), &fold);
    assert_eq!(recall.kept().folds.len(), KEPT_MAX);
    assert!(
        recall.of(&name(0)).end.is_some(),
        "it was looked for a moment ago"
    );
    assert!(recall.of(&name(1)).end.is_none());
    recall.keep(&name(0), &folded(&told([enrolled("Anna"), erased()])));
    assert!(recall.of(&name(0)).end.is_none());
}
