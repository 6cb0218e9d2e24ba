//! Asking a program to stop, as an operator or a service manager does.

use std::process::{Child, Command};

use anyhow::{Context as _, ensure};

/// Sends SIGTERM to a child that has not been waited for.
pub(crate) fn terminate(child: &Child) -> anyhow::Result<()> {
    let told = Command::new("kill").arg(child.id().to_string()).status();
    ensure!(told.context("could not run kill")?.success(), "the program is already gone");
    Ok(())
}
