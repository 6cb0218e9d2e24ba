//! `cargo xtask tidy`: the project's own habits, checked.
//!
//! Each habit is a module with a pure core, `files in, findings out`, and a table for a test. What
//! rustc, clippy and rustfmt already check is not checked again here.

mod architecture;
mod code;
mod crate_roots;
mod dependencies;
mod links;
mod names;
mod sizes;
mod words;

use std::fmt;
use std::path::Path;

use crate::args::Rebase;
use crate::workspace;

/// One breach of one habit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 1 also stands for the file as a whole.
    line: usize,
    what: String,
    instead: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), instead: instead.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} / {}", self.path, self.line, self.what, self.instead)
    }
}

/// Prints every finding; true when there is none.
pub(crate) fn run(root: &Path, rebase: Rebase) -> anyhow::Result<bool> {
    let files = workspace::read_sources(root)?;
    let packages = dependencies::packages(root)?;
    let baseline = sizes::Baseline::load(root)?;
    let measured = sizes::measure(&files);
    let baseline = match rebase {
        Rebase::No => baseline,
        Rebase::Lower => baseline.lowered(&measured).store(root)?,
    };

    let mut findings = dependencies::check(&packages);
    findings.extend(sizes::check(&measured, &baseline));
    findings.extend(names::check(&files));
    findings.extend(words::check(&files));
    findings.extend(crate_roots::check(&files));
    findings.extend(links::check(&files, |path| root.join(path).exists()));
    findings.extend(architecture::check(&files));
    findings.sort();

    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, nothing to say", files.len()),
        1 => println!("tidy: {} files, 1 finding", files.len()),
        n => println!("tidy: {} files, {n} findings", files.len()),
    }
    Ok(findings.is_empty())
}

#[cfg(test)]
mod testing {
    use super::Finding;
    use crate::workspace::SourceFile;

    pub(super) fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    /// `path:line` of each finding, for comparison with a table.
    pub(super) fn places(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|found| format!("{}:{}", found.path, found.line)).collect()
    }
}
