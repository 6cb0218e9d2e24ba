//! The step of real clients: sets up the tools, then runs `compat`'s tests against the binary.
//!
//! A client that is not there has its tests skipped, counted and named with the reason. Under
//! `CI=true` a missing kcat, Python, Go, Node, browser or OpenSSL is a failure, unless the machine has no network.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::report::Outcome;
use super::steps::{self, CLIENTS_TEST};
use super::tools::{self, Missing, Tool};
use super::whole::Whole;
use crate::process::{self, Show};

/// Tests that run at once beyond one for each processor: a third of what they do is to wait.
const MORE_AT_ONCE: usize = 1;

/// Tests that need the feature `tls`, beside Java.
const WITH_TLS: &str = "java::secured::tls::";

/// Tests that need a tool: their module, and the variable that hands the tool over.
struct Family {
    module: &'static str,
    variable: &'static str,
    required: bool,
    set_up: fn(&Path) -> anyhow::Result<Tool>,
}

/// Every family; CI insists on those that it can always set up.
fn families(in_ci: bool) -> [Family; 11] {
    let family = |module, variable, required, set_up| Family { module, variable, required, set_up };
    [
        family("kcat", "TIDINGS_COMPAT_KCAT", in_ci, |_| tools::kcat()),
        family("python", "TIDINGS_COMPAT_PYTHON", in_ci, tools::python),
        family("go", "TIDINGS_COMPAT_GO", in_ci, tools::go),
        family("node", "TIDINGS_COMPAT_NODE", in_ci, tools::node),
        family("browser", "TIDINGS_COMPAT_BROWSER", in_ci, tools::browser),
        family("java", "TIDINGS_COMPAT_JARS", false, tools::jars),
        family("postgres", "TIDINGS_COMPAT_POSTGRES", false, |_| tools::postgres()),
        family("mariadb", "TIDINGS_COMPAT_MARIADB", false, |_| tools::mariadb()),
        family("prometheus", "TIDINGS_COMPAT_PROMETHEUS", false, |_| tools::prometheus()),
        family("apart", "TIDINGS_COMPAT_NETWORKS", false, |_| tools::networks()),
        family("full_disk", "TIDINGS_COMPAT_UNSHARE", false, |_| tools::small_disk()),
    ]
}

pub(super) fn step(
    whole: &Whole<'_>,
    tidings: &Path,
    filter: &[String],
) -> anyhow::Result<Outcome> {
    let in_ci = std::env::var("CI").is_ok_and(|said| said == "true");
    let families = families(in_ci);
    // Most of it is waiting for a network, so they are set up side by side.
    let tools = thread::scope(|scope| {
        let set_up = |family: &Family| {
            let set_up = family.set_up;
            let root = whole.root;
            scope.spawn(move || set_up(root))
        };
        let running: Vec<_> = families.iter().map(set_up).collect();
        let ended = running.into_iter().map(|one| one.join().expect("a set-up does not panic"));
        ended.collect::<anyhow::Result<Vec<Tool>>>()
    })?;

    let mut test = whole.cargo("test");
    test.args(["--test", CLIENTS_TEST, "--"]).args(filter);
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    test.env("RUST_TEST_THREADS", (processors + MORE_AT_ONCE).to_string());
    test.env("TIDINGS_BINARY", tidings);
    let mut missing = Outcome::default();
    if let Some(why) = whole.without_tls() {
        test.args(["--skip", WITH_TLS]);
        missing.add(without(WITH_TLS, why, in_ci));
    }
    for (family, tool) in families.iter().zip(tools) {
        match tool {
            Tool::Found(path) => {
                test.env(family.variable, path);
            }
            Tool::Missing(why) => {
                test.args(["--skip", &format!("{}::", family.module)]);
                missing.add(without(family.module, &why, family.required));
            }
        }
    }

    let ended = process::run(&mut test, Show::Both)?;
    let mut outcome = steps::outcome_of_tests(&ended);
    if filter.is_empty() {
        outcome.skipped += super::libtest::count(&ended.stdout).filtered_out;
    }
    outcome.add(missing);
    Ok(outcome)
}

/// What the absence of a family means: its tests are counted as skipped where they are filtered.
fn without(module: &str, why: &Missing, required: bool) -> Outcome {
    let line = format!("compat {module}: {}", why.reason);
    if required && !why.offline {
        return Outcome { failed: 1, failures: vec![line], ..Outcome::default() };
    }
    Outcome { left_out: vec![line], ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_client_fails_only_where_it_is_required_and_could_be_had() {
        let table =
            [(true, false, 1, 0), (true, true, 0, 1), (false, false, 0, 1), (false, true, 0, 1)];
        for (required, offline, failed, left_out) in table {
            let outcome = without(
                "kcat",
                &Missing { reason: "kcat is not installed".into(), offline },
                required,
            );
            assert_eq!(
                (outcome.failed, outcome.left_out.len() as u64),
                (failed, left_out),
                "required {required}, offline {offline}"
            );
        }
    }
}
