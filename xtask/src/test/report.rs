//! The steps as a person reads them, and the totals as a script does.

use std::fmt;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// What a step found out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// Names of failed tests, or what went wrong instead of a test.
    pub(super) failures: Vec<String>,
    /// What was left out, why, and how to have it.
    pub(super) left_out: Vec<String>,
}

impl Outcome {
    /// A step that is one check.
    pub(super) fn check(good: bool, what_failed: &str) -> Self {
        if good {
            return Self { passed: 1, ..Self::default() };
        }
        Self { failed: 1, failures: vec![what_failed.to_owned()], ..Self::default() }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.left_out.extend(other.left_out);
    }
}

/// The last line, in the exact form that scripts read.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    outcome: Outcome,
}

/// A step that waits more than it works, run while others work. It says nothing before its turn.
pub(super) struct Beside<'scope> {
    running: ScopedJoinHandle<'scope, (Duration, anyhow::Result<Quiet>)>,
}

/// What a step that was not shown has to say.
#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) outcome: Outcome,
    pub(super) output: String,
}

impl<'scope> Beside<'scope> {
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        run: impl FnOnce() -> anyhow::Result<Quiet> + Send + 'scope,
    ) -> Self {
        let started = Instant::now();
        Self {
            running: scope.spawn(move || {
                let quiet = run();
                (started.elapsed(), quiet)
            }),
        }
    }
}

/// Steps as they are done.
#[derive(Debug)]
pub(super) struct Report {
    steps: usize,
    started: Instant,
    done: Vec<Done>,
}

impl Report {
    pub(super) fn new(steps: usize) -> Self {
        Self { steps, started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step under its number. An error is one of the machinery, and ends the whole.
    pub(super) fn step(
        &mut self,
        name: &str,
        run: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        println!("\n[{}/{}] {name}", self.done.len() + 1, self.steps);
        let started = Instant::now();
        let outcome = run()?;
        let took = started.elapsed();
        self.end(name, took, outcome);
        Ok(())
    }

    /// Waits for a step that ran beside those before it; its time is its own, from its start to its end.
    pub(super) fn beside(&mut self, name: &str, step: Beside<'_>) -> anyhow::Result<()> {
        println!(
            "\n[{}/{}] {name} (begun beside the steps before)",
            self.done.len() + 1,
            self.steps
        );
        let (took, ended) = step.running.join().expect("a step does not panic");
        let Quiet { outcome, output } = ended?;
        print!("{output}");
        self.end(name, took, outcome);
        Ok(())
    }

    fn end(&mut self, name: &str, took: Duration, outcome: Outcome) {
        println!("[{}/{}] {outcome} in {}", self.done.len() + 1, self.steps, seconds(took));
        self.done.push(Done { name: name.to_owned(), took, outcome });
    }

    /// A step that is not run, said plainly.
    pub(super) fn leave_out(&mut self, name: &str, reason: &str) {
        println!("\n[{}/{}] {name}: left out, {reason}", self.done.len() + 1, self.steps);
        let left_out = vec![format!("{name}: {reason}")];
        let outcome = Outcome { skipped: 1, left_out, ..Outcome::default() };
        self.done.push(Done { name: name.to_owned(), took: Duration::ZERO, outcome });
    }

    /// Prints the summary and the closing line; true when nothing failed.
    pub(super) fn close(self) -> bool {
        let mut total = Outcome::default();
        println!();
        for (at, done) in self.done.into_iter().enumerate() {
            let mark = if done.outcome.failed > 0 { "FAILED" } else { "ok" };
            let counts = done.outcome.to_string();
            println!(
                "{:>2}  {mark:<6} {:>9}  {:<52} {counts}",
                at + 1,
                seconds(done.took),
                done.name
            );
            total.add(done.outcome);
        }
        println!("            {:>7}  in all", seconds(self.started.elapsed()));
        section("failed", &total.failures);
        section("left out", &total.left_out);
        println!("\n{total}");
        total.failed == 0
    }
}

fn section(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        println!("\n{title}:");
    }
    for line in lines {
        println!("  - {line}");
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_has_its_exact_form() {
        let table = [
            (Outcome { passed: 12, ..Outcome::default() }, "12 passed, 0 failed"),
            (
                Outcome { passed: 3, failed: 2, skipped: 4, ..Outcome::default() },
                "3 passed, 2 failed, 4 skipped",
            ),
        ];
        for (outcome, line) in table {
            assert_eq!(outcome.to_string(), line);
        }
    }

    #[test]
    fn outcomes_add_up() {
        let mut total = Outcome::check(true, "format");
        total.add(Outcome::check(false, "lint"));
        let expected =
            Outcome { passed: 1, failed: 1, failures: vec!["lint".into()], ..Outcome::default() };
        assert_eq!(total, expected);
    }

    #[test]
    fn a_step_beside_others_reports_in_its_turn() {
        let mut report = Report::new(2);
        let (done, to_beside) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let beside = Beside::start(scope, move || {
                to_beside.recv()?;
                Ok(Quiet { outcome: Outcome::check(false, "crash"), output: "said\n".into() })
            });
            report.step("first", || {
                done.send(())?;
                Ok(Outcome::check(true, ""))
            })?;
            report.beside("crash", beside)
        })
        .expect("both end");
        let names: Vec<&str> = report.done.iter().map(|done| done.name.as_str()).collect();
        assert_eq!(names, ["first", "crash"]);
        assert!(!report.close(), "a failure beside is a failure");
    }
}
