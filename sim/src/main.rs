//! `tidings-sim [CHECK] [--seed S] [--histories N] [--threads N] [--tell]`: explores crash states of N histories
//! from seed S on, lets every call of some fail, and damages data directories.
//!
//! Prints what was explored; exits with 1 and the violation when the store broke its word, with 2
//! when the arguments make no sense.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tidings_sim::crash::{Figures, Setting, Violation, explore, explore_failures};
use tidings_sim::damage::{Damage, Damaged, Directory};
use tidings_sim::disk::Operation;
use tidings_sim::history::Stop;
use tidings_sim::sites::{Sites, in_sources};

const USAGE: &str = "usage: tidings-sim [all|crashes|failures|damage] [--seed S] [--histories N] [--threads N] [--tell]";
/// Histories whose crash states are explored when nothing else is asked for.
const HISTORIES: u64 = 60;
/// What `all` must explore at least.
const CRASH_STATES_MIN: u64 = 200_000;
/// Of so many of them one is run again with each of its calls failing.
const FAILURES_ONE_IN: u64 = 4;
/// The history that fills the directory that is damaged.
const DIRECTORY_SEED: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    All,
    Crashes,
    Failures,
    Damage,
}

/// Runs a check and prints what it did; an error is a violation.
type Run = fn(&Arguments, &Arc<Sites>) -> Result<(), String>;

struct Arguments {
    check: Check,
    seed: u64,
    histories: u64,
    threads: usize,
    tells: bool,
}

impl Arguments {
    fn setting(&self, sites: &Arc<Sites>) -> Setting {
        let sites = (self.check == Check::All).then(|| Arc::clone(sites));
        Setting { sites, tells: self.tells, ..Setting::default() }
    }
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let sites = Arc::new(Sites::default());
    let checks: [(Check, Run); 3] =
        [(Check::Crashes, crashes), (Check::Failures, failures), (Check::Damage, damage)];
    let mut good = true;
    for (check, run) in checks {
        if arguments.check != Check::All && arguments.check != check {
            continue;
        }
        let started = Instant::now();
        let outcome = run(&arguments, &sites);
        println!("  in {:.1} s", started.elapsed().as_secs_f64());
        if let Err(what) = outcome {
            eprintln!("violation: {what}");
            good = false;
        }
    }
    if arguments.check == Check::All
        && let Err(what) = coverage(&sites)
    {
        eprintln!("violation: {what}");
        good = false;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn crashes(arguments: &Arguments, sites: &Arc<Sites>) -> Result<(), String> {
    let seeds = arguments.seed..arguments.seed + arguments.histories;
    let setting = arguments.setting(sites);
    let (figures, violation) =
        explored(seeds, arguments.threads, |seed, figures| explore(seed, &setting, figures));
    println!(
        "crashes: {} histories, {} power cuts, {} crash states ({} of them cut again), trace \
         {:016x}",
        figures.histories, figures.cuts, figures.crash_states, figures.nested, figures.trace
    );
    let calls = Operation::ALL.iter().zip(figures.calls);
    let calls: Vec<String> = calls.map(|((_, name), count)| format!("{count} {name}")).collect();
    println!("  calls: {}", calls.join(", "));
    told("crashes", violation)?;
    if arguments.check == Check::All && figures.crash_states < CRASH_STATES_MIN {
        return Err(format!("fewer than {CRASH_STATES_MIN} crash states"));
    }
    Ok(())
}

fn failures(arguments: &Arguments, sites: &Arc<Sites>) -> Result<(), String> {
    let histories = arguments.histories.div_ceil(FAILURES_ONE_IN);
    let seeds = arguments.seed..arguments.seed + histories;
    let setting = arguments.setting(sites);
    let (figures, violation) = explored(seeds, arguments.threads, |seed, figures| {
        explore_failures(seed, &setting, figures)
    });
    println!(
        "failures: {} runs with one failed call, {} crash states after them",
        figures.failures, figures.crash_states
    );
    told("failures", violation)
}

fn told(check: &str, violation: Option<Violation>) -> Result<(), String> {
    match violation {
        None => Ok(()),
        Some(violation) => Err(format!(
            "{violation}\nagain: cargo xtask sim {check} --seed {} --histories 1",
            violation.seed
        )),
    }
}

/// Explores seeds on several threads; no two share anything but the count.
fn explored(
    seeds: std::ops::Range<u64>,
    threads: usize,
    explore: impl Fn(u64, &mut Figures) -> Result<(), Violation> + Sync,
) -> (Figures, Option<Violation>) {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Figures::default(), None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut figures = Figures::default();
                    let outcome = explore(seed, &mut figures);
                    let mut total = total.lock().expect("no holder of the total panics");
                    total.0.add(&figures);
                    if let Err(violation) = outcome {
                        total.1.get_or_insert(violation);
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    total.into_inner().expect("no holder of the total panics")
}

fn damage(arguments: &Arguments, sites: &Arc<Sites>) -> Result<(), String> {
    for stop in [Stop::Clean, Stop::Unclean, Stop::InFlush] {
        let directory = Directory::new(DIRECTORY_SEED, stop, Some(sites))?;
        let (bytes, files) = (directory.bytes(), directory.files());
        let damages: Vec<Damage> = directory.damages().collect();
        let (damaged, outcome) = damaged(&directory, &damages, arguments.threads);
        println!(
            "damage after a stop that was {stop:?}: {bytes} bytes in {files} files, {} bits \
             flipped, {} truncations, {} swaps: {} harmless, {} detected ({} kept it from opening)",
            damaged.flips,
            damaged.truncations,
            damaged.swaps,
            damaged.harmless,
            damaged.detected,
            damaged.unopened
        );
        outcome?;
    }
    Ok(())
}

fn damaged(
    directory: &Directory,
    damages: &[Damage],
    threads: usize,
) -> (Damaged, Result<(), String>) {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Damaged::default(), Ok(())));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut figures = Damaged::default();
                let mut outcome = Ok(());
                while outcome.is_ok() {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(damage) = damages.get(at) else { break };
                    outcome = directory.check(damage, &mut figures);
                }
                if outcome.is_err() {
                    next.store(damages.len() as u64, Ordering::Relaxed);
                }
                let mut total = total.lock().expect("no holder of the total panics");
                total.0.add(&figures);
                if total.1.is_ok() {
                    total.1 = outcome;
                }
            });
        }
    });
    total.into_inner().expect("no holder of the total panics")
}

/// Whether everything that was run reached every call site.
fn coverage(sites: &Sites) -> Result<(), String> {
    let sources = Path::new("crates/log/src");
    let all = in_sources(sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    let coverage = sites.coverage(&all);
    let missed = coverage.missed;
    let (sites, elsewhere) = (coverage.sites, coverage.elsewhere);
    let reached = sites - elsewhere - missed.len();
    println!("sites: {reached} of {sites} call sites, {elsewhere} left to the log's own tests");
    if missed.is_empty() && sites > 0 {
        return Ok(());
    }
    let names: Vec<String> = missed
        .iter()
        .map(|site| format!("  crates/log/src/{}:{}: {}", site.path, site.lines.0, site.text))
        .collect();
    Err(format!("call sites that no history reached:\n{}", names.join("\n")))
}

fn arguments(words: impl Iterator<Item = String>) -> Option<Arguments> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments =
        Arguments { check: Check::All, seed: 1, histories: HISTORIES, threads, tells: false };
    let mut words = words.peekable();
    if let Some(word) = words.next_if(|word| !word.starts_with("--")) {
        arguments.check = match word.as_str() {
            "all" => Check::All,
            "crashes" => Check::Crashes,
            "failures" => Check::Failures,
            "damage" => Check::Damage,
            _ => return None,
        };
    }
    while let Some(word) = words.next() {
        if word == "--tell" {
            arguments.tells = true;
            continue;
        }
        let number: u64 = words.next()?.parse().ok()?;
        match word.as_str() {
            "--seed" => arguments.seed = number,
            "--histories" => arguments.histories = number,
            "--threads" => arguments.threads = usize::try_from(number).ok()?,
            _ => return None,
        }
    }
    Some(arguments)
}
