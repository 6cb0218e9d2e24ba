//! The steps up to the real clients: what each runs and what it counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::libtest;
use super::report::Outcome;
use super::whole::Whole;
use crate::args::Rebase;
use crate::mutants::{self, Met};
use crate::process::{self, Ended, Show};
use crate::{codegen, tidy};

/// The tests of `compat`: the shop's month, real clients, crashes. They are not among the default tests,
/// so they are named.
pub(super) const DEMO_TEST: &str = "demo";
pub(super) const CLIENTS_TEST: &str = "clients";
pub(super) const CRASH_TEST: &str = "crash";

const NAMED: &[&str] = &["--test", DEMO_TEST, "--test", CLIENTS_TEST, "--test", CRASH_TEST];
/// Together they select every target of the workspace.
const ALL_TARGETS: [&[&str]; 2] = [&["--all-targets"], NAMED];
/// The same, but for libraries by themselves: a macro's library that is asked for is built unlike the one that
/// crates are built with, and those would be compiled again with it for the tests.
const ALL_BUT_LIBRARIES: [&[&str]; 2] = [&["--bins", "--tests", "--benches", "--examples"], NAMED];

/// Programs that the build step made and later steps run.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) tidings: PathBuf,
    pub(super) sim: PathBuf,
}

pub(super) fn format(root: &Path) -> anyhow::Result<Outcome> {
    let ended = process::run(process::cargo(root).args(["fmt", "--all", "--check"]), Show::Both)?;
    Ok(Outcome::check(ended.success, "format: run `cargo fmt --all`"))
}

pub(super) fn codegen() -> anyhow::Result<Outcome> {
    let checked = codegen::run(true);
    if let Err(stale) = &checked {
        println!("{stale:#}");
    }
    Ok(Outcome::check(checked.is_ok(), "codegen: run `cargo xtask codegen`"))
}

pub(super) fn tidy(root: &Path) -> anyhow::Result<Outcome> {
    Ok(Outcome::check(tidy::run(root, Rebase::No)?, "tidy: see its findings above"))
}

pub(super) fn lint(whole: &Whole<'_>) -> anyhow::Result<Outcome> {
    let mut good = true;
    for targets in ALL_TARGETS {
        let mut clippy = whole.cargo("clippy");
        clippy.arg("--quiet").args(targets).args(["--", "-D", "warnings"]);
        good &= process::run(&mut clippy, Show::Both)?.success;
    }
    Ok(Outcome::check(good, "lint: see clippy's warnings above"))
}

/// Builds everything that later steps run; the programs are there when all of it built.
pub(super) fn build(whole: &Whole<'_>) -> anyhow::Result<(Outcome, Option<Built>)> {
    let mut good = true;
    let mut programs = Vec::new();
    for targets in ALL_BUT_LIBRARIES {
        let mut build = whole.cargo("build");
        build.arg("--message-format=json-render-diagnostics");
        let ended = process::run(build.args(targets), Show::StderrOnly)?;
        good &= ended.success;
        programs.extend(executables(&ended.stdout));
    }
    let outcome = Outcome::check(good, "build: see the compiler's errors above");
    if !good {
        return Ok((outcome, None));
    }
    let program = |name: &str| {
        let found = programs.iter().find(|(program, _)| program == name);
        found
            .map(|(_, path)| path.clone())
            .with_context(|| format!("no program `{name}` was built"))
    };
    let built = Built { tidings: program("tidings")?, sim: program("tidings-sim")? };
    Ok((outcome, Some(built)))
}

/// Names and paths of the binaries among cargo's messages, one JSON object a line.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let is_binary =
            message["target"]["kind"][0] == "bin" && message["profile"]["test"] == false;
        if let (true, Some(name), Some(path)) =
            (is_binary, message["target"]["name"].as_str(), message["executable"].as_str())
        {
            found.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    found
}

pub(super) fn tests(whole: &Whole<'_>) -> anyhow::Result<Outcome> {
    let ended = process::run(whole.cargo("test").arg("--no-fail-fast"), Show::Both)?;
    Ok(outcome_of_tests(&ended))
}

/// Counts a run of test programs; one that ended badly without a failed test is itself a failure.
pub(super) fn outcome_of_tests(ended: &Ended) -> Outcome {
    let counts = libtest::count(&ended.stdout);
    let mut outcome = Outcome {
        passed: counts.passed,
        failed: counts.failed,
        skipped: counts.ignored,
        failures: counts.failures,
        left_out: Vec::new(),
    };
    if counts.ignored > 0 {
        outcome.left_out.push(format!("{} tests that are marked #[ignore]", counts.ignored));
    }
    if !ended.success && outcome.failed == 0 {
        outcome.failed = 1;
        outcome.failures.push("a test program did not build or did not end".to_owned());
    }
    outcome
}

/// The shop's month as fast as it goes: on fresh data, over the same data, after `kill -9`.
pub(super) fn demo(whole: &Whole<'_>, tidings: &Path) -> anyhow::Result<Outcome> {
    let mut test = whole.cargo("test");
    test.args(["--test", DEMO_TEST]).env("TIDINGS_BINARY", tidings);
    Ok(outcome_of_tests(&process::run(&mut test, Show::Both)?))
}

pub(super) fn simulation(root: &Path, sim: &Path) -> anyhow::Result<Outcome> {
    let ended = process::run(Command::new(sim).current_dir(root), Show::Both)?;
    Ok(Outcome::check(ended.success, "simulation: its seed is in the output above"))
}

/// Each mutant is a test: it passes when its check catches it.
pub(super) fn mutants(root: &Path) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for (mutant, met) in mutants::meet(root, &mutants::all())? {
        let caught = matches!(met, Met::Caught(_));
        outcome.add(Outcome::check(caught, &format!("mutant {} survived", mutant.name)));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_found_among_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"bytes"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tidings"},"profile":{"test":true},"executable":"/t/deps/tidings-1"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tidings"},"profile":{"test":false},"executable":"/t/tidings"}
not json
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executables(messages), [("tidings".to_owned(), PathBuf::from("/t/tidings"))]);
    }

    #[test]
    fn a_run_without_results_that_ended_badly_is_a_failure() {
        let ended = Ended { success: false, stdout: String::new(), stderr: String::new() };
        let outcome = outcome_of_tests(&ended);
        assert_eq!((outcome.passed, outcome.failed, outcome.failures.len()), (0, 1, 1));
    }
}
