//! `tidings-bench peers`: the binary beside Apache Kafka, under the same load, in one run.
//!
//! Each round starts every peer anew, one after the other, so that all of them meet the same minutes
//! of the machine. Beside them stands what the disk or the client can do at most, measured in the same
//! round. The client shares the processors with the peer: where its limit is near, the peer's is not
//! seen. Kafka as it comes acknowledges what the page cache has; this project's only mode is the disk.

mod crowd;
mod generator;
mod light;
mod measure;
mod order;
mod peer;
mod process;
mod report;
mod services;
mod sink;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use measure::{MEASUREMENTS, Measurement, Round};
use peer::{Kind, Programs};
use report::Report;

const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(6);

const USAGE: &str =
    "usage: tidings-bench peers [--dir DIR] [--rounds N] [--seconds N] [MEASUREMENT...]
  --dir DIR    data below DIR (default: the system's temporary directory)
  --rounds N   rounds whose median is shown (default: 3)
  --seconds N  how long one measurement takes (default: 6)
TIDINGS_BINARY names the binary, TIDINGS_COMPAT_JARS the folder of Apache Kafka's jars, TIDINGS_BENCH_TANSU Tansu's binary
(`cargo xtask bench peers` sets them; Tansu's with --tansu, which compiles it: about 10 minutes)
measurements (default: all):";

struct Wanted {
    dir: PathBuf,
    rounds: usize,
    span: Duration,
    measurements: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let wanted = parse(arguments)?;
    let programs = programs()?;
    if programs.jars.is_none() {
        eprintln!("Apache Kafka is left out: TIDINGS_COMPAT_JARS is not set");
    }
    tidings_node::raise_open_files().context("the limit of open files cannot be raised")?;
    let mut report = Report::default();
    let ended = rounds(&wanted, &programs, &mut report);
    // What was measured before a failure is shown, too.
    report.print();
    ended
}

fn rounds(wanted: &Wanted, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    for number in 1..=wanted.rounds {
        for measurement in MEASUREMENTS.iter().filter(|measurement| wanted.has(measurement)) {
            eprintln!("round {number} of {}: {}", wanted.rounds, measurement.name);
            measure(measurement, wanted, programs, report).with_context(|| measurement.name)?;
        }
    }
    Ok(())
}

fn measure(
    measurement: &Measurement,
    wanted: &Wanted,
    programs: &Programs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut in_folder = |run: &dyn Fn(&mut Round<'_>) -> anyhow::Result<()>| {
        let folder = tempfile::Builder::new().prefix("tidings-bench-").tempdir_in(&wanted.dir)?;
        let dir = folder.path().to_path_buf();
        run(&mut Round { programs, dir, span: wanted.span, report })?;
        anyhow::Ok(folder.close()?)
    };
    in_folder(&measurement.limit)?;
    for kind in Kind::ALL {
        if !programs.has(kind) {
            continue;
        }
        let measured = in_folder(&|round| (measurement.peer)(round, kind));
        match measured.with_context(|| kind.name()) {
            // It does not do all that is measured.
            Err(error) if kind == Kind::Tansu => eprintln!("  left out: {error:#}"),
            measured => measured?,
        }
    }
    Ok(())
}

fn programs() -> anyhow::Result<Programs> {
    let tidings = std::env::var_os("TIDINGS_BINARY").context("TIDINGS_BINARY is not set")?;
    let jars = std::env::var_os("TIDINGS_COMPAT_JARS").map(PathBuf::from);
    let tansu = std::env::var_os("TIDINGS_BENCH_TANSU").map(PathBuf::from);
    Ok(Programs { tidings: tidings.into(), jars, tansu })
}

impl Wanted {
    fn has(&self, measurement: &Measurement) -> bool {
        self.measurements.is_empty() || self.measurements.iter().any(|n| n == measurement.name)
    }
}

fn parse(arguments: &[String]) -> anyhow::Result<Wanted> {
    let mut wanted =
        Wanted { dir: std::env::temp_dir(), rounds: ROUNDS, span: SPAN, measurements: Vec::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} what?"));
        match argument.as_str() {
            "--dir" => wanted.dir = value()?.into(),
            "--rounds" => wanted.rounds = value()?.parse()?,
            "--seconds" => wanted.span = Duration::from_secs(value()?.parse()?),
            name if MEASUREMENTS.iter().any(|known| known.name == name) => {
                wanted.measurements.push(name.to_owned());
            }
            _ => {
                let names: Vec<&str> = MEASUREMENTS.iter().map(|known| known.name).collect();
                bail!("{argument} is not known\n{USAGE} {}", names.join(" "));
            }
        }
    }
    Ok(wanted)
}
