//! Metrics as values: what a metric is, of a table, and one figure of it, from the gateway or handed in by the
//! binary.

use std::fmt;
use std::sync::Arc;

/// A metric, as `/metrics` has it. Dashboards and rules are generated from tables of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Begins with `tidings_`, ends with its unit where it has one, and with `_total` if it is a counter.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    pub kind: FigureKind,
    /// What tells its series apart.
    pub labels: &'static [&'static str],
}

impl Family {
    /// Something that only grows.
    pub const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: FigureKind::Counter, labels }
    }

    /// Something that is as it is.
    pub const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: FigureKind::Gauge, labels }
    }

    /// One figure of a metric without labels.
    pub const fn is(&'static self, value: f64) -> Figure {
        Figure { family: self, labels: Vec::new(), value }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub family: &'static Family,
    /// Values of the family's labels, in their order.
    pub labels: Vec<String>,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    Counter,
    Gauge,
}

impl FigureKind {
    /// Prometheus' name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Asked for figures at every scrape; those of one family follow each other.
#[derive(Clone)]
pub struct FigureSource(Arc<dyn Fn() -> Vec<Figure> + Send + Sync>);

impl FigureSource {
    /// Whatever `read` says at the time; it is called for each answer and must not block.
    pub fn new(read: impl Fn() -> Vec<Figure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// These, then those.
    pub fn and(self, more: impl Fn() -> Vec<Figure> + Send + Sync + 'static) -> Self {
        Self::new(move || {
            let mut figures = self.read();
            figures.extend(more());
            figures
        })
    }

    pub(super) fn read(&self) -> Vec<Figure> {
        (self.0)()
    }
}

impl Default for FigureSource {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for FigureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FigureSource")
    }
}
