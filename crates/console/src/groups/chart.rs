//! A group's lag over time as SVG, drawn on the server. The line is broken where nobody was looking.

use std::fmt::{self, Write as _};

use super::kept::Point;

/// Its box; the page stretches it.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 120.0;
/// How often the usual time between two points may pass before they are not joined.
const BREAK_TIMES: i64 = 4;

/// A drawn chart; shows as `<svg>`, safe to include as it is.
#[derive(Clone, Debug)]
pub(crate) struct LagChart {
    lines: String,
    areas: String,
}

impl LagChart {
    /// Of points by time, oldest first, in a range of time; the largest lag touches the top.
    pub(super) fn of(points: &[(i64, Point)], from_ms: i64, to_ms: i64) -> Self {
        let top = points.iter().map(|(_, point)| point.lag).max().unwrap_or(0).max(1) as f64;
        let span = (to_ms - from_ms).max(1) as f64;
        let x = |ms: i64| ((ms - from_ms) as f64 / span * WIDTH).clamp(0.0, WIDTH);
        let y = |lag: i64| (HEIGHT - 1.0) - lag.max(0) as f64 / top * (HEIGHT - 4.0);
        let (mut lines, mut areas) = (String::new(), String::new());
        for run in unbroken(points) {
            let mut line = String::new();
            for (n, (ms, point)) in run.iter().enumerate() {
                let step = if n == 0 { 'M' } else { 'L' };
                write!(line, "{step}{:.1} {:.1}", x(*ms), y(point.lag)).expect("to a string");
            }
            let [(first, _), ..] = run else { continue };
            if let [(_, only)] = run {
                // A point alone is a short stroke.
                write!(line, "L{:.1} {:.1}", x(*first) + 2.0, y(only.lag)).expect("to a string");
            }
            let last = run.last().map_or(*first, |(ms, _)| *ms);
            let (first, last) = (x(*first), x(last));
            write!(areas, "{line}L{last:.1} {HEIGHT}L{first:.1} {HEIGHT}Z").expect("to a string");
            lines.push_str(&line);
        }
        Self { lines, areas }
    }
}

/// Runs of points that follow each other as points usually do.
fn unbroken(points: &[(i64, Point)]) -> Vec<&[(i64, Point)]> {
    let mut pauses: Vec<i64> = points.windows(2).map(|two| two[1].0 - two[0].0).collect();
    pauses.sort_unstable();
    let Some(usual) = pauses.get(pauses.len() / 2) else { return vec![points] };
    let most = usual.saturating_mul(BREAK_TIMES);
    points.chunk_by(|a, b| b.0 - a.0 <= most).collect()
}

impl fmt::Display for LagChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, areas } = self;
        write!(
            f,
            r#"<svg class="spark lag" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">"#
        )?;
        let base = HEIGHT - 1.0;
        write!(f, r#"<path class="idle" d="M0 {base}L{WIDTH} {base}"/>"#)?;
        if !lines.is_empty() {
            write!(f, r#"<path class="area" d="{areas}"/><path class="line" d="{lines}"/>"#)?;
        }
        f.write_str("</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(said: &[(i64, i64)]) -> Vec<(i64, Point)> {
        said.iter().map(|(ms, lag)| (*ms, Point { lag: *lag, ..Point::default() })).collect()
    }

    #[test]
    fn the_line_is_broken_where_nobody_was_looking() {
        for (said, wanted) in [
            (&[(0, 1), (10, 1), (20, 1)][..], &[3][..]),
            (&[(0, 1), (10, 1), (20, 1), (61, 1), (71, 1)], &[3, 2]),
            (&[(0, 1), (10, 1), (20, 1), (60, 1)], &[4]),
            (&[(5, 1)], &[1]),
        ] {
            let points = points(said);
            let runs: Vec<_> = unbroken(&points).iter().map(|run| run.len()).collect();
            assert_eq!(runs, wanted, "{said:?}");
        }
    }

    #[test]
    fn lag_is_drawn_over_the_time_of_the_range() {
        let svg = LagChart::of(&points(&[(0, 0), (50, 10), (100, 5)]), 0, 200).to_string();
        assert!(svg.contains(r#"class="line" d="M0.0 119.0L250.0 3.0L500.0 61.0""#), "{svg}");
        let empty = LagChart::of(&[], 0, 200).to_string();
        assert!(empty.contains("idle") && !empty.contains("class=\"line\""), "{empty}");
        let alone = LagChart::of(&points(&[(100, 7)]), 0, 200).to_string();
        assert!(alone.contains("M500.0 3.0L502.0 3.0"), "{alone}");
    }
}
