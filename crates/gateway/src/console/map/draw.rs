//! The map as SVG. Every node is a link; sizes are here, colours in the style sheet. What is drawn is in the table below it as well.

use std::fmt::{self, Write as _};

use super::super::event::topic_hue;
use super::super::svg::{escaped, fitting};
use super::flow::{Flow, Kind, Node};
use super::layers::{Layout, Place, layout};

const WIDTH: f64 = 158.0;
const HEIGHT: f64 = 38.0;
const GAP_X: f64 = 56.0;
const ROW: f64 = 54.0;
const MARGIN: f64 = 10.0;
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

fn left(place: Place) -> f64 {
    MARGIN + place.layer as f64 * (WIDTH + GAP_X)
}

fn middle(place: Place) -> f64 {
    MARGIN + place.row * ROW
}

impl Drawing {
    pub(super) fn of(flow: &Flow) -> Self {
        let edges: Vec<(usize, usize)> = flow.edges.iter().map(|e| (e.from, e.to)).collect();
        let Layout { nodes, routes, layers, rows } = layout(flow.nodes.len(), &edges);
        let width = MARGIN * 2.0 + layers as f64 * (WIDTH + GAP_X) - GAP_X;
        let height = MARGIN * 2.0 + rows * ROW;
        let (width, height) = (width.max(WIDTH), height.max(HEIGHT));
        let mut out = String::new();
        let mut put = |text: fmt::Arguments| out.write_fmt(text).expect("writing to a string");
        put(format_args!(
            r#"<svg class="map" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="group" aria-label="Who writes to which topic, and who reads it">"#
        ));
        for (route, edge) in routes.iter().zip(&flow.edges) {
            let (from, to) = (nodes[route.from], nodes[route.to]);
            // From left to right, whichever way it leads.
            let (start, end) = if route.is_back { (to, from) } else { (from, to) };
            let path = path(start, end, &route.bends);
            let flows = edge.per_second.is_some_and(|rate| !rate.is_zero());
            let class = match (route.is_back, flows) {
                (true, _) => "edge back",
                (false, true) => "edge flows",
                (false, false) => "edge",
            };
            put(format_args!(r#"<path class="{class}" d="{path}"/>"#));
            let (x, y, tip) = if route.is_back {
                (left(to) + WIDTH, middle(to), 7.0)
            } else {
                (left(to), middle(to), -7.0)
            };
            let back = x + tip;
            put(format_args!(
                r#"<path class="tip" d="M{x:.1} {y:.1}L{back:.1} {:.1}L{back:.1} {:.1}Z"/>"#,
                y - 4.0,
                y + 4.0
            ));
        }
        for (node, place) in flow.nodes.iter().zip(&nodes) {
            put(format_args!("{}", Boxed { node, place: *place }));
        }
        put(format_args!("</svg>"));
        Self { svg: out }
    }
}

/// A smooth line through the bends.
fn path(start: Place, end: Place, bends: &[Place]) -> String {
    let mut at = (left(start) + WIDTH, middle(start));
    let mut path = format!("M{:.1} {:.1}", at.0, at.1);
    for bend in bends {
        let (x, y) = (left(*bend), middle(*bend));
        curve(&mut path, at, (x, y));
        path.push_str(&format!("H{:.1}", x + WIDTH));
        at = (x + WIDTH, y);
    }
    curve(&mut path, at, (left(end), middle(end)));
    path
}

fn curve(path: &mut String, from: (f64, f64), to: (f64, f64)) {
    let half = (from.0 + to.0) / 2.0;
    path.push_str(&format!(
        "C{half:.1} {:.1} {half:.1} {:.1} {:.1} {:.1}",
        from.1, to.1, to.0, to.1
    ));
}

struct Boxed<'n> {
    node: &'n Node,
    place: Place,
}

impl fmt::Display for Boxed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, place } = self;
        let (x, y) = (left(*place), middle(*place) - HEIGHT / 2.0);
        let rate = node.per_second.map(|rate| format!("{rate}/s")).unwrap_or_default();
        let said = [node.kind.to_string(), rate];
        let said: Vec<&str> = said.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
        let line = said.join(" · ");
        let label = escaped(&format!("{} {}, {line}", node.kind, node.name));
        let (href, class) = (escaped(&node.href()), node.class());
        let kind = node.kind;
        write!(
            f,
            r#"<a class="{kind} {class}" href="{href}" aria-label="{label}"><title>{label}</title>"#
        )?;
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
