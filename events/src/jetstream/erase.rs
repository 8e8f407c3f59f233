//! Erasing. A stream purge only marks messages as gone: measured, every byte of them is still in the block files
//! afterwards, compressed or not, and after a restart. Deleting one message at a time overwrites its record with
//! random bytes, so that is what is done; it takes some 12 ms a message. `docs/adr/0008-erasing-from-the-log.md`.

use super::{JetStreamLog, unavailable};
use crate::commit::StreamSeq;
use crate::log::LogError;
use crate::subject::Subject;

impl JetStreamLog {
    /// One message after the other, oldest first, so that appends get their turn in between, and so that an erasure
    /// that was cut off goes on where it ended.
    pub(super) async fn erase(&self, subject: &Subject, up_to: Option<StreamSeq>) -> Result<u64, LogError> {
        let subject = subject.to_string();
        let up_to = up_to.unwrap_or(StreamSeq(u64::MAX - 1));
        let (mut erased, mut at) = (0, StreamSeq::ZERO);
        while let Some(message) = self.next_message(&subject, at).await? {
            at = StreamSeq(message.sequence);
            if at > up_to {
                break;
            }
            if let Err(error) = self.stream.delete_message(at.0).await {
                // Somebody else erases the same.
                if self.message_at(at).await?.is_none() {
                    continue;
                }
                return Err(unavailable(&error));
            }
            erased += 1;
        }
        self.heads.forget(&subject);
        tracing::info!(stream.subject = %subject, erased, "commits of a subject were erased from the log");
        Ok(erased)
    }
}
