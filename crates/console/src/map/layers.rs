//! Places for nodes of a graph, by layers from left to right. Pure, and the same for the same graph.
//!
//! 1. Edges that close a ring are turned around (depth first, from nodes that nothing leads to).
//! 2. A node is in the layer behind the last of those that lead to it; an edge over several layers has a bend in each between.
//! 3. Layers are ordered by the places of their neighbours, back and forth ([`SWEEPS`] times), so that few edges cross.
//! 4. A layer is centred beside the tallest one.

/// How often the order of all layers is improved; more changes little.
const SWEEPS: usize = 8;

/// Where a node is, in units of rows; whole numbers are not guaranteed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) row: f64,
}

/// How an edge goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    pub(super) from: usize,
    pub(super) to: usize,
    /// It leads back to the left.
    pub(super) is_back: bool,
    /// Its bends, from left to right.
    pub(super) bends: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Place>,
    /// In the order of the edges.
    pub(super) routes: Vec<Route>,
    pub(super) layers: usize,
    pub(super) rows: f64,
}

/// What takes a place in a layer: a node, or a bend of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Node(usize),
    Bend { edge: usize, layer: usize },
}

impl Item {
    /// How much room it takes.
    fn rows(self) -> f64 {
        match self {
            Self::Node(_) => 1.0,
            Self::Bend { .. } => 0.35,
        }
    }
}

/// Places for so many nodes with these edges.
pub(super) fn layout(nodes: usize, edges: &[(usize, usize)]) -> Layout {
    let is_back = turned(nodes, edges);
    let forward: Vec<(usize, usize)> = edges
        .iter()
        .zip(&is_back)
        .map(|(&(from, to), &is_back)| if is_back { (to, from) } else { (from, to) })
        .collect();
    let layer_of = layers_of(nodes, &forward);
    let count = layer_of.iter().max().map_or(0, |most| most + 1);
    let mut layers: Vec<Vec<Item>> = vec![Vec::new(); count];
    for (node, &layer) in layer_of.iter().enumerate() {
        layers[layer].push(Item::Node(node));
    }
    // Neighbours on the left and on the right of each item.
    let mut links: Vec<(Item, Item)> = Vec::new();
    for (edge, &(from, to)) in forward.iter().enumerate() {
        let mut last = Item::Node(from);
        for (layer, items) in
            layers.iter_mut().enumerate().take(layer_of[to]).skip(layer_of[from] + 1)
        {
            let bend = Item::Bend { edge, layer };
            items.push(bend);
            links.push((last, bend));
            last = bend;
        }
        if layer_of[from] < layer_of[to] {
            links.push((last, Item::Node(to)));
        }
    }
    for sweep in 0..SWEEPS {
        improve(&mut layers, &links, sweep % 2 == 0);
    }
    placed(nodes, edges, &is_back, &layers)
}

/// Which edges close a ring.
fn turned(nodes: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        Open,
        Done,
    }
    let mut is_back = vec![false; edges.len()];
    let mut seen = vec![Seen::Not; nodes];
    let leads_to = |node: usize| edges.iter().filter(|(_, to)| *to == node).count();
    let mut starts: Vec<usize> = (0..nodes).collect();
    starts.sort_by_key(|&node| (leads_to(node) > 0, node));
    for start in starts {
        if seen[start] != Seen::Not {
            continue;
        }
        // A node, and the first of the edges that have still to be followed.
        let mut path = vec![(start, 0)];
        seen[start] = Seen::Open;
        while let Some((node, next)) = path.pop() {
            let found = edges.iter().enumerate().skip(next).find(|(_, (from, _))| *from == node);
            let Some((edge, &(_, to))) = found else {
                seen[node] = Seen::Done;
                continue;
            };
            path.push((node, edge + 1));
            match seen[to] {
                Seen::Open => is_back[edge] = true,
                Seen::Not => {
                    seen[to] = Seen::Open;
                    path.push((to, 0));
                }
                Seen::Done => {}
            }
        }
    }
    is_back
}

/// The layer of each node; edges have no ring.
fn layers_of(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layers = vec![0_usize; nodes];
    for _ in 0..nodes {
        let mut moved = false;
        for &(from, to) in edges.iter().filter(|(from, to)| from != to) {
            if layers[to] <= layers[from] {
                layers[to] = layers[from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    // What leads somewhere, and to which nothing leads, is beside where it leads.
    for node in 0..nodes {
        if edges.iter().all(|(_, to)| *to != node) {
            let next =
                edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| layers[*to]).min();
            layers[node] = next.map_or(0, |next| next.saturating_sub(1));
        }
    }
    layers
}

/// Orders each layer by the average place of its items' neighbours in the one before.
fn improve(layers: &mut [Vec<Item>], links: &[(Item, Item)], to_the_right: bool) {
    let count = layers.len();
    for step in 1..count {
        let (at, beside) =
            if to_the_right { (step, step - 1) } else { (count - 1 - step, count - step) };
        let neighbours = layers[beside].clone();
        let place = |item: Item| neighbours.iter().position(|other| *other == item);
        let weight = |index: usize, item: Item| {
            let beside = links.iter().filter_map(|&(left, right)| match to_the_right {
                true if right == item => place(left),
                false if left == item => place(right),
                _ => None,
            });
            let (sum, found) = beside.fold((0.0, 0.0), |(sum, n), at| (sum + at as f64, n + 1.0));
            if found == 0.0 { index as f64 } else { sum / found }
        };
        let mut weighed: Vec<(f64, Item)> = layers[at]
            .iter()
            .enumerate()
            .map(|(index, &item)| (weight(index, item), item))
            .collect();
        weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
        layers[at] = weighed.into_iter().map(|(_, item)| item).collect();
    }
}

fn placed(
    nodes: usize,
    edges: &[(usize, usize)],
    is_back: &[bool],
    layers: &[Vec<Item>],
) -> Layout {
    let tall = |layer: &Vec<Item>| layer.iter().map(|item| item.rows()).sum::<f64>();
    let rows = layers.iter().map(tall).fold(0.0, f64::max);
    let mut places = vec![Place { layer: 0, row: 0.0 }; nodes];
    let mut bends: Vec<Vec<Place>> = vec![Vec::new(); edges.len()];
    for (layer, items) in layers.iter().enumerate() {
        let mut top = (rows - tall(items)) / 2.0;
        for &item in items {
            let place = Place { layer, row: top + item.rows() / 2.0 };
            match item {
                Item::Node(node) => places[node] = place,
                Item::Bend { edge, .. } => bends[edge].push(place),
            }
            top += item.rows();
        }
    }
    let route = |((&(from, to), &is_back), bends)| Route { from, to, is_back, bends };
    let routes = edges.iter().zip(is_back).zip(bends).map(route).collect();
    Layout { nodes: places, routes, layers: layers.len(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
        layout(nodes, edges).nodes.iter().map(|place| place.layer).collect()
    }

    #[test]
    fn nodes_are_right_of_what_leads_to_them() {
        for (nodes, edges, wanted) in [
            (0, &[][..], &[][..]),
            (1, &[], &[0]),
            (3, &[(0, 1), (1, 2)], &[0, 1, 2]),
            // Over a layer.
            (3, &[(0, 1), (1, 2), (0, 2)], &[0, 1, 2]),
            // A ring that is entered at 0: its last edge leads back.
            (4, &[(0, 1), (1, 2), (2, 3), (3, 1)], &[0, 1, 2, 3]),
            // A producer of a late topic is beside it.
            (5, &[(0, 1), (1, 2), (2, 3), (4, 3)], &[0, 1, 2, 3, 2]),
            (1, &[(0, 0)], &[0]),
            (2, &[(0, 1), (1, 0)], &[0, 1]),
        ] {
            assert_eq!(layers(nodes, edges), wanted, "{edges:?}");
        }
        let ring = layout(4, &[(0, 1), (1, 2), (2, 3), (3, 1)]);
        let back: Vec<bool> = ring.routes.iter().map(|route| route.is_back).collect();
        assert_eq!(back, [false, false, false, true]);
        assert_eq!(ring.routes[3].bends.len(), 1, "past the layer between");
    }

    #[test]
    fn edges_that_need_not_cross_do_not() {
        // 0 and 1 lead to 3 and 2.
        let crossed = layout(4, &[(0, 3), (1, 2)]);
        assert!(crossed.nodes[3].row < crossed.nodes[2].row, "{crossed:?}");
    }

    #[test]
    fn nothing_is_on_top_of_another() {
        // Thirty nodes: six chains of five, and an edge from each to the next but one.
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for node in 0..30 {
            if node % 5 != 4 {
                edges.push((node, node + 1));
            }
            edges.push((node, (node + 7) % 30));
        }
        let layout = layout(30, &edges);
        for (a, place) in layout.nodes.iter().enumerate() {
            for other in &layout.nodes[a + 1..] {
                let apart = (place.row - other.row).abs();
                assert!(place.layer != other.layer || apart >= 0.999, "{place:?} {other:?}");
            }
            assert!(place.row >= 0.0 && place.row <= layout.rows);
        }
    }
}
