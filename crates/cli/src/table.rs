//! Aligned columns for people.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The table's text: headings, then rows, two blanks between columns. `heading` begins and ends
/// what a heading is shown with.
pub(crate) fn table<const N: usize>(
    columns: [(&str, Align); N],
    rows: &[[String; N]],
    heading: (&str, &str),
) -> String {
    let mut widths = columns.map(|(name, _)| name.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    let names = columns.map(|(name, _)| name.to_owned());
    for (i, row) in std::iter::once(&names).chain(rows).enumerate() {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(columns) {
            let padded = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
            padded.expect("writing to a string");
        }
        let (begin, end) = if i == 0 { heading } else { ("", "") };
        writeln!(out, "{begin}{}{end}", line.trim_end()).expect("writing to a string");
    }
    out
}

/// What headings are shown with on this standard output.
pub(crate) fn heading() -> (&'static str, &'static str) {
    if colours(&std::io::stdout()) { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") }
}

/// Colours are for terminals, and not for those who said NO_COLOR.
pub(crate) fn colours(to: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
    to.is_terminal() && !unwanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [["a".to_owned(), "7".to_owned()], ["größer".to_owned(), "1234".to_owned()]];
        let text = table([("NAME", Align::Left), ("N", Align::Right)], &rows, ("<", ">"));
        assert_eq!(text, "<NAME       N>\na          7\ngrößer  1234\n");
        let text = table([("N", Align::Right), ("NAME", Align::Left)], &[], ("", ""));
        assert_eq!(text, "N  NAME\n");
    }
}
