//! Instructions of hot functions, counted by callgrind: figures that do not swing with the disk and the
//! neighbours, so that a later change that costs shows.
//!
//! Each function is run in a process of its own, twice, a different number of times; the difference is
//! what one run costs, without what comes before. `counts.json` holds the figures of the last change
//! that meant to change them; they are of one compiler and one architecture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

mod hot;

/// How far from the recorded figure one may be, in percent: hash tables differ from run to run.
const TOLERANCE_PERCENT: f64 = 3.0;
/// Times that a function runs in the shorter and in the longer process.
const TIMES: [u64; 2] = [200, 1200];

/// What to do with the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Show,
    /// Fail when one is off.
    Check,
    Record,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    /// How they were made.
    command: String,
    compiler: String,
    /// Instructions of one run, by function.
    instructions: BTreeMap<String, u64>,
}

/// `tidings-bench counts [--check | --record]`, and what it starts itself.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let wish = match words[..] {
        [] => Wish::Show,
        ["--check"] => Wish::Check,
        ["--record"] => Wish::Record,
        ["--only", name, times] => return hot::run(name, times.parse()?),
        _ => bail!("usage: tidings-bench counts [--check | --record]"),
    };
    let counted = count()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.json");
    if wish == Wish::Record {
        return Ok(std::fs::write(path, serde_json::to_string_pretty(&counted)? + "\n")?);
    }
    let recorded: Counts = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => Counts::default(),
    };
    let off = compare(&counted, &recorded);
    if wish == Wish::Check && !off.is_empty() {
        let off = off.join(", ");
        bail!("{off}: more than {TOLERANCE_PERCENT} % off; record them if that is meant");
    }
    Ok(())
}

/// Prints both figures of each function; returns the names of those that are off.
fn compare(counted: &Counts, recorded: &Counts) -> Vec<String> {
    if counted.compiler != recorded.compiler {
        println!("counted with {}, recorded with {}", counted.compiler, recorded.compiler);
    }
    println!("{:<36} {:>14} {:>14} {:>9}", "instructions", "now", "recorded", "");
    let mut off = Vec::new();
    for (name, now) in &counted.instructions {
        let before = recorded.instructions.get(name).copied().unwrap_or_default();
        let percent = (*now as f64 / before.max(1) as f64 - 1.0) * 100.0;
        println!("{name:<36} {now:>14} {before:>14} {percent:>+7.1} %");
        if percent.abs() > TOLERANCE_PERCENT {
            off.push(name.clone());
        }
    }
    off
}

fn count() -> anyhow::Result<Counts> {
    let compiler = Command::new("rustc").arg("--version").output().context("rustc")?;
    let mut counts = Counts {
        command: "cargo xtask bench counts --record".to_owned(),
        compiler: String::from_utf8(compiler.stdout)?.trim().to_owned(),
        instructions: BTreeMap::new(),
    };
    let dir = tempfile::tempdir()?;
    for name in hot::NAMES {
        let out = dir.path().join("callgrind");
        let [short, long] = TIMES.map(|times| instructions(name, times, &out));
        let one = (long?.saturating_sub(short?)) / (TIMES[1] - TIMES[0]);
        counts.instructions.insert(name.to_owned(), one);
    }
    Ok(counts)
}

/// Of a whole process that runs the function so many times.
fn instructions(name: &str, times: u64, out: &PathBuf) -> anyhow::Result<u64> {
    let ended = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["counts", "--only", name, &times.to_string()])
        .output()
        .context("valgrind does not start; Debian has it in the package of that name")?;
    ensure!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
    let text = std::fs::read_to_string(out)?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    Ok(total.context("callgrind wrote no summary")?.trim().parse()?)
}
