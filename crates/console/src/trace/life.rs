//! What was found, as the lives it is about, and one life as a tree. Pure.
//!
//! A life is what has one correlation; where records say none, what is cause and effect of each other; else one record alone. In its
//! tree each event is below its cause. A cause that was not found has a place of its own. Ids are what producers say: an id that is there
//! twice is the same event again, and causes that go in a ring are cut where it closes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::super::quantity::{Count, Moment};
use super::{Found, Spot};

/// A life in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LifeLine {
    /// Its correlation, or what stands for one.
    pub(crate) life: String,
    #[serde(rename = "first_ms")]
    pub(crate) first: Moment,
    #[serde(rename = "last_ms")]
    pub(crate) last: Moment,
    pub(crate) events: Count,
    /// Of the first event that was found.
    pub(crate) r#type: String,
    pub(crate) key: Option<String>,
    /// Dead letters among its events.
    pub(crate) letters: Count,
}

/// The life of each, by its number.
pub(super) fn lives_of(found: &[Found]) -> Vec<String> {
    let by_id: HashMap<&str, usize> = ids(found.iter());
    let cause = |number: usize| {
        let one = &found[number];
        let id = one.causation.as_deref().filter(|_| one.line.correlation.is_none())?;
        by_id.get(id).copied()
    };
    let top = |number: usize| {
        let (mut at, mut passed) = (number, BTreeSet::new());
        while let Some(next) = cause(at) {
            if !passed.insert(at) {
                // A ring has no top: its earliest event does.
                let ring =
                    std::iter::successors(cause(at), |&next| cause(next).filter(|_| next != at));
                return ring.min().unwrap_or(at);
            }
            at = next;
        }
        at
    };
    let life = |number: usize| {
        let first = &found[top(number)];
        let said = first.line.correlation.clone().or_else(|| first.line.id.clone());
        said.unwrap_or_else(|| first.spot().to_string())
    };
    (0..found.len()).map(life).collect()
}

/// The first event of each id.
fn ids<'f>(found: impl Iterator<Item = &'f Found>) -> HashMap<&'f str, usize> {
    let mut by_id = HashMap::new();
    for (number, one) in found.enumerate() {
        if let Some(id) = one.line.id.as_deref().filter(|_| one.death.is_none()) {
            by_id.entry(id).or_insert(number);
        }
    }
    by_id
}

/// The lives that matches are in, the newest first.
pub(super) fn lives(found: &[Found], of: &[String], matches: &BTreeSet<Spot>) -> Vec<LifeLine> {
    let meant: BTreeSet<&String> = found
        .iter()
        .zip(of)
        .filter(|(one, _)| matches.contains(&one.spot()))
        .map(|(_, life)| life)
        .collect();
    let mut lines: BTreeMap<&String, LifeLine> = BTreeMap::new();
    for (one, life) in found.iter().zip(of).filter(|(_, life)| meant.contains(life)) {
        let line = lines.entry(life).or_insert_with(|| LifeLine {
            life: life.clone(),
            first: one.line.time,
            last: one.line.time,
            events: Count(0),
            r#type: one.line.short_type().to_owned(),
            key: one.line.key.clone(),
            letters: Count(0),
        });
        line.last = line.last.max(one.line.time);
        match one.death {
            Some(_) => line.letters.0 += 1,
            None => line.events.0 += 1,
        }
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.last));
    lines
}

/// What stands in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An event, by its number among those of the life.
    Event(usize),
    /// The cause of the event of this number, which was not found.
    Missing(usize),
}

/// A place in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) what: What,
    /// The number of its cause's node.
    pub(super) cause: Option<usize>,
    /// Its effects' nodes, the earliest first.
    pub(super) effects: Vec<usize>,
    /// Steps from the first event.
    pub(super) depth: usize,
    /// An event of this id has come before.
    pub(super) is_again: bool,
    /// Its causes lead back to it.
    pub(super) in_ring: bool,
}

/// The tree of a life's events, which are by time, oldest first; letters are no part of it. Nodes are the same events in the same order,
/// and missing causes behind them.
pub(super) fn tree(events: &[&Found]) -> Vec<Node> {
    let by_id = ids(events.iter().copied());
    let mut causes: Vec<Option<usize>> = Vec::with_capacity(events.len());
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stand_ins = Vec::new();
    let mut in_ring = vec![false; events.len()];
    for (number, event) in events.iter().enumerate() {
        let cause = event.causation.as_deref().map(|id| match by_id.get(id) {
            Some(cause) => *cause,
            None => *missing.entry(id).or_insert_with(|| {
                stand_ins.push(number);
                events.len() + stand_ins.len() - 1
            }),
        });
        in_ring[number] = cause == Some(number);
        causes.push(cause.filter(|cause| *cause != number));
    }
    cut_rings(&mut causes, &mut in_ring);
    let mut nodes: Vec<Node> = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let first = event.line.id.as_deref().and_then(|id| by_id.get(id));
        nodes.push(Node {
            what: What::Event(number),
            cause: causes[number],
            effects: Vec::new(),
            depth: 0,
            is_again: first.is_some_and(|first| *first != number),
            in_ring: in_ring[number],
        });
    }
    nodes.extend(stand_ins.into_iter().map(|of| Node {
        what: What::Missing(of),
        cause: None,
        effects: Vec::new(),
        depth: 0,
        is_again: false,
        in_ring: false,
    }));
    for number in 0..events.len() {
        if let Some(cause) = nodes[number].cause {
            nodes[cause].effects.push(number);
        }
    }
    let mut open = roots(&nodes);
    while let Some(number) = open.pop() {
        for effect in nodes[number].effects.clone() {
            nodes[effect].depth = nodes[number].depth + 1;
            open.push(effect);
        }
    }
    nodes
}

/// Takes away the last link of every ring.
fn cut_rings(causes: &mut [Option<usize>], in_ring: &mut [bool]) {
    let mut is_done = vec![false; causes.len()];
    for start in 0..causes.len() {
        let (mut path, mut at) = (Vec::new(), start);
        let mut on_path = BTreeSet::new();
        // A stand-in for a missing cause is beyond the end.
        while at < causes.len() && !is_done[at] && on_path.insert(at) {
            path.push(at);
            match causes[at] {
                Some(cause) => at = cause,
                None => break,
            }
        }
        if at < causes.len() && !is_done[at] && path.last() != Some(&at) && on_path.contains(&at) {
            // The earliest of the ring is taken for its beginning.
            let ring = path.iter().skip_while(|number| **number != at);
            if let Some(first) = ring.min().copied() {
                causes[first] = None;
                in_ring[first] = true;
            }
        }
        path.into_iter().for_each(|number| is_done[number] = true);
    }
}

/// Nodes that have no cause: those whose cause is missing last in the order of their first effect.
pub(super) fn roots(nodes: &[Node]) -> Vec<usize> {
    let first_of = |number: &usize| nodes[*number].effects.first().copied().unwrap_or(*number);
    let mut roots: Vec<usize> = (0..nodes.len()).filter(|n| nodes[*n].cause.is_none()).collect();
    roots.sort_by_key(|number| match nodes[*number].what {
        What::Event(_) => *number,
        What::Missing(_) => first_of(number),
    });
    roots
}

/// The nodes as a person reads them: each before its effects; none that is deeper than that.
pub(super) fn order(nodes: &[Node], depth: usize) -> Vec<usize> {
    let mut open: Vec<usize> = roots(nodes).into_iter().rev().collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(number) = open.pop() {
        if nodes[number].depth > depth {
            continue;
        }
        order.push(number);
        open.extend(nodes[number].effects.iter().rev());
    }
    order
}

#[cfg(test)]
pub(super) mod tests {
    use tidings_engine::{Header, Record};

    use super::*;
    use crate::reading::Reading;

    /// An event of an id, a correlation and a cause, of which any may be empty.
    pub(in super::super) fn event(at_ms: i64, id: &str, correlation: &str, cause: &str) -> Found {
        let headers = [
            ("ce_id", id),
            ("ce_correlationid", correlation),
            ("ce_causationid", cause),
            ("ce_type", "shop.Event"),
            ("ce_source", "svc"),
        ];
        let said = headers.into_iter().filter(|(_, text)| !text.is_empty());
        Found::of(&Reading::from(&Record {
            topic: "t".into(),
            partition: 0,
            offset: at_ms,
            timestamp: at_ms,
            key: Some("k".into()),
            value: None,
            headers: said.map(|(name, text)| Header::text(name, text)).collect(),
        }))
    }

    fn drawn(events: &[(&str, &str)]) -> Vec<String> {
        let events: Vec<Found> =
            (0..).zip(events).map(|(n, (id, cause))| event(n, id, "c", cause)).collect();
        let events: Vec<&Found> = events.iter().collect();
        let nodes = tree(&events);
        let name = |number: usize| {
            let node = &nodes[number];
            let name = match node.what {
                What::Event(of) => events[of].line.id.clone().unwrap_or_default(),
                What::Missing(of) => format!("{}?", events[of].causation.as_deref().unwrap()),
            };
            let marks = [(node.is_again, "+"), (node.in_ring, "@")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            format!("{}{name}{marks}", ">".repeat(node.depth))
        };
        order(&nodes, usize::MAX).into_iter().map(name).collect()
    }

    #[test]
    fn each_event_is_below_its_cause() {
        for (events, wanted) in [
            (&[][..], &[][..]),
            (&[("a", "")], &["a"]),
            (&[("a", ""), ("b", "a"), ("c", "a"), ("d", "b")], &["a", ">b", ">>d", ">c"]),
            // Written before its cause, as two clocks or two partitions have it.
            (&[("b", "a"), ("a", "")], &["a", ">b"]),
            // What was not found has a place; one for all of its effects.
            (&[("b", "a"), ("c", "a"), ("d", "x")], &["a?", ">b", ">c", "x?", ">d"]),
            (&[("r", ""), ("b", "a")], &["r", "a?", ">b"]),
            // The same event again.
            (&[("a", ""), ("b", "a"), ("b", "a")], &["a", ">b", ">b+"]),
            // Rings.
            (&[("a", "a")], &["a@"]),
            (&[("a", "b"), ("b", "a")], &["a@", ">b"]),
            (&[("x", "a"), ("a", "c"), ("b", "a"), ("c", "b")], &["a@", ">x", ">b", ">>c"]),
            (&[("", ""), ("", "")], &["", ""]),
        ] {
            assert_eq!(drawn(events), wanted, "{events:?}");
        }
    }

    #[test]
    fn a_life_is_a_correlation_or_what_hangs_together() {
        for (events, wanted) in [
            (&[("a", "c1", ""), ("b", "c1", "a"), ("x", "c2", "")][..], &["c1", "c1", "c2"][..]),
            (&[("a", "", ""), ("b", "", "a"), ("c", "", "b")], &["a", "a", "a"]),
            (&[("a", "", ""), ("b", "a", "a")], &["a", "a"]),
            (&[("", "", ""), ("", "", "")], &["t/0/0", "t/0/1"]),
            (&[("b", "", "gone")], &["b"]),
            (&[("a", "", "b"), ("b", "", "a")], &["a", "a"]),
        ] {
            let found: Vec<Found> =
                (0..).zip(events).map(|(n, (id, life, cause))| event(n, id, life, cause)).collect();
            assert_eq!(lives_of(&found), wanted, "{events:?}");
        }
    }

    #[test]
    fn lives_are_listed_the_newest_first_and_only_those_that_are_meant() {
        let found: Vec<Found> = [(0, "a", "c1"), (5, "b", "c2"), (7, "c", "c1"), (9, "d", "c3")]
            .map(|(at, id, life)| event(at, id, life, ""))
            .to_vec();
        let of = lives_of(&found);
        let matches = BTreeSet::from([found[0].spot(), found[1].spot()]);
        let lines = lives(&found, &of, &matches);
        let told: Vec<_> =
            lines.iter().map(|line| (line.life.as_str(), line.events.0, line.last.0)).collect();
        assert_eq!(told, [("c1", 2, 7), ("c2", 1, 5)]);
    }

    #[test]
    fn what_is_too_deep_is_left_out() {
        let events: Vec<Found> = (0..10)
            .map(|n: i64| {
                let cause = if n == 0 { String::new() } else { (n - 1).to_string() };
                event(n, &n.to_string(), "c", &cause)
            })
            .collect();
        let nodes = tree(&events.iter().collect::<Vec<_>>());
        assert_eq!(order(&nodes, 3), [0, 1, 2, 3]);
        assert_eq!(order(&nodes, 100).len(), 10);
    }
}
