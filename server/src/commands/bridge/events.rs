//! Server-sent events as they come in chunks.

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Collects chunks into events.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
    event: Event,
    has_field: bool,
}

impl Events {
    /// The events that are complete with `chunk`.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Vec<Event> {
        self.rest.extend_from_slice(chunk);
        let mut complete = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if std::mem::take(&mut self.has_field) {
                    complete.push(std::mem::take(&mut self.event));
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                    self.has_field = true;
                }
                "id" => {
                    self.event.id = Some(value.to_owned());
                    self.has_field = true;
                }
                // Comments keep the line alive; other fields are of no use to us.
                _ => {}
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "id: 1\ndata: {\"a\":1}\n\n: still here\n\ndata: x\r\ndata: y\r\n\r\n";
        for size in [1, 3, 1000] {
            let mut events = Events::default();
            let taken: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| events.take(chunk))
                .collect();
            let data: Vec<_> = taken.iter().map(|event| event.data.as_str()).collect();
            assert_eq!(data, ["{\"a\":1}", "x\ny"], "{size}");
            assert_eq!(taken[0].id.as_deref(), Some("1"));
        }
    }
}
