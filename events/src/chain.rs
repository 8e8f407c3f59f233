//! A hash chain per persona subject, over the bytes as they are stored.
//!
//! Each commit on a chained subject carries a link: a hash of the link before it and of its own content. Whoever
//! changes a stored byte, or takes a commit out, moves it, or puts one in, breaks the chain at a place that can be
//! named. Each subject has its own chain, so erasing one persona leaves everybody else's whole.
//!
//! ```text
//! content = SHA-256("dramatis.content.1" ‖ id ‖ subject ‖ time ‖ traceparent ‖ body)      each after its length
//! link    = SHA-256("dramatis.link.1" ‖ link before ‖ content)
//! before the first: SHA-256("dramatis.genesis.1" ‖ subject)
//! ```
//!
//! A commit carries its own link and the one before it, so that the first commit left after a purge can still be
//! checked by itself.
//!
//! A chain cannot tell that its newest commits are gone, nor that all of it was written anew by somebody who can
//! write the whole log. That is what heads kept elsewhere are for: [`ChainVerifier::head`] gives them, and
//! [`ChainVerifier::resume`] goes on from one.

mod audit;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::commit::StreamSeq;

pub use audit::{AuditReport, ChainAudit};

/// A hash of one commit's stored content: its attributes and its body.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

/// One link of a subject's chain. It stands for everything on the subject up to its commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash([u8; 32]);

/// Text that is not a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a link is 43 characters of unpadded URL-safe base64")]
pub struct InvalidChainHash;

/// What a chained commit carries in its `Dramatis-Chain` header: `<link before>.<own link>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainStamp {
    /// The link of the subject's commit before.
    pub before: ChainHash,
    /// Its own.
    pub own: ChainHash,
}

/// What a chain covers of one message, as stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) id: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) time: &'a str,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl Content<'_> {
    pub(crate) fn hash(&self) -> ContentHash {
        let mut hasher = Sha256::new_with_prefix(b"dramatis.content.1");
        let traceparent = self.traceparent.unwrap_or_default();
        for field in [self.id, self.subject, self.time, traceparent] {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.update((self.body.len() as u64).to_be_bytes());
        hasher.update(self.body);
        ContentHash(hasher.finalize().into())
    }
}

impl ChainHash {
    /// What stands before the first commit of `subject`.
    pub fn genesis(subject: &str) -> Self {
        let hasher = Sha256::new_with_prefix(b"dramatis.genesis.1").chain_update(subject.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The link after this one, of a commit with `content`.
    #[must_use]
    pub fn after(self, content: ContentHash) -> Self {
        let hasher = Sha256::new_with_prefix(b"dramatis.link.1")
            .chain_update(self.0)
            .chain_update(content.0);
        Self(hasher.finalize().into())
    }

    /// From bytes kept elsewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept elsewhere.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ChainStamp {
    /// The stamp of a commit with `content` that follows the link `before`.
    pub fn new(before: ChainHash, content: ContentHash) -> Self {
        let own = before.after(content);
        Self { before, own }
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({self})")
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for ChainHash {
    type Err = InvalidChainHash;

    /// One link has one spelling: the decoder refuses padding and stray bits.
    fn from_str(text: &str) -> Result<Self, InvalidChainHash> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidChainHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidChainHash)
    }
}

impl fmt::Display for ChainStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.before, self.own)
    }
}

impl FromStr for ChainStamp {
    type Err = InvalidChainHash;

    fn from_str(text: &str) -> Result<Self, InvalidChainHash> {
        let (before, own) = text.split_once('.').ok_or(InvalidChainHash)?;
        Ok(Self {
            before: before.parse()?,
            own: own.parse()?,
        })
    }
}

/// What verifying needs of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place.
    pub seq: StreamSeq,
    /// Its content, hashed from the bytes that were read.
    pub content: ContentHash,
    /// The stamp it carries; `None` when it carries none that is readable.
    pub stamp: Option<ChainStamp>,
}

/// A place where a subject's chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// A commit is not what its link was made of.
    #[error("{subject}: commit {at} was changed after it was written")]
    Altered {
        /// The subject.
        subject: String,
        /// The commit.
        at: StreamSeq,
    },
    /// A commit follows from another than the one before it.
    #[error(
        "{subject}: commit {at} does not follow from commit {after}: something was removed, moved or put in between \
         them, or the link of {after} was changed"
    )]
    Gap {
        /// The subject.
        subject: String,
        /// The commit that does not follow.
        at: StreamSeq,
        /// The commit before it.
        after: StreamSeq,
    },
    /// A commit carries no link that can be read.
    #[error("{subject}: commit {at} carries no link: it was put in past the guard, or its link was damaged")]
    Unlinked {
        /// The subject.
        subject: String,
        /// The commit.
        at: StreamSeq,
    },
}

impl ChainBreak {
    /// The subject whose chain is broken.
    pub fn subject(&self) -> &str {
        match self {
            Self::Altered { subject, .. } | Self::Gap { subject, .. } | Self::Unlinked { subject, .. } => {
                subject
            }
        }
    }

    /// The commit at which it shows.
    pub fn at(&self) -> StreamSeq {
        match self {
            Self::Altered { at, .. } | Self::Gap { at, .. } | Self::Unlinked { at, .. } => *at,
        }
    }
}

/// Where a verified chain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStart {
    /// At the subject's first commit ever.
    Genesis,
    /// At this commit, which is the first that is left. The link before it is taken as given: what came earlier was
    /// purged, or taken away.
    Given(StreamSeq),
    /// After a head that was kept elsewhere.
    Head(StreamSeq),
}

/// Checks one subject's chain, commit by commit.
#[derive(Debug, Clone)]
pub struct ChainVerifier {
    subject: String,
    start: Option<ChainStart>,
    head: Option<(StreamSeq, ChainHash)>,
    /// A commit without a link came last: the next one's `before` cannot be compared.
    is_adrift: bool,
    links: u64,
}

impl ChainVerifier {
    /// From the subject's first commit, or the first that is left.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            start: None,
            head: None,
            is_adrift: false,
            links: 0,
        }
    }

    /// From a head that was kept elsewhere; the commit after it is the next to check.
    pub fn resume(subject: impl Into<String>, seq: StreamSeq, hash: ChainHash) -> Self {
        Self {
            start: Some(ChainStart::Head(seq)),
            head: Some((seq, hash)),
            ..Self::new(subject)
        }
    }

    /// Checks the next commit of the subject.
    ///
    /// # Errors
    /// That the chain does not hold here. Checking may go on: what the commit carries is then taken as given.
    pub fn check(&mut self, link: &Link) -> Result<(), ChainBreak> {
        let (subject, at) = (self.subject.clone(), link.seq);
        let Some(stamp) = link.stamp else {
            self.is_adrift = true;
            return Err(ChainBreak::Unlinked { subject, at });
        };
        let last = self.head.replace((at, stamp.own));
        let was_adrift = std::mem::take(&mut self.is_adrift);
        self.links += 1;
        if self.start.is_none() {
            let is_genesis = stamp.before == ChainHash::genesis(&subject);
            self.start = Some(if is_genesis {
                ChainStart::Genesis
            } else {
                ChainStart::Given(at)
            });
        }
        if stamp.before.after(link.content) != stamp.own {
            return Err(ChainBreak::Altered { subject, at });
        }
        match last {
            Some((after, hash)) if hash != stamp.before && !was_adrift => {
                Err(ChainBreak::Gap { subject, at, after })
            }
            _ => Ok(()),
        }
    }

    /// Where the chain begins; `None` before its first link.
    pub fn start(&self) -> Option<ChainStart> {
        self.start
    }

    /// The newest link: what to keep elsewhere, and to compare with what is kept there.
    pub fn head(&self) -> Option<(StreamSeq, ChainHash)> {
        self.head
    }

    /// Commits that carried a link.
    pub fn links(&self) -> u64 {
        self.links
    }
}

/// Checks all of a subject's commits that are left, oldest first.
///
/// # Errors
/// The first place where the chain does not hold.
pub fn verify_chain(
    subject: &str,
    links: impl IntoIterator<Item = Link>,
) -> Result<ChainVerifier, ChainBreak> {
    let mut verifier = ChainVerifier::new(subject);
    for link in links {
        verifier.check(&link)?;
    }
    Ok(verifier)
}
