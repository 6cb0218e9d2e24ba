//! Objectives as documents for who computes burn rates elsewhere: rules for Prometheus, Sloth's form, OpenSLO.
//!
//! What is bad is counted as the tracker counts it, from the metrics of services. The rules for Prometheus hold for every
//! service that reports, those of which something of their own is said by name; Sloth and OpenSLO have a document for
//! each service.

use serde_json::{Map, Value, json};

use crate::{ALERTS, BurnAlert, Kind, Objective, Objectives, Urgency, WINDOWS, Window, percent};

/// Of budgets.
const PERIOD: &str = "30d";
const FRESHNESS_STEP: &str = "1m";

/// Whom an objective is for: a service, or those that have none of their own.
#[derive(Clone, Debug)]
enum For<'a> {
    One(&'a str),
    Others(Vec<&'a str>),
}

impl For<'_> {
    /// As a selector takes it.
    fn matcher(&self) -> String {
        match self {
            Self::One(service) => format!("service={}", quoted(service)),
            Self::Others(named) if named.is_empty() => "service!=\"\"".to_owned(),
            Self::Others(named) => {
                let names: Vec<String> = named.iter().map(|name| escaped(name)).collect();
                format!("service!~{}", quoted(&names.join("|")))
            }
        }
    }

    /// Labels of its rules beside the objective's, so that no two rules of a file are the same but for their expression.
    fn labels(&self, kind: Kind) -> Map<String, Value> {
        let mut labels = Map::new();
        labels.insert("slo".to_owned(), json!(kind.name()));
        if let Self::One(service) = self {
            labels.insert("service".to_owned(), json!(service));
        }
        labels
    }

    /// The name of a group of rules, of which a file has each once: no service has an empty name.
    fn group(&self, kind: Kind) -> String {
        match self {
            Self::One(service) => format!("tidings-slo-{kind}-{service}"),
            Self::Others(_) => format!("tidings-slo-{kind}"),
        }
    }
}

/// As a regular expression takes it literally.
fn escaped(text: &str) -> String {
    let special = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// A string of PromQL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Recording rules and alerts.
pub fn rules(objectives: &Objectives) -> Value {
    let mut groups = Vec::new();
    for kind in Kind::ALL {
        // Who is named and says nothing of this kind has what the others have.
        let own = |service: &&str| objectives.of(service, kind) != objectives.of_others(kind);
        let own: Vec<&str> = objectives.services().filter(own).collect();
        let ones = own.iter().map(|service| (For::One(service), objectives.of(service, kind)));
        let others = (For::Others(own.clone()), objectives.of_others(kind));
        for (whom, objective) in ones.chain([others]) {
            let Some(objective) = objective else { continue };
            groups.push(json!({
                "name": whom.group(kind),
                "rules": rules_of(kind, &objective, &whom),
            }));
        }
    }
    json!({ "groups": groups })
}

fn rules_of(kind: Kind, objective: &Objective, whom: &For<'_>) -> Vec<Value> {
    let mut rules = Vec::new();
    let matcher = whom.matcher();
    if kind == Kind::Freshness {
        rules.push(json!({
            "record": STALE,
            "expr": format!(
                "max by (service) (tidings_service_lag_seconds{{{matcher}}}) > bool {}",
                objective.within.as_secs_f64()
            ),
            "labels": whom.labels(kind),
        }));
    }
    rules.extend(WINDOWS.iter().map(|window| {
        json!({
            "record": recorded(window),
            "expr": by_service(kind, objective, &matcher, window.name),
            "labels": whom.labels(kind),
        })
    }));
    for urgency in [Urgency::Page, Urgency::Ticket] {
        rules.push(alert(kind, objective, whom, urgency));
    }
    rules
}

const STALE: &str = "tidings:service_stale:bool";

fn recorded(window: &Window) -> String {
    format!("tidings:slo_errors:ratio_rate{}", window.name)
}

/// The part of events, or of the time, that was bad, for each service.
fn by_service(kind: Kind, objective: &Objective, matcher: &str, window: &str) -> String {
    let sum = |name: &str, more: &str| {
        format!("sum by (service) (rate({name}{{{matcher}{more}}}[{window}]))")
    };
    match kind {
        Kind::Success => {
            let (dead, all) =
                (sum("tidings_service_dead_total", ""), sum("tidings_service_processed_total", ""));
            format!("clamp_max({dead} / ({all} > 0), 1)")
        }
        Kind::Latency => {
            let name = "tidings_service_end_to_end_seconds";
            let le = format!(",le=\"{}\"", objective.bound().map_or("+Inf", |(_, bound)| bound));
            let in_time = sum(&format!("{name}_bucket"), &le);
            format!("1 - {in_time} / ({} > 0)", sum(&format!("{name}_count"), ""))
        }
        Kind::Freshness => format!("avg_over_time({STALE}{{{matcher}}}[{window}])"),
    }
}

fn alert(kind: Kind, objective: &Objective, whom: &For<'_>, urgency: Urgency) -> Value {
    let (budget, matcher) = (objective.budget(), whom.matcher());
    let burns = |alert: &BurnAlert| {
        // Rounded, as 14.4 times 0.001 has digits that nobody wants to read.
        let limit = format!("{:.9}", alert.factor * budget);
        let limit = limit.trim_end_matches('0').trim_end_matches('.').to_owned();
        let faster =
            |window: &Window| format!("{}{{slo=\"{kind}\",{matcher}}} > {limit}", recorded(window));
        format!("({} and {})", faster(&alert.long), faster(&alert.short))
    };
    let burns: Vec<String> =
        ALERTS.iter().filter(|alert| alert.urgency == urgency).map(burns).collect();
    let promised = percent(objective.part);
    let mut labels = whom.labels(kind);
    labels.insert("severity".to_owned(), json!(urgency.severity()));
    json!({
        "alert": "TidingsSloBurn",
        "annotations": {
            "summary": format!(
                "{{{{ $labels.service }}}} uses up its budget of {kind} ({promised}) {}.",
                if urgency == Urgency::Page { "fast" } else { "too fast" },
            ),
            "description": "`/slos` of the console has all windows; {{ $value | humanizePercentage }} were bad in the long one.",
        },
        "expr": burns.join(" or "),
        "labels": labels,
    })
}

/// What is bad and all there is, of one service and over all its instances.
fn events(kind: Kind, objective: &Objective, service: &str, window: &str) -> (String, String) {
    let matcher = For::One(service).matcher();
    let sum = |name: &str, more: &str| format!("sum(rate({name}{{{matcher}{more}}}[{window}]))");
    let name = "tidings_service_end_to_end_seconds";
    match kind {
        Kind::Success => {
            (sum("tidings_service_dead_total", ""), sum("tidings_service_processed_total", ""))
        }
        Kind::Latency | Kind::Freshness => {
            let le = format!(",le=\"{}\"", objective.bound().map_or("+Inf", |(_, bound)| bound));
            let all = sum(&format!("{name}_count"), "");
            (format!("{all} - {}", sum(&format!("{name}_bucket"), &le)), all)
        }
    }
}

fn meaning(kind: Kind, objective: &Objective) -> String {
    let (part, seconds) = (percent(objective.part), objective.within.as_secs_f64());
    match kind {
        Kind::Success => format!("{part} of events end without a dead letter"),
        Kind::Latency => format!("{part} of events are done within {seconds} s"),
        Kind::Freshness => format!("{part} of the time nothing waits longer than {seconds} s"),
    }
}

/// Of a service, with what is promised of it.
fn promised(objectives: &Objectives, service: &str) -> Vec<(Kind, Objective)> {
    let of = |kind| Some((kind, objectives.of(service, kind)?));
    Kind::ALL.into_iter().filter_map(of).collect()
}

/// 99.9 and not 99.90000000000001.
fn in_percent(objective: &Objective) -> f64 {
    (objective.part * 1e8).round() / 1e6
}

/// Sloth's `prometheus/v1`; see <https://sloth.dev/specs/default/>.
pub fn sloth(objectives: &Objectives, service: &str) -> Value {
    let window = "{{.window}}";
    let slos = promised(objectives, service).into_iter().map(|(kind, objective)| {
        json!({
            "name": kind.name(),
            "objective": in_percent(&objective),
            "description": meaning(kind, &objective),
            "sli": { "raw": { "error_ratio_query": of_service(kind, &objective, service, window) } },
            "alerting": {
                "name": "TidingsSloBurn",
                "labels": { "service": service, "slo": kind.name() },
                "annotations": { "summary": format!("{service} uses up its budget of {kind} too fast.") },
                "page_alert": { "labels": { "severity": Urgency::Page.severity() } },
                "ticket_alert": { "labels": { "severity": Urgency::Ticket.severity() } },
            },
        })
    });
    json!({
        "version": "prometheus/v1",
        "service": service,
        "labels": { "owner": "tidings" },
        "slos": slos.collect::<Vec<_>>(),
    })
}

/// As [`by_service`], of one service. While nothing happens there is no ratio: one of nothing in nothing would be none for as
/// long as Sloth looks back.
fn of_service(kind: Kind, objective: &Objective, service: &str, window: &str) -> String {
    let (bad, all) = events(kind, objective, service, window);
    match kind {
        Kind::Success => format!("clamp_max({bad} / ({all} > 0), 1)"),
        Kind::Latency => format!("({bad}) / ({all} > 0)"),
        Kind::Freshness => {
            format!("avg_over_time(({})[{window}:{FRESHNESS_STEP}])", stale(objective, service))
        }
    }
}

/// 1 while something waits too long.
fn stale(objective: &Objective, service: &str) -> String {
    let seconds = objective.within.as_secs_f64();
    format!("{} > bool {seconds}", oldest(service))
}

fn oldest(service: &str) -> String {
    format!("max(tidings_service_lag_seconds{{{}}})", For::One(service).matcher())
}

/// OpenSLO v1; see <https://github.com/OpenSLO/OpenSLO>. The service comes before its objectives.
pub fn openslo(objectives: &Objectives, service: &str) -> Vec<Value> {
    let source = |query: String| json!({ "metricSource": { "type": "Prometheus", "spec": { "query": query } } });
    let name = |kind: Kind| format!("{}-{kind}", dns_name(service));
    let of_service = json!({
        "apiVersion": "openslo/v1",
        "kind": "Service",
        "metadata": { "name": dns_name(service), "displayName": service },
        "spec": { "description": format!("Service {service} of Tidings") },
    });
    let slos = promised(objectives, service).into_iter().map(|(kind, objective)| {
        let mut target =
            json!({ "displayName": meaning(kind, &objective), "target": objective.part });
        let (method, indicator) = if kind == Kind::Freshness {
            target["op"] = json!("lte");
            target["value"] = json!(objective.within.as_secs_f64());
            target["timeSliceTarget"] = json!(1);
            target["timeSliceWindow"] = json!(FRESHNESS_STEP);
            ("Timeslices", json!({ "thresholdMetric": source(oldest(service)) }))
        } else {
            let (bad, all) = events(kind, &objective, service, "5m");
            let ratio = json!({ "counter": false, "bad": source(bad), "total": source(all) });
            ("Occurrences", json!({ "ratioMetric": ratio }))
        };
        json!({
            "apiVersion": "openslo/v1",
            "kind": "SLO",
            "metadata": { "name": name(kind), "displayName": format!("{service}: {kind}") },
            "spec": {
                "description": meaning(kind, &objective),
                "service": dns_name(service),
                "indicator": { "metadata": { "name": name(kind) }, "spec": indicator },
                "timeWindow": [{ "duration": PERIOD, "isRolling": true }],
                "budgetingMethod": method,
                "objectives": [target],
            },
        })
    });
    std::iter::once(of_service).chain(slos).collect()
}

/// RFC 1123, which OpenSLO asks of names.
fn dns_name(service: &str) -> String {
    let lower = service.to_ascii_lowercase();
    let name: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    // With the objective's name behind it, 63 characters at most.
    let name: String = name.trim_matches('-').chars().take(50).collect();
    match name.trim_end_matches('-') {
        "" => "service".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objectives(said: &[&str]) -> Objectives {
        let mut objectives = Objectives::default();
        said.iter().for_each(|text| objectives.say(text).unwrap());
        objectives
    }

    #[test]
    fn no_two_rules_of_a_file_differ_by_their_expression_alone() {
        let objectives = objectives(&["pay: latency=99%<1s, freshness=9%<1s", "mail: success=98%"]);
        let rules = rules(&objectives);
        let groups = rules["groups"].as_array().unwrap().iter();
        let all = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let all: Vec<String> = all
            .map(|rule| format!("{}{}{}", rule["record"], rule["alert"], rule["labels"]))
            .collect();
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:#?}");
    }

    #[test]
    fn a_service_of_its_own_is_not_among_the_others() {
        let rules = rules(&objectives(&["pay.ment: latency=99.5%<250ms, freshness=off"]));
        let groups = rules["groups"].as_array().unwrap();
        let names: Vec<&str> = groups.iter().map(|group| group["name"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "tidings-slo-success",
                "tidings-slo-latency-pay.ment",
                "tidings-slo-latency",
                "tidings-slo-freshness",
            ]
        );
        let text = rules.to_string();
        for part in [
            r#"service=\"pay.ment\",le=\"0.25\"}[5m]"#,
            r#"service!~\"pay\\\\.ment\",le=\"5.0\"}[3d]"#,
            r#"slo=\"latency\",service=\"pay.ment\"} > 0.072 and"#,
            r#"slo=\"success\",service!=\"\"} > 0.0144 and"#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn groups_of_rules_have_different_names_whatever_services_are_called() {
        let objectives = objectives(&["others: success=99%", "*: success=98%", "all: success=97%"]);
        let rules = rules(&objectives);
        let names =
            rules["groups"].as_array().unwrap().iter().map(|group| group["name"].to_string());
        let names: Vec<String> = names.collect();
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_name_for_openslo_begins_and_ends_with_a_letter_or_digit() {
        let long = format!("{}.tail", "x".repeat(49));
        for (service, wanted) in [
            ("B c", "b-c"),
            (".a.", "a"),
            (long.as_str(), &"x".repeat(49)),
            ("...", "service"),
            ("é", "service"),
        ] {
            assert_eq!(dns_name(service), wanted, "{service}");
        }
    }

    #[test]
    fn a_service_has_a_document_with_what_is_promised_of_it() {
        let objectives = objectives(&["B c: success=99%, freshness=off"]);
        let sloth = sloth(&objectives, "B c");
        assert_eq!(
            (&sloth["service"], sloth["slos"].as_array().unwrap().len()),
            (&"B c".into(), 2)
        );
        assert_eq!(sloth["slos"][0]["objective"], 99.0);
        assert_eq!(
            sloth["slos"][0]["sli"]["raw"]["error_ratio_query"],
            "clamp_max(sum(rate(tidings_service_dead_total{service=\"B c\"}[{{.window}}])) / \
             (sum(rate(tidings_service_processed_total{service=\"B c\"}[{{.window}}])) > 0), 1)"
        );
        let openslo = openslo(&objectives, "B c");
        let kinds: Vec<&str> = openslo.iter().map(|of| of["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Service", "SLO", "SLO"]);
        assert_eq!(openslo[1]["metadata"]["name"], "b-c-success");
    }
}
