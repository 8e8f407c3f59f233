//! Random damage to a stream's messages, each kind as somebody with the server's files in hands would do it, and where it
//! must be noticed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use crate::StoredRecord;

/// The header that holds a commit's links.
const CHAIN: &str = "Dramatis-Chain";

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// One bit of a body is flipped.
    FlipBody,
    /// One bit of the headers is flipped.
    FlipHeaders,
    /// A message is taken out.
    Drop,
    /// Two messages of one subject change places.
    SwapWithin,
    /// Two messages of different subjects change places.
    SwapAcross,
    /// A message is copied over another.
    Copy,
    /// A body is another, and every link of its subject from there on is made anew, so that the chain holds.
    Forge,
    /// The newest messages are cut off.
    CutOff,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tampered {
    /// How.
    pub kind: Tampering,
    /// The places that must be named, with the subjects that were there.
    pub places: Vec<(u64, String)>,
}

impl Tampering {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::FlipBody,
        Self::FlipHeaders,
        Self::Drop,
        Self::SwapWithin,
        Self::SwapAcross,
        Self::Copy,
        Self::Forge,
        Self::CutOff,
    ];

    /// Does it to `records` somewhere that `chance` says.
    ///
    /// # Panics
    /// When there are too few of them.
    #[expect(
        clippy::expect_used,
        reason = "a test's stream has messages of several subjects"
    )]
    pub fn apply(self, records: &mut Vec<StoredRecord>, chance: &mut ChaCha8Rng) -> Tampered {
        let before = records.clone();
        let at = chance.random_range(0..records.len());
        let mut touched = vec![at];
        match self {
            Self::FlipBody => flip(&mut records[at].body, chance),
            Self::FlipHeaders => {
                while !is_visible(&before[at].headers, &records[at].headers) {
                    records[at].headers.clone_from(&before[at].headers);
                    flip(&mut records[at].headers, chance);
                }
            }
            Self::Drop => drop(records.remove(at)),
            Self::SwapWithin | Self::SwapAcross => {
                let (one, other) = pair(&before, self == Self::SwapWithin, chance);
                exchange(records, one, other);
                touched = vec![one, other];
            }
            Self::Copy => {
                let from = (0..records.len()).filter(|from| *from != at).collect::<Vec<_>>();
                let from = *from.choose(chance).expect("another message");
                let seq = records[at].seq;
                records[at] = StoredRecord {
                    seq,
                    ..before[from].clone()
                };
            }
            Self::Forge => {
                let chained = (0..records.len()).filter(|place| link_of(&before[*place]).is_some());
                let at = *chained
                    .collect::<Vec<_>>()
                    .choose(chance)
                    .expect("a chained message");
                touched = forge(records, at, chance);
            }
            Self::CutOff => {
                let left = chance.random_range(records.len() / 2..records.len());
                records.truncate(left);
                touched = (left..before.len()).collect();
            }
        }
        let places = touched.into_iter().map(|place| {
            let subject = String::from_utf8_lossy(&before[place].subject).into_owned();
            (before[place].seq, subject)
        });
        Tampered {
            kind: self,
            places: places.collect(),
        }
    }
}

fn flip(bytes: &mut [u8], chance: &mut ChaCha8Rng) {
    let at = chance.random_range(0..bytes.len());
    bytes[at] ^= 1 << chance.random_range(0..8);
}

/// Whether a client can tell and live: one that reads headers line by line takes a tab or a form feed at a line's end
/// for the end itself, and async-nats 0.51 panics over a lone carriage return in a value (`HeaderValue::from`), so that
/// all a reader learns is that its connection is gone.
fn is_visible(before: &[u8], after: &[u8]) -> bool {
    let changed = before.iter().zip(after).find(|(before, after)| before != after);
    changed.is_some_and(|(before, after)| match (*before, *after) {
        (b'\n', _) | (_, b'\r') => false,
        (b'\r', after) => !matches!(after, b'\t' | 0x0c | 0x0b | b' '),
        _ => true,
    })
}

/// Two places, of one subject or of two.
#[expect(
    clippy::expect_used,
    reason = "a test's stream has messages of several subjects"
)]
fn pair(records: &[StoredRecord], of_one_subject: bool, chance: &mut ChaCha8Rng) -> (usize, usize) {
    let pairs: Vec<(usize, usize)> = (0..records.len())
        .flat_map(|one| (one + 1..records.len()).map(move |other| (one, other)))
        .filter(|(one, other)| (records[*one].subject == records[*other].subject) == of_one_subject)
        .collect();
    *pairs.choose(chance).expect("two such messages")
}

/// Exchanges all but the sequences.
fn exchange(records: &mut [StoredRecord], one: usize, other: usize) {
    let (first, second) = (records[one].seq, records[other].seq);
    records.swap(one, other);
    (records[one].seq, records[other].seq) = (first, second);
}

/// Gives the message at `at` another body and its subject new links from there on; says which were changed.
#[expect(clippy::expect_used, reason = "what is chained has links")]
fn forge(records: &mut [StoredRecord], at: usize, chance: &mut ChaCha8Rng) -> Vec<usize> {
    let body = &mut records[at].body;
    let digits: Vec<usize> = (0..body.len())
        .filter(|place| body[*place].is_ascii_digit())
        .collect();
    let digit = *digits.choose(chance).expect("a number in the body");
    body[digit] = if body[digit] == b'9' {
        b'8'
    } else {
        body[digit] + 1
    };
    let (mut before, _) = link_of(&records[at]).expect("a link");
    let later: Vec<usize> = (at..records.len())
        .filter(|place| records[*place].subject == records[at].subject)
        .collect();
    for place in &later {
        let record = &mut records[*place];
        let own = link(before, content(record));
        let stamp = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(before),
            URL_SAFE_NO_PAD.encode(own)
        );
        set_header(&mut record.headers, CHAIN, &stamp);
        before = own;
    }
    later
}

/// As docs/events.md says, written here once more so that a mistake there is not made here as well.
fn content(record: &StoredRecord) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(b"dramatis.content.1");
    let header = |name| header(&record.headers, name).unwrap_or_default().into_bytes();
    let fields = [
        header("ce-id"),
        record.subject.clone(),
        header("ce-time"),
        header("traceparent"),
        record.body.clone(),
    ];
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    hasher.finalize().into()
}

fn link(before: [u8; 32], content: [u8; 32]) -> [u8; 32] {
    let hasher = Sha256::new_with_prefix(b"dramatis.link.1");
    hasher
        .chain_update(before)
        .chain_update(content)
        .finalize()
        .into()
}

/// The link before a message's own, and its own.
fn link_of(record: &StoredRecord) -> Option<([u8; 32], [u8; 32])> {
    let stamp = header(&record.headers, CHAIN)?;
    let (before, own) = stamp.split_once('.')?;
    let bytes = |text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
    Some((bytes(before)?, bytes(own)?))
}

fn header(headers: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(headers).ok()?;
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    let found = values.find(|(found, _)| *found == name);
    found.map(|(_, value)| value.trim().to_owned())
}

#[expect(clippy::expect_used, reason = "what is chained has the header")]
fn set_header(headers: &mut Vec<u8>, name: &str, value: &str) {
    let text = String::from_utf8(headers.clone()).expect("headers are text");
    let old = header(headers, name).expect("the header is there");
    *headers = text.replace(&old, value).into_bytes();
}
