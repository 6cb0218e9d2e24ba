//! Aligned columns for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;

use crate::Form;

/// A column: its heading, how it stands, and whether only a wide table has it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    align: Align,
    wide: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// A column of texts.
pub fn left(name: &'static str) -> Column {
    Column { name, align: Align::Left, wide: false }
}

/// A column of numbers.
pub fn right(name: &'static str) -> Column {
    Column { name, align: Align::Right, wide: false }
}

impl Column {
    /// Only `-o wide` has it.
    pub fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// How tables look here: with the wide columns or without, and what a heading begins and ends with.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub wide: bool,
    heading: (&'static str, &'static str),
}

impl Look {
    /// As this standard output wants it.
    pub fn of(form: Form) -> Self {
        Self { heading: heading(), ..Self::plain(form) }
    }

    /// With the wide columns.
    pub fn widened(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Without colours.
    pub fn plain(form: Form) -> Self {
        Self { wide: form == Form::Wide, heading: ("", "") }
    }
}

/// Bytes that others wrote, for a terminal: lines and tabs are theirs to say, everything else that would steer the
/// terminal is escaped, and what is no text is replaced.
pub fn harmless(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes), |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, steers: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// A text that others wrote, for a terminal: it moves no cursor and begins no line.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escaped(text, char::is_control))
}

/// The table's text: headings, then rows, two blanks between columns.
pub fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]], look: Look) -> String {
    let mut widths = columns.map(|column| column.name.chars().count());
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| visible(cell).into_owned())).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    let names = columns.map(|column| column.name.to_owned());
    for (i, row) in std::iter::once(&names).chain(&rows).enumerate() {
        let mut line = String::new();
        for ((cell, width), column) in row.iter().zip(widths).zip(columns) {
            let padded = match column.align {
                _ if column.wide && !look.wide => Ok(()),
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
            padded.expect("writing to a string");
        }
        let (begin, end) = if i == 0 { look.heading } else { ("", "") };
        writeln!(out, "{begin}{}{end}", line.trim_end()).expect("writing to a string");
    }
    out
}

/// What headings are shown with on this standard output.
pub fn heading() -> (&'static str, &'static str) {
    if colours(&std::io::stdout()) { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") }
}

/// Colours are for terminals, and not for those who said NO_COLOR.
pub fn colours(to: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
    to.is_terminal() && !unwanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor_and_begins_no_line() {
        let rows = [["a\u{1b}[1A\nprod".to_owned()]];
        let text = table([left("key")], &rows, Look::plain(Form::Table));
        assert_eq!(text, "key\na\\u{1b}[1A\\nprod\n");
    }

    #[test]
    fn bytes_steer_no_terminal_and_keep_their_lines() {
        for (bytes, shown) in [
            (&b"{\n\t\"a\": 1}"[..], "{\n\t\"a\": 1}"),
            (b"\x1b[31mred\r\x07", "\\u{1b}[31mred\\r\\u{7}"),
            (b"\xff", "\u{fffd}"),
        ] {
            assert_eq!(harmless(bytes), shown);
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [["a".to_owned(), "7".to_owned()], ["größer".to_owned(), "1234".to_owned()]];
        let look = Look { wide: false, heading: ("<", ">") };
        let text = table([left("NAME"), right("N")], &rows, look);
        assert_eq!(text, "<NAME       N>\na          7\ngrößer  1234\n");
        let text = table([right("N"), left("NAME")], &[], Look::plain(Form::Table));
        assert_eq!(text, "N  NAME\n");
    }

    #[test]
    fn a_wide_column_is_only_in_a_wide_table() {
        let rows = [["a".to_owned(), "7".to_owned(), "x".to_owned()]];
        let columns = [left("A"), right("B").wide(), left("C")];
        assert_eq!(table(columns, &rows, Look::plain(Form::Table)), "A  C\na  x\n");
        assert_eq!(table(columns, &rows, Look::plain(Form::Wide)), "A  B  C\na  7  x\n");
    }
}
