//! The `tidings` binary: arguments → meaning → constructors.

mod args;
mod client;
mod command;
mod format;
mod limits;
mod offsets;
mod place;
mod settings;
mod time;
mod up;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use tidings_terminal::failure::{Exit, Failure};

use args::{Arguments, Command};
use settings::Settings;

fn main() -> ExitCode {
    command::completion::answer_shell();
    match meaning() {
        Ok((arguments, settings)) => ended(run(arguments, &settings)),
        Err(failure) => ended(Err(failure)),
    }
}

/// The arguments twice: once for the context that they name, once with its settings as defaults.
fn meaning() -> Result<(Arguments, Settings), Failure> {
    let parsed = |command: clap::Command| {
        let matches = command.try_get_matches();
        matches
            .and_then(|matches| Arguments::from_arg_matches(&matches))
            .unwrap_or_else(|refused| refuse(&refused))
    };
    let said = parsed(Arguments::command());
    // These must work when the settings do not.
    if matches!(said.command, Command::Context(_) | Command::Completion { .. } | Command::Cheat) {
        return Ok((said, Settings::default()));
    }
    let settings = Settings::load(said.context.as_deref())?;
    Ok((parsed(settings.apply(Arguments::command())), settings))
}

fn refuse(refused: &clap::Error) -> Arguments {
    let from_environment = std::env::var_os("TIDINGS_ENGINE").is_some();
    if refused.kind() == ErrorKind::ArgumentConflict && from_environment {
        eprintln!("note: TIDINGS_ENGINE is set, which says --engine\n");
    }
    refused.exit()
}

fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let run = async {
        match arguments.command {
            Command::Up(up) => up::up(up).await,
            Command::Topic(topic) => command::topic(topic).await.map(|()| ExitCode::SUCCESS),
            Command::Produce(said) => command::produce(said).await.map(|()| ExitCode::SUCCESS),
            Command::Consume(said) => command::consume(said).await.map(|()| ExitCode::SUCCESS),
            Command::Group(group) => command::group(group).await.map(|()| ExitCode::SUCCESS),
            Command::Top(said) => command::top(said).await.map(|()| ExitCode::SUCCESS),
            Command::Log(log) => command::log(log).map(|()| ExitCode::SUCCESS),
            Command::Dead(said) => command::dead(said).await,
            Command::Copy(said) => command::copy(said).await,
            Command::Doctor(said) => command::doctor(said).await,
            Command::Context(said) => command::context(said).map(|()| ExitCode::SUCCESS),
            Command::Generate(said) => command::generate(&said).map(|()| ExitCode::SUCCESS),
            Command::Completion { shell } => {
                command::completion::completion(shell).map(|()| ExitCode::SUCCESS)
            }
            Command::Cheat => command::cheat().map(|()| ExitCode::SUCCESS),
            Command::Config(said) => command::config(&said, settings).map(|()| ExitCode::SUCCESS),
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed("the runtime does not start").why(e))?;
    let ended = runtime.block_on(run);
    // A thread that waits for standard input would keep the process for ever.
    runtime.shutdown_background();
    ended
}

fn ended(ended: Result<ExitCode, Failure>) -> ExitCode {
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
