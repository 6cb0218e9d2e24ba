//! Figures that the binary hands in for `/metrics`.

use std::fmt;
use std::sync::Arc;

/// One figure, as Prometheus shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Begins with `tidings_`; counters end with `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FigureKind,
    /// Name and value.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    Counter,
    Gauge,
}

/// Asked for figures at every scrape; those of one name follow each other.
#[derive(Clone)]
pub struct FigureSource(Arc<dyn Fn() -> Vec<Figure> + Send + Sync>);

impl FigureSource {
    pub fn new(read: impl Fn() -> Vec<Figure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
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
