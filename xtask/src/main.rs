//! `cargo xtask <command>`: what the project needs and cargo does not have.
//!
//! Each command is a module. `tidy` and `codegen` read and write the tree; `test` and `compat` run
//! other programs and report what they said; `sim` and `bench` forward to their crates, the latter after
//! it has set up the peers; `mutants` breaks a copy of the crates on purpose.

mod args;
mod bench;
mod codegen;
mod mutants;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use args::Command;
use process::Profile;

fn main() -> ExitCode {
    let said: Vec<String> = std::env::args().skip(1).collect();
    let command = match args::parse(&said) {
        Ok(command) => command,
        Err(wrong) => {
            eprintln!("{wrong}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    let root = workspace::root();
    match command {
        Command::Help => {
            println!("{}", args::USAGE);
            Ok(true)
        }
        Command::Tidy { rebase } => tidy::run(&root, rebase),
        Command::Test { compat } => test::run(&root, compat),
        Command::Compat { filter } => test::run_compat_alone(&root, &filter),
        Command::Crash { rounds } => test::run_crash_alone(&root, rounds),
        Command::Sim { arguments } => {
            process::forward(&root, "tidings-sim", Profile::Dev, &arguments, &[])
        }
        Command::Mutants { names } => mutants::run(&root, &names),
        Command::Bench { arguments } => bench::run(&root, &arguments),
        Command::Codegen { check } => codegen::run(check).map(|()| true),
    }
}
