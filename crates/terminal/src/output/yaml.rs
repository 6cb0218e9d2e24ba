//! JSON values as YAML 1.2, block style.
//!
//! A text stands plain only where no YAML reader, of version 1.1 or 1.2, can take it for anything else; all other
//! texts are quoted as in JSON, which YAML contains.

use std::fmt::Write as _;

use serde_json::Value;

/// What some reader takes for a truth value or nothing.
const WORDS: [&str; 11] =
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"];

/// A document without its `---`, with a line end.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => list(&mut out, items, 0),
        Value::Object(fields) if !fields.is_empty() => object(&mut out, fields, 0, ""),
        scalar => put(&mut out, &flat(scalar)),
    }
    out
}

fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Fields at this depth; the first one goes where the line has begun with `begun`.
fn object(out: &mut String, fields: &serde_json::Map<String, Value>, depth: usize, begun: &str) {
    for (at, (name, value)) in fields.iter().enumerate() {
        let indent = if at == 0 { begun.to_owned() } else { " ".repeat(depth) };
        write!(out, "{indent}{}:", text(name)).expect("writing to a string");
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                list(out, items, depth);
            }
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                let inner = depth + 2;
                object(out, fields, inner, &" ".repeat(inner));
            }
            scalar => put(out, &format!(" {}", flat(scalar))),
        }
    }
}

fn list(out: &mut String, items: &[Value], depth: usize) {
    let indent = " ".repeat(depth);
    for item in items {
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                object(out, fields, depth + 2, &format!("{indent}- "));
            }
            Value::Array(items) if !items.is_empty() => {
                put(out, &format!("{indent}-"));
                list(out, items, depth + 2);
            }
            scalar => put(out, &format!("{indent}- {}", flat(scalar))),
        }
    }
}

/// What fits a line: a scalar, or nothing at all.
fn flat(value: &Value) -> String {
    match value {
        Value::String(said) => text(said),
        other => other.to_string(),
    }
}

fn text(said: &str) -> String {
    let begins = said.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = said.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(said));
    if begins && goes_on && !is_word {
        return said.to_owned();
    }
    let quoted = Value::from(said).to_string();
    let escaped = quoted.chars().map(|c| match c {
        // What JSON leaves as it is and YAML does not take, or takes for the end of a line.
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(c))
        }
        c => c.to_string(),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_in_blocks() {
        for (value, wanted) in [
            (json!(null), "null\n"),
            (json!({}), "{}\n"),
            (json!([]), "[]\n"),
            (json!({ "a": 1, "b": [], "c": {} }), "a: 1\nb: []\nc: {}\n"),
            (json!({ "a": { "b": { "c": true } } }), "a:\n  b:\n    c: true\n"),
            (json!({ "a": [1, "x"] }), "a:\n- 1\n- x\n"),
            (json!([[1, 2], [3]]), "-\n  - 1\n  - 2\n-\n  - 3\n"),
            (json!({ "a": [{ "b": [{ "c": 1 }] }] }), "a:\n- b:\n  - c: 1\n"),
        ] {
            assert_eq!(document(&value), wanted, "{value}");
        }
    }

    #[test]
    fn every_text_is_read_back_as_it_was() {
        let odd = ['\u{2028}', '\u{feff}', '\u{fffe}', '\u{ffff}', '\u{1f600}'];
        for c in ('\0'..='\u{2ff}').chain(odd) {
            for said in [c.to_string(), format!("a{c}"), format!("{c} b"), format!("a: {c}#")] {
                let value = json!({ "said": [said], "in": { said.as_str(): "x" } });
                let read: Value = serde_yaml_ng::from_str(&document(&value)).unwrap();
                assert_eq!(read, value, "{said:?}");
            }
        }
        for said in [
            "0x10", "1e3", ".5", "1_000", "~", "=", "<<", "!a", "&a", "*a", "e1", "_1", "a ", " a",
            "12:30", "%a",
        ] {
            let value = json!([said]);
            assert_eq!(serde_yaml_ng::from_str::<Value>(&document(&value)).unwrap(), value);
        }
    }

    #[test]
    fn a_text_that_could_be_anything_else_is_quoted() {
        for (said, wanted) in [
            ("orders", "orders"),
            ("max.message.bytes", "max.message.bytes"),
            ("", "\"\""),
            ("1", "\"1\""),
            ("-", "\"-\""),
            ("No", "\"No\""),
            ("null", "\"null\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("two\nlines", "\"two\\nlines\""),
            ("größer", "\"größer\""),
            ("2026-11-30", "\"2026-11-30\""),
        ] {
            assert_eq!(text(said), wanted, "{said}");
        }
    }
}
