//! A program that runs beside the test and is spoken to line by line.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::deadline::eventually;
use crate::terminate::terminate;

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Vec<String>,
    stderr: Option<JoinHandle<String>>,
    deadline: Instant,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: String,
}

impl Finished {
    /// The lines of standard output of a program that ended well; otherwise all it said.
    pub fn success(self) -> anyhow::Result<Vec<String>> {
        ensure!(
            self.status.success(),
            "ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout.join("\n"),
            self.stderr
        );
        Ok(self.stdout)
    }
}

/// Runs a program to its end with this input; it is killed when it takes longer than `deadline`.
pub fn run(command: &mut Command, input: &str, deadline: Duration) -> anyhow::Result<Finished> {
    let mut conversation = Conversation::start(command, deadline)?;
    conversation.say(input)?;
    conversation.finish()
}

impl Conversation {
    /// Starts a program that has `deadline` for everything it does.
    pub fn start(command: &mut Command, deadline: Duration) -> anyhow::Result<Self> {
        // Cargo's own path would put the librdkafka of this build in front of a client's.
        let mut child = command
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut stderr = child.stderr.take().context("stderr is piped")?;
        let (heard, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What could be read is worth showing, whatever ended it.
            let _ended = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self {
            child,
            stdin,
            lines,
            heard: Vec::new(),
            stderr: Some(stderr),
            deadline: Instant::now() + deadline,
        })
    }

    /// Writes text to the program.
    pub fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(text.as_bytes()).context("the program does not listen")?;
        stdin.flush().context("the program does not listen")
    }

    /// Reads until a line that starts with `wanted`, and returns it.
    pub fn expect(&mut self, wanted: &str) -> anyhow::Result<String> {
        self.expect_until(wanted, self.deadline)
    }

    /// The same, when less time is left for it than for the whole conversation.
    pub fn expect_within(&mut self, wanted: &str, within: Duration) -> anyhow::Result<String> {
        self.expect_until(wanted, self.deadline.min(Instant::now() + within))
    }

    /// The next line, if one comes in this time; [`Self::finish`] does not repeat it.
    pub fn line_within(&mut self, within: Duration) -> anyhow::Result<Option<String>> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => {
                ensure!(Instant::now() < self.deadline, "the deadline passed");
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the program ended"),
        }
    }

    fn expect_until(&mut self, wanted: &str, deadline: Instant) -> anyhow::Result<String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.starts_with(wanted) {
                        return Ok(line);
                    }
                }
                Err(ended) => {
                    let _gone = self.child.kill();
                    let said = self.heard.join("\n");
                    let stderr = self.join_stderr();
                    let why = match ended {
                        RecvTimeoutError::Timeout => "the deadline passed",
                        RecvTimeoutError::Disconnected => "the program ended",
                    };
                    bail!("{why} without `{wanted}`\n--- stdout\n{said}\n--- stderr\n{stderr}");
                }
            }
        }
    }

    /// Sends SIGTERM; then [`Self::finish`] waits for the end.
    pub fn terminate(&self) -> anyhow::Result<()> {
        terminate(&self.child)
    }

    /// Closes the program's input and waits for its end.
    pub fn finish(mut self) -> anyhow::Result<Finished> {
        drop(self.stdin.take());
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ended = eventually(left, || self.child.try_wait().transpose());
        if ended.is_none() {
            self.child.kill().context("could not kill a program past its deadline")?;
        }
        let status = self.child.wait().context("could not wait for the program")?;
        let stderr = self.join_stderr();
        let mut stdout = std::mem::take(&mut self.heard);
        stdout.extend(self.lines.iter());
        if ended.is_none() {
            let said = stdout.join("\n");
            bail!("killed at its deadline\n--- stdout\n{said}\n--- stderr\n{stderr}");
        }
        Ok(Finished { status, stdout, stderr })
    }

    fn join_stderr(&mut self) -> String {
        self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // A program that has ended already needs no killing.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_go_both_ways() {
        let script = "echo first; read word; echo \"heard $word\"; echo oops >&2";
        let mut talk = Conversation::start(&mut sh(script), Duration::from_secs(10)).expect("sh");
        assert_eq!(talk.expect("first").expect("a line"), "first");
        talk.say("tidings\n").expect("sh listens");
        let ended = talk.finish().expect("it ends");
        assert_eq!(ended.stderr, "oops\n");
        assert_eq!(ended.success().expect("exit 0"), ["first", "heard tidings"]);
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_and_shown() {
        let error = run(&mut sh("echo here; exec sleep 600"), "", Duration::from_millis(300))
            .expect_err("it does not end");
        assert!(
            error.to_string().starts_with("killed at its deadline\n--- stdout\nhere"),
            "{error}"
        );
    }

    #[test]
    fn failure_shows_what_was_said() {
        let ended =
            run(&mut sh("echo why >&2; exit 3"), "", Duration::from_secs(10)).expect("runs");
        let error = ended.success().expect_err("exit 3");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(error.to_string().ends_with("why\n"), "{error}");
    }
}
