//! What happens, from the server's feed, as lines.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use crate::api_client::{ApiClient, ApiError};
use crate::output::printable;

/// Lines kept.
const LINES: usize = 14;
/// Bytes a frame may have; the server's are far smaller.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// What a rate is taken over.
const WINDOW: Duration = Duration::from_secs(10);

/// An open feed.
#[derive(Debug)]
pub(super) struct Feed {
    response: Response,
    unread: Vec<u8>,
}

impl Feed {
    /// Opens it.
    pub(super) async fn open(api: &ApiClient) -> Result<Self, ApiError> {
        Ok(Self {
            response: api.feed().await?,
            unread: Vec::new(),
        })
    }

    /// The data of the next frame; `None` when the feed has ended. Dropped while it waits, it loses nothing.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(data) = data_of(&frame) {
                    return Some(data);
                }
                continue;
            }
            if self.unread.len() > FRAME_BYTES_MAX {
                return None;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.extend_from_slice(&chunk);
        }
    }
}

fn data_of(frame: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(frame).ok()?;
    let data = text.lines().find_map(|line| line.strip_prefix("data:"))?;
    serde_json::from_str(data.trim()).ok()
}

/// The newest lines, and how many events came.
#[derive(Debug, Default)]
pub(super) struct Lines {
    newest: VecDeque<String>,
    came: VecDeque<(Duration, u64)>,
    has_past: bool,
}

impl Lines {
    /// Takes in a frame.
    pub(super) fn take(&mut self, frame: &Value, now: Duration) {
        // The first frame tells of the past.
        if self.has_past {
            self.came
                .push_back((now, frame["events"].as_u64().unwrap_or_default()));
        }
        self.has_past = true;
        for item in frame["items"].as_array().into_iter().flatten() {
            self.newest.push_back(line(item));
        }
        while self.newest.len() > LINES {
            self.newest.pop_front();
        }
    }

    /// The newest lines, oldest first.
    pub(super) fn newest(&mut self) -> &[String] {
        self.newest.make_contiguous()
    }

    /// Events a second, lately.
    pub(super) fn per_second(&mut self, now: Duration) -> Option<f64> {
        while self
            .came
            .front()
            .is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            self.came.pop_front();
        }
        let events: u64 = self.came.iter().map(|(_, events)| events).sum();
        self.has_past.then(|| events as f64 / WINDOW.as_secs_f64())
    }
}

/// `#123 ToolCalled todo.create`.
fn line(item: &Value) -> String {
    let data = &item["data"];
    let texts =
        ["tool", "module", "outcome", "error", "name", "reason", "table"].map(|name| data[name].as_str());
    let mut line = format!("#{} {}", item["seq"], item["type"].as_str().unwrap_or_default());
    for text in texts.into_iter().flatten() {
        line.push(' ');
        line.push_str(&printable(text));
    }
    if let Some(stars) = data["rating"].as_u64() {
        line.push(' ');
        line.extend(std::iter::repeat_n(
            '★',
            usize::try_from(stars.min(5)).unwrap_or_default(),
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_few_fit_for_a_terminal_and_counted_from_the_second_frame_on() {
        let mut lines = Lines::default();
        let item =
            json!({ "seq": 7, "type": "ToolFailed", "data": { "tool": "a\u{1b}[31mb", "error": "no\nway" } });
        let frame = json!({ "events": 30, "items": vec![item; 30] });
        lines.take(&frame, Duration::from_secs(1));
        assert_eq!(lines.per_second(Duration::from_secs(1)), Some(0.0));
        lines.take(&frame, Duration::from_secs(2));
        assert_eq!(lines.per_second(Duration::from_secs(2)), Some(3.0));
        assert_eq!(lines.per_second(Duration::from_secs(20)), Some(0.0));
        assert_eq!(lines.newest().len(), LINES);
        assert_eq!(lines.newest()[0], "#7 ToolFailed a [31mb no way");
    }

    #[test]
    fn a_frame_without_data_is_none() {
        assert_eq!(data_of(b"id: 1\ndata: {\"a\":1}\n\n"), Some(json!({ "a": 1 })));
        assert_eq!(data_of(b": keep-alive\n\n"), None);
    }
}
