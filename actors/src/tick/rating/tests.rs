//! No rating enters a trend that does not rest on what happened.

use super::*;
use crate::brain::Claims;
use events::RatingAnswers;
use events::testing::id;

fn used(failed: &[&str]) -> Vec<ModuleDigest> {
    let call_ids: Vec<CallId> = (1..=6).map(|number| id(&format!("call-{number}"))).collect();
    vec![ModuleDigest {
        module: "todo".to_owned(),
        calls: 6,
        errors: u32::try_from(failed.len()).unwrap(),
        failed_ids: failed.iter().map(|call| id(call)).collect(),
        call_ids,
        ..ModuleDigest::default()
    }]
}

fn opinion(rating: u8, went_well: &[&str], friction: &[&str]) -> Stars {
    let calls = |names: &[&str]| names.iter().map(|name| id(name)).collect::<Vec<CallId>>();
    let (went_well, friction) = (calls(went_well), calls(friction));
    Stars {
        rating,
        notes: "so".to_owned(),
        evidence: went_well.iter().chain(&friction).cloned().collect(),
        claims: Some(Claims {
            went_well,
            friction,
            unknown: Vec::new(),
            answers: RatingAnswers {
                could_finish: "yes".to_owned(),
                would_return: "yes".to_owned(),
                vs_last_time: "first".to_owned(),
            },
        }),
    }
}

fn index(rating: u8) -> Stars {
    Stars {
        claims: None,
        ..opinion(rating, &["call-1"], &[])
    }
}

fn draft(module: &str, stars: Stars) -> RatingDraft {
    let (module, verdict) = (module.to_owned(), Ok(stars));
    RatingDraft { module, verdict }
}

fn rater() -> Rater {
    Rater {
        identity: BrainIdentity {
            name: "anthropic",
            model: Some("m".to_owned()),
            prompt_version: 3,
        },
        source: RatingSource::Model,
    }
}

fn events(failed: &[&str], drafts: Result<Vec<RatingDraft>, String>) -> Vec<Event> {
    verdicts(&id("tick"), &rater(), &used(failed), drafts)
}

#[derive(Debug, PartialEq)]
enum State {
    Rated(u8),
    Unsupported(String),
    Failed(String),
}

fn state(event: &Event) -> State {
    match event {
        Event::Rated(rated) => match &rated.unsupported {
            None => State::Rated(rated.rating),
            Some(reason) => State::Unsupported(reason.clone()),
        },
        Event::RatingFailed(failed) => State::Failed(failed.reason.clone()),
        other => panic!("{other:?}"),
    }
}

fn state_of(failed: &[&str], stars: Stars) -> State {
    state(&events(failed, Ok(vec![draft("todo", stars)]))[0])
}

#[test]
fn a_rating_that_rests_on_its_calls_counts_and_says_who_gave_it() {
    let recorded = events(&[], Ok(vec![draft("todo", opinion(5, &["call-2"], &[]))]));
    let Event::Rated(rated) = &recorded[0] else {
        panic!("{recorded:?}")
    };
    assert_eq!((rated.rating, &rated.unsupported), (5, &None));
    assert_eq!(rated.evidence, [id::<CallId>("call-2")]);
    assert_eq!(
        (
            rated.brain.as_deref(),
            rated.model.as_deref(),
            rated.prompt_version
        ),
        (Some("anthropic"), Some("m"), Some(3))
    );
    assert_eq!(
        (rated.source, rated.rubric_version),
        (RatingSource::Model, RUBRIC_VERSION)
    );
    assert_eq!(rated.friction, Some(0.0));
}

#[test]
fn a_number_out_of_range_is_a_failed_rating_not_a_clamped_one() {
    for rating in [0, 6, 7] {
        let expected = format!("{rating} is not a rating from 1 to 5");
        assert_eq!(
            state_of(&[], opinion(rating, &["call-1"], &[])),
            State::Failed(expected)
        );
    }
}

#[test]
fn evidence_from_elsewhere_is_kept_out_of_the_trend() {
    let expected = "call call-9 is no call of todo in this tick".to_owned();
    assert_eq!(
        state_of(&[], opinion(4, &["call-9"], &[])),
        State::Unsupported(expected.clone())
    );
    let mut foreign = index(4);
    foreign.evidence = vec![id("call-9")];
    assert_eq!(
        state_of(&[], foreign),
        State::Unsupported(expected),
        "for an index too"
    );
    let mut invented = opinion(4, &["call-1"], &[]);
    invented.claims.as_mut().unwrap().unknown = vec!["c99".to_owned()];
    assert_eq!(
        state_of(&[], invented),
        State::Unsupported("\"c99\" names no call of this tick".to_owned())
    );
}

#[test]
fn extreme_stars_need_a_call_that_bears_them_out() {
    let bare = |rating| state_of(&["call-3"], opinion(rating, &[], &[]));
    assert!(matches!(bare(5), State::Unsupported(_)));
    assert!(matches!(bare(2), State::Unsupported(_)));
    assert!(matches!(bare(1), State::Unsupported(_)));
    assert_eq!(bare(3), State::Rated(3));
    assert_eq!(bare(4), State::Rated(4));
    assert_eq!(
        state_of(&["call-3"], opinion(2, &[], &["call-3"])),
        State::Rated(2)
    );
    let on_a_failure = opinion(5, &["call-3"], &[]);
    assert!(matches!(
        state_of(&["call-3"], on_a_failure),
        State::Unsupported(_)
    ));
}

#[test]
fn five_stars_after_five_failures_are_flattery() {
    let failed = ["call-1", "call-2", "call-3", "call-4", "call-5"];
    assert_eq!(
        state_of(&failed, opinion(5, &["call-6"], &[])),
        State::Unsupported("5 stars although 5 of 6 calls failed".to_owned())
    );
    assert_eq!(state_of(&failed, opinion(2, &[], &["call-1"])), State::Rated(2));
}

#[test]
fn a_used_module_without_a_word_is_a_failed_rating() {
    let of = |drafts| state(&events(&[], drafts)[0]);
    assert_eq!(
        of(Ok(Vec::new())),
        State::Failed("the brain said nothing of this module".to_owned())
    );
    let prose = "the rating was of no use, twice: it is not the JSON that was asked for";
    assert_eq!(of(Err(prose.to_owned())), State::Failed(prose.to_owned()));
}

#[test]
fn a_rating_of_what_was_not_used_is_a_failed_one_and_a_second_one_is_dropped() {
    let drafts = vec![
        draft("notes", opinion(4, &["call-1"], &[])),
        draft("todo", opinion(3, &["call-1"], &[])),
        draft("todo", opinion(5, &["call-1"], &[])),
    ];
    let recorded = events(&[], Ok(drafts));
    let states: Vec<State> = recorded.iter().map(state).collect();
    assert_eq!(
        states,
        [
            State::Rated(3),
            State::Failed("it was rated and not used in this tick".to_owned())
        ]
    );
    assert!(matches!(&recorded[1], Event::RatingFailed(failed) if failed.module == "notes"));
}
