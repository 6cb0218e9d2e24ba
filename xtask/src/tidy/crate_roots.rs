//! A crate's first lines: what it is, and for a pure crate that it forbids unsafe code.

use super::{Finding, dependencies};
use crate::workspace::SourceFile;

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_root(&file.path)) {
        if !file.text.starts_with("//!") {
            findings.push(Finding::new(
                &file.path,
                1,
                "a crate's first line says what it is",
                "start with `//! What it is, in one sentence.`",
            ));
        }
        if is_pure(&file.path) && !file.text.contains("#![forbid(unsafe_code)]") {
            findings.push(Finding::new(
                &file.path,
                1,
                "a pure crate forbids unsafe code",
                "#![forbid(unsafe_code)]",
            ));
        }
    }
    findings
}

fn is_root(path: &str) -> bool {
    path.ends_with("src/lib.rs") || path.ends_with("src/main.rs")
}

fn is_pure(path: &str) -> bool {
    let folder = path.strip_prefix("crates/").and_then(|rest| rest.split('/').next());
    folder.is_some_and(|folder| dependencies::PURE.contains(&format!("tidings-{folder}").as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    #[test]
    fn roots_say_what_they_are() {
        let files = [
            file("crates/log/src/lib.rs", "//! The log.\n#![forbid(unsafe_code)]\n"),
            file("crates/wire/src/lib.rs", "//! The wire.\n"),
            file("crates/node/src/lib.rs", "//! The node.\n"),
            file("sim/src/main.rs", "fn main() {}\n"),
            file("crates/log/src/batch.rs", "use x;\n"),
        ];
        assert_eq!(places(&check(&files)), ["crates/wire/src/lib.rs:1", "sim/src/main.rs:1"]);
    }
}
