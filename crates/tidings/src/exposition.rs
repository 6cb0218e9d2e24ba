//! Metrics in Prometheus' text format (0.0.4).
//!
//! Every name begins with `tidings_service_`, is in a base unit, and has few labels: the service, its handler or dependency, and the
//! instance where several are in one text. Keys, ids and partitions are never labels. [`FAMILIES`] is the list; the table in
//! `docs/operations.md` is held to it by a test.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{self, Write as _};

use crate::{DependencyMetrics, HandlerFigures, Histogram, Metrics, histogram::BOUNDS};

/// Figures of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    of: Of,
}

/// What a family is read from, and with which labels.
enum Of {
    /// By service.
    Counter(fn(&Metrics) -> u64),
    Gauge(fn(&Metrics) -> f64),
    /// By service and handler.
    Handlers(fn(&HandlerFigures) -> u64),
    Times(fn(&HandlerFigures) -> &Histogram),
    /// By service and dependency with limits.
    Turns(fn(&DependencyMetrics) -> u64),
    Places(fn(&DependencyMetrics) -> u64),
}

impl Of {
    /// Prometheus' name.
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) | Self::Handlers(_) | Self::Turns(_) => "counter",
            Self::Gauge(_) | Self::Places(_) => "gauge",
            Self::Times(_) => "histogram",
        }
    }
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Metrics) -> u64) -> Family {
    Family { name, help, of: Of::Counter(read) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Metrics) -> f64) -> Family {
    Family { name, help, of: Of::Gauge(read) }
}

type OfHandler = fn(&HandlerFigures) -> u64;

const fn handlers(name: &'static str, help: &'static str, read: OfHandler) -> Family {
    Family { name, help, of: Of::Handlers(read) }
}

type Times = fn(&HandlerFigures) -> &Histogram;

const fn times(name: &'static str, help: &'static str, read: Times) -> Family {
    Family { name, help, of: Of::Times(read) }
}

type OfDependency = fn(&DependencyMetrics) -> u64;

const fn turns(name: &'static str, help: &'static str, read: OfDependency) -> Family {
    Family { name, help, of: Of::Turns(read) }
}

const fn places(name: &'static str, help: &'static str, read: OfDependency) -> Family {
    Family { name, help, of: Of::Places(read) }
}

const FAMILIES: [Family; 28] = [
    handlers(
        "tidings_service_processed_total",
        "Events handled for the first time, whatever the end: effects or dead letter.",
        |of| of.processed,
    ),
    handlers(
        "tidings_service_failed_total",
        "Attempts that failed: retry, an error, a panic, a timeout.",
        |of| of.failed,
    ),
    handlers(
        "tidings_service_rejected_total",
        "Events that a handler rejected: a dead letter at once.",
        |of| of.rejected,
    ),
    handlers(
        "tidings_service_dropped_total",
        "Events of which a handler wants nothing, as their key has no value.",
        |of| of.dropped,
    ),
    handlers(
        "tidings_service_outages_total",
        "Attempts of which the handler said that a dependency is down.",
        |of| of.outages,
    ),
    handlers(
        "tidings_service_turned_away_total",
        "Times that there was no turn at a limited dependency and the event was put aside.",
        |of| of.turned_away,
    ),
    handlers("tidings_service_panics_total", "Panics of the handler.", |of| of.panics),
    handlers(
        "tidings_service_duplicates_total",
        "Events passed over because they had been handled before.",
        |of| of.duplicates,
    ),
    handlers("tidings_service_emitted_total", "Output events committed.", |of| of.emitted),
    times(
        "tidings_service_processing_seconds",
        "From the begin of an attempt to its decision.",
        |of| &of.processing,
    ),
    times(
        "tidings_service_end_to_end_seconds",
        "From when an event happened (ce_time, or the record's timestamp) to the commit of its effects.",
        |of| &of.end_to_end,
    ),
    places(
        "tidings_service_dependency_in_use",
        "Turns at a limited dependency that are taken.",
        |of| of.in_use,
    ),
    places("tidings_service_dependency_at_once", "Turns that there are.", |of| of.at_once),
    places(
        "tidings_service_dependency_waiting",
        "Attempts that wait for a turn at a limited dependency.",
        |of| of.waiting,
    ),
    turns(
        "tidings_service_dependency_turns_total",
        "Turns at a limited dependency that have begun.",
        |of| of.turns,
    ),
    turns(
        "tidings_service_dependency_held_back_total",
        "Turns that had to wait for the dependency's rate.",
        |of| of.held_back,
    ),
    turns(
        "tidings_service_dependency_turned_away_total",
        "Times that there was no turn: no place to wait for one, or waited for too long.",
        |of| of.turned_away,
    ),
    counter(
        "tidings_service_retried_total",
        "Attempts after the first, of events that failed.",
        |of| of.figures.retried,
    ),
    counter("tidings_service_dead_total", "Dead letters appended.", |of| of.figures.dead),
    counter(
        "tidings_service_rejoined_total",
        "Times that the service lost its engine or its membership and joined again.",
        |of| of.figures.rejoined,
    ),
    counter(
        "tidings_service_restored_total",
        "Records of states by key read to take partitions over.",
        |of| of.figures.restored,
    ),
    counter(
        "tidings_service_copied_total",
        "Records of states by key read for copies of other instances' partitions.",
        |of| of.figures.copied,
    ),
    gauge(
        "tidings_service_copies_behind",
        "Offsets that copies of other instances' partitions lacked at the last look.",
        |of| of.figures.copies_behind as f64,
    ),
    gauge(
        "tidings_service_parked",
        "Events that are put aside: failed ones, and those of the same keys behind them.",
        |of| of.figures.parked as f64,
    ),
    gauge("tidings_service_dead_keys", "Keys that wait for a person.", |of| {
        of.figures.dead_keys as f64
    }),
    gauge(
        "tidings_service_lag_records",
        "Records that are there and not done, in the instance's partitions; without those that are put aside.",
        |of| of.lag_records as f64,
    ),
    gauge(
        "tidings_service_lag_seconds",
        "Age of the oldest record that the instance has read and not done, also of one that waits to be tried again; not of dead keys. 0 when there is none.",
        |of| of.lag_seconds,
    ),
    gauge(
        "tidings_service_breaker_open",
        "1 while the service takes its failures for an outage and handles nothing but probes.",
        |of| f64::from(u8::from(of.breaker_open)),
    ),
];

/// Metrics of several services, or instances, as one text in Prometheus' format: each is handed in with its instance, which
/// becomes a label where it is not empty.
///
/// ```
/// # async fn f(order: tidings::Running, payment: tidings::Running) {
/// let body = tidings::exposition(&[("", &order.metrics()), ("", &payment.metrics())]);
/// # }
/// ```
pub fn exposition(of: &[(&str, &Metrics)]) -> String {
    let mut out = String::new();
    for family in &FAMILIES {
        let (name, help, kind) = (family.name, family.help, family.of.kind());
        line(&mut out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        for (instance, metrics) in of {
            let mut service = format!("service=\"{}\"", Escaped(&metrics.service));
            if !instance.is_empty() {
                line_end(&mut service, format_args!(",instance=\"{}\"", Escaped(instance)));
            }
            family.write(&mut out, &service, metrics);
        }
    }
    out
}

impl Family {
    fn write(&self, out: &mut String, service: &str, metrics: &Metrics) {
        let name = self.name;
        let handlers = metrics.handlers.iter().map(|handler| {
            let labels = format!("{service},handler=\"{}\"", Escaped(&handler.name));
            (labels, &handler.figures)
        });
        match self.of {
            Of::Counter(read) => line(out, format_args!("{name}{{{service}}} {}", read(metrics))),
            Of::Gauge(read) => line(out, format_args!("{name}{{{service}}} {}", read(metrics))),
            Of::Handlers(read) => {
                for (labels, figures) in handlers {
                    line(out, format_args!("{name}{{{labels}}} {}", read(figures)));
                }
            }
            Of::Turns(read) | Of::Places(read) => {
                for of in &metrics.dependencies {
                    let dependency = Escaped(&of.name);
                    let labels = format_args!("{service},dependency=\"{dependency}\"");
                    line(out, format_args!("{name}{{{labels}}} {}", read(of)));
                }
            }
            Of::Times(read) => {
                handlers.for_each(|(labels, of)| histogram(out, name, &labels, read(of)));
            }
        }
    }
}

/// Buckets count all that are not longer.
fn histogram(out: &mut String, name: &str, labels: &str, times: &Histogram) {
    let mut count = 0_u64;
    for (bound, its) in BOUNDS.into_iter().chain(["+Inf"]).zip(times.counts) {
        count = count.saturating_add(its);
        line(out, format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}"));
    }
    line(out, format_args!("{name}_sum{{{labels}}} {}", times.sum().as_secs_f64()));
    line(out, format_args!("{name}_count{{{labels}}} {count}"));
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    line_end(out, text);
    out.push('\n');
}

fn line_end(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string");
}

/// A label's value.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// Prometheus' text format.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exposition(&[("", self)]))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::HandlerMetrics;

    fn metrics(service: &str, handlers: &[&str]) -> Metrics {
        let mut figures = HandlerFigures { processed: 3, ..HandlerFigures::default() };
        figures.processing.add(Duration::from_millis(30));
        figures.processing.add(Duration::from_secs(20));
        let of = |name: &&str| HandlerMetrics { name: (*name).to_owned(), figures };
        Metrics {
            service: service.into(),
            lag_seconds: 1.5,
            handlers: handlers.iter().map(of).collect(),
            ..Metrics::default()
        }
    }

    #[test]
    fn a_family_is_written_once_with_all_that_belong_to_it() {
        let (one, two) =
            (metrics("pay\"ment", &["charge", "refund"]), metrics("order", &["place"]));
        let text = exposition(&[("i-1", &one), ("", &two)]);
        let wanted = "# HELP tidings_service_processed_total Events handled for the first time, whatever the end: \
                      effects or dead letter.\n\
                      # TYPE tidings_service_processed_total counter\n\
                      tidings_service_processed_total{service=\"pay\\\"ment\",instance=\"i-1\",handler=\"charge\"} 3\n\
                      tidings_service_processed_total{service=\"pay\\\"ment\",instance=\"i-1\",handler=\"refund\"} 3\n\
                      tidings_service_processed_total{service=\"order\",handler=\"place\"} 3\n\
                      # HELP tidings_service_failed_total";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.contains("\ntidings_service_lag_seconds{service=\"order\"} 1.5\n"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), FAMILIES.len());
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_all() {
        let text = metrics("order", &["place"]).to_string();
        let lines =
            text.lines().filter(|line| line.starts_with("tidings_service_processing_seconds"));
        let lines: Vec<&str> = lines.map(|line| line.rsplit('{').next().expect("labels")).collect();
        assert_eq!(lines.len(), 17);
        for (line, wanted) in [
            (0, "service=\"order\",handler=\"place\",le=\"0.005\"} 0"),
            (3, "service=\"order\",handler=\"place\",le=\"0.05\"} 1"),
            (13, "service=\"order\",handler=\"place\",le=\"10.0\"} 1"),
            (14, "service=\"order\",handler=\"place\",le=\"+Inf\"} 2"),
            (15, "service=\"order\",handler=\"place\"} 20.03"),
            (16, "service=\"order\",handler=\"place\"} 2"),
        ] {
            assert_eq!(lines[line], wanted);
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_this_list() {
        const DOCUMENT: &str = include_str!("../../../docs/operations.md");
        let rows = FAMILIES.iter().map(|Family { name, help, of }| {
            let labels = match of {
                Of::Counter(_) | Of::Gauge(_) => "service",
                Of::Handlers(_) | Of::Times(_) => "service, handler",
                Of::Turns(_) | Of::Places(_) => "service, dependency",
            };
            format!("| `{name}` | {} | {labels} | {help} |", of.kind())
        });
        let rows: BTreeSet<String> = rows.collect();
        let told = DOCUMENT.lines().filter(|line| line.starts_with("| `tidings_service_"));
        let told: BTreeSet<String> = told.map(str::to_owned).collect();
        let missing: Vec<&String> = rows.difference(&told).collect();
        let stale: Vec<&String> = told.difference(&rows).collect();
        assert!(missing.is_empty() && stale.is_empty(), "write {missing:#?}, remove {stale:#?}");
    }
}
