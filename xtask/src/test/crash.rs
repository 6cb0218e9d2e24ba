//! The step of crashes: kills, power cuts and failing disks against the built binary.
//!
//! What the machine does not allow, mounting images, is left out, counted and named with the reason.

use std::path::Path;

use super::report::Quiet;
use super::steps::{self, CRASH_TEST};
use super::tools::{self, Tool};
use super::whole::Whole;
use crate::process::{self, Show};

/// Tests that mount images.
const ON_IMAGES: [&str; 2] = ["power_cut::", "thin_disk::"];

pub(super) fn step(
    whole: &Whole<'_>,
    tidings: &Path,
    rounds: u64,
    show: Show,
) -> anyhow::Result<Quiet> {
    let mut test = whole.cargo("test");
    test.args(["--test", CRASH_TEST, "--", "--nocapture"]);
    // One after the other: a frozen server or a broken disk should be no other test's load.
    test.arg("--test-threads=1");
    test.env("TIDINGS_BINARY", tidings).env("TIDINGS_CRASH_ROUNDS", rounds.to_string());
    let mut left_out = Vec::new();
    match (tools::loop_disk()?, tools::small_disk()?) {
        (Tool::Found(_), Tool::Found(unshare)) => {
            test.env("TIDINGS_COMPAT_UNSHARE", unshare);
        }
        (Tool::Missing(why), _) | (_, Tool::Missing(why)) => {
            for module in ON_IMAGES {
                test.args(["--skip", module]);
            }
            left_out.push(format!("power cuts and failing disks: {}", why.reason));
        }
    }
    let ended = process::run(&mut test, show)?;
    let mut outcome = steps::outcome_of_tests(&ended);
    outcome.skipped += super::libtest::count(&ended.stdout).filtered_out;
    outcome.left_out.extend(left_out);
    // What a failed one says is an error's, as nothing is captured.
    Ok(Quiet { outcome, output: ended.stdout + &ended.stderr })
}
