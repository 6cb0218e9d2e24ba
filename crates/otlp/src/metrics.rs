//! Prometheus' text of this process, read into metrics of OTLP.
//!
//! The text is ours, so only what we write is read: families with help and type, one after another; counters, gauges and
//! histograms whose buckets stand in the order of their bounds. What is left out because a request would be too large
//! is counted.

use crate::limits::POINTS_MAX;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric<'a> {
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) points: Points<'a>,
}

type Labels<'a> = Vec<(&'a str, String)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Points<'a> {
    Sum(Vec<(Labels<'a>, f64)>),
    Gauge(Vec<(Labels<'a>, f64)>),
    Histogram(Vec<Histogram<'a>>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram<'a> {
    pub(crate) labels: Labels<'a>,
    /// One more count than bounds.
    pub(crate) bounds: Vec<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

/// All metrics of a text, and how many points did not fit.
pub(crate) fn read(text: &str) -> (Vec<Metric<'_>>, usize) {
    let mut metrics: Vec<Metric<'_>> = Vec::new();
    let mut help = "";
    let (mut points, mut left_out) = (0, 0);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { continue };
            let points = match kind {
                "counter" => Points::Sum(Vec::new()),
                "histogram" => Points::Histogram(Vec::new()),
                _ => Points::Gauge(Vec::new()),
            };
            metrics.push(Metric { name, help, points });
        } else if let (Some(metric), Some(sample)) = (metrics.last_mut(), Sample::of(line)) {
            let is_point = metric.begins(&sample);
            if points >= POINTS_MAX && (is_point || left_out > 0) {
                left_out += usize::from(is_point);
                continue;
            }
            points += usize::from(is_point);
            metric.take(sample);
        }
    }
    metrics.retain(|metric| !metric.points.is_empty());
    (metrics, left_out)
}

impl Points<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Sum(values) | Self::Gauge(values) => values.is_empty(),
            Self::Histogram(histograms) => histograms.is_empty(),
        }
    }
}

struct Sample<'a> {
    name: &'a str,
    labels: Labels<'a>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn of(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}')?)?),
            None => (series, Vec::new()),
        };
        Some(Self { name, labels, value })
    }
}

/// `name="value",name="value"`, with escapes in values.
fn read_labels(mut rest: &str) -> Option<Labels<'_>> {
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((name, value));
        rest = after[end..].trim_start_matches(',');
    }
    Some(labels)
}

impl<'a> Metric<'a> {
    /// Whether this is a point of its own, or the first bucket of one.
    fn begins(&self, sample: &Sample<'_>) -> bool {
        let Points::Histogram(histograms) = &self.points else { return true };
        let labels = sample.labels.split_last().map_or(&[][..], |(_bound, labels)| labels);
        sample.name.strip_prefix(self.name) == Some("_bucket")
            && histograms.last().is_none_or(|last| last.labels != labels)
    }

    fn take(&mut self, sample: Sample<'a>) {
        let (name, begins) = (self.name, self.begins(&sample));
        match &mut self.points {
            Points::Sum(values) | Points::Gauge(values) => {
                values.push((sample.labels, sample.value));
            }
            Points::Histogram(histograms) => {
                if begins {
                    let mut labels = sample.labels.clone();
                    labels.pop();
                    histograms.push(Histogram { labels, ..Histogram::default() });
                }
                if let Some(last) = histograms.last_mut() {
                    last.take(name, sample);
                }
            }
        }
    }
}

impl Histogram<'_> {
    /// Buckets count all that are not longer; here each counts its own.
    fn take(&mut self, name: &str, mut sample: Sample<'_>) {
        match sample.name.strip_prefix(name) {
            Some("_bucket") => {
                let Some((_, bound)) = sample.labels.pop() else { return };
                if sample.labels != self.labels {
                    return;
                }
                let before: u64 = self.counts.iter().sum();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                self.counts.push((sample.value as u64).saturating_sub(before));
                if bound != "+Inf"
                    && let Ok(bound) = bound.parse()
                {
                    self.bounds.push(bound);
                }
            }
            Some("_sum") if sample.labels == self.labels => self.sum = sample.value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_print_is_read_again() {
        let mut one = tidings::Metrics::default();
        one.service = "pay\"ment,\\".to_owned();
        one.lag_seconds = 1.5;
        let mut handler = tidings::HandlerMetrics::default();
        handler.name = "charge".to_owned();
        handler.figures.processed = 3;
        handler.figures.processing.counts = [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
        handler.figures.processing.sum_us = 2_500_000;
        one.handlers = vec![handler.clone(), handler];
        one.handlers[1].name = "refund".to_owned();
        let text = tidings::exposition(&[("i-1", &one)]);
        let (metrics, left_out) = read(&text);
        assert_eq!(left_out, 0);
        let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        let Points::Sum(sums) = &find("tidings_service_processed_total").points else { panic!() };
        let labels = |handler: &str| {
            vec![
                ("service", "pay\"ment,\\".to_owned()),
                ("instance", "i-1".to_owned()),
                ("handler", handler.to_owned()),
            ]
        };
        assert_eq!(*sums, [(labels("charge"), 3.0), (labels("refund"), 3.0)]);
        let Points::Gauge(gauges) = &find("tidings_service_lag_seconds").points else { panic!() };
        assert_eq!(gauges[0].1, 1.5);
        let Points::Histogram(times) = &find("tidings_service_processing_seconds").points else {
            panic!()
        };
        assert_eq!(times.len(), 2);
        assert_eq!((&times[1].labels, times[1].sum), (&labels("refund"), 2.5));
        assert_eq!(times[1].counts, [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!((times[1].bounds.len(), times[1].bounds[13]), (14, 10.0));
    }

    #[test]
    fn points_that_do_not_fit_are_counted() {
        let mut text = String::from("# HELP a Help.\n# TYPE a gauge\n");
        for n in 0..POINTS_MAX + 5 {
            text.push_str(&format!("a{{n=\"{n}\"}} 1\n"));
        }
        let (metrics, left_out) = read(&text);
        let Points::Gauge(gauges) = &metrics[0].points else { panic!() };
        assert_eq!((gauges.len(), left_out), (POINTS_MAX, 5));
    }
}
