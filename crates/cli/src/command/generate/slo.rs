//! Objectives of services for who computes burn rates: Prometheus itself, Sloth, or anything that reads OpenSLO.

use std::collections::BTreeSet;

use serde_json::Value;
use tidings_gateway::slo::{self, Objectives};

use super::{File, yaml};
use crate::args::SloFormat;
use crate::failure::{Exit, Failure};

/// For services that are named, or of which something of their own is said; for Prometheus, for all.
pub(super) fn file(
    format: SloFormat,
    objectives: &Objectives,
    named: &[String],
) -> Result<File, Failure> {
    let services: BTreeSet<&str> =
        objectives.services().chain(named.iter().map(String::as_str)).collect();
    let (path, documents): (_, Vec<Value>) = match format {
        SloFormat::Prometheus => ("tidings-slo.rules.yml", vec![slo::rules(objectives)]),
        SloFormat::Sloth => {
            let of = |service: &&str| slo::sloth(objectives, service);
            ("tidings-sloth.yml", services.iter().map(of).collect())
        }
        SloFormat::Openslo => {
            let of = |service: &&str| slo::openslo(objectives, service);
            ("tidings-openslo.yml", services.iter().flat_map(of).collect())
        }
    };
    if documents.is_empty() {
        return Err(Failure::new(Exit::Usage, "no service is named")
            .why("these formats have a document for each service")
            .hint("--service NAME, or --slo 'NAME: success=99.9%'"));
    }
    let texts: Vec<String> = documents.iter().map(yaml::document).collect();
    Ok(File { path, text: texts.join("---\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_one_service_want_a_name() {
        let mut objectives = Objectives::default();
        for format in [SloFormat::Sloth, SloFormat::Openslo] {
            assert_eq!(file(format, &objectives, &[]).err().unwrap().exit, Exit::Usage);
        }
        objectives.say("a: success=99%").unwrap();
        for (format, expected) in [(SloFormat::Sloth, 2), (SloFormat::Openslo, 8)] {
            let made = file(format, &objectives, &["B c".to_owned()]).unwrap();
            assert_eq!(made.text.split("---\n").count(), expected, "{}", made.text);
        }
    }
}
