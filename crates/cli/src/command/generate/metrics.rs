//! The metrics that `/metrics` has, from the tables that it is written from: the gateway's, the binary's own and the
//! services'. Dashboards and rules may name these and no others; a test holds them to it.

use tidings::{DependencyMetrics, HandlerMetrics, Metrics};
use tidings_console::{Family, FigureKind};

use crate::up::figures;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Whose a metric is, in the order of the debug dashboard's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Services,
    Groups,
    Topics,
    Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: String,
    /// What it means, in one sentence without its end.
    pub(super) help: String,
    pub(super) kind: Kind,
    /// What tells its series apart, but for instances.
    pub(super) labels: Vec<String>,
}

impl Metric {
    pub(super) fn of(&self) -> Of {
        let of = |prefix: &str| self.name.starts_with(prefix);
        match () {
            () if of("tidings_service_") => Of::Services,
            () if of("tidings_group_") || of("tidings_groups_") => Of::Groups,
            () if of("tidings_topic_") || of("tidings_topics_") || of("tidings_dead_") => {
                Of::Topics
            }
            () => Of::Node,
        }
    }

    /// In Grafana's names; of a counter, the unit of its rate.
    pub(super) fn unit(&self) -> &'static str {
        let base = self.name.trim_end_matches("_total");
        match self.kind {
            Kind::Counter if base.ends_with("_bytes") => "Bps",
            Kind::Counter => "cps",
            _ if base.ends_with("_bytes") => "bytes",
            _ if base.ends_with("_per_second") => "cps",
            _ if base.ends_with("_seconds") => "s",
            _ => "short",
        }
    }
}

/// All of them, sorted by whose they are, then as they are printed.
pub(super) fn metrics() -> Vec<Metric> {
    let own = tidings_console::METRICS.iter().chain(&figures::METRICS).chain(&figures::OTLP);
    let own = own.map(of_family);
    let mut metrics: Vec<Metric> = own.chain(of_services()).collect();
    metrics.sort_by_key(Metric::of);
    metrics
}

fn of_family(family: &Family) -> Metric {
    Metric {
        name: family.name.to_owned(),
        help: family.help.trim_end_matches('.').to_owned(),
        kind: match family.kind {
            FigureKind::Counter => Kind::Counter,
            FigureKind::Gauge => Kind::Gauge,
        },
        labels: family.labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

/// The SDK's table is its text: one service with one handler and one dependency has every family once.
fn of_services() -> Vec<Metric> {
    let mut one = Metrics::default();
    one.handlers.push(HandlerMetrics::default());
    one.dependencies.push(DependencyMetrics::default());
    read(&tidings::exposition(&[("", &one)]))
}

/// The families of a text.
fn read(text: &str) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            let (name, help) = (name.to_owned(), help.trim_end_matches('.').to_owned());
            metrics.push(Metric { name, help, kind: Kind::Gauge, labels: Vec::new() });
        }
        let Some(metric) = metrics.last_mut() else { continue };
        match line.strip_prefix("# TYPE ").and_then(|rest| rest.rsplit_once(' ')) {
            Some((_, "counter")) => metric.kind = Kind::Counter,
            Some((_, "histogram")) => metric.kind = Kind::Histogram,
            Some(_) => {}
            None if line.starts_with('#') || !metric.labels.is_empty() => {}
            None => metric.labels = labels(line),
        }
    }
    metrics
}

/// The names of a sample's labels, without a bucket's bound.
fn labels(sample: &str) -> Vec<String> {
    let inside = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let labels = inside.map_or("", |(labels, _)| labels).split(',');
    let names = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_print_is_read_as_a_table() {
        let metrics = metrics();
        let find = |name: &str| {
            let found = metrics.iter().find(|metric| metric.name == name);
            found.unwrap_or_else(|| panic!("{name}"))
        };
        for (name, kind, labels, of, unit) in [
            ("tidings_service_failed_total", Kind::Counter, "service handler", Of::Services, "cps"),
            (
                "tidings_service_end_to_end_seconds",
                Kind::Histogram,
                "service handler",
                Of::Services,
                "s",
            ),
            ("tidings_service_lag_seconds", Kind::Gauge, "service", Of::Services, "s"),
            ("tidings_topic_size_bytes", Kind::Gauge, "topic", Of::Topics, "bytes"),
            ("tidings_node_fetched_bytes_total", Kind::Counter, "", Of::Node, "Bps"),
        ] {
            let metric = find(name);
            assert_eq!((metric.kind, metric.of(), metric.unit()), (kind, of, unit), "{name}");
            assert_eq!(metric.labels.join(" "), labels, "{name}");
            assert!(!metric.help.is_empty(), "{name}");
        }
        let mut names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), metrics.len(), "each once");
    }
}
