//! The `tidings` binary: arguments → meaning → constructors.

mod args;
mod client;
mod command;
mod failure;
mod format;
mod json_path;
mod limits;
mod offsets;
mod output;
mod place;
mod progress;
mod table;
mod time;
mod up;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|refused| {
        let from_environment = std::env::var_os("TIDINGS_ENGINE").is_some();
        if refused.kind() == ErrorKind::ArgumentConflict && from_environment {
            eprintln!("note: TIDINGS_ENGINE is set, which says --engine\n");
        }
        refused.exit()
    });
    let run = async {
        match arguments.command {
            Command::Up(up) => up::up(up).await,
            Command::Topic(topic) => command::topic(topic).await.map(|()| ExitCode::SUCCESS),
            Command::Produce(said) => command::produce(said).await.map(|()| ExitCode::SUCCESS),
            Command::Consume(said) => command::consume(said).await.map(|()| ExitCode::SUCCESS),
            Command::Group(group) => command::group(group).await.map(|()| ExitCode::SUCCESS),
            Command::Log(log) => command::log(log).map(|()| ExitCode::SUCCESS),
            Command::Dead(said) => command::dead(said).await,
            Command::Copy(said) => command::copy(said).await,
            Command::Doctor(said) => command::doctor(said).await,
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(|e| Failure::failed("the runtime does not start").why(e)).and_then(
        |runtime| {
            let ended = runtime.block_on(run);
            // A thread that waits for standard input would keep the process for ever.
            runtime.shutdown_background();
            ended
        },
    );
    ended.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::from(match failure.exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
        })
    })
}
