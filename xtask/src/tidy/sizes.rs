//! Sizes: functions up to 70 lines of code, files up to 600 wanted and 1000 at most, crates up to 15k
//! without their tests, which may be as long as they need to be.
//!
//! What is over the wanted size stands in `xtask/tidy-baseline.json` with its number. A number may
//! only go down: more is a finding, and so is less until `tidy --lower-baseline` has recorded it.
//! Generated files are exempt.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Finding, code};
use crate::workspace::SourceFile;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_WANTED: usize = 600;
const FILE_LINES_MAX: usize = 1000;
const CRATE_LINES_MAX: usize = 15_000;
const _: () = assert!(FUNCTION_LINES_MAX < FILE_LINES_WANTED);
const _: () = assert!(FILE_LINES_WANTED < FILE_LINES_MAX && FILE_LINES_MAX < CRATE_LINES_MAX);

const BASELINE: &str = "xtask/tidy-baseline.json";

/// Every size of the tree, by what it is the size of.
#[derive(Debug, Default)]
pub(super) struct Measured {
    files: BTreeMap<String, usize>,
    /// By `path::name`; of functions of one name in a file, the longest.
    functions: BTreeMap<String, (usize, usize)>,
    crates: BTreeMap<String, usize>,
}

/// The offenders that are known, with their sizes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    files: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
    crates: BTreeMap<String, usize>,
}

pub(super) fn measure(files: &[SourceFile]) -> Measured {
    let mut measured = Measured::default();
    let rust = files.iter().filter(|file| file.path.ends_with(".rs") && !file.is_generated());
    for file in rust {
        let lines = file.text.lines().count();
        measured.files.insert(file.path.clone(), lines);
        if let Some(name) =
            file.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next())
        {
            *measured.crates.entry(format!("crates/{name}")).or_default() += product_lines(file);
        }
        for function in code::functions(&code::mask(&file.text)) {
            let name = format!("{}::{}", file.path, function.name);
            let size = (function.code_lines, function.line);
            let longest = measured.functions.entry(name).or_insert(size);
            *longest = (*longest).max(size);
        }
    }
    measured
}

/// Lines of a file that are not tests: test modules come last in a file, or have files of their own.
fn product_lines(file: &SourceFile) -> usize {
    if file.path.contains("/tests/") || file.path.ends_with("/tests.rs") {
        return 0;
    }
    let tests = file.text.find("\n#[cfg(test)]\nmod tests {\n").unwrap_or(file.text.len());
    file.text[..tests].lines().count()
}

pub(super) fn check(measured: &Measured, baseline: &Baseline) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, lines) in &measured.files {
        if *lines > FILE_LINES_MAX {
            let what = format!("{lines} lines, at most {FILE_LINES_MAX}");
            findings.push(Finding::new(path, 1, what, "split it by noun"));
        } else {
            let known = baseline.files.get(path).copied();
            findings.extend(against(path, 1, "file", *lines, FILE_LINES_WANTED, known));
        }
    }
    for (name, (lines, line)) in &measured.functions {
        let path = name.split("::").next().unwrap_or(name);
        let what = name.rsplit("::").next().unwrap_or(name);
        let known = baseline.functions.get(name).copied();
        findings.extend(against(path, *line, what, *lines, FUNCTION_LINES_MAX, known));
    }
    for (name, lines) in &measured.crates {
        let known = baseline.crates.get(name).copied();
        let manifest = format!("{name}/Cargo.toml");
        findings.extend(against(&manifest, 1, "crate", *lines, CRATE_LINES_MAX, known));
    }
    let gone = baseline.files.keys().filter(|path| !measured.files.contains_key(*path));
    let gone_functions =
        baseline.functions.keys().filter(|name| !measured.functions.contains_key(*name));
    for name in gone.chain(gone_functions) {
        let what = format!("{name} is not there any more");
        findings.push(Finding::new(BASELINE, 1, what, "cargo xtask tidy --lower-baseline"));
    }
    findings
}

/// One size against its limit and the number that is known for it.
fn against(
    path: &str,
    line: usize,
    what: &str,
    lines: usize,
    limit: usize,
    known: Option<usize>,
) -> Option<Finding> {
    let lower = "cargo xtask tidy --lower-baseline";
    let (what, instead) = match known {
        Some(known) if lines > known.max(limit) => (
            format!("{what}: {lines} lines, and {known} was the known number"),
            "only ever shorter",
        ),
        Some(known) if lines <= limit || lines < known => {
            (format!("{what}: {lines} lines, the list still says {known}"), lower)
        }
        None if lines > limit => (format!("{what}: {lines} lines, at most {limit}"), "split it"),
        Some(_) | None => return None,
    };
    Some(Finding::new(path, line, what, instead))
}

impl Baseline {
    pub(super) fn load(root: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(root.join(BASELINE)).context(BASELINE)?;
        let value: Value = serde_json::from_str(&text).context(BASELINE)?;
        Ok(Self {
            files: numbers(&value["files"])?,
            functions: numbers(&value["functions"])?,
            crates: numbers(&value["crates"])?,
        })
    }

    /// Lower numbers where they are lower now; nothing is added and nothing grows.
    pub(super) fn lowered(self, measured: &Measured) -> Self {
        let lower = |name: &str, known: usize, now: Option<usize>, limit: usize| {
            now.map(|now| now.min(known))
                .filter(|now| *now > limit)
                .map(|now| (name.to_owned(), now))
        };
        let files = self.files.iter().filter_map(|(name, known)| {
            lower(name, *known, measured.files.get(name).copied(), FILE_LINES_WANTED)
        });
        let functions = self.functions.iter().filter_map(|(name, known)| {
            let now = measured.functions.get(name).map(|(lines, _)| *lines);
            lower(name, *known, now, FUNCTION_LINES_MAX)
        });
        let crates = self.crates.iter().filter_map(|(name, known)| {
            lower(name, *known, measured.crates.get(name).copied(), CRATE_LINES_MAX)
        });
        Self { files: files.collect(), functions: functions.collect(), crates: crates.collect() }
    }

    pub(super) fn store(self, root: &Path) -> anyhow::Result<Self> {
        let value = json!({
            "files": self.files, "functions": self.functions, "crates": self.crates,
        });
        let text = serde_json::to_string_pretty(&value)? + "\n";
        fs::write(root.join(BASELINE), text).context(BASELINE)?;
        Ok(self)
    }
}

fn numbers(value: &Value) -> anyhow::Result<BTreeMap<String, usize>> {
    let entries =
        value.as_object().context("the baseline is three objects: files, functions, crates")?;
    let number = |(name, lines): (&String, &Value)| {
        let lines = lines.as_u64().with_context(|| format!("{name}: not a number"))?;
        Ok((name.clone(), usize::try_from(lines)?))
    };
    entries.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    fn rust(lines: usize) -> String {
        "// line\n".repeat(lines)
    }

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    a();\n".repeat(lines))
    }

    fn baseline(files: &[(&str, usize)], functions: &[(&str, usize)]) -> Baseline {
        let map = |entries: &[(&str, usize)]| {
            entries.iter().map(|(name, lines)| ((*name).to_owned(), *lines)).collect()
        };
        Baseline { files: map(files), functions: map(functions), ..Baseline::default() }
    }

    #[test]
    fn files_and_functions_are_held_to_their_numbers() {
        let files = [
            file("crates/log/src/known.rs", &rust(700)),
            file("crates/log/src/grown.rs", &rust(701)),
            file("crates/log/src/shrunk.rs", &rust(650)),
            file("crates/log/src/huge.rs", &rust(1001)),
            file("crates/log/src/new.rs", &rust(601)),
            file("crates/log/src/fits.rs", &(function("short", 70) + &function("long", 71))),
            file("crates/wire/src/generated/all.rs", &rust(5000)),
        ];
        let known = baseline(
            &[
                ("crates/log/src/known.rs", 700),
                ("crates/log/src/grown.rs", 700),
                ("crates/log/src/shrunk.rs", 700),
                ("crates/log/src/huge.rs", 2000),
                ("crates/log/src/gone.rs", 900),
            ],
            &[],
        );
        assert_eq!(
            places(&check(&measure(&files), &known)),
            [
                "crates/log/src/grown.rs:1",
                "crates/log/src/huge.rs:1",
                "crates/log/src/new.rs:1",
                "crates/log/src/shrunk.rs:1",
                "crates/log/src/fits.rs:73",
                "xtask/tidy-baseline.json:1",
            ]
        );
    }

    #[test]
    fn a_crate_has_a_limit_of_its_own() {
        let files: Vec<SourceFile> = (0..16)
            .map(|n| file(&format!("crates/log/src/part_{n}.rs"), &rust(FILE_LINES_MAX - 60)))
            .collect();
        let mut known = Baseline { files: measure(&files).files, ..Baseline::default() };
        assert_eq!(places(&check(&measure(&files), &known)), ["crates/log/Cargo.toml:1"]);
        known.crates.insert("crates/log".to_owned(), measure(&files).crates["crates/log"]);
        assert!(check(&measure(&files), &known).is_empty());

        let tests = |text: &str| format!("{}\n#[cfg(test)]\nmod tests {{\n{text}}}\n", rust(100));
        let mut files: Vec<SourceFile> = (0..16)
            .map(|n| file(&format!("crates/log/src/part_{n}.rs"), &tests(&rust(800))))
            .collect();
        files.push(file("crates/log/src/part/tests/all.rs", &rust(900)));
        files.push(file("crates/log/tests/more.rs", &rust(900)));
        files.push(file("crates/log/src/part/tests.rs", &rust(900)));
        let known = Baseline { files: measure(&files).files, ..Baseline::default() };
        assert_eq!(measure(&files).crates["crates/log"], 16 * 100);
        assert!(check(&measure(&files), &known).is_empty());
    }

    #[test]
    fn lowering_never_adds_and_never_raises() {
        let files = [
            file("a.rs", &rust(650)),
            file("b.rs", &rust(900)),
            file("c.rs", &rust(500)),
            file("d.rs", &rust(800)),
            file("e.rs", &function("long", 80)),
        ];
        let known = baseline(
            &[("a.rs", 700), ("b.rs", 800), ("c.rs", 700), ("gone.rs", 700)],
            &[("e.rs::long", 90), ("e.rs::gone", 90)],
        );
        assert_eq!(
            known.lowered(&measure(&files)),
            baseline(&[("a.rs", 650), ("b.rs", 800)], &[("e.rs::long", 80)])
        );
    }
}
