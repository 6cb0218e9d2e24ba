//! `/trace` and its twin.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use tidings_gateway::ApiTrouble;
use tidings_gateway::route::{Answer, Parameter, Route, json as json_answer, problem, query, read};

use super::super::event::EventLine;
use super::super::pages::{Frame, Page, page};
use super::super::snapshot::Snapshot;
use super::super::{LogAddress, Shared};
use super::page::{Asked, TraceView, look};
use crate::limits::OVERVIEW_EVENTS;

type Console = State<Arc<Shared>>;

pub(in super::super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/trace", get(trace))
}

pub(in super::super) fn table() -> Vec<Route<Arc<Shared>>> {
    const ASKED: &[Parameter] = &[
        query(
            "q",
            "string",
            "An id, a correlation, a key, a word of a value, or topic/partition/offset.",
        ),
        query("topic", "string", "Only records of this topic."),
        query(
            "from",
            "string",
            "Only records from then on, in UTC: 2026-12-01T08:26, or milliseconds.",
        ),
        query("to", "string", "Only records before then."),
        query("life", "string", "Of several lives, the one to be shown."),
        query("depth", "integer", "Steps from the first event that are shown."),
        query("before", "string", "Where an earlier page has got to; it is in its `next`."),
        query("have", "string", "What earlier pages have found; it is in their `next`."),
    ];
    const FOUND: &[Answer] = &[
        json_answer(200, "What was found, and where to go on."),
        problem(503, "Other searches take too long."),
    ];
    vec![Route {
        said: read(
            "/trace",
            "The life of an event: what caused it and what it caused.",
            ASKED,
            FOUND,
        ),
        handler: || get(twin),
    }]
}

async fn twin(
    State(shared): Console,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<TraceView>, ApiTrouble> {
    let Query(asked) = asked?;
    let frame = shared.frame();
    Ok(Json(look(&shared, &frame.snapshot, asked).await?))
}

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage<'a> {
    frame: Frame<'a>,
    view: &'a TraceView,
    latest: Vec<&'a EventLine>,
}

/// The newest event of each of the last lives, for whoever has nothing to search for.
fn latest(snapshot: &Snapshot) -> Vec<&EventLine> {
    let mut known = BTreeSet::new();
    let newest = snapshot
        .events
        .iter()
        .filter(|event| event.correlation.as_deref().is_some_and(|id| known.insert(id)));
    newest.take(OVERVIEW_EVENTS).collect()
}

async fn trace(State(shared): Console, asked: Result<Query<Asked>, QueryRejection>) -> Page {
    let Query(asked) = asked?;
    let sampled = shared.frame();
    let snapshot = &sampled.snapshot;
    let view = look(&shared, snapshot, asked).await?;
    // Whatever else is searched for is no name for a page.
    let is_name =
        !view.q.is_empty() && view.q.chars().all(|c| c.is_alphanumeric() || "-._/".contains(c));
    let title = if is_name { format!("Trace of {}", view.q) } else { "Trace".to_owned() };
    let latest = if view.q.is_empty() { latest(snapshot) } else { Vec::new() };
    page(&TracePage { frame: Frame::new(&shared, snapshot, "trace", &title), view: &view, latest })
}
