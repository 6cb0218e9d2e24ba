//! Leftovers: placeholders in code, and words that belong to one machine or to one afternoon.

use super::{Finding, code};
use crate::workspace::SourceFile;

/// Where a word is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Rust code outside comments and literals.
    Code,
    /// Every text file, comments and literals included.
    Anywhere,
}

const WORDS: &[(&str, Where, &str)] = &[
    ("todo!", Where::Code, "write it, or refuse with a typed error"),
    ("unimplemented!", Where::Code, "write it, or refuse with a typed error"),
    ("dbg!", Where::Code, "log it for an operator, or remove it"),
    ("/work/", Where::Anywhere, "a path that exists on every machine"),
    ("/root/", Where::Anywhere, "a path that exists on every machine"),
    ("index.crates.io", Where::Anywhere, "leave registries to the tools' configuration"),
    ("static.crates.io", Where::Anywhere, "leave registries to the tools' configuration"),
    ("pypi.org", Where::Anywhere, "leave registries to the tools' configuration"),
    ("pythonhosted.org", Where::Anywhere, "leave registries to the tools' configuration"),
    ("repo.maven.apache.org", Where::Anywhere, "leave registries to the tools' configuration"),
    ("repo1.maven.org", Where::Anywhere, "leave registries to the tools' configuration"),
    ("deb.debian.org", Where::Anywhere, "leave registries to the tools' configuration"),
    ("for now", Where::Anywhere, "say what it does; what it does not do is a typed refusal"),
];

/// This file names the words it looks for.
const ITSELF: &str = "xtask/src/tidy/words.rs";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path != ITSELF) {
        let masked =
            if file.path.ends_with(".rs") { code::mask(&file.text) } else { String::new() };
        for (word, place, instead) in WORDS {
            let text = if *place == Where::Code { &masked } else { &file.text };
            for (at, line) in text.lines().enumerate() {
                if has_word(line, word) {
                    findings.push(Finding::new(&file.path, at + 1, format!("`{word}`"), *instead));
                }
            }
        }
    }
    findings
}

/// Whether `word` stands in `line`, ignoring case and not as a piece of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let line = line.to_lowercase();
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = !word.starts_with(joins) || !before.is_some_and(joins);
        let ends = !word.ends_with(joins) || !after.is_some_and(joins);
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    #[test]
    fn leftovers_are_found_where_they_matter() {
        let files = [
            file("a.rs", "fn a() {\n    todo!()\n}\n// todo! is a macro\nlet s = \"dbg!\";"),
            file("b.rs", "// For now this is fine\n// for nowhere\n// therefor now"),
            file("c.md", "See /root/x\nand /rooted/\nand framework/works"),
            file("d.py", "url = 'https://pypi.org/simple'"),
            file(ITSELF, "for now"),
        ];
        assert_eq!(places(&check(&files)), ["a.rs:2", "b.rs:1", "c.md:1", "d.py:1"]);
    }
}
