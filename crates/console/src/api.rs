//! The JSON twins of the pages, under `/api`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_gateway::events::{self, Events};
use tidings_gateway::route::{self, Answer, Route, json as json_answer, query, read};
use tidings_gateway::{ApiTrouble, Trouble};

use super::Shared;
use super::desk;
use super::event::EventLine;
use super::slos;
use super::snapshot::Dead;
use super::{groups, map, services, topics, trace};
use crate::limits::{OVERVIEW_EVENTS, OVERVIEW_ROWS};

type Console = State<Arc<Shared>>;
type Answered<T> = Result<Json<T>, ApiTrouble>;

/// All below `/api`.
pub(super) fn routes(events: &Arc<Events>) -> Router<Arc<Shared>> {
    let of_events = route::router(events::table()).with_state(Arc::clone(events));
    let others = || async { ApiTrouble::from(Trouble::not_found("there is no such resource")) };
    let verbs = || async {
        ApiTrouble(Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has other methods"))
    };
    route::router(table()).merge(of_events).fallback(others).method_not_allowed_fallback(verbs)
}

pub(super) fn table() -> Vec<Route<Arc<Shared>>> {
    const SAMPLED: &[Answer] = &[json_answer(200, "As it was sampled last.")];
    let mut table = vec![
        Route {
            said: read("/overview", "What matters most of everything.", &[], SAMPLED),
            handler: || get(overview),
        },
        Route {
            said: read(
                "/events",
                "The newest events of all topics.",
                const { &[query("q", "string", "Text that they must mention.")] },
                SAMPLED,
            ),
            handler: || get(events_found),
        },
        Route {
            said: read(
                "/dead",
                "What services have put aside, and dead letters of all topics by cause.",
                const { &[query("after", "string", "The `next` of the page of services before.")] },
                const { &[json_answer(200, "Services as they are, letters as they were sampled last.")] },
            ),
            handler: || get(dead),
        },
    ];
    table.extend(services::pages::table());
    table.extend(groups::pages::table());
    table.extend(trace::pages::table());
    table.extend(map::pages::table());
    table.extend(topics::table());
    table.extend(slos::table());
    table.extend(desk::api::table());
    table
}

/// Text that entries must mention.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    pub(super) q: String,
}

/// What the overview shows: of many topics and groups those that matter most.
async fn overview(State(shared): Console) -> Json<Value> {
    let frame = shared.frame();
    let snapshot = &frame.snapshot;
    Json(json!({
        "time_ms": snapshot.time,
        "problems": snapshot.problems,
        "totals": snapshot.totals,
        "topics": snapshot.busiest_topics(OVERVIEW_ROWS),
        "groups": snapshot.worst_groups(OVERVIEW_ROWS),
        "events": snapshot.events.iter().take(OVERVIEW_EVENTS).collect::<Vec<_>>(),
        "dead": {
            "total": snapshot.dead.total,
            "causes": snapshot.dead.causes,
        },
    }))
}

#[derive(Serialize)]
struct EventsFound {
    /// Newest first.
    events: Vec<EventLine>,
}

async fn events_found(
    State(shared): Console,
    search: Result<Query<Search>, QueryRejection>,
) -> Answered<EventsFound> {
    let Query(search) = search?;
    let frame = shared.frame();
    let found = frame.snapshot.events.iter().filter(|event| event.mentions(&search.q));
    Ok(Json(EventsFound { events: found.cloned().collect() }))
}

/// What services of the SDK have put aside, and letters of whatever topic.
#[derive(Serialize)]
struct DeadView {
    #[serde(flatten)]
    desk: desk::api::Services,
    #[serde(flatten)]
    letters: Dead,
}

/// Which page of services is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct After {
    pub(super) after: Option<String>,
}

async fn dead(
    State(shared): Console,
    after: Result<Query<After>, QueryRejection>,
) -> Answered<DeadView> {
    let Query(After { after }) = after?;
    let desk = desk::api::services(&shared, after.as_deref()).await;
    Ok(Json(DeadView { desk, letters: shared.frame().snapshot.dead.clone() }))
}
