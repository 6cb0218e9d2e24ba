//! Objectives of services for who computes burn rates: Prometheus itself, Sloth, or anything that reads OpenSLO.

use std::collections::BTreeSet;

use tidings_slo::{self as slo, Objectives};
use tidings_terminal::failure::{Exit, Failure};

use super::{File, yaml};
use crate::args::SloFormat;

/// For services that are named, or of which something of their own is said; for Prometheus, for all. Sloth makes a document of
/// rules of each of its own, and Prometheus reads the first one of a file: so each service has a file there.
pub(super) fn files(
    format: SloFormat,
    objectives: &Objectives,
    named: &[String],
) -> Result<Vec<File>, Failure> {
    let services: BTreeSet<&str> =
        objectives.services().chain(named.iter().map(String::as_str)).collect();
    if format == SloFormat::Prometheus {
        let text = yaml::document(&slo::rules(objectives));
        return Ok(vec![File { path: "tidings-slo.rules.yml".into(), text }]);
    }
    if services.is_empty() {
        return Err(Failure::new(Exit::Usage, "no service is named")
            .why("these formats have a document for each service")
            .hint("--service NAME, or --slo 'NAME: success=99.9%'"));
    }
    if format == SloFormat::Openslo {
        let all = services.iter().flat_map(|service| slo::openslo(objectives, service));
        let all: Vec<String> = all.map(|document| yaml::document(&document)).collect();
        return Ok(vec![File { path: "tidings-openslo.yml".into(), text: all.join("---\n") }]);
    }
    let of = |service: &&str| {
        let path = format!("tidings-sloth-{}.yml", in_a_path(service)?).into();
        Ok(File { path, text: yaml::document(&slo::sloth(objectives, service)) })
    };
    services.iter().map(of).collect()
}

/// A service is called as its topics begin.
fn in_a_path(service: &str) -> Result<&str, Failure> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match service.chars().all(known) {
        true => Ok(service),
        false => Err(Failure::new(Exit::Usage, format!("{service:?} is no name of a service"))
            .why("it is the beginning of the names of its topics: letters, digits, -, _ and .")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_one_service_want_a_name() {
        let mut objectives = Objectives::default();
        for format in [SloFormat::Sloth, SloFormat::Openslo] {
            assert_eq!(files(format, &objectives, &[]).err().unwrap().exit, Exit::Usage);
        }
        objectives.say("a: success=99%").unwrap();
        let openslo = files(SloFormat::Openslo, &objectives, &["B c".to_owned()]).unwrap();
        assert_eq!(openslo[0].text.split("---\n").count(), 8, "{}", openslo[0].text);
    }

    #[test]
    fn sloth_has_a_file_for_each_service() {
        let mut objectives = Objectives::default();
        objectives.say("a: success=99%").unwrap();
        let made = files(SloFormat::Sloth, &objectives, &["b.c".to_owned()]).unwrap();
        let paths: Vec<&str> = made.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["tidings-sloth-a.yml", "tidings-sloth-b.c.yml"]);
        assert!(made.iter().all(|file| !file.text.contains("---\n")));
        let refused = files(SloFormat::Sloth, &objectives, &["../b".to_owned()]).err().unwrap();
        assert_eq!(refused.exit, Exit::Usage);
    }
}
