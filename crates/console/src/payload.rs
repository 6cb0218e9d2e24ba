//! Bytes of keys, values and headers, as something to read.
//!
//! Markup in them is never trusted: [`Payload::markup`] escapes every character that comes from a
//! record, and templates escape everything else.

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::IgnoredAny;

use crate::limits::{JSON_INDENT_MAX, PAYLOAD_SHOWN_BYTES, PREVIEW_CHARS};

/// What some bytes are, as far as they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "form", content = "text")]
pub(crate) enum Payload {
    /// A null key or value.
    Null,
    /// As written, not reformatted.
    Json(String),
    Text(String),
    /// Hexadecimal.
    Binary(String),
}

impl Payload {
    /// Looks at up to [`PAYLOAD_SHOWN_BYTES`].
    pub(crate) fn of(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        let shown = &bytes[..bytes.len().min(PAYLOAD_SHOWN_BYTES)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => text,
            // A character that the limit cut in two is no reason to call it binary.
            Err(e) if shown.len() < bytes.len() && e.error_len().is_none() => {
                std::str::from_utf8(&shown[..e.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Binary(hex(shown)),
        };
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Self::Binary(hex(shown));
        }
        let whole = shown.len() == bytes.len();
        let structured = text.trim_start().starts_with(['{', '[']);
        if whole && structured && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            return Self::Json(text.to_owned());
        }
        Self::Text(text.to_owned())
    }

    /// The name of the form, for people.
    pub(crate) fn form(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Json(_) => "JSON",
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
        }
    }

    /// One line for a table.
    pub(crate) fn preview(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Json(text) | Self::Text(text) => shortened(text, PREVIEW_CHARS),
            Self::Binary(hex) => format!("0x{}", shortened(hex, PREVIEW_CHARS / 2)),
        }
    }

    /// HTML of what stands there as it was written, with every character of the record escaped.
    pub(crate) fn raw_markup(&self) -> String {
        match self {
            Self::Json(text) | Self::Text(text) => escaped(text),
            Self::Null | Self::Binary(_) => self.markup(),
        }
    }

    /// HTML with every character of the record escaped; JSON is indented and coloured.
    pub(crate) fn markup(&self) -> String {
        match self {
            Self::Null => r#"<span class="j-null">null</span>"#.to_owned(),
            Self::Json(text) => json_markup(text),
            Self::Text(text) => escaped(text),
            Self::Binary(hex) => dump(hex),
        }
    }
}

/// One line of at most so many characters.
pub(crate) fn shortened(text: &str, chars: usize) -> String {
    let mut line: String =
        text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(chars).is_some() {
        line.push('…');
    }
    line
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string");
        hex
    })
}

/// Sixteen bytes a line.
fn dump(hex: &str) -> String {
    let lines = hex.as_bytes().chunks(32).map(|line| {
        let pairs = line.chunks(2).map(|pair| String::from_utf8_lossy(pair));
        pairs.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

/// Indents and colours text that is known to be JSON, without changing order or spelling.
fn json_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        match c {
            '"' => {
                let end = string_end(text, start);
                while rest.next_if(|(at, _)| *at < end).is_some() {}
                let name = text[end..].trim_start().starts_with(':');
                span(&mut out, if name { "j-name" } else { "j-text" }, &text[start..end]);
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
                if let Some((_, close)) = rest.next_if(|(_, c)| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            _ => {
                let length = text[start..].find([',', '}', ']', ' ', '\n', '\r', '\t']);
                let end = length.map_or(text.len(), |length| start + length);
                while rest.next_if(|(at, _)| *at < end).is_some() {}
                let number = c == '-' || c.is_ascii_digit();
                span(&mut out, if number { "j-number" } else { "j-null" }, &text[start..end]);
            }
        }
    }
    out
}

fn string_end(text: &str, start: usize) -> usize {
    let mut slash = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            b'"' if !slash => return at + 1,
            b'\\' => slash = !slash,
            _ => slash = false,
        }
    }
    text.len()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(JSON_INDENT_MAX)));
}

fn span(out: &mut String, class: &str, text: &str) {
    out.push_str("<span class=\"");
    out.push_str(class);
    out.push_str("\">");
    text.chars().for_each(|c| push_escaped(out, c));
    out.push_str("</span>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_bytes_is_recognised() {
        let long = vec![b'a'; PAYLOAD_SHOWN_BYTES + 1];
        let mut cut = vec![b'a'; PAYLOAD_SHOWN_BYTES - 1];
        cut.extend("ü".bytes());
        for (bytes, form) in [
            (None, "null"),
            (Some(&b"{\"a\":1}"[..]), "JSON"),
            (Some(b" [1]\n"), "JSON"),
            (Some(b"{\"a\":"), "text"),
            (Some(b"12"), "text"),
            (Some(b""), "text"),
            (Some("Grüße".as_bytes()), "text"),
            (Some(b"\xff\xfe"), "binary"),
            (Some(b"\x00\x00\x00\x01"), "binary"),
            (Some(&long), "text"),
            (Some(&cut), "text"),
        ] {
            assert_eq!(Payload::of(bytes).form(), form, "{bytes:?}");
        }
    }

    #[test]
    fn json_is_indented_in_its_own_order() {
        let markup = Payload::of(Some(br#"{"b":[1,-2.5e3],"a":{},"c": [ ] ,"d":null}"#)).markup();
        let plain = markup.replace("</span>", "");
        let plain: String =
            plain.split("<span class=\"").map(|s| s.split_once("\">").map_or(s, |x| x.1)).collect();
        let wanted = "{\n  &quot;b&quot;: [\n    1,\n    -2.5e3\n  ],\n  &quot;a&quot;: {},\n  &quot;c&quot;: [],\n  &quot;d&quot;: null\n}";
        assert_eq!(plain, wanted);
        assert!(markup.contains(r#"<span class="j-name">&quot;b&quot;</span>: ["#), "{markup}");
        assert!(markup.contains(r#"<span class="j-null">null</span>"#), "{markup}");
    }

    #[test]
    fn deep_json_is_no_wide_page() {
        let half = PAYLOAD_SHOWN_BYTES / 2;
        let deep = "[".repeat(half) + &"]".repeat(half);
        let markup = Payload::of(Some(deep.as_bytes())).markup();
        assert!(markup.len() < PAYLOAD_SHOWN_BYTES * (2 * JSON_INDENT_MAX + 2), "{}", markup.len());
    }

    #[test]
    fn markup_in_a_payload_stays_text() {
        for payload in [
            r#"{"<script>alert(1)</script>":"</pre><img src=x onerror='x'>\"&"}"#,
            "<script>alert(1)</script> & 'x' \"y\"",
        ] {
            let markup = Payload::of(Some(payload.as_bytes())).markup();
            assert!(!markup.contains("<script") && !markup.contains("<img"), "{markup}");
            assert!(markup.contains("&lt;script&gt;"), "{markup}");
        }
    }

    #[test]
    fn previews_are_one_short_line() {
        assert_eq!(Payload::of(Some(b"a\nb")).preview(), "a b");
        assert_eq!(Payload::of(None).preview(), "null");
        assert_eq!(Payload::of(Some(&[0, 255])).preview(), "0x00ff");
        let long = "ü".repeat(PREVIEW_CHARS + 1);
        let preview = Payload::of(Some(long.as_bytes())).preview();
        assert_eq!(preview.chars().count(), PREVIEW_CHARS + 1);
        assert!(preview.ends_with('…'));
    }

    #[test]
    fn binary_is_dumped_sixteen_bytes_a_line() {
        let markup = Payload::of(Some(&[0xAB; 17])).markup();
        assert_eq!(markup, format!("{}\nab", ["ab"; 16].join(" ")));
    }
}
