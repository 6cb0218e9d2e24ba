//! Every place in the log's sources from which the disk is changed, and which of them a run reached.
//!
//! The places are found in the source text: method calls of [`CHANGING`] names outside of tests and
//! of the disk itself. A run's calls are told by a backtrace: the innermost frame inside the log's sources
//! and outside of its disk module. Needs the line tables that the `dev` profile has.

use std::backtrace::Backtrace;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// How a call that changes a disk looks in the log's sources.
const CHANGING: &[&str] = &[
    ".write_at(",
    ".write_vectored_at(",
    ".create_dir_all(",
    ".remove_file(",
    ".remove_dir_all(",
    ".rename(",
    ".sync_dir(",
    ".sync_all()",
    ".sync()",
    ".truncate(",
    ".open(",
];
/// Folders of the log's sources that make no calls of the running log.
const LEFT_OUT: &[&str] = &["disk", "tests"];
/// Lines that one call may be spread over.
const CALL_LINES_MAX: usize = 6;

/// Calls that histories do not come to, with the tests of the log that do: path, text, test.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("compaction/output.rs", "drop(disk.remove_file(", "compaction::tests"),
    ("compaction/swap.rs", "disk.remove_file(&format!(\"{}/{name}\"", "compaction::tests"),
    ("compaction/swap.rs", "disk.remove_file(&format!(\"{dir}/{name}\"", "compaction::tests"),
    ("partition_log/aside.rs", "", "store::tests::cut"),
    ("partition_log/recovery/aborted.rs", "disk.open(", "store::tests::opened"),
    // Needs a checkpoint that counts aborted transactions in a segment which has lost their markers.
    ("partition_log/recovery/aborted.rs", "disk.remove_file(", "none"),
    ("partition_log/recovery/rest.rs", "file.truncate(position)", "store::tests::cut"),
    // Needs more files in a round than a history's logs have.
    ("store/round.rs", "sync_all()", "store::tests::parts"),
];
/// The log's own function of that name, not the disk's.
const NOT_OF_THE_DISK: &str = "recovery.sync()";

/// A line of the log's sources: path below `crates/log/src`, number from 1.
pub type Line = (String, u32);

/// A place from which the disk is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub path: String,
    /// First and last line of the call.
    pub lines: (u32, u32),
    pub text: String,
}

/// Lines of the log that called the disk.
#[derive(Debug, Default)]
pub struct Sites {
    lines: Mutex<BTreeSet<Line>>,
}

/// How many places there are, how many are left to the log's own tests, and which were not reached.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub sites: usize,
    pub elsewhere: usize,
    pub missed: Vec<Site>,
}

impl Site {
    fn is_elsewhere(&self) -> bool {
        let named =
            |(path, text, _): &(&str, &str, &str)| self.path == *path && self.text.contains(text);
        ELSEWHERE.iter().any(named)
    }
}

impl Sites {
    /// Notes the caller's place.
    pub fn hit(&self) {
        let trace = Backtrace::force_capture().to_string();
        if let Some(line) = innermost(&trace) {
            self.lines.lock().expect("no holder of the lines panics").insert(line);
        }
    }

    /// What of `sites` was reached.
    pub fn coverage(&self, sites: &[Site]) -> Coverage {
        let lines = self.lines.lock().expect("no holder of the lines panics");
        let hit = |site: &Site| {
            lines.iter().any(|(path, line)| {
                *path == site.path && (site.lines.0..=site.lines.1).contains(line)
            })
        };
        let missed: Vec<&Site> = sites.iter().filter(|site| !hit(site)).collect();
        let (elsewhere, missed): (Vec<_>, Vec<_>) =
            missed.into_iter().partition(|site| site.is_elsewhere());
        let missed = missed.into_iter().cloned().collect();
        Coverage { sites: sites.len(), elsewhere: elsewhere.len(), missed }
    }
}

/// The innermost frame in the log's sources outside of its disk, from a backtrace's text.
fn innermost(trace: &str) -> Option<Line> {
    const SOURCES: &str = "crates/log/src/";
    for line in trace.lines() {
        let Some(place) = line.trim_start().strip_prefix("at ") else { continue };
        let Some(at) = place.find(SOURCES) else { continue };
        let mut parts = place[at + SOURCES.len()..].split(':');
        let path = parts.next()?;
        if LEFT_OUT.iter().any(|folder| path.starts_with(&format!("{folder}/"))) {
            continue;
        }
        return Some((path.to_owned(), parts.next()?.parse().ok()?));
    }
    None
}

/// Every place below `sources` that changes the disk.
pub fn in_sources(sources: &Path) -> io::Result<Vec<Site>> {
    let mut texts = BTreeMap::new();
    read_folder(sources, "", &mut texts)?;
    let mut sites = Vec::new();
    for (path, text) in &texts {
        sites.extend(in_text(path, text));
    }
    Ok(sites)
}

fn read_folder(
    sources: &Path,
    folder: &str,
    texts: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for entry in fs::read_dir(sources.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) {
                read_folder(sources, &path, texts)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            texts.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

fn in_text(path: &str, text: &str) -> Vec<Site> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines: Vec<&str> = product.lines().collect();
    let mut sites = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        let calls = CHANGING.iter().filter(|name| code.contains(**name));
        for name in calls.filter(|_| !code.contains(NOT_OF_THE_DISK)) {
            let (call, last) = whole_call(&lines, at, code.find(name).unwrap_or(0));
            if changes_disk(name, &call) {
                // A chain's frame is reported at the line of any of its links.
                let first =
                    if code.trim_start().starts_with('.') { at.saturating_sub(1) } else { at };
                sites.push(Site {
                    path: path.to_owned(),
                    lines: (first as u32 + 1, last as u32 + 1),
                    text: line.trim().to_owned(),
                });
            }
        }
    }
    sites
}

/// The text of a call from its dot to what follows its closing bracket, and its last line.
fn whole_call(lines: &[&str], at: usize, from: usize) -> (String, usize) {
    let mut call = String::new();
    let mut depth = 0;
    for (ahead, line) in lines.iter().enumerate().skip(at).take(CALL_LINES_MAX) {
        let code = line.split("//").next().unwrap_or(line);
        let code = if ahead == at { &code[from..] } else { code.trim_start() };
        call.push_str(code);
        for letter in code.chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if letter == ')' && depth == 0 {
                return (call, ahead);
            }
        }
    }
    (call, at)
}

/// Whether a call by that name is one of a disk that changes something.
fn changes_disk(name: &str, call: &str) -> bool {
    match name {
        // A vector's `truncate` has no outcome.
        ".truncate(" => !call.trim_end().ends_with(");"),
        ".open(" => call.contains("OpenMode::Create") || call.contains("OpenMode::Durable"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_of_the_log_is_found() {
        let trace = "\
   0: std::backtrace::Backtrace::create
             at /rustc/abc/library/std/src/backtrace.rs:331:13
   3: tidings_sim::disk::SimDisk::call
             at ./sim/src/disk.rs:150:20
   4: <tidings_log::disk::Shared as X>::f
             at ./crates/log/src/disk/mod.rs:9:1
   5: tidings_log::journal::ring::grow
             at ./crates/log/src/journal/ring.rs:77:14
   6: tidings_log::store::Store::open
             at ./crates/log/src/store/mod.rs:12:1
";
        assert_eq!(innermost(trace), Some(("journal/ring.rs".to_owned(), 77)));
        assert_eq!(innermost("   0: main\n             at ./sim/src/main.rs:1:1"), None);
    }

    #[test]
    fn calls_that_change_the_disk_are_found_in_sources() {
        let text = "\
fn a(file: &dyn File) -> Result<(), Fault> {
    // file.sync()
    file.sync()?;
    bytes.truncate(4);
    file.truncate(4)?;
    file.write_vectored_at(
        &parts,
        0,
    )
}
fn b() {
    disk.open(path, OpenMode::Existing)?;
    self.disk
        .open(path, OpenMode::Create)
        .map(|file| file)
}
#[cfg(test)]
mod tests {
    fn c() { file.sync(); }
}
";
        let found: Vec<(u32, u32)> = in_text("x.rs", text).iter().map(|site| site.lines).collect();
        assert_eq!(found, [(3, 3), (5, 5), (6, 9), (13, 14)]);
    }

    #[test]
    fn what_was_not_reached_is_named() {
        let site = |lines| Site { path: "a.rs".into(), lines, text: "x".into() };
        let sites = Sites::default();
        sites.lines.lock().unwrap().insert(("a.rs".into(), 4));
        let coverage = sites.coverage(&[site((3, 5)), site((6, 6))]);
        assert_eq!((coverage.sites, coverage.missed), (2, vec![site((6, 6))]));
    }
}
