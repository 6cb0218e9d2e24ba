//! `docs/clients.md`: every client, its version, what it was seen to do.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::clients::{CLIENTS, Client, LeftOut, Version, scenarios};
use crate::own_file;

const HEAD: &str = "\
# Clients

<!-- Written from compat/src/clients.rs by its tests: UPDATE=1 cargo test -p tidings-compat. -->

Real clients, each in a fixed version, play the same scenarios against the binary with every
`cargo xtask test`. What each must see was recorded from Apache Kafka 4.2
(`compat/scenarios.json`); whoever wants to see it again sets `TIDINGS_COMPAT_BROKER` to the
address of a broker. java-3.9 is Apache Kafka's client of before the second protocol of transactions;
kcat is Debian's, on its old librdkafka.

## Scenarios

";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let scenarios = scenarios();
    for (name, about) in &scenarios {
        line(&mut page, format_args!("- **{name}**: {about}."));
    }
    page.push_str("\n## Matrix\n\n| client | version |");
    for (name, _) in &scenarios {
        line_part(&mut page, format_args!(" {name} |"));
    }
    page.push_str("\n|---|---|");
    page.push_str(&"---|".repeat(scenarios.len()));
    page.push('\n');
    for client in CLIENTS {
        line_part(&mut page, format_args!("| {} | {} |", client.name, version(client)));
        for (scenario, _) in &scenarios {
            line_part(&mut page, format_args!(" {} |", cell(client, scenario)));
        }
        page.push('\n');
    }
    page.push_str(
        "\n## What is left out\n\n| client | scenario | facts | why |\n|---|---|---|---|\n",
    );
    for client in CLIENTS {
        for left in client.left_out {
            left_out(&mut page, client.name, left);
        }
    }
    page
}

fn left_out(page: &mut String, client: &str, left: &LeftOut) {
    let facts = if left.facts.is_empty() { "all".to_owned() } else { left.facts.join(", ") };
    line(page, format_args!("| {client} | {} | {facts} | {} |", left.scenario, left.why));
}

/// Whether a client passes a scenario whole, in part, or not at all.
fn cell(client: &Client, scenario: &str) -> &'static str {
    if !client.plays().iter().any(|name| name == scenario) {
        return "–";
    }
    if client.left_out_of(scenario).next().is_some() { "in part" } else { "yes" }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    line_part(page, text);
    page.push('\n');
}

fn line_part(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

fn version(client: &Client) -> String {
    let found = match client.version {
        Version::Crate(name) => {
            word_after(&read("../Cargo.lock"), &format!("name = \"{name}\"\nversion = \""))
        }
        Version::Java(pom) => {
            word_after(&read(pom), "<artifactId>kafka-clients</artifactId>\n      <version>")
        }
        Version::System => Some("the system's".to_owned()),
        Version::Go(module) => word_after(&read("go/go.mod"), &format!("\t{module} v")),
        Version::Python(package) => {
            word_after(&read("python/requirements.txt"), &format!("{package}=="))
        }
        Version::Node(package) => {
            word_after(&read("node/package.json"), &format!("\"{package}\": \""))
        }
    };
    found.unwrap_or_else(|| panic!("no version of {} is written down", client.name))
}

/// The characters of a version behind the first place of `before`.
fn word_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect())
}

fn read(path: &str) -> String {
    let path = own_file(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where the page is.
pub fn place() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::facts_of;

    #[test]
    fn the_page_is_what_the_list_says() {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(place(), page()).expect("docs/clients.md is written");
        }
        let written = fs::read_to_string(place()).expect("docs/clients.md");
        assert!(written == page(), "run `UPDATE=1 cargo test -p tidings-compat`");
    }

    #[test]
    fn whatever_is_left_out_exists_and_something_is_left() {
        for left in CLIENTS.iter().flat_map(|client| client.left_out) {
            let facts = facts_of(left.scenario);
            let facts = facts.as_object().expect("a scenario of the list");
            assert!(left.facts.iter().all(|fact| facts.contains_key(*fact)), "{left:?}");
            assert!(left.facts.len() < facts.len(), "{left:?}");
        }
        for client in CLIENTS {
            for scenario in client.plays() {
                let left = client.must_see(&scenario);
                assert!(left.as_object().is_some_and(|left| !left.is_empty()), "{scenario}");
            }
        }
    }
}
