//! The step of real clients: sets up the tools, then runs `compat`'s tests against the binary.
//!
//! A client that is not there has its tests skipped, counted and named with the reason. Under
//! `CI=true` a missing kcat, Python or Go is a failure, unless the machine has no network.

use std::path::Path;

use super::report::Outcome;
use super::steps::{self, CLIENTS_TEST};
use super::tools::{self, Missing, Tool};
use crate::process::{self, Show};

/// Tests that need a tool: their module, the tool, and the variable that hands it over.
struct Family {
    module: &'static str,
    tool: Tool,
    variable: &'static str,
    required: bool,
}

pub(super) fn step(root: &Path, tidings: &Path, filter: &[String]) -> anyhow::Result<Outcome> {
    let in_ci = std::env::var("CI").is_ok_and(|said| said == "true");
    let families = [
        Family {
            module: "kcat",
            tool: tools::kcat()?,
            variable: "TIDINGS_COMPAT_KCAT",
            required: in_ci,
        },
        Family {
            module: "python",
            tool: tools::python(root)?,
            variable: "TIDINGS_COMPAT_PYTHON",
            required: in_ci,
        },
        Family {
            module: "go",
            tool: tools::go(root)?,
            variable: "TIDINGS_COMPAT_GO",
            required: in_ci,
        },
        Family {
            module: "java",
            tool: tools::jars(root)?,
            variable: "TIDINGS_COMPAT_JARS",
            required: false,
        },
        Family {
            module: "full_disk",
            tool: tools::small_disk()?,
            variable: "TIDINGS_COMPAT_UNSHARE",
            required: false,
        },
    ];

    let mut test = process::cargo(root);
    test.args(["test", "--workspace", "--test", CLIENTS_TEST, "--"]).args(filter);
    test.env("TIDINGS_BINARY", tidings);
    let mut missing = Outcome::default();
    for family in families {
        match family.tool {
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
