//! `tidings-bench`: what appends, reads, clean-up and starts cost, beside what the disk can do at all.
//!
//! Each round measures raw limits and, right after, what stands beside them; the table shows the
//! median of the rounds and the ratio to the limit, round by round. Disks vary tenfold from minute
//! to minute, so a figure without the limit measured beside it says nothing. What is wanted of a
//! ratio is printed beside it, and judged by who reads it. Where other programs keep the processors
//! busy, waiting for one of them is most of what small writes take: many short rounds
//! (`--rounds 20 --span 100`) then tell more than few long ones.
//!
//! Limits: [`ROUNDS`] rounds of suites of a few measurements of [`SPAN`] each, some minutes in all; the
//! data of a suite stays below [`sizes::LARGE_BYTES`], and is deleted when its round ends.

mod counts;
mod drill;
mod measured;
mod orders;
mod owner;
mod peers;
mod physical;
mod sizes;
mod suite;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use measured::Table;
use sizes::Sizes;
use suite::{Round, SUITES};

/// Rounds whose median is shown.
const ROUNDS: usize = 3;
/// How long one measurement takes.
const SPAN: Duration = Duration::from_millis(800);

const USAGE: &str = "usage: tidings-bench [--dir DIR] [--rounds N] [--span MS] [--large] [SUITE...]
       tidings-bench counts [--check | --record]
       tidings-bench peers [...]
  --dir DIR    measure below DIR (default: the system's temporary directory)
  --rounds N   rounds whose median is shown (default: 3)
  --span MS    how long one measurement takes (default: 800)
  --large      logs of 10 GB where the size matters
  counts       instructions of hot functions, by valgrind; --check fails where they differ from those
               in counts.json, --record writes them there
suites (default: all):";

struct Wanted {
    dir: PathBuf,
    rounds: usize,
    span: Duration,
    sizes: Sizes,
    /// Names of suites; none: all.
    suites: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == "counts"
    {
        return counts::run(rest);
    }
    if let [first, rest @ ..] = &arguments[..]
        && first == "peers"
    {
        return peers::run(rest);
    }
    let wanted = parse(arguments.into_iter())?;
    let parent = &wanted.dir;
    let dir = tempfile::Builder::new().prefix("tidings-bench-").tempdir_in(parent);
    let dir = dir.with_context(|| format!("{} cannot be measured", parent.display()))?;
    let suites =
        || SUITES.iter().filter(|suite| wanted.suites.is_empty() || wanted.has(suite.name));
    for suite in suites() {
        let mut table = Table::default();
        for number in 0..wanted.rounds {
            let dir = dir.path().join(number.to_string());
            std::fs::create_dir(&dir)?;
            let mut round = Round::new(dir.clone(), wanted.span, wanted.sizes, number, &mut table);
            (suite.run)(&mut round).with_context(|| format!("suite {}", suite.name))?;
            std::fs::remove_dir_all(&dir)?;
        }
        let (rounds, span) = (wanted.rounds, wanted.span);
        println!("\n{} ({}), median of {rounds} rounds of {span:?}", suite.name, suite.about);
        table.print();
    }
    Ok(())
}

impl Wanted {
    fn has(&self, name: &str) -> bool {
        self.suites.iter().any(|suite| suite == name)
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted {
        dir: std::env::temp_dir(),
        rounds: ROUNDS,
        span: SPAN,
        sizes: sizes::USUAL,
        suites: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--dir" => wanted.dir = value()?.into(),
            "--rounds" => wanted.rounds = value()?.parse().context("--rounds needs a number")?,
            "--span" => {
                let span = value()?.parse().context("--span needs milliseconds")?;
                wanted.span = Duration::from_millis(span);
            }
            "--large" => wanted.sizes = sizes::LARGE,
            "--help" | "-h" => {
                println!("{}", usage());
                std::process::exit(0);
            }
            name if SUITES.iter().any(|suite| suite.name == name) => {
                wanted.suites.push(argument);
            }
            unknown => bail!("unknown argument {unknown}\n{}", usage()),
        }
    }
    Ok(wanted)
}

fn usage() -> String {
    let suites = SUITES.iter().map(|suite| format!("\n  {:<12} {}", suite.name, suite.about));
    USAGE.to_owned() + &suites.collect::<String>()
}
