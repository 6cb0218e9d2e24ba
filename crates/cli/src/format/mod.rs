//! The format language of `consume -f` and `produce -f`: rpk's, and a little more.
//!
//! A format is text with escapes: `%k %v\n`, and for some a modifier in braces: `%v{hex}`. It is taken apart once
//! ([`tokens`]); what the escapes mean is for [`Writer`], which prints records by it, and for [`Reader`], which
//! reads records by it. A format that is refused says at which character, and why.
//!
//! Limits: [`FORMAT_BYTES_MAX`](crate::limits::FORMAT_BYTES_MAX) bytes; headers do not nest.

mod layout;
mod read;
mod unpack;
mod write;

use tidings_terminal::failure::{Exit, Failure};

use crate::limits::FORMAT_BYTES_MAX;
use layout::Layout;
pub(crate) use read::{Input, ReadRecord, Reader};
pub(crate) use write::{Shown, Writer};

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Text(Vec<u8>),
    Escape(Escape<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Escape<'a> {
    /// The character after the `%`.
    letter: char,
    /// Inside the braces.
    modifier: Option<&'a str>,
    /// Where the `%` is, counted in characters from 1.
    at: usize,
}

impl Escape<'_> {
    fn refused(&self, why: impl Into<String>, hint: &str) -> Refused {
        Refused { what: self.to_string(), at: self.at, why: why.into(), hint: hint.to_owned() }
    }

    /// For an escape that takes none.
    fn without_modifier<T>(&self, meant: T) -> Result<T, Refused> {
        match self.modifier {
            None => Ok(meant),
            Some(_) => Err(self.refused(
                format!("%{} takes no modifier", self.letter),
                "%{ and %} for braces that are text",
            )),
        }
    }
}

impl std::fmt::Display for Escape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.modifier {
            None => write!(f, "%{}", self.letter),
            Some(modifier) => write!(f, "%{}{{{modifier}}}", self.letter),
        }
    }
}

/// Why a format is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    what: String,
    /// In characters from 1.
    at: usize,
    why: String,
    hint: String,
}

impl Refused {
    pub(crate) fn failure(self, format: &str) -> Failure {
        let Self { what, at, why, hint } = self;
        Failure::new(Exit::Usage, format!("the format {format:?} is refused at {at}: {what}"))
            .why(why)
            .hint(hint)
    }

    /// The same in a format that stands inside another, from `by` characters on.
    fn shifted(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
}

/// Takes a format apart: slashes and doubled signs become text, neighbouring texts one.
fn tokens(format: &str) -> Result<Vec<Token<'_>>, Refused> {
    let refused = |at: usize, what: &str, why: &str, hint: &str| Refused {
        what: what.to_owned(),
        at,
        why: why.to_owned(),
        hint: hint.to_owned(),
    };
    if format.len() > FORMAT_BYTES_MAX {
        let why = format!("a format has at most {FORMAT_BYTES_MAX} bytes");
        return Err(refused(1, "all of it", &why, "-o json, and a program of your own"));
    }
    let mut tokens = Vec::new();
    let mut rest = format;
    let mut at = 1;
    while let Some(first) = rest.chars().next() {
        let tail = &rest[first.len_utf8()..];
        let (token, after) = match first {
            '\\' => {
                let (byte, after) = slash(tail).ok_or_else(|| {
                    refused(at, "\\", "that is no slash escape", "\\t \\n \\r \\\\ or \\xNN")
                })?;
                (Token::Text(vec![byte]), after)
            }
            '%' => {
                let letter = tail.chars().next().ok_or_else(|| {
                    refused(at, "%", "nothing follows the sign", "%% for a percent sign")
                })?;
                let after = &tail[letter.len_utf8()..];
                match letter {
                    '%' | '{' | '}' => (Token::Text(vec![letter as u8]), after),
                    letter => {
                        let (modifier, after) = modifier(after).ok_or_else(|| {
                            refused(
                                at,
                                &format!("%{letter}{{"),
                                "its brace is not closed",
                                "a } after it",
                            )
                        })?;
                        (Token::Escape(Escape { letter, modifier, at }), after)
                    }
                }
            }
            other => {
                let mut bytes = [0; 4];
                (Token::Text(other.encode_utf8(&mut bytes).as_bytes().to_vec()), tail)
            }
        };
        at += rest[..rest.len() - after.len()].chars().count();
        rest = after;
        match (tokens.last_mut(), token) {
            (Some(Token::Text(before)), Token::Text(more)) => before.extend(more),
            (_, token) => tokens.push(token),
        }
    }
    Ok(tokens)
}

/// The byte that a slash escape means, and what follows.
fn slash(rest: &str) -> Option<(u8, &str)> {
    let first = rest.chars().next()?;
    let tail = &rest[first.len_utf8()..];
    match first {
        't' => Some((b'\t', tail)),
        'n' => Some((b'\n', tail)),
        'r' => Some((b'\r', tail)),
        '\\' => Some((b'\\', tail)),
        'x' => {
            let (digits, tail) = tail.split_at_checked(2)?;
            let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| sound)?;
            Some((byte, tail))
        }
        _ => None,
    }
}

/// What stands in braces right here, if anything does, and what follows; none when they are not closed. Braces
/// inside are paired; `%{` and `%}` are not braces.
fn modifier(rest: &str) -> Option<(Option<&str>, &str)> {
    let Some(inner) = rest.strip_prefix('{') else { return Some((None, rest)) };
    let mut depth = 1_usize;
    let mut after_percent = false;
    for (at, c) in inner.char_indices() {
        match c {
            '{' if !after_percent => depth += 1,
            '}' if !after_percent => depth -= 1,
            _ => {}
        }
        after_percent = c == '%' && !after_percent;
        if depth == 0 {
            return Some((Some(&inner[..at]), &inner[at + 1..]));
        }
    }
    None
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Raw,
    Hex,
    Base64,
    /// Without `=` at the end.
    Base64Raw,
}

impl Encoding {
    fn of(modifier: &str) -> Option<Self> {
        match modifier {
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            "base64raw" => Some(Self::Base64Raw),
            _ => None,
        }
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberForm {
    Ascii,
    /// So many digits, the low ones.
    Hex(usize),
    /// So many bytes, the high one first.
    Big(usize),
    Little(usize),
    Bool,
}

impl NumberForm {
    fn of(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "ascii" | "number" => Self::Ascii,
            "hex64" => Self::Hex(16),
            "hex32" => Self::Hex(8),
            "hex16" => Self::Hex(4),
            "hex8" => Self::Hex(2),
            "hex4" => Self::Hex(1),
            "big64" => Self::Big(8),
            "big32" => Self::Big(4),
            "big16" => Self::Big(2),
            "big8" | "byte" | "little8" => Self::Big(1),
            "little64" => Self::Little(8),
            "little32" => Self::Little(4),
            "little16" => Self::Little(2),
            "bool" => Self::Bool,
            _ => return None,
        })
    }
}

const NUMBERS: &str =
    "ascii, hex64, hex32, hex16, hex8, hex4, big64 … big8, little64 … little8, byte or bool";

impl Escape<'_> {
    fn number(&self) -> Result<NumberForm, Refused> {
        match self.modifier {
            None => Ok(NumberForm::Ascii),
            Some(modifier) => NumberForm::of(modifier)
                .ok_or_else(|| self.refused("a number is not written so", NUMBERS)),
        }
    }

    /// A modifier with a pattern of its own in brackets: `strftime[%F]`; the brackets may be of any kind, and
    /// doubled so that the pattern may hold single ones.
    fn pattern(&self, name: &str) -> Option<Result<String, Refused>> {
        let wrapped = self.modifier?.strip_prefix(name)?;
        let open = wrapped.chars().next()?;
        let close = match open {
            '[' => ']',
            '{' => '}',
            '#' => '#',
            _ => return None,
        };
        let depth = wrapped.chars().take_while(|c| *c == open).count();
        let depth = if open == '#' && depth == wrapped.len() { depth / 2 } else { depth };
        let end = close.to_string().repeat(depth);
        let inner = wrapped[depth..].strip_suffix(&end);
        Some(inner.map(str::to_owned).ok_or_else(|| {
            let hint = format!("{name}[…], {name}{{…}} or {name}#…#");
            self.refused(format!("what begins with {open} does not end with {end}"), &hint)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(said: &str) -> Token<'_> {
        Token::Text(said.as_bytes().to_vec())
    }

    fn escape(letter: char, modifier: Option<&str>, at: usize) -> Token<'_> {
        Token::Escape(Escape { letter, modifier, at })
    }

    #[test]
    fn a_format_is_text_and_escapes() {
        for (format, wanted) in [
            ("", vec![]),
            ("%k", vec![escape('k', None, 1)]),
            ("%k %v\\n", vec![escape('k', None, 1), text(" "), escape('v', None, 4), text("\n")]),
            ("ä%v", vec![text("ä"), escape('v', None, 2)]),
            ("%%%{%}", vec![text("%{}")]),
            ("\\x41\\t\\\\", vec![text("A\t\\")]),
            ("%v{hex}x", vec![escape('v', Some("hex"), 1), text("x")]),
            ("%[{big64}", vec![escape('[', Some("big64"), 1)]),
            ("%h{ %k=%v{hex} }", vec![escape('h', Some(" %k=%v{hex} "), 1)]),
            ("%h{%{%k%}}", vec![escape('h', Some("%{%k%}"), 1)]),
        ] {
            assert_eq!(tokens(format), Ok(wanted), "{format}");
        }
    }

    #[test]
    fn what_is_not_closed_or_known_is_refused_with_its_place() {
        for (format, at, what) in [
            ("%", 1, "%"),
            ("ab%", 3, "%"),
            ("%v{hex", 1, "%v{"),
            ("a\\q", 2, "\\"),
            ("\\x4", 1, "\\"),
            ("\\x+1", 1, "\\"),
        ] {
            let refused = tokens(format).unwrap_err();
            assert_eq!((refused.at, refused.what.as_str()), (at, what), "{format}");
        }
        assert!(tokens(&"x".repeat(FORMAT_BYTES_MAX + 1)).is_err());
    }
}
