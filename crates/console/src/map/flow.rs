//! Nodes and edges of the map, from a snapshot. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Serialize;
use tidings_gateway::url_encoded;

use super::super::quantity::Rate;
use super::super::snapshot::{Severity, Snapshot};
use crate::limits::MAP_NODES_MAX;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Writes, and is no service.
    Producer,
    Topic,
    /// Of the SDK, and reports.
    Service,
    /// Reads, and is no service.
    Group,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Topic => "topic",
            Self::Service => "service",
            Self::Group => "group",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Records in a second: of a topic what comes in, of a service what it handles, of a group what it commits.
    pub(crate) per_second: Option<Rate>,
    /// What is wrong, if anything is.
    pub(crate) severity: Option<Severity>,
}

impl Node {
    /// As a URL names it.
    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.kind, self.name)
    }

    pub(crate) fn class(&self) -> &'static str {
        self.severity.map_or("", Severity::class)
    }

    /// The page about it.
    pub(crate) fn href(&self) -> String {
        let name = url_encoded(&self.name);
        match self.kind {
            Kind::Producer => format!("/events?q={name}"),
            Kind::Topic => format!("/topics/{name}"),
            Kind::Service => format!("/services/{name}"),
            Kind::Group => format!("/groups/{name}"),
        }
    }
}

/// From one node to another, by their numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Records in a second, as far as that is known.
    pub(crate) per_second: Option<Rate>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Flow {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// Nodes that are left out.
    pub(crate) hidden: usize,
}

type Id = (Kind, String);

/// Nodes and edges by name.
#[derive(Default)]
struct Building {
    nodes: BTreeMap<Id, Node>,
    edges: BTreeMap<(Id, Id), Option<Rate>>,
}

impl Building {
    fn join(&mut self, from: &Id, to: &Id, rate: Option<Rate>) {
        for (kind, name) in [from, to] {
            self.nodes.entry((*kind, name.clone())).or_insert_with(|| Node {
                kind: *kind,
                name: name.clone(),
                per_second: None,
                severity: None,
            });
        }
        let edge = self.edges.entry((from.clone(), to.clone())).or_default();
        *edge = edge.or(rate);
    }
}

impl Flow {
    /// Of everything that was seen to write or to read.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut building = Building::default();
        let services: BTreeSet<&str> =
            snapshot.services.iter().map(|of| of.report.service.as_str()).collect();
        let reader = |name: &str| {
            let kind = if services.contains(name) { Kind::Service } else { Kind::Group };
            (kind, name.to_owned())
        };
        let groups: BTreeSet<&str> = snapshot.groups.iter().map(|g| g.name.as_str()).collect();
        let topic = |name: &str| (Kind::Topic, name.to_owned());
        let rates: BTreeMap<&str, Rate> =
            snapshot.topics.iter().map(|t| (t.name.as_str(), t.records_per_second)).collect();
        for group in &snapshot.groups {
            for name in &group.topics {
                building.join(&topic(name), &reader(&group.name), None);
            }
        }
        for of in &snapshot.services {
            let service = reader(&of.report.service);
            for name in &of.report.inputs {
                building.join(&topic(name), &service, None);
            }
            for name in &of.report.outputs {
                building.join(&service, &topic(name), None);
            }
        }
        for seen in &snapshot.sightings {
            let source = match seen.source.as_str() {
                name if services.contains(name) || groups.contains(name) => reader(name),
                name => (Kind::Producer, name.to_owned()),
            };
            let rate = rates.get(seen.topic.as_str()).map(|rate| Rate(rate.0 * seen.share));
            building.join(&source, &topic(&seen.topic), None);
            if let Some(edge) = building.edges.get_mut(&(source, topic(&seen.topic))) {
                *edge = rate;
            }
        }
        building.finish(snapshot)
    }

    /// What is within so many steps of a node, in either direction; none when it is not on the map.
    pub(crate) fn around(&self, id: &str, depth: usize) -> Option<Self> {
        let start = self.nodes.iter().position(|node| node.id() == id)?;
        let mut steps = BTreeMap::from([(start, 0)]);
        let mut open = VecDeque::from([start]);
        while let Some(at) = open.pop_front() {
            let taken = steps[&at];
            if taken == depth {
                continue;
            }
            for edge in self.edges.iter().filter(|edge| edge.from == at || edge.to == at) {
                let next = if edge.from == at { edge.to } else { edge.from };
                if let std::collections::btree_map::Entry::Vacant(new) = steps.entry(next) {
                    new.insert(taken + 1);
                    open.push_back(next);
                }
            }
        }
        Some(self.only(&steps.into_keys().collect()))
    }

    /// The busiest nodes, where they are too many to be drawn.
    pub(crate) fn busiest(&self) -> Self {
        let mut numbers: Vec<usize> = (0..self.nodes.len()).collect();
        let rate = |n: &usize| self.nodes[*n].per_second.map_or(0.0, |rate| rate.0);
        let class = |n: &usize| self.nodes[*n].severity.map_or(2, |severity| severity as u8);
        numbers.sort_by(|a, b| class(a).cmp(&class(b)).then(rate(b).total_cmp(&rate(a))));
        self.only(&numbers.into_iter().take(MAP_NODES_MAX).collect())
    }

    /// Whether records were seen to go that way; where nobody counts them, whether both ends have some.
    pub(crate) fn flows(&self, edge: &Edge) -> bool {
        let moves = |rate: Option<Rate>| rate.is_some_and(|rate| !rate.is_zero());
        match edge.per_second {
            Some(rate) => !rate.is_zero(),
            None => {
                moves(self.nodes[edge.from].per_second) && moves(self.nodes[edge.to].per_second)
            }
        }
    }

    fn only(&self, numbers: &BTreeSet<usize>) -> Self {
        let new: BTreeMap<usize, usize> = numbers.iter().copied().zip(0..).collect();
        let edge = |edge: &Edge| {
            let (from, to) = (*new.get(&edge.from)?, *new.get(&edge.to)?);
            Some(Edge { from, to, per_second: edge.per_second })
        };
        Self {
            nodes: numbers.iter().map(|number| self.nodes[*number].clone()).collect(),
            edges: self.edges.iter().filter_map(edge).collect(),
            hidden: self.nodes.len() - numbers.len(),
        }
    }
}

impl Building {
    /// With what is known of each node.
    fn finish(mut self, snapshot: &Snapshot) -> Flow {
        for topic in &snapshot.topics {
            if let Some(node) = self.nodes.get_mut(&(Kind::Topic, topic.name.clone())) {
                node.per_second = Some(topic.records_per_second);
            }
        }
        for group in &snapshot.groups {
            if let Some(node) = self.nodes.get_mut(&(Kind::Group, group.name.clone())) {
                node.per_second = Some(group.committed_per_second);
                node.severity = group.severity();
            }
        }
        for service in &snapshot.service_lines {
            if let Some(node) = self.nodes.get_mut(&(Kind::Service, service.name.clone())) {
                node.per_second = Some(service.processed_per_second);
                node.severity = service.severity();
            }
        }
        let numbers: BTreeMap<&Id, usize> = self.nodes.keys().zip(0..).collect();
        let edge = |((from, to), rate): (&(Id, Id), &Option<Rate>)| Edge {
            from: numbers[from],
            to: numbers[to],
            per_second: *rate,
        };
        let edges = self.edges.iter().map(edge).collect();
        Flow { edges, nodes: self.nodes.values().cloned().collect(), hidden: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::services::Instance;
    use super::super::super::services::view::lines;
    use super::super::super::snapshot::GroupLine;
    use super::super::Sighting;
    use super::*;

    fn snapshot() -> Snapshot {
        let report = serde_json::json!({
            "report": 1, "service": "payment", "instance": "a",
            "inputs": ["orders"], "outputs": ["payments"], "metrics": { "service": "payment" },
        });
        let report = Arc::new(serde_json::from_value(report).unwrap());
        let services = vec![Instance { report, before: None }];
        let group = |name: &str, topics: &[&str]| GroupLine {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..GroupLine::unseen(name)
        };
        let seen = |topic: &str, source: &str, share: f64| Sighting {
            topic: topic.into(),
            source: source.into(),
            share,
        };
        Snapshot {
            service_lines: lines(&services, std::iter::empty()),
            services,
            groups: vec![group("payment", &["orders"]), group("report", &["payments"])],
            sightings: vec![seen("orders", "till", 0.75), seen("payments", "payment", 1.0)],
            ..Snapshot::default()
        }
    }

    fn told(flow: &Flow) -> Vec<String> {
        let name = |number: usize| flow.nodes[number].id();
        flow.edges.iter().map(|edge| format!("{} > {}", name(edge.from), name(edge.to))).collect()
    }

    #[test]
    fn who_writes_and_reads_is_what_was_seen() {
        let flow = Flow::of(&snapshot());
        assert_eq!(
            told(&flow),
            [
                "producer:till > topic:orders",
                "topic:orders > service:payment",
                "topic:payments > group:report",
                "service:payment > topic:payments",
            ]
        );
    }

    #[test]
    fn what_is_around_a_node_is_drawn_alone() {
        let flow = Flow::of(&snapshot());
        let near = flow.around("topic:orders", 1).unwrap();
        assert_eq!(told(&near), ["producer:till > topic:orders", "topic:orders > service:payment"]);
        assert_eq!(near.hidden, 2);
        assert_eq!(flow.around("topic:orders", 9).unwrap().nodes, flow.nodes);
        assert_eq!(told(&flow.around("group:report", 0).unwrap()), Vec::<String>::new());
        assert!(flow.around("topic:none", 1).is_none());
    }
}
