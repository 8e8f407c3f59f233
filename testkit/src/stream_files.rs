//! What nats-server keeps of a stream on disk, read and changed behind its back, with its own checksums made to fit: it
//! serves what was put there as if it had written it. For tests of what is noticed all the same.
//!
//! ```text
//! record:   length u32 (top bit: has headers) ‖ seq u64 ‖ time i64 ‖ subject length u16 ‖ subject
//!           ‖ [headers length u32 ‖ headers] ‖ body ‖ checksum u64                            all little-endian
//! checksum: HighwayHash-64 of seq ‖ time ‖ subject ‖ headers ‖ body, keyed with SHA-256("<stream>-<block>")
//! ```
//!
//! The layout is that of nats-server's file store up to 2.15; every checksum is compared when it is read, so that another
//! layout fails loudly.

use std::fs;
use std::path::{Path, PathBuf};

use highway::{HighwayHash as _, HighwayHasher, Key};
use sha2::{Digest as _, Sha256};

/// Bytes before the subject.
const FIXED: usize = 22;
const CHECKSUM: usize = 8;
const HAS_HEADERS: u32 = 1 << 31;
/// In the sequence: overwritten by a deletion, and a mark that something was deleted.
const NO_MESSAGE: u64 = 0b11 << 62;

/// One message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place.
    pub seq: u64,
    /// When the server stored it, in nanoseconds since 1970.
    pub time: i64,
    /// Its subject.
    pub subject: Vec<u8>,
    /// Its headers with their version line.
    pub headers: Vec<u8>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The files of one stream in one block, which is what it has below 8 MB. Its server must not run.
#[derive(Debug)]
pub struct StreamFiles {
    messages: PathBuf,
    stream: String,
}

impl StreamFiles {
    /// Those of `stream` in the folder a server keeps its files in.
    pub fn of(store: &Path, stream: &str) -> Self {
        Self {
            messages: store.join("jetstream/$G/streams").join(stream).join("msgs"),
            stream: stream.to_owned(),
        }
    }

    /// Every message, oldest first.
    ///
    /// # Panics
    /// When the files are not of the layout described above.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its files")]
    pub fn read(&self) -> Vec<StoredRecord> {
        let bytes = fs::read(self.block()).expect("the block can be read");
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(array(rest));
            let whole = usize::try_from(length & !HAS_HEADERS).expect("a length");
            let (record, tail) = rest.split_at_checked(whole).expect("a whole record");
            rest = tail;
            let seq = u64::from_le_bytes(array(&record[4..]));
            if seq & NO_MESSAGE != 0 || seq == 0 {
                continue;
            }
            let subject_end = FIXED + usize::from(u16::from_le_bytes(array(&record[20..])));
            let body_end = whole - CHECKSUM;
            let (headers, body) = if length & HAS_HEADERS == 0 {
                (&[][..], &record[subject_end..body_end])
            } else {
                let headers = u32::from_le_bytes(array(&record[subject_end..]));
                let headers = usize::try_from(headers).expect("a length");
                record[subject_end + 4..body_end].split_at(headers)
            };
            let read = StoredRecord {
                seq,
                time: i64::from_le_bytes(array(&record[12..])),
                subject: record[FIXED..subject_end].to_vec(),
                headers: headers.to_vec(),
                body: body.to_vec(),
            };
            assert_eq!(self.written(&read), record, "a record of another layout at {seq}");
            records.push(read);
        }
        records
    }

    /// Puts `records` in the place of what is there, and takes away the server's index, so that it reads them anew.
    ///
    /// # Panics
    /// When they cannot be written.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its files")]
    pub fn write(&self, records: &[StoredRecord]) {
        let bytes: Vec<u8> = records.iter().flat_map(|record| self.written(record)).collect();
        fs::write(self.block(), bytes).expect("the block can be written");
        let _ = fs::remove_file(self.messages.join("index.db"));
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without its files")]
    fn block(&self) -> PathBuf {
        let files = fs::read_dir(&self.messages).expect("the stream's folder");
        let mut blocks: Vec<PathBuf> = files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "blk"))
            .collect();
        let block = blocks.pop().expect("a block");
        assert!(blocks.is_empty(), "a stream of several blocks: {blocks:?}");
        block
    }

    #[expect(clippy::expect_used, reason = "a test's records are small")]
    fn written(&self, record: &StoredRecord) -> Vec<u8> {
        let has_headers = !record.headers.is_empty();
        let headers_bytes = if has_headers { 4 + record.headers.len() } else { 0 };
        let whole = FIXED + record.subject.len() + headers_bytes + record.body.len() + CHECKSUM;
        let length = u32::try_from(whole).expect("a small record");
        let mut bytes = Vec::with_capacity(whole);
        bytes.extend((length | if has_headers { HAS_HEADERS } else { 0 }).to_le_bytes());
        bytes.extend(record.seq.to_le_bytes());
        bytes.extend(record.time.to_le_bytes());
        let subject_bytes = u16::try_from(record.subject.len()).expect("a short subject");
        bytes.extend(subject_bytes.to_le_bytes());
        bytes.extend(&record.subject);
        if has_headers {
            bytes.extend(
                u32::try_from(record.headers.len())
                    .expect("short headers")
                    .to_le_bytes(),
            );
            bytes.extend(&record.headers);
        }
        bytes.extend(&record.body);
        bytes.extend(self.checksum(record));
        bytes
    }

    #[expect(clippy::expect_used, reason = "the block is named by its number")]
    fn checksum(&self, record: &StoredRecord) -> [u8; CHECKSUM] {
        let block = self.block();
        let number = block.file_stem().expect("a name").to_string_lossy();
        let key = Sha256::digest(format!("{}-{number}", self.stream));
        let key = std::array::from_fn(|part| u64::from_le_bytes(array(&key[part * 8..])));
        let mut hasher = HighwayHasher::new(Key(key));
        hasher.append(&record.seq.to_le_bytes());
        hasher.append(&record.time.to_le_bytes());
        for part in [&record.subject, &record.headers, &record.body] {
            hasher.append(part);
        }
        hasher.finalize64().to_le_bytes()
    }
}

#[expect(clippy::expect_used, reason = "a test's own files")]
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a whole record")
}
