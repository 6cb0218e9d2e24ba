//! `tidings doctor`: looks at a cluster, a running node or a data directory, and says what would hurt.
//!
//! What can be seen is gathered first ([`facts`]); what it means is a function of it ([`findings`]). Whether a
//! service may do what it needs, and what the brokers' clocks say, shows only by trying ([`trial`]): a topic,
//! a group and a transaction of the doctor's own, which are taken away again.

mod facts;
mod findings;
mod lost;
mod trial;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use tidings_engine::Engine;
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Answer, Item, show};
use tidings_terminal::table::Look;

use super::log::count;
use crate::args::Doctor;
use crate::place::{Absent, Place, failed};
use facts::Facts;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    check: &'static str,
    /// What is so, with the numbers.
    finding: String,
    /// Topics, groups or brokers that it is about.
    names: Vec<String>,
    /// Why it hurts.
    why: String,
    #[serde(rename = "try")]
    hint: String,
}

impl Finding {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self::of(Level::Ok, check, finding, Vec::new())
    }

    fn of(
        level: Level,
        check: &'static str,
        finding: impl Into<String>,
        names: Vec<String>,
    ) -> Self {
        let (why, hint) = (String::new(), String::new());
        Self { level, check, finding: finding.into(), names, why, hint }
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

pub(crate) async fn doctor(said: Doctor) -> Result<ExitCode, Failure> {
    let place = Place::of(&said.engine);
    let engine = place.open(Absent::Refused).await?;
    // A directory asks nobody for permission, and has this machine's clock.
    let tries = !said.no_trial && matches!(place, Place::Cluster(_));
    let examined = examine(&engine, &said, tries).await;
    let closed = engine.close().await;
    let findings = examined?;
    closed.map_err(|error| failed("the data was not closed cleanly", &error))?;
    let findings = Findings(findings);
    show(said.output, &findings)?;
    Ok(if findings.those(Level::Error) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Findings(Vec<Finding>);

impl Findings {
    fn those(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }
}

/// The items are named by their checks.
impl Answer for Findings {
    fn document(&self) -> Value {
        let (errors, warnings) = (self.those(Level::Error), self.those(Level::Warning));
        json!({ "errors": errors, "warnings": warnings, "findings": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        self.0.iter().map(|finding| Item::new(finding.check, json!(finding))).collect()
    }

    fn text(&self, look: Look) -> String {
        let names = if look.wide { usize::MAX } else { NAMES_TOLD };
        let told: String = self.0.iter().map(|finding| told(finding, names)).collect();
        let (errors, warnings) = (self.those(Level::Error), self.those(Level::Warning));
        let (errors, warnings) = (count(errors as u64, "error"), count(warnings as u64, "warning"));
        format!("{told}\n{errors}, {warnings}\n")
    }
}

/// The worst first.
async fn examine(engine: &Engine, said: &Doctor, tries: bool) -> Result<Vec<Finding>, Failure> {
    let facts = Facts::gather(engine).await?;
    let outage_ms = i64::try_from(said.outage.0.as_millis()).unwrap_or(i64::MAX);
    let mut findings = findings::of(&facts, outage_ms);
    if tries {
        findings.extend(trial::trial(engine, &facts.cluster).await);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Ok(findings)
}

/// Names that are told in a line; `wide` and JSON have all.
const NAMES_TOLD: usize = 4;

fn told(finding: &Finding, names_told: usize) -> String {
    let Finding { level, check, finding: what, names, why, hint } = finding;
    let level = match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "ERROR",
    };
    let mut text = format!("{level:<9}{check:<14}{what}\n");
    let mut line = |said: String| text += &format!("{:23}{said}\n", "");
    if !names.is_empty() {
        let more = match names.len().saturating_sub(names_told) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let first: Vec<&str> = names.iter().take(names_told).map(String::as_str).collect();
        line(format!("in:  {}{more}", first.join(", ")));
    }
    if !why.is_empty() {
        line(format!("why: {why}"));
    }
    if !hint.is_empty() {
        line(format!("try: {hint}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_with_its_first_names_and_what_to_try() {
        let names = (0..6).map(|n| format!("t{n}")).collect();
        let finding = Finding::of(Level::Warning, "retention", "86400000 ms", names);
        let text = told(&finding.why("they go").hint("keep them"), NAMES_TOLD);
        let blank = " ".repeat(23);
        let wanted = format!(
            "warning  retention     86400000 ms\n{blank}in:  t0, t1, t2, t3 and 2 more\n\
             {blank}why: they go\n{blank}try: keep them\n"
        );
        assert_eq!(text, wanted);
        assert_eq!(told(&Finding::ok("brokers", "3"), NAMES_TOLD), "ok       brokers       3\n");
    }
}
