//! What a viewer may do on NATS: hear, ask, and nothing else.

use events::{ALARM_PREFIX, JOB_PREFIX, LIVE_PREFIX, QUERY_PREFIX};
use serde::Serialize;

use super::discovery::VERBS;
use super::endpoint::SERVICE_NAME;

/// Allow-lists as nats-server takes them: what is not in them is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Permissions {
    /// Subjects it may publish to.
    pub(crate) publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub(crate) subscribe: Vec<String>,
}

impl Permissions {
    /// Those of a viewer whose replies arrive under `inbox_prefix`.
    ///
    /// Nothing of `$JS` is among them. Creating a consumer is a write; and a direct get answers to whatever subject the
    /// asker names, in the server's own right, so that a reader could have history stored a second time.
    pub(crate) fn of_viewer(inbox_prefix: &str) -> Self {
        let mut publish = vec![format!("{QUERY_PREFIX}.>")];
        for (verb, _) in VERBS {
            publish.push(format!("$SRV.{verb}"));
            publish.push(format!("$SRV.{verb}.{SERVICE_NAME}"));
            publish.push(format!("$SRV.{verb}.{SERVICE_NAME}.*"));
        }
        let subscribe = [LIVE_PREFIX, ALARM_PREFIX, JOB_PREFIX, inbox_prefix]
            .map(|prefix| format!("{prefix}.>"))
            .to_vec();
        Self { publish, subscribe }
    }

    /// As the value of `permissions` in nats-server's configuration, which reads JSON.
    pub(crate) fn for_nats_server(&self) -> String {
        serde_json::json!({
            "publish": { "allow": self.publish },
            "subscribe": { "allow": self.subscribe },
        })
        .to_string()
    }
}

/// Whether an answer may be sent there: to inboxes, and to the reply subjects of another account's importer.
///
/// Whoever may ask names the subject of the answer, and the answer is published in the right of this house, which may
/// write anywhere: without this a viewer could have commits appended, or the stream purged, by asking.
pub(super) fn is_reply_subject(subject: &str) -> bool {
    let is_inbox = ["_INBOX.", "_INBOX_", "_R_."]
        .iter()
        .any(|prefix| subject.starts_with(prefix));
    is_inbox && !subject.contains(['*', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_inboxes_only() {
        for fine in ["_INBOX.x.1", "_INBOX_viewer.x.1", "_R_.abc.1"] {
            assert!(is_reply_subject(fine), "{fine}");
        }
        for refused in [
            "",
            "_INBOX",
            "_inbox.x",
            "dramatis.persona.p",
            "dramatis.control.runner.pause",
            "$JS.API.STREAM.PURGE.DRAMATIS",
            "x._INBOX.y",
            "_INBOX.*",
            "_INBOX.>",
        ] {
            assert!(!is_reply_subject(refused), "{refused}");
        }
    }

    #[test]
    fn a_viewer_may_publish_nothing_that_changes_anything() {
        let permissions = Permissions::of_viewer("_INBOX_v");
        assert!(
            permissions
                .publish
                .iter()
                .all(|subject| subject.starts_with("dramatis.query.") || subject.starts_with("$SRV."))
        );
        assert_eq!(
            permissions.subscribe,
            [
                "dramatis.live.>",
                "dramatis.alarm.>",
                "dramatis.job.>",
                "_INBOX_v.>"
            ]
        );
    }
}
