//! Rust source with its comments blanked and its literals filled, and the functions in it.
//!
//! Not a parser: a lexer that knows comments, strings, raw strings, characters and lifetimes, which
//! is what finding braces needs. Lines keep their numbers and columns their places.

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Where `fn` stands, from 1.
    pub(super) line: usize,
    /// Lines of the body that hold code: neither blank nor only comment. Clippy counts the same.
    pub(super) code_lines: usize,
}

/// The text with every comment as blanks and every literal's content as `x`.
pub(super) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, fill) = next_token(&chars, at);
        for &c in &chars[at..end] {
            masked.push(match fill {
                Some(fill) if c != '\n' => fill,
                _ => c,
            });
        }
        at = end;
    }
    masked
}

/// Where the token at `at` ends, and what to fill it with if it is a comment or a literal.
fn next_token(chars: &[char], at: usize) -> (usize, Option<char>) {
    let here = chars[at];
    let next = chars.get(at + 1).copied();
    match here {
        '/' if next == Some('/') => (end_of_line(chars, at), Some(' ')),
        '/' if next == Some('*') => (end_of_block_comment(chars, at), Some(' ')),
        '"' => (end_of_string(chars, at + 1), Some('x')),
        'r' | 'b' | 'c' if !follows_word(chars, at) => match raw_string_at(chars, at) {
            Some(end) => (end, Some('x')),
            None => (at + 1, None),
        },
        '\'' => match end_of_char(chars, at) {
            Some(end) => (end, Some('x')),
            None => (at + 1, None),
        },
        _ => (at + 1, None),
    }
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"`, `r#"…"#`, `br"…"` and their like when one starts at `at`.
fn raw_string_at(chars: &[char], mut at: usize) -> Option<usize> {
    if chars[at] != 'r' {
        at += 1;
    }
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        let closed = chars[at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closed {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// The end of a character literal; none for a lifetime.
fn end_of_char(chars: &[char], at: usize) -> Option<usize> {
    match chars.get(at + 1)? {
        '\\' => {
            let close = chars[at + 3..].iter().take(10).position(|c| *c == '\'')?;
            Some(at + 4 + close)
        }
        _ => (chars.get(at + 2) == Some(&'\'')).then_some(at + 3),
    }
}

/// Every function with a body in `masked`, in the order of their beginnings.
pub(super) fn functions(masked: &str) -> Vec<Function> {
    let chars: Vec<char> = masked.chars().collect();
    let mut line = 1;
    let mut found = Vec::new();
    for at in 0..chars.len() {
        if chars[at] == '\n' {
            line += 1;
        }
        let is_fn = chars[at..].starts_with(&['f', 'n', ' ']) && !follows_word(&chars, at);
        if !is_fn {
            continue;
        }
        let name: String =
            chars[at + 3..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some((open, close)) = body(&chars, at) {
            found.push(Function { name, line, code_lines: code_lines(&chars[open + 1..close]) });
        }
    }
    found
}

/// The places of the braces around the body of the function at `at`; none for a declaration.
fn body(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let mut nested = 0_i32;
    let mut open = None;
    for (place, c) in chars.iter().enumerate().skip(at) {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if nested == 0 && open.is_none() => return None,
            '{' if open.is_none() && nested == 0 => {
                open = Some(place);
                nested = 1;
            }
            '{' => nested += 1,
            '}' => {
                nested -= 1;
                if let (Some(open), 0) = (open, nested) {
                    return Some((open, place));
                }
            }
            _ => {}
        }
    }
    None
}

fn code_lines(body: &[char]) -> usize {
    body.split(|c| *c == '\n').filter(|line| line.iter().any(|c| !c.is_whitespace())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_blanked_and_literals_filled() {
        let table = [
            ("a // b\nc", "a     \nc"),
            ("a/*{/*}*/*/b", "a          b"),
            (r#"f("{\"}") }"#, "f(xxxxxx) }"),
            (r##"r#"a"}"# }"##, "xxxxxxxx }"),
            ("br\"{\" b", "xxxxx b"),
            ("for r in rows", "for r in rows"),
            ("'{' 'a '\\'' '\\u{7d}' x", "xxx 'a xxxx xxxxxxxx x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("\"two\nlines\"", "xxxx\nxxxxxx"),
        ];
        for (text, expected) in table {
            assert_eq!(mask(text), expected, "{text}");
        }
    }

    #[test]
    fn functions_are_measured_in_lines_of_code() {
        let text = "\
trait T { fn declared(&self, x: [u8; 4]); }
fn one() { a() }
impl X {
    // fn commented() {
    async fn three(&self) -> Result<(), [u8; 2]>
    where
        X: Y,
    {
        let a = \"}\";

        // why
        if a { b() }
        c()
    }
}
macro_rules! m { () => { fn $name() {} } }
type F = fn (u8) -> u8;
";
        let found: Vec<(String, usize, usize)> = functions(&mask(text))
            .into_iter()
            .map(|function| (function.name, function.line, function.code_lines))
            .collect();
        assert_eq!(found, vec![("one".into(), 2, 1), ("three".into(), 5, 3)]);
    }
}
