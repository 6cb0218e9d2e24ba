//! A life's events over time as SVG: a row for each, from when its cause was written to when it was. Times in which nothing happened are
//! drawn as a narrow gap that says how long it is.

use std::fmt::{self, Write as _};

use super::super::quantity::Span;
use super::super::svg::{escaped, fitting};
use super::page::LifeView;
use crate::limits::{TRACE_GAP_MIN, TRACE_GAP_TIMES};

/// Where labels end and the time begins, how wide the time is, and how wide a gap in it.
const LABEL: f64 = 250.0;
const WIDTH: f64 = 620.0;
const GAP: f64 = 46.0;
/// Room behind for the words of the last event.
const BEHIND: f64 = 210.0;
const TOP: f64 = 24.0;
const ROW: f64 = 24.0;
const LABEL_CHARS: usize = 36;

/// A stretch of time, and where it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    from_ms: i64,
    to_ms: i64,
    from_x: f64,
    to_x: f64,
    /// Nothing happened in it.
    is_gap: bool,
}

/// Time as it is drawn.
#[derive(Clone, Debug)]
struct Axis {
    stretches: Vec<Stretch>,
}

impl Axis {
    /// For these times, in any order. What is quiet for much longer than usual is a gap of fixed width; the rest shares what is
    /// left, as long as it took.
    fn of(times: &[i64], width: f64) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        times.dedup();
        let mut pauses: Vec<i64> = times.windows(2).map(|two| two[1] - two[0]).collect();
        pauses.sort_unstable();
        // What three of four pauses exceed: a life of few bursts has many long ones.
        let usual = pauses.get(pauses.len().saturating_sub(1) / 4).copied().unwrap_or(1).max(1);
        let least = i64::try_from(TRACE_GAP_MIN.as_millis()).unwrap_or(i64::MAX);
        let long = usual.saturating_mul(TRACE_GAP_TIMES).max(least);
        let is_gap = |pause: i64| pause >= long;
        let gaps = pauses.iter().filter(|pause| is_gap(**pause)).count();
        let busy: i64 = pauses.iter().filter(|pause| !is_gap(**pause)).sum();
        let share = (width - gaps as f64 * GAP).max(width / 4.0);
        let gap = if gaps == 0 {
            0.0
        } else {
            (width - if busy > 0 { share } else { 0.0 }) / gaps as f64
        };
        let mut x = 0.0;
        let stretch = |two: &[i64]| {
            let pause = two[1] - two[0];
            let wide = if is_gap(pause) { gap } else { pause as f64 / busy.max(1) as f64 * share };
            let from_x = x;
            x += wide;
            Stretch { from_ms: two[0], to_ms: two[1], from_x, to_x: x, is_gap: is_gap(pause) }
        };
        Self { stretches: times.windows(2).map(stretch).collect() }
    }

    fn x(&self, ms: i64) -> f64 {
        let Some(last) = self.stretches.last() else { return 0.0 };
        let at = self.stretches.iter().find(|stretch| ms <= stretch.to_ms).unwrap_or(last);
        let part = (ms - at.from_ms) as f64 / (at.to_ms - at.from_ms).max(1) as f64;
        at.from_x + part.clamp(0.0, 1.0) * (at.to_x - at.from_x)
    }

    fn gaps(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(|stretch| stretch.is_gap)
    }
}

/// A drawn timeline; shows as `<svg>`, safe to include as it is.
pub(crate) struct Timeline {
    svg: String,
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.svg)
    }
}

impl Timeline {
    pub(super) fn of(life: &LifeView) -> Self {
        let times: Vec<i64> = life.events.iter().map(|event| event.found.line.time.0).collect();
        let axis = Axis::of(&times, WIDTH);
        let height = TOP + ROW * life.events.len() as f64 + 6.0;
        let width = LABEL + WIDTH + BEHIND;
        let mut out = String::new();
        let mut put = |text: fmt::Arguments| out.write_fmt(text).expect("writing to a string");
        put(format_args!(
            r#"<svg class="timeline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" aria-label="Events over time">"#
        ));
        for gap in axis.gaps() {
            let (x, wide) = (LABEL + gap.from_x, gap.to_x - gap.from_x);
            let (top, tall) = (TOP - 6.0, height - TOP + 2.0);
            put(format_args!(
                r#"<rect class="gap" x="{x:.1}" y="{top}" width="{wide:.1}" height="{tall}"/>"#
            ));
            let (middle, said) = (x + wide / 2.0, long(gap.to_ms - gap.from_ms));
            put(format_args!(r#"<text class="gap" x="{middle:.1}" y="12">{said}</text>"#));
        }
        for (row, event) in life.events.iter().enumerate() {
            let line = &event.found.line;
            let y = TOP + ROW * row as f64 + ROW / 2.0;
            let x = LABEL + axis.x(line.time.0);
            let (href, words) = (escaped(&event.found.path()), event.after.to_string());
            let indent = (event.depth.min(8) * 10) as f64 + 4.0;
            let name = format!("{} · {}", line.short_type(), event.found.source());
            let label = escaped(&format!("{name}, {words} after the first"));
            put(format_args!(r#"<a href="{href}"><title>{label}</title>"#));
            let band = y - ROW / 2.0;
            put(format_args!(
                r#"<rect class="row" x="0" y="{band}" width="{width}" height="{ROW}"/>"#
            ));
            let room = LABEL_CHARS.saturating_sub(event.depth.min(8) * 2);
            let name = escaped(&fitting(&name, room));
            put(format_args!(
                r#"<text class="what" x="{indent}" y="{:.1}">{name}</text>"#,
                y + 4.0
            ));
            if let Some(cause_ms) = event.cause_ms {
                let from = LABEL + axis.x(cause_ms);
                put(format_args!(r#"<path class="span" d="M{from:.1} {y}L{x:.1} {y}"/>"#));
            }
            let stops =
                event.readers.iter().find(|reader| reader.stops() && !reader.class().is_empty());
            let class = stops
                .map_or_else(|| line.hue().to_owned(), |reader| format!("stop-{}", reader.class()));
            put(format_args!(r#"<circle class="{class}" cx="{x:.1}" cy="{y}" r="4.5"/>"#));
            let words = escaped(&match stops {
                Some(reader) => {
                    format!("{} {}: {}", event.since_cause(), reader.group, reader.word())
                }
                None => event.since_cause(),
            });
            let (at, below) = (x + 10.0, y + 4.0);
            put(format_args!(
                r#"<text class="took" x="{at:.1}" y="{below:.1}">{words}</text></a>"#
            ));
        }
        put(format_args!("</svg>"));
        Self { svg: out }
    }
}

fn long(ms: i64) -> Span {
    Span(u64::try_from(ms / 1_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_time_is_a_gap_and_the_rest_is_to_scale() {
        let hour = 3_600_000;
        for (times, gaps, last) in [
            (&[][..], &[][..], 0.0),
            (&[5], &[], 0.0),
            (&[0, 100], &[], 1_000.0),
            (&[0, 100, 200, 900], &[], 1_000.0),
            // Eight times as long as usual, and more than a second.
            (&[0, 200, 400, 2_000], &[1_600], 1_000.0),
            (&[0, 100, 200, hour, hour + 50], &[hour - 200], 1_000.0),
            // Nothing but a long pause is drawn whole.
            (&[0, hour], &[], 1_000.0),
            (&[0, 10, hour], &[hour - 10], 1_000.0),
            (&[0, hour, hour + 10, 9 * hour], &[hour, 8 * hour - 10], 1_000.0),
        ] {
            let axis = Axis::of(times, 1_000.0);
            let found: Vec<_> = axis.gaps().map(|gap| gap.to_ms - gap.from_ms).collect();
            assert_eq!(found, gaps, "{times:?}");
            let x = axis.x(times.last().copied().unwrap_or(0));
            assert!((x - last).abs() < 0.001, "{times:?}: {x}");
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            assert!(sorted.windows(2).all(|two| axis.x(two[0]) < axis.x(two[1])), "{times:?}");
        }
    }

    #[test]
    fn many_gaps_leave_room_for_what_happens() {
        let hour = 3_600_000;
        let times: Vec<i64> = (0..100).flat_map(|n| [n * hour, n * hour + 10]).collect();
        let axis = Axis::of(&times, 1_000.0);
        assert_eq!(axis.gaps().count(), 99);
        assert!(axis.x(times[199]) <= 1_000.001, "{}", axis.x(times[199]));
        assert!(axis.x(times[1]) > 1.0);
    }
}
