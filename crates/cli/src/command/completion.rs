//! `tidings completion SHELL`, and the names of topics and groups while a command is typed.
//!
//! The script asks this program for candidates. Names come from the cluster that the command would talk to by the
//! environment and the settings; flags that stand before are not looked at. When the cluster does not answer at
//! once, there are none: nobody waits for a completion.

use std::ffi::OsStr;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use tidings_terminal::failure::Failure;
use tidings_terminal::output::print;

use crate::args::{Arguments, Shell};
use crate::client::Client;
use crate::limits::{COMPLETION_NAMES_MAX, COMPLETION_TIMEOUT};
use crate::settings::Settings;

/// Says to this program that a shell asks for candidates.
const VARIABLE: &str = "TIDINGS_COMPLETE";

/// Answers a shell that asks for candidates, and ends; does nothing in any other run.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(Arguments::command).var(VARIABLE).complete();
}

pub(crate) fn completion(shell: Shell) -> Result<(), Failure> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let unwritten = |why: String| Failure::failed("there is no script for this shell").why(why);
    let mut script = Vec::new();
    Shells::builtins()
        .completer(name)
        .ok_or_else(|| unwritten(format!("{name} is not known")))?
        .write_registration(VARIABLE, "tidings", "tidings", "tidings", &mut script)
        .map_err(|error| unwritten(error.to_string()))?;
    print(&String::from_utf8_lossy(&script))
}

/// What a name is of.
#[derive(Clone, Copy, Debug)]
enum Names {
    Topics,
    Groups,
}

pub(crate) fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(Names::Topics, current)
}

pub(crate) fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(Names::Groups, current)
}

/// Names of contexts, which are in a file.
pub(crate) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let file = crate::settings::Locations::here()
        .and_then(|locations| crate::settings::UserFile::read(Path::new(&locations.user)));
    let Ok(file) = file else { return Vec::new() };
    beginning_with(current, file.contexts.into_keys())
}

fn candidates(names: Names, current: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(settings) = Settings::load(None) else { return Vec::new() };
    let Some(kafka) = settings.kafka() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let listed = runtime
        .block_on(async { tokio::time::timeout(COMPLETION_TIMEOUT, list(names, kafka)).await });
    beginning_with(current, listed.ok().and_then(Result::ok).unwrap_or_default())
}

async fn list(names: Names, kafka: &str) -> Result<Vec<String>, Failure> {
    let mut client = Client::connect(kafka).await?;
    match names {
        Names::Topics => client.topic_names().await,
        Names::Groups => Ok(client.groups().await?.into_iter().map(|group| group.name).collect()),
    }
}

fn beginning_with(
    current: &OsStr,
    names: impl IntoIterator<Item = String>,
) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let meant = names.into_iter().filter(|name| name.starts_with(current));
    meant.take(COMPLETION_NAMES_MAX).map(CompletionCandidate::new).collect()
}
