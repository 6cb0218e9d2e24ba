//! `tidings-sim --seed S --histories N`: explores the crash states of N histories from seed S on.
//!
//! Prints what was explored; exits with 1 and the violation when the log broke its word, with 2
//! when the arguments make no sense.

use std::process::ExitCode;

use tidings_sim::crash::{Figures, explore};

const USAGE: &str = "usage: tidings-sim [--seed S] [--histories N]";

struct Arguments {
    seed: u64,
    histories: u64,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut figures = Figures::default();
    for seed in (arguments.seed..).take(usize::try_from(arguments.histories).unwrap_or(usize::MAX))
    {
        if let Err(violation) = explore(seed, &mut figures) {
            eprintln!("violation: {violation}");
            eprintln!("again: tidings-sim --seed {seed} --histories 1");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{} histories, {} power cuts, {} crash states ({} cut again inside recovery), 0 violations",
        figures.histories, figures.cuts, figures.crash_states, figures.nested
    );
    ExitCode::SUCCESS
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { seed: 1, histories: 10 };
    while let Some(word) = words.next() {
        let number = words.next()?.parse().ok()?;
        match word.as_str() {
            "--seed" => arguments.seed = number,
            "--histories" => arguments.histories = number,
            _ => return None,
        }
    }
    Some(arguments)
}
