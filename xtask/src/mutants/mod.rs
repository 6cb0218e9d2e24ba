//! `cargo xtask mutants`: the log broken on purpose, each time in one way that the simulator must catch.
//!
//! A copy of `crates/log` and `sim` under `target/mutants` gets every mutant of the [`table`] at once, each
//! behind a switch that an environment variable chooses, so that one build serves all. A mutant whose text
//! is not found exactly once is an error: the table follows the sources. The seed that catches a mutant
//! must pass in the same build without it.

mod source;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::process::{self, Show};
use table::MUTANTS;
pub(crate) use table::Mutant;

/// Which mutant a build is; none when it is not set.
const VARIABLE: &str = "TIDINGS_MUTANT";
/// Histories after which a mutant has survived.
const HISTORIES: &str = "60";

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Met {
    /// The first line of the violation.
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
                println!("{}: SURVIVED `{}`", mutant.name, mutant.caught_by);
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

/// Builds all mutants and runs the simulator's check against each of `mutants`.
pub(crate) fn meet<'a>(
    root: &Path,
    mutants: &[&'a Mutant],
) -> anyhow::Result<Vec<(&'a Mutant, Met)>> {
    let folder = root.join("target/mutants");
    source::prepare(root, &folder.join("tree"), MUTANTS)?;
    let program = build(&folder)?;
    let mut met = Vec::new();
    for mutant in mutants {
        let outcome = run_mutant(&program, &folder, mutant)?;
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
fn run_mutant(program: &Path, folder: &Path, mutant: &Mutant) -> anyhow::Result<Met> {
    let check = mutant.caught_by;
    let met = run_check(program, folder, Some(mutant.name), check, &["--histories", HISTORIES])?;
    if let Met::Caught(violation) = &met
        && let Some(seed) = seed_of(violation)
    {
        let again = ["--seed", seed, "--histories", "1"];
        let sound = run_check(program, folder, None, check, &again)?;
        anyhow::ensure!(sound == Met::Survived, "seed {seed} fails without a mutant: {sound:?}");
    }
    Ok(met)
}

fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = process::cargo(&folder.join("tree"));
    let target = folder.join("build");
    cargo.args(["build", "--quiet", "--offline", "--package", "tidings-sim"]);
    cargo.env("CARGO_TARGET_DIR", &target);
    let ended = process::run(&mut cargo, Show::Nothing)?;
    anyhow::ensure!(ended.success, "the mutants do not build:\n{}", ended.stderr);
    Ok(target.join("debug/tidings-sim"))
}

fn run_check(
    program: &Path,
    folder: &Path,
    mutant: Option<&str>,
    check: &str,
    arguments: &[&str],
) -> anyhow::Result<Met> {
    let mut sim = Command::new(program);
    sim.current_dir(folder.join("tree")).arg(check).args(arguments);
    match mutant {
        Some(name) => sim.env(VARIABLE, name),
        None => sim.env_remove(VARIABLE),
    };
    let ended = process::run(&mut sim, Show::Nothing)?;
    let violation = ended.stderr.lines().find_map(|line| line.strip_prefix("violation: "));
    match (ended.success, violation) {
        (true, _) => Ok(Met::Survived),
        (false, Some(violation)) => Ok(Met::Caught(violation.to_owned())),
        (false, None) => anyhow::bail!("the simulator did not end well:\n{}", ended.stderr),
    }
}
