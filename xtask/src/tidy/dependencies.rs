//! Who may depend on whom. The table is data, here and nowhere else; docs/architecture.md explains it.
//!
//! Normal and build dependencies are held to the table; a crate's tests may use more, except for
//! what `ONLY_IN` keeps to its own.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::Finding;
use crate::process;

/// What a crate may use of ours; a crate that is not listed may use nothing of ours.
const MAY_USE: &[(&str, &[&str])] = &[
    ("tidings-wire", &[]),
    ("tidings-log", &[]),
    ("tidings-inspect", &["tidings-log"]),
    ("tidings-coordinator", &[]),
    ("tidings-schema", &[]),
    ("tidings-decode", &["tidings-schema"]),
    ("tidings-broker", &["tidings-log", "tidings-coordinator", "tidings-schema"]),
    ("tidings-node", &["tidings-broker", "tidings-log"]),
    ("tidings-server", &["tidings-wire", "tidings-node", "tidings-broker"]),
    ("tidings-engine", &["tidings-node"]),
    ("tidings-conformance", &["tidings-engine"]),
    ("tidings-derive", &[]),
    ("tidings", &["tidings-derive", "tidings-engine", "tidings-schema"]),
    ("tidings-slo", &["tidings"]),
    ("tidings-otlp", &[]),
    ("tidings-terminal", &[]),
    ("tidings-streams", &["tidings", "tidings-engine"]),
    ("tidings-gateway", &["tidings", "tidings-decode", "tidings-engine", "tidings-schema"]),
    (
        "tidings-console",
        &[
            "tidings",
            "tidings-decode",
            "tidings-engine",
            "tidings-gateway",
            "tidings-schema",
            "tidings-slo",
        ],
    ),
];

/// What an example may use of ours: what an application has.
const EXAMPLES_MAY_USE: &[&str] = &["tidings", "tidings-engine", "tidings-streams"];

/// Outside the table: the binary wires everything; the tools look at everything.
const UNBOUND: &[&str] =
    &["tidings-cli", "tidings-sim", "tidings-compat", "tidings-bench", "tidings-fuzz", "xtask"];

/// Pure crates: values in, values out.
pub(super) const PURE: &[&str] = &[
    "tidings-wire",
    "tidings-log",
    "tidings-inspect",
    "tidings-coordinator",
    "tidings-schema",
    "tidings-broker",
];

/// What a pure crate may use from outside: libraries that only compute.
const PURE_MAY_USE: &[&str] = &[
    "bytes",
    "crc32c",
    "flate2",
    "lz4_flex",
    "regex",
    "serde",
    "serde_json",
    "sha2",
    "snap",
    "thiserror",
    "zstd",
];

/// Outside crates that only some of ours may use, tests included.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("axum", &["tidings-gateway", "tidings-console", "tidings-cli"]),
    ("clap", &["tidings-cli", "tidings-terminal", "tidings-bench", "tidings-sim"]),
    ("anyhow", &["tidings-cli", "tidings-compat", "tidings-bench", "tidings-sim", "xtask"]),
    ("apache-avro", &["tidings-decode"]),
    ("protox", &["tidings-decode"]),
    ("prost-reflect", &["tidings-decode"]),
    ("rdkafka", &["tidings-engine", "tidings-compat", "tidings-bench"]),
];

/// Outside crates that no product code may use: as an oracle in tests they are excellent, in the path
/// of bytes from outside they abort on a count that is too large.
const ONLY_IN_TESTS: &[&str] = &["kafka-protocol"];

/// A package of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Clone)]
pub(super) struct Package {
    name: String,
    /// From the root, with `/`.
    manifest: String,
    manifest_text: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone)]
struct Dependency {
    name: String,
    only_tests: bool,
}

pub(super) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let ended = process::run(
        process::cargo(root).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]),
        process::Show::Nothing,
    )?;
    anyhow::ensure!(ended.success, "`cargo metadata` failed:\n{}", ended.stderr);
    let metadata: Value = serde_json::from_str(&ended.stdout).context("cargo metadata's answer")?;
    let packages = metadata["packages"].as_array().context("no packages in cargo metadata")?;
    packages.iter().map(|package| read_package(root, package)).collect()
}

fn read_package(root: &Path, package: &Value) -> anyhow::Result<Package> {
    let path = Path::new(package["manifest_path"].as_str().context("no manifest_path")?);
    let dependencies = package["dependencies"].as_array().context("no dependencies")?;
    Ok(Package {
        name: package["name"].as_str().context("no name")?.to_owned(),
        manifest: path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/"),
        manifest_text: std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        dependencies: dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                only_tests: dependency["kind"].as_str() == Some("dev"),
            })
            .collect(),
    })
}

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let Some(instead) = refusal(package, dependency, &ours) else { continue };
            findings.push(Finding::new(
                &package.manifest,
                line_of(&package.manifest_text, &dependency.name),
                format!("{} must not know {}", package.name, dependency.name),
                instead,
            ));
        }
    }
    findings
}

/// What to do instead when the table does not allow `dependency`.
fn refusal(package: &Package, dependency: &Dependency, ours: &[&str]) -> Option<String> {
    let name = dependency.name.as_str();
    if let Some((_, users)) = ONLY_IN.iter().find(|(only, _)| *only == name)
        && !users.contains(&package.name.as_str())
    {
        return Some(format!("only {} may use it", users.join(", ")));
    }
    if ONLY_IN_TESTS.contains(&name) && !dependency.only_tests {
        return Some("only tests may use it".to_owned());
    }
    if dependency.only_tests || UNBOUND.contains(&package.name.as_str()) {
        return None;
    }
    if ours.contains(&name) {
        let allowed = may_use(package);
        let list = if allowed.is_empty() { "nothing of ours".into() } else { allowed.join(", ") };
        return (!allowed.contains(&name)).then(|| format!("it may use {list}"));
    }
    let impure = PURE.contains(&package.name.as_str()) && !PURE_MAY_USE.contains(&name);
    impure.then(|| "a pure crate only uses libraries that compute (PURE_MAY_USE)".to_owned())
}

fn may_use(package: &Package) -> &'static [&'static str] {
    if package.manifest.starts_with("examples/") {
        return EXAMPLES_MAY_USE;
    }
    MAY_USE.iter().find(|(name, _)| *name == package.name).map_or(&[], |(_, allowed)| allowed)
}

fn line_of(manifest: &str, dependency: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    manifest.lines().position(starts).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, dependencies: &[(&str, bool)]) -> Package {
        let lines: Vec<String> =
            dependencies.iter().map(|(name, _)| format!("{name}.workspace = true")).collect();
        Package {
            name: name.into(),
            manifest: format!("{folder}/Cargo.toml"),
            manifest_text: format!("[dependencies]\n{}", lines.join("\n")),
            dependencies: dependencies
                .iter()
                .map(|(name, only_tests)| Dependency {
                    name: (*name).into(),
                    only_tests: *only_tests,
                })
                .collect(),
        }
    }

    #[test]
    fn the_table_is_held() {
        let workspace = [
            package("tidings-log", "crates/log", &[("bytes", false), ("tokio", false)]),
            package("tidings-wire", "crates/wire", &[("kafka-protocol", true)]),
            package("tidings-node", "crates/node", &[("tidings-log", false), ("tokio", false)]),
            package(
                "tidings-server",
                "crates/server",
                &[("axum", false), ("kafka-protocol", false)],
            ),
            package(
                "tidings-engine",
                "crates/engine",
                &[("tidings-node", false), ("tidings-server", false), ("tidings-wire", true)],
            ),
            package(
                "tidings-shop",
                "examples/shop",
                &[("tidings", false), ("tidings-node", false)],
            ),
            package("tidings", "crates/tidings", &[("rdkafka", true)]),
            package("tidings-new", "crates/new", &[("tidings-log", false)]),
            package("xtask", "xtask", &[("tidings-log", false), ("anyhow", false)]),
        ];
        let said: Vec<String> = check(&workspace).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "crates/log/Cargo.toml:3: tidings-log must not know tokio / a pure crate only uses \
                 libraries that compute (PURE_MAY_USE)",
                "crates/server/Cargo.toml:2: tidings-server must not know axum / only \
                 tidings-gateway, tidings-console, tidings-cli may use it",
                "crates/server/Cargo.toml:3: tidings-server must not know kafka-protocol / only \
                 tests may use it",
                "crates/engine/Cargo.toml:3: tidings-engine must not know tidings-server / it may \
                 use tidings-node",
                "examples/shop/Cargo.toml:3: tidings-shop must not know tidings-node / it may use \
                 tidings, tidings-engine, tidings-streams",
                "crates/tidings/Cargo.toml:2: tidings must not know rdkafka / only tidings-engine, \
                 tidings-compat, tidings-bench may use it",
                "crates/new/Cargo.toml:2: tidings-new must not know tidings-log / it may use \
                 nothing of ours",
            ]
        );
    }

    #[test]
    fn the_table_has_no_cycle() {
        for (at, (name, allowed)) in MAY_USE.iter().enumerate() {
            for used in *allowed {
                let place = MAY_USE.iter().position(|(other, _)| other == used);
                assert!(place.is_some_and(|place| place < at), "{name} stands before {used}");
            }
        }
    }
}
