//! Names that say nothing are no names for files, folders or modules.

use super::{Finding, code};
use crate::workspace::SourceFile;

const SAY_NOTHING: &[&str] =
    &["common", "utils", "util", "helpers", "helper", "types", "misc", "manager", "managers"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        if let Some(name) = parts.into_iter().find(|part| SAY_NOTHING.contains(part)) {
            findings.push(finding(&file.path, 1, name));
        }
        if file.path.ends_with(".rs") {
            findings.extend(modules(file));
        }
    }
    findings
}

/// Modules declared in the file under a name that says nothing.
fn modules(file: &SourceFile) -> Vec<Finding> {
    let masked = code::mask(&file.text);
    let mut findings = Vec::new();
    for (at, line) in masked.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named = words.any(|word| word == "mod").then(|| words.next()).flatten();
        if let Some(name) = named.filter(|name| SAY_NOTHING.contains(name)) {
            findings.push(finding(&file.path, at + 1, name));
        }
    }
    findings
}

fn finding(path: &str, line: usize, name: &str) -> Finding {
    let what = format!("`{name}` says nothing");
    Finding::new(path, line, what, "name the thing it is, or put it with its first user")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    #[test]
    fn empty_names_are_found_in_paths_and_declarations() {
        let files = [
            file("crates/log/src/batch.rs", "mod record;\npub mod utils {\n}\n"),
            file("crates/log/src/common.rs", ""),
            file("compat/python/helpers/a.py", ""),
            file("crates/log/src/typescript.rs", "// mod misc\nlet modulus = 1; // utils"),
            file("crates/wire/src/types/mod.rs", ""),
        ];
        assert_eq!(
            places(&check(&files)),
            [
                "crates/log/src/batch.rs:2",
                "crates/log/src/common.rs:1",
                "compat/python/helpers/a.py:1",
                "crates/wire/src/types/mod.rs:1",
            ]
        );
    }
}
