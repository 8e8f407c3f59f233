use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use serde_json::json;

/// What was written, shared with the writer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panicked").clone()).expect("UTF-8")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails every write in the same way.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(kind: io::ErrorKind) -> Out {
    Out {
        sink: Box::new(Broken(kind)),
        ..Out::captured(Format::Text).0
    }
}

#[test]
fn a_reader_that_went_away_is_noticed_and_is_no_error() {
    let mut out = broken(io::ErrorKind::BrokenPipe);
    assert!(!out.is_closed());
    assert_eq!(out.text("one"), Ok(()));
    assert!(out.is_closed());
    assert_eq!(out.text("two"), Ok(()));
}

#[test]
fn a_full_disk_is_an_error() {
    let error = broken(io::ErrorKind::StorageFull)
        .text("one")
        .expect_err("it was not written");
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn json_to_a_pipe_is_one_line_and_to_a_terminal_is_indented() {
    let value = json!({"a": [1]});
    let (mut out, captured) = Out::captured(Format::Json);
    out.json(&value).expect("written");
    out.is_terminal = true;
    out.json(&value).expect("written");
    assert_eq!(captured.text(), "{\"a\":[1]}\n{\n  \"a\": [\n    1\n  ]\n}\n");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert_eq!(printable("a\u{1b}[2Jb\r\nc\u{9b}d"), "a [2Jb  c d");
}

#[test]
fn paint_leaves_text_alone_unless_colour_is_wanted() {
    assert_eq!(Paint { colour: false }.red("no"), "no");
    assert_eq!(Paint { colour: true }.red("no"), "\u{1b}[31mno\u{1b}[0m");
}

#[test]
fn times_are_said_in_the_unit_people_use() {
    assert_eq!(
        [999, 1_000, 59_999, 60_000, 185_500].map(seconds_text),
        ["999 ms", "1.0 s", "59.9 s", "1 min 00 s", "3 min 05 s"]
    );
}

#[test]
fn a_table_without_colour_holds_no_escape_and_keeps_its_width() {
    let mut rows = table(&["a", "b"], &[0], 60, Paint { colour: false });
    rows.add_row(["1".to_owned(), "long text ".repeat(20)]);
    let text = rows.trim_fmt();
    assert!(!text.contains('\u{1b}'));
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
}
