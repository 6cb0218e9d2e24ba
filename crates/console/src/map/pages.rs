//! `/map` and its twin.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tidings_gateway::route::{Answer, Parameter, Route, json as json_answer, problem, query, read};
use tidings_gateway::{ApiTrouble, Trouble, url_encoded};

use super::super::pages::{Frame, Page, page};
use super::super::snapshot::Snapshot;
use super::super::{LogAddress, Shared};
use super::draw::Drawing;
use super::flow::{Flow, Node};
use crate::limits::{MAP_DEPTH, MAP_DEPTH_MAX};

type Console = State<Arc<Shared>>;

pub(in super::super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/map", get(map))
}

pub(in super::super) fn table() -> Vec<Route<Arc<Shared>>> {
    const ASKED: &[Parameter] = &[
        query(
            "focus",
            "string",
            "Only what is around this node: topic:NAME, service:, group:, producer:.",
        ),
        query("depth", "integer", "Steps from there."),
    ];
    const SAMPLED: &[Answer] =
        &[json_answer(200, "As it was sampled last."), problem(404, "The node is not on the map.")];
    vec![Route {
        said: read("/map", "Who writes to which topic, and who reads it.", ASKED, SAMPLED),
        handler: || get(twin),
    }]
}

/// Which part of the map is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Asked {
    focus: String,
    depth: Option<usize>,
}

impl Asked {
    fn depth(&self) -> usize {
        self.depth.unwrap_or(MAP_DEPTH).clamp(1, MAP_DEPTH_MAX)
    }

    fn flow(&self, snapshot: &Snapshot) -> Result<Flow, Trouble> {
        let all = Flow::of(snapshot);
        if self.focus.is_empty() {
            return Ok(all.busiest());
        }
        let around = all.around(&self.focus, self.depth()).ok_or_else(|| {
            Trouble::not_found(format!("{} is not on the map", self.focus))
                .hint("nobody was seen to write to it or to read it; look at the whole map")
        })?;
        let hidden = around.hidden;
        let flow = around.busiest();
        Ok(Flow { hidden: hidden + flow.hidden, ..flow })
    }
}

async fn twin(
    State(shared): Console,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Flow>, ApiTrouble> {
    let Query(asked) = asked?;
    Ok(Json(asked.flow(&shared.frame().snapshot)?))
}

#[derive(Template)]
#[template(path = "map.html")]
struct MapPage<'a> {
    frame: Frame<'a>,
    flow: &'a Flow,
    asked: &'a Asked,
}

impl MapPage<'_> {
    fn drawing(&self) -> Drawing {
        Drawing::of(self.flow)
    }

    /// The query for what is around a node.
    fn around(&self, node: &Node) -> String {
        let depth = self.asked.depth.map(|depth| format!("&depth={depth}")).unwrap_or_default();
        format!("focus={}{depth}", url_encoded(&node.id()))
    }

    fn with_depth(&self, depth: usize) -> String {
        format!("focus={}&depth={depth}", url_encoded(&self.asked.focus))
    }

    fn writers(&self, number: &usize) -> Vec<&Node> {
        let edges = self.flow.edges.iter().filter(|edge| edge.to == *number);
        edges.map(|edge| &self.flow.nodes[edge.from]).collect()
    }

    fn readers(&self, number: &usize) -> Vec<&Node> {
        let edges = self.flow.edges.iter().filter(|edge| edge.from == *number);
        edges.map(|edge| &self.flow.nodes[edge.to]).collect()
    }
}

async fn map(State(shared): Console, asked: Result<Query<Asked>, QueryRejection>) -> Page {
    let Query(asked) = asked?;
    let sampled = shared.frame();
    let flow = asked.flow(&sampled.snapshot)?;
    let frame = Frame::new(&shared, &sampled.snapshot, "map", "Map");
    page(&MapPage { frame, flow: &flow, asked: &asked })
}
