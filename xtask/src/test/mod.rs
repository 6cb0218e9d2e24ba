//! `cargo xtask test`: everything CI runs, with its own set-up.
//!
//! Numbered steps, each with its duration. A step that fails does not stop the ones that can still
//! say something; only what needs a program that did not build is left out. The last line is
//! `N passed, N failed`, with `, N skipped` behind it when something was left out, over all steps.
//! One step runs beside others, as it mostly waits; it reports in its turn.
//!
//! One build serves all steps: every cargo command names the whole workspace, so that features are
//! unified the same way each time and nothing is compiled twice.

mod compat;
mod crash;
mod libtest;
mod report;
mod steps;
mod tools;
mod whole;

use std::path::{Path, PathBuf};
use std::thread;

use crate::args::{CRASH_ROUNDS, Compat};
use crate::process::Show;
use report::{Beside, Outcome, Report};
use steps::Built;
use whole::Whole;

/// It waits for disks and restarts nine tenths of its time, so that it runs beside what keeps the processor busy.
const CRASH: &str = "crash: kill -9, power cuts, failing disks";

pub(crate) fn run(root: &Path, compat: Compat) -> anyhow::Result<bool> {
    let mut report = Report::new(11);
    let whole = Whole::of(root)?;
    report.step("format", || steps::format(root))?;
    report.step("codegen: generated code is what the definitions say", steps::codegen)?;
    report.step("tidy: the project's own habits", || steps::tidy(root))?;
    report.step("lint", || steps::lint(&whole))?;

    let mut built = None;
    report.step("build: the binary, the examples and every test", || {
        let (outcome, programs) = steps::build(&whole)?;
        built = programs;
        Ok(outcome)
    })?;
    report.step("unit, conformance and documentation tests", || steps::tests(&whole))?;
    match &built {
        Some(built) => with_the_binary(&whole, compat, built, &mut report)?,
        None => {
            for name in ["demo", "simulation", "mutants", "crash", "compat"] {
                report.leave_out(name, "the build failed");
            }
        }
    }
    Ok(report.close())
}

/// The steps that run what was built.
fn with_the_binary(
    whole: &Whole<'_>,
    compat: Compat,
    built: &Built,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.step("demo: the shop reconciles, also after kill -9", || {
        steps::demo(whole, &built.tidings)
    })?;
    match compat {
        Compat::Run => {
            thread::scope(|scope| {
                let crash = Beside::start(scope, || {
                    crash::step(whole, &built.tidings, CRASH_ROUNDS, Show::Nothing)
                });
                on_the_processor(whole, built, report)?;
                report.beside(CRASH, crash)
            })?;
            report.step("compat: real clients", || compat::step(whole, &built.tidings, &[]))
        }
        Compat::LeaveOut => {
            on_the_processor(whole, built, report)?;
            report.leave_out("crash and compat", "--without compat was asked for");
            Ok(())
        }
    }
}

/// The steps that wait for nothing else.
fn on_the_processor(whole: &Whole<'_>, built: &Built, report: &mut Report) -> anyhow::Result<()> {
    report.step("simulation: crashes at every call, every flipped bit", || {
        steps::simulation(whole.root, &built.sim)
    })?;
    report.step("mutants: what is broken on purpose is caught", || steps::mutants(whole.root))
}

/// The folder of Apache Kafka's jars, fetched if need be, or why there is none.
pub(crate) fn jars_of_kafka(root: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    Ok(match tools::jars(root)? {
        tools::Tool::Found(jars) => Ok(jars),
        tools::Tool::Missing(missing) => Err(missing.reason),
    })
}

/// `cargo xtask crash`: the build and the step of crashes.
pub(crate) fn run_crash_alone(root: &Path, rounds: u64) -> anyhow::Result<bool> {
    build_and(root, CRASH, |whole, tidings| {
        Ok(crash::step(whole, tidings, rounds, Show::Both)?.outcome)
    })
}

/// `cargo xtask compat`: the build and the last step.
pub(crate) fn run_compat_alone(root: &Path, filter: &[String]) -> anyhow::Result<bool> {
    build_and(root, "compat: real clients", |whole, tidings| compat::step(whole, tidings, filter))
}

fn build_and(
    root: &Path,
    name: &str,
    step: impl FnOnce(&Whole<'_>, &Path) -> anyhow::Result<Outcome>,
) -> anyhow::Result<bool> {
    let whole = Whole::of(root)?;
    let mut report = Report::new(2);
    let mut built = None;
    report.step("build", || {
        let (outcome, programs) = steps::build(&whole)?;
        built = programs;
        Ok(outcome)
    })?;
    match built {
        Some(built) => report.step(name, || step(&whole, &built.tidings))?,
        None => report.leave_out(name, "the build failed"),
    }
    Ok(report.close())
}
