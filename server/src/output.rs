//! What a command prints: data on stdout, for people or for programs. The only place that writes to stdout.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
use serde::Serialize;

use crate::exit::CommandError;

/// Columns of text where there is no terminal to ask.
const WIDTH_DEFAULT: u16 = 100;
/// A terminal narrower than this is treated as this wide; tables break below it.
const WIDTH_MIN: u16 = 60;
/// Lines longer than this are hard to read however wide the terminal is.
const WIDTH_MAX: u16 = 140;
/// Columns between two cells of a table.
const GAP: u16 = 2;

/// For whom a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and sentences.
    Text,
    /// JSON: indented on a terminal, one line otherwise.
    Json,
}

impl Format {
    /// What the `--json` switch asks for.
    pub(crate) fn from_json_switch(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Whether text may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// On a terminal, yes.
    Auto,
    /// Never: `NO_COLOR` is set.
    Never,
}

/// Writes a command's data. A reader that went away (`| head`) is not an error: the rest is dropped quietly.
pub(crate) struct Out {
    sink: Box<dyn Write + Send>,
    format: Format,
    paint: Paint,
    is_terminal: bool,
    width: u16,
    is_closed: bool,
}

impl Out {
    /// Writes to stdout.
    pub(crate) fn stdout(format: Format, colour: Colour) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let width = Table::new()
            .width()
            .unwrap_or(WIDTH_DEFAULT)
            .clamp(WIDTH_MIN, WIDTH_MAX);
        Self {
            sink: Box::new(io::stdout()),
            format,
            paint: Paint {
                colour: is_terminal && colour == Colour::Auto,
            },
            is_terminal,
            width,
            is_closed: false,
        }
    }

    /// Writes into memory, as to a pipe.
    #[cfg(test)]
    pub(crate) fn captured(format: Format) -> (Self, Captured) {
        let captured = Captured::default();
        let out = Self {
            sink: Box::new(captured.clone()),
            format,
            paint: Paint { colour: false },
            is_terminal: false,
            width: WIDTH_DEFAULT,
            is_closed: false,
        };
        (out, captured)
    }

    /// For whom it prints.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// How to colour, or not.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Columns a line may have.
    pub(crate) fn width(&self) -> u16 {
        self.width
    }

    /// Whether somebody looks at it as it comes.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the reader has gone away, so that an endless command can stop.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Prints `text` and ends the line if `text` does not.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when stdout cannot be written to, except that its reader has gone away.
    pub(crate) fn text(&mut self, text: impl fmt::Display) -> Result<(), CommandError> {
        let mut text = text.to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.write(text.as_bytes())
    }

    /// Prints `value` as JSON, indented on a terminal and on one line otherwise.
    ///
    /// # Errors
    /// As [`Out::text`].
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), CommandError> {
        let text = if self.is_terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let text = text.map_err(|error| CommandError::Failed(format!("cannot write JSON: {error}")))?;
        self.text(text)
    }

    /// Prints `value` on a line of its own, terminal or not: for streams of JSON lines.
    ///
    /// # Errors
    /// As [`Out::text`].
    pub(crate) fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), CommandError> {
        let text = serde_json::to_string(value)
            .map_err(|error| CommandError::Failed(format!("cannot write JSON: {error}")))?;
        self.text(text)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        if self.is_closed {
            return Ok(());
        }
        match self.sink.write_all(bytes).and_then(|()| self.sink.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(CommandError::Failed(format!("cannot write to stdout: {error}"))),
        }
    }
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out")
            .field("format", &self.format)
            .field("width", &self.width)
            .field("is_closed", &self.is_closed)
            .finish_non_exhaustive()
    }
}

/// Colours text, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether to colour at all.
    pub(crate) colour: bool,
}

impl Paint {
    /// A heading.
    pub(crate) fn bold(self, text: impl fmt::Display) -> String {
        self.sgr("1", text)
    }

    /// Of lesser weight.
    pub(crate) fn dim(self, text: impl fmt::Display) -> String {
        self.sgr("2", text)
    }

    /// Bad news.
    pub(crate) fn red(self, text: impl fmt::Display) -> String {
        self.sgr("31", text)
    }

    /// News to look into.
    pub(crate) fn yellow(self, text: impl fmt::Display) -> String {
        self.sgr("33", text)
    }

    /// Good news.
    pub(crate) fn green(self, text: impl fmt::Display) -> String {
        self.sgr("32", text)
    }

    fn sgr(self, code: &str, text: impl fmt::Display) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}

/// An empty table in the house's plain style, at most `width` columns wide, coloured as `paint` says.
///
/// `right` names the columns whose cells are numbers.
pub(crate) fn table(header: &[&str], right: &[usize], width: u16, paint: Paint) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─')))
        .set_width(width)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if paint.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().copied());
    set_gap(&mut table, GAP);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Puts `gap` columns between the cells of `table`, and none around them.
pub(crate) fn set_gap(table: &mut Table, gap: u16) {
    let last = table.column_count().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { gap }));
    }
}

/// `text` fit for one line of a terminal: control characters, which could move the cursor or recolour the
/// screen, become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// `1 persona`, `2 personas`.
pub(crate) fn count_of(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// Milliseconds as people say them: `840 ms`, `12.4 s`, `3 min 05 s`.
pub(crate) fn seconds_text(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms / 1_000 % 60),
    }
}

#[cfg(test)]
pub(crate) use tests::Captured;

#[cfg(test)]
mod tests;
