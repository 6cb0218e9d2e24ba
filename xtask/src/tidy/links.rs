//! Relative links in Markdown lead somewhere.

use super::Finding;
use crate::workspace::SourceFile;

/// `exists` answers for a path from the root.
pub(super) fn check(files: &[SourceFile], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (at, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                let path = resolve(folder, target);
                if !exists(&path) {
                    let what = format!("the link leads to {path}, which is not there");
                    findings.push(Finding::new(&file.path, at + 1, what, "link what exists"));
                }
            }
        }
    }
    findings
}

/// The relative targets of the links in a line, without their anchors.
fn targets(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(|target| target.split('#').next().unwrap_or(target).trim())
        .filter(|target| !target.is_empty())
        .collect()
}

/// `target` seen from `folder`, as a path from the root.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    #[test]
    fn broken_links_are_found() {
        let text = "\
[a](architecture.md#log) and [b](../README.md)
[gone](gone.md) [web](https://example.com/x) [here](#top)
```
[in a fence](nowhere.md)
```
[up](../crates/./log/) [far](../../README.md)
";
        let files = [file("docs/index.md", text)];
        let there = ["docs/architecture.md", "README.md", "crates/log"];
        assert_eq!(places(&check(&files, |path| there.contains(&path))), ["docs/index.md:2"]);
    }
}
