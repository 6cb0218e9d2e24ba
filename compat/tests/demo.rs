//! The shop through the built binary: it reconciles on fresh data, on a second start over the same
//! data, and after `kill -9` at several moments.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tidings_compat::{Conversation, binary, eventually};

/// The whole month at full speed takes seconds; a debug build on two busy cores takes longer.
const MONTH_WITHIN: Duration = Duration::from_secs(180);

fn shop(data: &Path) -> anyhow::Result<Conversation> {
    let mut command = Command::new(binary()?);
    command.args(["up", "--demo", "shop", "--speed", "max", "--until-done"]);
    command.args(["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
    command.arg("--data").arg(data);
    Conversation::start(&mut command, MONTH_WITHIN)
}

/// Runs to the end and returns the figures, without the time it took.
fn figures(data: &Path) -> anyhow::Result<Value> {
    let said = shop(data)?.finish()?.success()?;
    let ready = said.first().context("no ready line")?;
    ensure!(ready.starts_with("{\"event\":\"ready\""), "{ready}");
    let mut figures: Value = serde_json::from_str(&said[1..].join("\n"))?;
    let seconds = figures.as_object_mut().and_then(|f| f.remove("seconds"));
    ensure!(seconds.is_some_and(|s| s.is_f64()), "no seconds in {figures}");
    ensure!(figures["reconciled"] == true, "{figures:#}");
    Ok(figures)
}

/// Bytes in the partitions' segments.
fn logged(data: &Path) -> u64 {
    let folders = std::fs::read_dir(data).into_iter().flatten().flatten();
    let files = folders.flat_map(|f| std::fs::read_dir(f.path()).into_iter().flatten().flatten());
    files
        .filter(|f| f.path().extension().is_some_and(|e| e == "log"))
        .filter_map(|f| f.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[test]
fn a_second_start_over_the_same_data_changes_nothing() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let first = figures(&data)?;
    assert_eq!(
        ["lines", "messages", "invoices", "malformed", "chargeable_pence", "dead_letters"]
            .map(|name| first[name].as_i64().unwrap_or(-1)),
        [65_004, 3_113, 2_025, 149, 57_133_291, 326]
    );
    assert_eq!(figures(&data)?, first);
    Ok(())
}

#[test]
fn it_reconciles_after_kill_9_at_several_moments() -> anyhow::Result<()> {
    let whole = TempDir::new()?;
    figures(whole.path())?;
    let whole = logged(whole.path());
    let folder = TempDir::new()?;
    for percent in [2, 15, 30, 50, 65, 80, 95] {
        let running = shop(folder.path())?;
        let reached = eventually(MONTH_WITHIN, || {
            (logged(folder.path()) >= whole * percent / 100).then_some(())
        });
        reached.with_context(|| format!("it never wrote {percent} % of the month"))?;
        // Dropped conversations are killed with SIGKILL.
        drop(running);
    }
    figures(folder.path())?;
    Ok(())
}
