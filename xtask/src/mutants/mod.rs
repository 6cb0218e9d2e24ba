//! `cargo xtask mutants`: the log, the coordinator and the broker broken on purpose, each time in one way
//! that the simulator or a test must catch.
//!
//! A copy of the crates and `sim` under `target/mutants` gets every mutant of the [`table`] at once, each
//! behind a switch that an environment variable chooses, so that one build serves all. A mutant whose text
//! is not found exactly once is an error: the table follows the sources. The seed that catches a mutant, or
//! the test that does, must pass in the same build without it.

mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::process::{self, Show};
pub(crate) use table::Mutant;
use table::{Check, MUTANTS};

/// Which mutant a build is; none when it is not set.
const VARIABLE: &str = "TIDINGS_MUTANT";
/// Histories after which a mutant has survived.
const HISTORIES: &str = "60";

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Met {
    /// The first line of the violation, or of what the test said.
    Caught(String),
    Survived,
}

/// Builds and runs the named mutants, or all; true when each was caught.
pub(crate) fn run(root: &Path, names: &[String]) -> anyhow::Result<bool> {
    let mutants = chosen(names)?;
    let mut good = true;
    for (mutant, met) in meet(root, &mutants)? {
        match met {
            Met::Caught(violation) => println!("{}: caught: {violation}", mutant.name),
            Met::Survived => {
                println!("{}: SURVIVED {:?}", mutant.name, mutant.caught_by);
                good = false;
            }
        }
    }
    Ok(good)
}

/// Each mutant once, by the first entry of its name.
pub(crate) fn all() -> Vec<&'static Mutant> {
    let mut all: Vec<&Mutant> = Vec::new();
    for mutant in MUTANTS {
        if !all.iter().any(|known| known.name == mutant.name) {
            all.push(mutant);
        }
    }
    all
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Mutant>> {
    if names.is_empty() {
        return Ok(all());
    }
    let named = |name: &String| {
        MUTANTS.iter().find(|mutant| mutant.name == name).with_context(|| {
            let known: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
            format!("there is no mutant `{name}`, only {}", known.join(", "))
        })
    };
    names.iter().map(named).collect()
}

/// Builds all mutants and runs the check of each of `mutants` against it.
pub(crate) fn meet<'a>(
    root: &Path,
    mutants: &[&'a Mutant],
) -> anyhow::Result<Vec<(&'a Mutant, Met)>> {
    let folder = root.join("target/mutants");
    source::prepare(root, &folder.join("tree"), MUTANTS)?;
    let checks: BTreeSet<Check> = mutants.iter().map(|mutant| mutant.caught_by).collect();
    let programs = Programs::build(&folder, &checks)?;
    for check in checks {
        if let Check::Test(..) = check {
            let sound = programs.run(None, check, &[])?;
            anyhow::ensure!(sound == Met::Survived, "{check:?} fails without a mutant: {sound:?}");
        }
    }
    let mut met = Vec::new();
    for mutant in mutants {
        let outcome = run_mutant(&programs, mutant)?;
        println!(
            "  {}: {}",
            mutant.name,
            if outcome == Met::Survived { "SURVIVED" } else { "caught" }
        );
        met.push((*mutant, outcome));
    }
    Ok(met)
}

/// The first seed of a violation, if it came from one.
fn seed_of(violation: &str) -> Option<&str> {
    let rest = violation.strip_prefix("seed ")?;
    rest.split([',', ':']).next()
}

/// A violation counts only if the build without the mutant does not have it.
fn run_mutant(programs: &Programs, mutant: &Mutant) -> anyhow::Result<Met> {
    let check = mutant.caught_by;
    let met = programs.run(Some(mutant.name), check, &["--histories", HISTORIES])?;
    if let (Check::Simulator(_), Met::Caught(violation)) = (check, &met)
        && let Some(seed) = seed_of(violation)
    {
        let sound = programs.run(None, check, &["--seed", seed, "--histories", "1"])?;
        anyhow::ensure!(sound == Met::Survived, "seed {seed} fails without a mutant: {sound:?}");
    }
    Ok(met)
}

/// What the checks run.
#[derive(Debug)]
struct Programs {
    tree: PathBuf,
    sim: PathBuf,
    /// By crate and test.
    tests: BTreeMap<(&'static str, &'static str), PathBuf>,
}

impl Programs {
    fn build(folder: &Path, checks: &BTreeSet<Check>) -> anyhow::Result<Self> {
        let (tree, target) = (folder.join("tree"), folder.join("build"));
        cargo(&tree, &target, &["build", "--package", "tidings-sim"])?;
        let mut tests = BTreeMap::new();
        for check in checks {
            let Check::Test(name, test, _) = *check else { continue };
            if tests.contains_key(&(name, test)) {
                continue;
            }
            let package = format!("tidings-{name}");
            let build = ["test", "--no-run", "--package", &package, "--test", test];
            let messages = cargo(&tree, &target, &build)?;
            let program = messages.lines().find_map(|line| test_program(line, test));
            let program = program.with_context(|| format!("no test `{test}` of {package}"))?;
            tests.insert((name, test), program);
        }
        Ok(Self { tree, sim: target.join("debug/tidings-sim"), tests })
    }

    /// `arguments` are for the simulator.
    fn run(&self, mutant: Option<&str>, check: Check, arguments: &[&str]) -> anyhow::Result<Met> {
        let mut command = match check {
            Check::Simulator(check) => {
                let mut sim = Command::new(&self.sim);
                sim.arg(check).args(arguments);
                sim
            }
            Check::Test(name, test, function) => {
                let mut program = Command::new(&self.tests[&(name, test)]);
                program.args([function, "--exact", "--nocapture"]);
                program
            }
        };
        command.current_dir(&self.tree);
        match mutant {
            Some(name) => command.env(VARIABLE, name),
            None => command.env_remove(VARIABLE),
        };
        let ended = process::run(&mut command, Show::Nothing)?;
        let said = match check {
            Check::Simulator(_) => violation_in(&ended.stderr),
            Check::Test(..) if !ended.stdout.contains("running 1 test") => {
                anyhow::bail!("{check:?} is no test:\n{}", ended.stdout)
            }
            Check::Test(..) => panic_in(&ended.stderr),
        };
        match (ended.success, said) {
            (true, _) => Ok(Met::Survived),
            (false, Some(said)) => Ok(Met::Caught(said.to_owned())),
            (false, None) => anyhow::bail!("{check:?} did not end well:\n{}", ended.stderr),
        }
    }
}

fn violation_in(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("violation: "))
}

/// The line after the one that says where it panicked.
fn panic_in(said: &str) -> Option<&str> {
    let mut lines = said.lines().skip_while(|line| !line.contains(" panicked at "));
    lines.nth(1)
}

/// Runs cargo in the copy; returns its messages.
fn cargo(tree: &Path, target: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut cargo = process::cargo(tree);
    cargo.args(arguments).args(["--quiet", "--offline"]);
    cargo.arg("--message-format=json-render-diagnostics").env("CARGO_TARGET_DIR", target);
    let ended = process::run(&mut cargo, Show::Nothing)?;
    anyhow::ensure!(ended.success, "the mutants do not build:\n{}", ended.stderr);
    Ok(ended.stdout)
}

/// The path of a test's program, if one of cargo's messages is about that.
fn test_program(message: &str, test: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_it = message["target"]["kind"][0] == "test" && message["target"]["name"] == test;
    is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_said_is_found() {
        let sim = "explored 3\nviolation: seed 7, lost\n";
        assert_eq!(violation_in(sim), Some("seed 7, lost"));
        assert_eq!(seed_of("seed 7, lost"), Some("7"));
        let test = "\nthread 'a::b' (12) panicked at a.rs:1:2:\nseed 3: half visible\nnote: run\n";
        assert_eq!(panic_in(test), Some("seed 3: half visible"));
        assert_eq!((violation_in(test), panic_in(sim)), (None, None));
    }

    #[test]
    fn the_program_of_a_test_is_found_among_messages() {
        let of_test = r#"{"target":{"kind":["test"],"name":"groups"},"executable":"/t/groups-1"}"#;
        let of_library = r#"{"target":{"kind":["lib"],"name":"groups"},"executable":null}"#;
        assert_eq!(test_program(of_test, "groups"), Some(PathBuf::from("/t/groups-1")));
        for other in [(of_test, "others"), (of_library, "groups"), ("not json", "groups")] {
            assert_eq!(test_program(other.0, other.1), None);
        }
    }
}
