//! Damage to the stored log is found, every time, and its place is named; and nothing else is called damage.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use events::testing::{id, sample_time, samples};
use events::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const PERSONAS: usize = 4;

fn persona(n: usize) -> Subject {
    Subject::Persona(id(&format!("persona-{n}")))
}

/// A log of four personas that wrote in the order `turns`, with records of a space in between.
async fn log_of(turns: &[usize]) -> MemoryLog {
    let log = MemoryLog::new();
    let mut events = samples().into_iter().cycle();
    for (n, turn) in turns.iter().enumerate() {
        for subject in [persona(turn % PERSONAS), Subject::Record(id("space"))] {
            let last = log.last(&subject).await.unwrap();
            let expected = ExpectedSeq::Exactly(last.map_or(StreamSeq::ZERO, |last| last.seq));
            let commit_id = CommitId::derived(&["chain", &subject.to_string(), &n.to_string()]);
            let mut commit = Commit::new(commit_id, subject, sample_time(), vec![events.next().unwrap()]);
            commit.traceparent = (n % 2 == 0).then(|| format!("00-{n:032x}-b7ad6b7169203331-01"));
            let _ = log.append(&commit, expected).await.unwrap().unwrap();
        }
    }
    log
}

async fn audit(log: &MemoryLog) -> AuditReport {
    let mut audit = ChainAudit::new();
    read_to_end(log, StreamSeq::ZERO, |delivery| {
        audit.observe(&delivery);
        Ok::<_, LogError>(())
    })
    .await
    .unwrap();
    audit.finish()
}

/// Places of the personas' commits.
fn places(log: &MemoryLog) -> BTreeMap<String, Vec<u64>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for commit in log.commits() {
        if matches!(commit.commit.subject, Subject::Persona(_)) {
            places
                .entry(commit.commit.subject.to_string())
                .or_default()
                .push(commit.seq.0);
        }
    }
    places
}

/// Flips one bit anywhere in what is stored of one commit; says at which place.
fn flip(log: &MemoryLog, places: &BTreeMap<String, Vec<u64>>, rng: &mut ChaCha8Rng) -> u64 {
    fn flip_text(text: &mut String, rng: &mut ChaCha8Rng) {
        let mut bytes = std::mem::take(text).into_bytes();
        flip_bytes(&mut bytes, rng);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
    fn flip_bytes(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
    let all: Vec<u64> = places.values().flatten().copied().collect();
    let seq = all[rng.random_range(0..all.len())];
    log.tamper(|messages| {
        let message = messages.get_mut(&seq).unwrap();
        // In proportion to how many bytes each has: the body mostly.
        match rng.random_range(0..10) {
            0 => flip_text(&mut message.id, rng),
            1 => flip_text(&mut message.time, rng),
            2 => flip_text(message.chain.as_mut().unwrap(), rng),
            3 if message.traceparent.is_some() => flip_text(message.traceparent.as_mut().unwrap(), rng),
            _ => flip_bytes(&mut message.body, rng),
        }
    });
    seq
}

#[tokio::test]
async fn a_hundred_flipped_bits_of_a_hundred_are_found_where_they_are() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let turns: Vec<usize> = (0..30).map(|_| rng.random_range(0..PERSONAS)).collect();
        let log = log_of(&turns).await;
        let places = places(&log);
        assert_eq!(audit(&log).await.breaks, [], "seed {seed}");
        let seq = flip(&log, &places, &mut rng);
        let report = audit(&log).await;
        let first = report
            .breaks
            .first()
            .unwrap_or_else(|| panic!("seed {seed}: the flip at {seq} was not found"));
        assert_eq!(first.at(), StreamSeq(seq), "seed {seed}: {first}");
        assert!(!matches!(first, ChainBreak::Gap { .. }), "seed {seed}: {first}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Splice {
    /// A commit is taken out.
    Drop,
    /// Two neighbours change places.
    Swap,
    /// A commit of another persona takes the place of one.
    Transplant,
    /// A commit is put in a second time, later.
    Repeat,
    /// A commit that nobody's guard let in is put in, with a link made up for it.
    Forge,
}

/// Does it to a persona's commits between its second and its last; says the first place where that shows.
fn splice(log: &MemoryLog, places: &BTreeMap<String, Vec<u64>>, splice: Splice, rng: &mut ChaCha8Rng) -> u64 {
    let own: Vec<&Vec<u64>> = places.values().filter(|places| places.len() >= 4).collect();
    let own = own[rng.random_range(0..own.len())];
    let at = rng.random_range(1..own.len() - 2);
    let foreign = places.values().find(|places| places[0] != own[0]).unwrap()[0];
    let (here, after) = (own[at], own[at + 1]);
    let mut shows_at = here;
    log.tamper(|messages| match splice {
        Splice::Drop => {
            messages.remove(&here);
            shows_at = after;
        }
        Splice::Swap => {
            let (one, other) = (messages[&here].clone(), messages[&after].clone());
            messages.insert(here, other);
            messages.insert(after, one);
        }
        Splice::Transplant => {
            let mut other = messages[&foreign].clone();
            other.subject.clone_from(&messages[&here].subject);
            messages.insert(here, other);
        }
        Splice::Repeat => {
            let again = messages[&own[at - 1]].clone();
            messages.insert(here, again);
        }
        Splice::Forge => {
            let subject = messages[&here].subject.clone();
            let mut forged = messages[&foreign].clone();
            forged.chain.clone_from(&messages[&here].chain);
            forged.subject = subject;
            messages.insert(here, forged);
        }
    });
    shows_at
}

#[tokio::test]
async fn a_hundred_splices_of_a_hundred_are_found_where_they_are() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let turns: Vec<usize> = (0..40).map(|_| rng.random_range(0..PERSONAS)).collect();
        let log = log_of(&turns).await;
        let places = places(&log);
        let kinds = [
            Splice::Drop,
            Splice::Swap,
            Splice::Transplant,
            Splice::Repeat,
            Splice::Forge,
        ];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let shows_at = splice(&log, &places, kind, &mut rng);
        let report = audit(&log).await;
        let first = report
            .breaks
            .first()
            .unwrap_or_else(|| panic!("seed {seed}: {kind:?} was not found"));
        assert_eq!(first.at(), StreamSeq(shows_at), "seed {seed}, {kind:?}: {first}");
    }
}

#[tokio::test]
async fn a_lost_end_is_found_by_heads_kept_elsewhere() {
    let log = log_of(&[0, 1, 0, 1, 0]).await;
    let heads = audit(&log).await.heads;
    log.tamper(|messages| {
        messages.pop_last();
        messages.pop_last();
    });
    let report = audit(&log).await;
    assert_eq!(report.breaks, [], "the chain alone cannot know");
    assert_ne!(report.heads, heads);
}

#[tokio::test]
async fn verifying_goes_on_from_a_head_kept_elsewhere() {
    let log = log_of(&[0, 0, 0, 0]).await;
    let commits = log.read_subject(&persona(0)).await.unwrap();
    let subject = persona(0).to_string();
    let links: Vec<Link> = commits.iter().filter_map(|commit| commit.link).collect();
    let kept = commits[1].chain().unwrap();

    let mut verifier = ChainVerifier::resume(&subject, commits[1].seq, kept);
    for link in &links[2..] {
        verifier.check(link).unwrap();
    }
    assert_eq!(verifier.start(), Some(ChainStart::Head(commits[1].seq)));
    assert_eq!(
        verifier.head(),
        Some((commits[3].seq, commits[3].chain().unwrap()))
    );

    let mut skipping = ChainVerifier::resume(&subject, commits[1].seq, kept);
    let gap = skipping.check(&links[3]).unwrap_err();
    assert!(matches!(gap, ChainBreak::Gap { .. }), "{gap}");
    assert_eq!(ChainHash::from_bytes(*kept.as_bytes()), kept);
    assert_eq!(kept.to_string().parse::<ChainHash>().unwrap(), kept);
}

#[tokio::test]
async fn a_message_that_no_append_wrote_is_named() {
    let log = log_of(&[0, 0]).await;
    let put_in = log.append_garbage(&persona(0).to_string(), b"not a commit");
    let report = audit(&log).await;
    let expected = ChainBreak::Unlinked {
        subject: persona(0).to_string(),
        at: put_in,
    };
    assert_eq!(report.breaks, [expected]);
}

#[tokio::test]
async fn a_commit_that_cannot_be_read_still_has_its_place_in_the_chain() {
    let log = log_of(&[0, 0, 0]).await;
    let newer = br#"{"events":[{"type":"Rated","v":99,"data":{}}],"correlation":"c"}"#;
    log.tamper(|messages| messages.get_mut(&3).unwrap().body = newer.to_vec());
    let damaged = audit(&log).await;
    assert_eq!(
        damaged.breaks.iter().map(ChainBreak::at).collect::<Vec<_>>(),
        [StreamSeq(3)]
    );
    assert_eq!(damaged.links, 3);
    let Some(Delivery::Undecodable(message)) = log.at(StreamSeq(3)).await.unwrap() else {
        panic!("a newer event is not readable");
    };
    assert!(message.link.is_some_and(|link| link.stamp.is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is erased, up to whichever place: all other chains hold from their beginning, and what is left of the
    /// erased one holds from where it begins now.
    #[test]
    fn an_erasure_leaves_every_chain_whole(
        turns in prop::collection::vec(0..PERSONAS, 1..40),
        erased in 0..PERSONAS,
        up_to in prop::option::of(0u64..90),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let log = log_of(&turns).await;
            let before = audit(&log).await;
            let gone = log.purge(&persona(erased), up_to.map(StreamSeq)).await.unwrap();
            let after = audit(&log).await;
            prop_assert_eq!(&after.breaks, &[]);
            prop_assert_eq!(after.links, before.links - gone);
            let subject = persona(erased).to_string();
            for (other, start) in &before.starts {
                if *other != subject {
                    prop_assert_eq!(after.starts.get(other), Some(start));
                    prop_assert_eq!(after.heads.get(other), before.heads.get(other));
                }
            }
            match after.starts.get(&subject) {
                Some(ChainStart::Given(_)) => prop_assert!(gone > 0),
                Some(ChainStart::Genesis) => prop_assert_eq!(gone, 0),
                other => prop_assert_eq!(other, None),
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_not_a_link_is_not_read_as_one(text in "\\PC{0,50}") {
        if let Ok(hash) = text.parse::<ChainHash>() {
            prop_assert_eq!(hash.to_string(), text);
        }
    }
}
