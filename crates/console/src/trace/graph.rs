//! A life's tree as SVG: causes on the left, effects on the right, and what stops its way as boxes of their own.
//!
//! Every box is a link, so the keyboard gets everywhere; colours and sizes are the style sheet's.

use std::fmt::{self, Write as _};

use super::super::svg::{escaped, fitting};
use super::page::{EventView, LifeView};

/// A box, and the room between two.
const WIDTH: usize = 172;
const HEIGHT: usize = 42;
const GAP_X: usize = 28;
const GAP_Y: usize = 12;
const MARGIN: usize = 8;
/// Characters that fit into a box, in its first and second line.
const TITLE_CHARS: usize = 21;
const LINE_CHARS: usize = 27;

/// A box in its column and row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    column: usize,
    row: usize,
    /// The number of the box on its left that it hangs on.
    from: Option<usize>,
}

/// Boxes that are given in the order of a person's reading, each with its depth: a box is beside the first of those that hang
/// on it, and all others are below.
fn place(depths: &[usize]) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::with_capacity(depths.len());
    // The last box of each column.
    let mut last: Vec<usize> = Vec::new();
    let mut row = 0;
    for (number, &depth) in depths.iter().enumerate() {
        last.truncate(depth);
        let from = depth.checked_sub(1).and_then(|above| last.get(above).copied());
        let follows = from.is_some() && from == number.checked_sub(1);
        if number > 0 && !follows {
            row += 1;
        }
        placed.push(Placed { column: depth, row, from });
        // A column that was left out would be a cause that is nowhere.
        last.resize(depth, number);
        last.push(number);
    }
    placed
}

/// What is written in a box.
struct Boxed<'l> {
    depth: usize,
    class: String,
    hue: &'l str,
    href: String,
    title: String,
    line: String,
    /// All of it, for whoever cannot see or wants to know.
    label: String,
}

/// A drawn tree; shows as `<svg>`, safe to include as it is.
pub(crate) struct Graph {
    svg: String,
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.svg)
    }
}

impl Graph {
    pub(super) fn of(life: &LifeView) -> Self {
        let mut boxes: Vec<Boxed> = Vec::new();
        let mut missing: Option<&str> = None;
        for event in &life.events {
            if let Some(cause) = event.missing_cause.as_deref().filter(|id| missing != Some(*id)) {
                boxes.push(of_missing(event.depth.saturating_sub(1), cause));
            }
            if event.depth <= 1 {
                missing = event.missing_cause.as_deref();
            }
            boxes.push(of_event(event, life.all_match()));
            for reader in event.readers.iter().filter(|reader| reader.stops()) {
                let (line, word) = (reader.detail(), reader.word());
                boxes.push(Boxed {
                    depth: event.depth + 1,
                    class: format!("stop {}", reader.class()),
                    hue: "",
                    href: reader.href(),
                    title: format!("{}: {word}", reader.group),
                    label: format!("{}: {word}. {line}", reader.group),
                    line,
                });
            }
        }
        Self { svg: svg(&boxes) }
    }
}

fn of_missing(depth: usize, id: &str) -> Boxed<'static> {
    Boxed {
        depth,
        class: "missing".to_owned(),
        hue: "",
        href: format!("/trace?q={}", tidings_gateway::url_encoded(id)),
        title: "not found".to_owned(),
        line: id.to_owned(),
        label: format!("The cause {id} is not among what was looked at"),
    }
}

fn of_event(event: &EventView, all_match: bool) -> Boxed<'_> {
    let found = &event.found;
    let class = if event.is_match && !all_match { "event match" } else { "event" };
    let again = if event.is_again { ", again" } else { "" };
    Boxed {
        depth: event.depth,
        class: class.to_owned(),
        hue: found.line.hue(),
        href: found.path(),
        title: format!("{}{again}", found.line.short_type()),
        line: format!("{} · {}", found.source(), event.after),
        label: format!(
            "{}{again}, by {}, {} after the first, at {}",
            found.line.short_type(),
            found.source(),
            event.after,
            found.line.time,
        ),
    }
}

fn svg(boxes: &[Boxed]) -> String {
    let depths: Vec<usize> = boxes.iter().map(|one| one.depth).collect();
    let placed = place(&depths);
    let x = |column: usize| MARGIN + column * (WIDTH + GAP_X);
    let y = |row: usize| MARGIN + row * (HEIGHT + GAP_Y);
    let columns = placed.iter().map(|one| one.column).max().unwrap_or(0);
    let rows = placed.iter().map(|one| one.row).max().unwrap_or(0);
    let (width, height) = (x(columns) + WIDTH + MARGIN, y(rows) + HEIGHT + MARGIN);
    let mut out = String::new();
    let mut put = |text: fmt::Arguments| out.write_fmt(text).expect("writing to a string");
    put(format_args!(
        r#"<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" aria-label="Causes and effects">"#
    ));
    for one in &placed {
        let Some(from) = one.from.map(|from| &placed[from]) else { continue };
        let (left, top) = (x(from.column) + WIDTH, y(from.row) + HEIGHT / 2);
        let (right, below) = (x(one.column), y(one.row) + HEIGHT / 2);
        let middle = left + GAP_X / 2;
        put(format_args!(r#"<path class="edge" d="M{left} {top}H{middle}V{below}H{right}"/>"#));
    }
    for (one, at) in boxes.iter().zip(&placed) {
        let (x, y) = (x(at.column), y(at.row));
        let Boxed { class, hue, .. } = one;
        let (label, href) = (escaped(&one.label), escaped(&one.href));
        put(format_args!(r#"<a class="{class}" href="{href}"><title>{label}</title>"#));
        put(format_args!(r#"<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>"#));
        let dot = !hue.is_empty();
        if dot {
            let (cx, cy) = (x + 14, y + 15);
            put(format_args!(r#"<circle class="{hue}" cx="{cx}" cy="{cy}" r="4"/>"#));
        }
        let (tx, ty) = (x + if dot { 24 } else { 12 }, y + 19);
        let title = escaped(&fitting(&one.title, TITLE_CHARS));
        put(format_args!(r#"<text class="what" x="{tx}" y="{ty}">{title}</text>"#));
        let (lx, ly) = (x + 12, y + 34);
        let line = escaped(&fitting(&one.line, LINE_CHARS));
        put(format_args!(r#"<text class="who" x="{lx}" y="{ly}">{line}</text></a>"#));
    }
    put(format_args!("</svg>"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_beside_the_first_that_hangs_on_it_and_above_the_others() {
        for (depths, wanted) in [
            (&[][..], &[][..]),
            (&[0], &[(0, 0, None)]),
            (&[0, 1, 2], &[(0, 0, None), (1, 0, Some(0)), (2, 0, Some(1))]),
            (
                &[0, 1, 2, 2, 1, 2, 0],
                &[
                    (0, 0, None),
                    (1, 0, Some(0)),
                    (2, 0, Some(1)),
                    (2, 1, Some(1)),
                    (1, 2, Some(0)),
                    (2, 2, Some(4)),
                    (0, 3, None),
                ],
            ),
            (&[0, 0], &[(0, 0, None), (0, 1, None)]),
        ] {
            let placed: Vec<_> =
                place(depths).into_iter().map(|one| (one.column, one.row, one.from)).collect();
            assert_eq!(placed, wanted, "{depths:?}");
        }
    }

    #[test]
    fn what_producers_write_is_no_markup() {
        let one = Boxed {
            depth: 0,
            class: "event".into(),
            hue: "",
            href: "/topics/a\"b".into(),
            title: "<script>".into(),
            line: "a & b\n".into(),
            label: "'x'".into(),
        };
        let svg = svg(&[one]);
        assert!(
            !svg.contains("<script") && !svg.contains("a\"b") && !svg.contains("a & b"),
            "{svg}"
        );
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a &amp; b "), "{svg}");
    }
}
