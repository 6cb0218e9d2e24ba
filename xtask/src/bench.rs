//! The benchmarks: forwarded to `tidings-bench`, for whose `peers` the binary is built and Apache Kafka
//! is fetched first.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::process::{self, Profile};
use crate::test;

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
    process::forward(root, "tidings-bench", Profile::Release, arguments, &variables)
}
