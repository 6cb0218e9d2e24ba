//! Small line charts as SVG, drawn on the server.

use std::fmt::{self, Write as _};

/// A series of values, oldest first, drawn from the right edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spark {
    values: Vec<f32>,
}

/// Points of one chart; older values are left out.
const POINTS: usize = 60;

impl Spark {
    pub(crate) fn new(mut values: Vec<f32>) -> Self {
        values.drain(..values.len().saturating_sub(POINTS));
        Self { values }
    }

    pub(crate) fn max(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    /// The chart in a box of this size, as markup that is safe to include as it is.
    pub(crate) fn svg(&self, width: u16, height: u16) -> Svg {
        let mut line = String::new();
        let top = self.max();
        let (w, h) = (f32::from(width), f32::from(height));
        let step = w / (POINTS - 1) as f32;
        let first_x = w - step * self.values.len().saturating_sub(1) as f32;
        if top > 0.0 && self.values.len() > 1 {
            for (i, value) in self.values.iter().enumerate() {
                let x = first_x + step * i as f32;
                // One unit of air above, and the base line on whole pixels.
                let y = (h - 1.0) - value / top * (h - 3.0);
                let separator = if i == 0 { 'M' } else { 'L' };
                write!(line, "{separator}{x:.1} {y:.1}").expect("writing to a string");
            }
        }
        Svg { width, height, line, first_x }
    }
}

/// A drawn chart; shows as `<svg>`.
#[derive(Debug)]
pub(crate) struct Svg {
    width: u16,
    height: u16,
    line: String,
    first_x: f32,
}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width: w, height: h, line, first_x } = self;
        write!(
            f,
            r#"<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" preserveAspectRatio="none" aria-hidden="true">"#
        )?;
        let base = h - 1;
        if line.is_empty() {
            write!(f, r#"<path class="idle" d="M0 {base}L{w} {base}"/>"#)?;
        } else {
            write!(
                f,
                r#"<path class="area" d="{line}L{w} {h}L{first_x:.1} {h}Z"/><path class="line" d="{line}"/>"#
            )?;
        }
        f.write_str("</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_becomes_a_line_that_ends_at_the_right_edge() {
        let svg = Spark::new(vec![0.0, 5.0, 10.0]).svg(118, 20).to_string();
        assert!(svg.contains(r#"class="line" d="M114.0 19.0L116.0 10.5L118.0 2.0""#), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn nothing_to_show_is_a_base_line() {
        for values in [vec![], vec![3.0], vec![0.0, 0.0]] {
            let svg = Spark::new(values).svg(100, 20).to_string();
            assert!(svg.contains(r#"class="idle" d="M0 19L100 19""#), "{svg}");
        }
    }

    #[test]
    fn only_the_newest_points_are_drawn() {
        let spark = Spark::new((0..500_u16).map(f32::from).collect());
        assert_eq!(spark.values.len(), POINTS);
        assert_eq!(spark.values[0], 440.0);
    }
}
