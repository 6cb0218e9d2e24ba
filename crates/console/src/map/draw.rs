//! The map as SVG. Every node is a link; sizes are here, colours in the style sheet. What is drawn is in the table below it as well.

use std::fmt::{self, Write as _};

use super::super::event::topic_hue;
use super::super::svg::{escaped, fitting};
use super::flow::{Flow, Kind, Node};
use super::layers::{Layout, Place, layout};

const WIDTH: f64 = 158.0;
const HEIGHT: f64 = 38.0;
const MARGIN: f64 = 10.0;
/// Between two layers, and two nodes of one, when the flow is from left to right; and when it is from top to bottom.
const ACROSS: (f64, f64) = (56.0, 16.0);
const DOWN: (f64, f64) = (46.0, 22.0);
/// More layers than this would not fit beside each other on a page.
const LAYERS_ACROSS: usize = 6;
/// Characters that fit into a box.
const NAME_CHARS: usize = 20;

/// A drawn map; shows as `<svg>`, safe to include as it is.
pub(crate) struct Drawing {
    svg: String,
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.svg)
    }
}

/// Which way the flow is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Across,
    Down,
}

/// A point of the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

impl Way {
    fn of(layers: usize) -> Self {
        if layers > LAYERS_ACROSS { Self::Down } else { Self::Across }
    }

    /// The middle of a box there.
    fn middle(self, place: Place) -> Point {
        let layer = place.layer as f64;
        match self {
            Self::Across => Point {
                x: MARGIN + WIDTH / 2.0 + layer * (WIDTH + ACROSS.0),
                y: MARGIN + place.row * (HEIGHT + ACROSS.1),
            },
            Self::Down => Point {
                x: MARGIN + place.row * (WIDTH + DOWN.1),
                y: MARGIN + HEIGHT / 2.0 + layer * (HEIGHT + DOWN.0),
            },
        }
    }

    /// Where edges leave a box, and where they come in.
    fn sides(self, place: Place) -> (Point, Point) {
        let Point { x, y } = self.middle(place);
        match self {
            Self::Across => (Point { x: x + WIDTH / 2.0, y }, Point { x: x - WIDTH / 2.0, y }),
            Self::Down => (Point { x, y: y + HEIGHT / 2.0 }, Point { x, y: y - HEIGHT / 2.0 }),
        }
    }

    fn size(self, layers: usize, rows: f64) -> (f64, f64) {
        let layers = layers.max(1) as f64;
        let rows = rows.max(1.0);
        let (wide, tall) = match self {
            Self::Across => (layers * (WIDTH + ACROSS.0) - ACROSS.0, rows * (HEIGHT + ACROSS.1)),
            Self::Down => (rows * (WIDTH + DOWN.1), layers * (HEIGHT + DOWN.0) - DOWN.0),
        };
        (wide + MARGIN * 2.0, tall + MARGIN * 2.0)
    }

    /// A smooth line from one box to another, through the bends.
    fn path(self, start: Place, end: Place, bends: &[Place]) -> String {
        let mut at = self.sides(start).0;
        let mut path = format!("M{:.1} {:.1}", at.x, at.y);
        for bend in bends {
            let (out, come) = self.sides(*bend);
            self.curve(&mut path, at, come);
            path.push_str(&format!("L{:.1} {:.1}", out.x, out.y));
            at = out;
        }
        self.curve(&mut path, at, self.sides(end).1);
        path
    }

    fn curve(self, path: &mut String, from: Point, to: Point) {
        let (x, y) = ((from.x + to.x) / 2.0, (from.y + to.y) / 2.0);
        let (one, other) = match self {
            Self::Across => ((x, from.y), (x, to.y)),
            Self::Down => ((from.x, y), (to.x, y)),
        };
        let (one, other) =
            (format!("{:.1} {:.1}", one.0, one.1), format!("{:.1} {:.1}", other.0, other.1));
        path.push_str(&format!("C{one} {other} {:.1} {:.1}", to.x, to.y));
    }

    /// The tip of an arrow that comes in, or leads back out of where edges leave.
    fn tip(self, at: Point, is_back: bool) -> String {
        let long = if is_back { 7.0 } else { -7.0 };
        let Point { x, y } = at;
        let (one, other) = match self {
            Self::Across => ((x + long, y - 4.0), (x + long, y + 4.0)),
            Self::Down => ((x - 4.0, y + long), (x + 4.0, y + long)),
        };
        format!("M{x:.1} {y:.1}L{:.1} {:.1}L{:.1} {:.1}Z", one.0, one.1, other.0, other.1)
    }
}

impl Drawing {
    pub(super) fn of(flow: &Flow) -> Self {
        let edges: Vec<(usize, usize)> = flow.edges.iter().map(|e| (e.from, e.to)).collect();
        let Layout { nodes, routes, layers, rows } = layout(flow.nodes.len(), &edges);
        let way = Way::of(layers);
        let (width, height) = way.size(layers, rows);
        let mut out = String::new();
        let mut put = |text: fmt::Arguments| out.write_fmt(text).expect("writing to a string");
        put(format_args!(
            r#"<svg class="map" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="group" aria-label="Who writes to which topic, and who reads it">"#
        ));
        for (route, edge) in routes.iter().zip(&flow.edges) {
            let (from, to) = (nodes[route.from], nodes[route.to]);
            // With the layers, whichever way it leads.
            let (start, end) = if route.is_back { (to, from) } else { (from, to) };
            let path = way.path(start, end, &route.bends);
            let back = if route.is_back { " back" } else { "" };
            let flows = if flow.flows(edge) { " flows" } else { "" };
            put(format_args!(r#"<path class="edge{back}{flows}" d="{path}"/>"#));
            let (leaves, comes) = way.sides(to);
            let tip = way.tip(if route.is_back { leaves } else { comes }, route.is_back);
            put(format_args!(r#"<path class="tip" d="{tip}"/>"#));
        }
        for (node, place) in flow.nodes.iter().zip(&nodes) {
            put(format_args!("{}", Boxed { node, at: way.middle(*place) }));
        }
        put(format_args!("</svg>"));
        Self { svg: out }
    }
}

struct Boxed<'n> {
    node: &'n Node,
    /// Its middle.
    at: Point,
}

impl fmt::Display for Boxed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, at } = self;
        let (x, y) = (at.x - WIDTH / 2.0, at.y - HEIGHT / 2.0);
        let rate = node.per_second.map(|rate| format!("{rate}/s")).unwrap_or_default();
        let said = [node.kind.to_string(), rate];
        let said: Vec<&str> = said.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
        let line = said.join(" · ");
        let label = escaped(&format!("{} {}, {line}", node.kind, node.name));
        let (href, class) = (escaped(&node.href()), node.class());
        let kind = node.kind;
        write!(f, r#"<a class="{kind} {class}" href="{href}"><title>{label}</title>"#)?;
        let round = if node.kind == Kind::Topic { 4.0 } else { HEIGHT / 2.0 };
        write!(
            f,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{WIDTH}" height="{HEIGHT}" rx="{round}"/>"#
        )?;
        if node.kind == Kind::Topic {
            let (cx, cy, hue) = (x + 14.0, y + 14.0, topic_hue(&node.name));
            write!(f, r#"<circle class="{hue}" cx="{cx:.1}" cy="{cy:.1}" r="4"/>"#)?;
        }
        let indent = if node.kind == Kind::Topic { 24.0 } else { 16.0 };
        let name = escaped(&fitting(&node.name, NAME_CHARS));
        write!(f, r#"<text class="what" x="{:.1}" y="{:.1}">{name}</text>"#, x + indent, y + 17.0)?;
        write!(f, r#"<text class="who" x="{:.1}" y="{:.1}">{line}</text></a>"#, x + 16.0, y + 31.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::quantity::Rate;
    use super::super::flow::Edge;
    use super::*;

    #[test]
    fn a_long_flow_is_drawn_downwards_and_fits_its_box() {
        for (layers, way) in [(1, Way::Across), (6, Way::Across), (7, Way::Down)] {
            assert_eq!(Way::of(layers), way);
            let (width, height) = way.size(layers, 3.0);
            let last = way.middle(Place { layer: layers - 1, row: 2.5 });
            assert!(last.x + WIDTH / 2.0 < width && last.y + HEIGHT / 2.0 < height, "{layers}");
            let first = way.middle(Place { layer: 0, row: 0.5 });
            assert!(first.x >= WIDTH / 2.0 && first.y >= HEIGHT / 2.0, "{layers}");
        }
    }

    #[test]
    fn a_map_links_its_nodes_and_shows_names_as_text() {
        let node = |kind, name: &str| Node {
            kind,
            name: name.to_owned(),
            per_second: Some(Rate(5.0)),
            severity: None,
        };
        let flow = Flow {
            nodes: vec![node(Kind::Producer, "<till>"), node(Kind::Topic, "orders")],
            edges: vec![Edge { from: 0, to: 1, per_second: Some(Rate(5.0)) }],
            hidden: 0,
        };
        let svg = Drawing::of(&flow).to_string();
        assert!(!svg.contains("<till>") && svg.contains("&lt;till&gt;"), "{svg}");
        assert!(svg.contains(r#"href="/topics/orders""#) && svg.contains("edge flows"), "{svg}");
        assert!(svg.contains("topic · 5.0/s"), "{svg}");
    }
}
