//! Every crate has its place in docs/architecture.md.

use std::collections::BTreeSet;

use super::Finding;
use crate::workspace::SourceFile;

const PAGE: &str = "docs/architecture.md";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let page = files.iter().find(|file| file.path == PAGE).map_or("", |file| file.text.as_str());
    let crates: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.name() == "Cargo.toml")
        .filter_map(|file| file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
        .collect();
    crates
        .into_iter()
        .filter(|name| !page.contains(&format!("crates/{name}")))
        .map(|name| {
            let what = format!("crates/{name} is not in it");
            Finding::new(PAGE, 1, what, "say what the crate does and what it must not know")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, places};
    use super::*;

    #[test]
    fn a_crate_without_a_place_is_found() {
        let files = [
            file("crates/log/Cargo.toml", ""),
            file("crates/node/Cargo.toml", ""),
            file("sim/Cargo.toml", ""),
            file(PAGE, "## `crates/log`\n"),
        ];
        assert_eq!(places(&check(&files)), ["docs/architecture.md:1"]);
        assert_eq!(check(&files)[0].what, "crates/node is not in it");
    }
}
