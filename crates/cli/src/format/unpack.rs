//! `unpack[…]`: bytes as the numbers and texts that a pattern says.
//!
//! `<` and `>` set the order of bytes (big first unless said); `b B h H i I q Q` are numbers of 1, 2, 4 and 8
//! bytes, capitals without a sign; `c` and `.` one character; `s` all the rest; `x` writes a blank and reads
//! nothing; `$` says that nothing may be left. Bytes that do not fit the pattern are told in the output, as rpk does.

use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Pad,
    Number { bytes: usize, signed: bool, little: bool },
    Character,
    Rest,
    End,
}

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpack(Vec<Part>);

impl Unpack {
    /// The error is the character that means nothing.
    pub(super) fn parse(pattern: &str) -> Result<Self, char> {
        let mut little = false;
        let mut parts = Vec::new();
        for c in pattern.chars() {
            let number = |bytes| Part::Number { bytes, signed: c.is_ascii_lowercase(), little };
            parts.push(match c {
                '<' | '>' => {
                    little = c == '<';
                    continue;
                }
                'x' => Part::Pad,
                'b' | 'B' => number(1),
                'h' | 'H' => number(2),
                'i' | 'I' => number(4),
                'q' | 'Q' => number(8),
                'c' | '.' => Part::Character,
                's' => Part::Rest,
                '$' => Part::End,
                other => return Err(other),
            });
        }
        Ok(Self(parts))
    }

    pub(super) fn write(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        for part in &self.0 {
            let wanted = match part {
                Part::Number { bytes, .. } => *bytes,
                Part::Character => 1,
                Part::Rest => rest.len(),
                Part::Pad | Part::End => 0,
            };
            let Some((taken, left)) = rest.split_at_checked(wanted) else {
                out.extend(format!("<{wanted} bytes wanted, {} left>", rest.len()).bytes());
                return;
            };
            rest = left;
            match part {
                Part::Pad => out.push(b' '),
                Part::Number { signed, little, .. } => {
                    out.extend(number(taken, *signed, *little).bytes());
                }
                Part::Character | Part::Rest => out.extend_from_slice(taken),
                Part::End if rest.is_empty() => {}
                Part::End => out.extend(format!("<{} bytes left>", rest.len()).bytes()),
            }
        }
    }
}

/// Of at most eight bytes.
fn number(bytes: &[u8], signed: bool, little: bool) -> String {
    let mut ordered = bytes.to_vec();
    if little {
        ordered.reverse();
    }
    let negative = signed && ordered.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1_i128 } else { 0 };
    let value = ordered.iter().fold(start, |value, byte| value << 8 | i128::from(*byte));
    let mut text = String::new();
    write!(text, "{value}").expect("writing to a string");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_by_the_pattern() {
        for (pattern, bytes, wanted) in [
            ("b", &[0xff][..], "-1"),
            ("B", &[0xff], "255"),
            ("h", &[0x01, 0x02], "258"),
            ("<h", &[0x01, 0x02], "513"),
            ("<I>I", &[1, 0, 0, 0, 0, 0, 0, 1], "11"),
            ("IxI", &[0, 0, 0, 1, 0, 0, 0, 2], "1 2"),
            ("q", &[0xff; 8], "-1"),
            ("Q", &[0xff; 8], "18446744073709551615"),
            ("Bxs$", b"\x05five", "5 five"),
            ("c.$", b"abc", "ab<1 bytes left>"),
            ("i", &[1, 2], "<4 bytes wanted, 2 left>"),
            ("", b"abc", ""),
        ] {
            let mut out = Vec::new();
            Unpack::parse(pattern).unwrap().write(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "{pattern}");
        }
        assert_eq!(Unpack::parse("bz"), Err('z'));
    }
}
