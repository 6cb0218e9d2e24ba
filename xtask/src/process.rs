//! Running other programs: output shown as it comes, kept for the report.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::Context as _;

/// How a program ended and what it wrote.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// Standard output and standard error, in the order of arrival per stream.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Whether the program's lines are shown while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Both,
    /// Standard output is for the caller alone (machine-readable messages).
    StderrOnly,
    Nothing,
}

/// Runs `command` to its end. A program that cannot be started is an error that names it.
pub(crate) fn run(command: &mut Command, show: Show) -> anyhow::Result<Ended> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{program}`"))?;
    let stdout = child.stdout.take().context("stdout was piped")?;
    let stderr = child.stderr.take().context("stderr was piped")?;
    let errors = thread::spawn(move || {
        collect(BufReader::new(stderr), |line| {
            if show != Show::Nothing {
                eprintln!("{line}");
            }
        })
    });
    let stdout = collect(BufReader::new(stdout), |line| {
        if show == Show::Both {
            println!("{line}");
        }
    });
    let stderr = errors.join().unwrap_or_default();
    let status = child.wait().with_context(|| format!("could not wait for `{program}`"))?;
    Ok(Ended { success: status.success(), stdout, stderr })
}

/// Reads lines to the end; bytes that are not UTF-8 are replaced, a read error ends the text.
fn collect(mut reader: impl BufRead, mut each: impl FnMut(&str)) -> String {
    let mut all = String::new();
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        each(text.trim_end_matches('\n'));
        all.push_str(&text);
        line.clear();
    }
    all
}

/// `cargo` as this build was started with, in the workspace root.
pub(crate) fn cargo(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    command
}

/// How a program is built that is run for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// With debug assertions and line tables.
    Dev,
    Release,
}

/// Runs a package's binary with our own terminal; true when it ended well.
pub(crate) fn forward(
    root: &Path,
    package: &str,
    profile: Profile,
    arguments: &[String],
    variables: &[(&str, &OsStr)],
) -> anyhow::Result<bool> {
    let profile = match profile {
        Profile::Dev => "dev",
        Profile::Release => "release",
    };
    let status = cargo(root)
        .args(["run", "--profile", profile, "--quiet", "--package", package, "--"])
        .args(arguments)
        .envs(variables.iter().copied())
        .status()
        .with_context(|| format!("could not start cargo for `{package}`"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_end_are_reported() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ended = run(&mut command, Show::Nothing).expect("sh starts");
        assert_eq!(
            (ended.success, ended.stdout.as_str(), ended.stderr.as_str()),
            (false, "out\n", "err\n")
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program"), Show::Nothing).expect_err("missing");
        assert_eq!(error.to_string(), "could not start `no-such-program`");
    }
}
