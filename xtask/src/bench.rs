//! The benchmarks: forwarded to `tidings-bench`, for whose `peers` the binary is built and Apache Kafka
//! is fetched first; with `--tansu` that is compiled from the package registry, too.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::process::{self, Profile};
use crate::test;

const TANSU_VERSION: &str = "0.6.0";

pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<bool> {
    if arguments.first().is_none_or(|first| first != "peers") {
        return process::forward(root, "tidings-bench", Profile::Release, arguments, &[]);
    }
    eprintln!("building the binary (release)");
    let mut build = process::cargo(root);
    build.args(["build", "--release", "--quiet", "--package", "tidings-cli"]);
    ensure!(build.status().context("could not start cargo")?.success(), "it does not build");
    let own = std::env::current_exe().context("this program's own path")?;
    let target = own.parent().and_then(Path::parent).context("no target folder")?;
    let binary = target.join("release/tidings");

    let jars = test::jars_of_kafka(root)?;
    let mut variables = vec![("TIDINGS_BINARY", binary.as_os_str())];
    match &jars {
        Ok(jars) => variables.push(("TIDINGS_COMPAT_JARS", OsStr::new(jars))),
        Err(reason) => eprintln!("without Apache Kafka: {reason}"),
    }
    let (with_tansu, arguments): (Vec<String>, Vec<String>) =
        arguments.iter().cloned().partition(|argument| argument == "--tansu");
    let tansu = if with_tansu.is_empty() { None } else { tansu(root, target)? };
    variables.extend(tansu.as_ref().map(|path| ("TIDINGS_BENCH_TANSU", path.as_os_str())));
    process::forward(root, "tidings-bench", Profile::Release, &arguments, &variables)
}

/// Compiles Tansu, unless it has been; none where it does not build.
fn tansu(root: &Path, target: &Path) -> anyhow::Result<Option<PathBuf>> {
    let place = target.join("bench/tansu");
    let binary = place.join("bin/tansu");
    if !binary.exists() {
        eprintln!("compiling Tansu {TANSU_VERSION}: about 10 minutes on two processors");
        let mut install = process::cargo(root);
        install.args(["install", "tansu", "--version", TANSU_VERSION]);
        install.args(["--no-default-features", "--features", "dynostore", "--root"]).arg(&place);
        install.arg("--target-dir").arg(place.join("build"));
        if !install.status().context("could not start cargo")?.success() {
            eprintln!("without Tansu: it does not build here");
            return Ok(None);
        }
    }
    Ok(Some(binary))
}
