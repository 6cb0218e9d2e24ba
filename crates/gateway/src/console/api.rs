//! The JSON twins of the pages, under `/api`.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::desk::{self, ServiceLine};
use super::event::{EventLine, RecordView};
use super::load::{self, GroupView, Place, TopicView};
use super::snapshot::{Dead, GroupLine, TopicLine};
use super::trouble::{ApiTrouble, Trouble};
use crate::limits::{OVERVIEW_EVENTS, OVERVIEW_ROWS};

type Console = State<Arc<Shared>>;
type Answered<T> = Result<Json<T>, ApiTrouble>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/overview", get(overview))
        .route("/topics", get(topics))
        .route("/topics/{topic}", get(topic))
        .route("/topics/{topic}/{partition}/{offset}", get(record))
        .route("/groups", get(groups))
        .route("/groups/{group}", get(group))
        .route("/events", get(events))
        .route("/dead", get(dead))
        .merge(desk::api::routes())
        .fallback(|| async { ApiTrouble::from(Trouble::not_found("there is no such resource")) })
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
struct Topics {
    topics: Vec<TopicLine>,
}

async fn topics(State(shared): Console) -> Json<Topics> {
    Json(Topics { topics: shared.frame().snapshot.topics.clone() })
}

async fn topic(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    place: Result<Query<Place>, QueryRejection>,
) -> Answered<TopicView> {
    let (Path(name), Query(place)) = (path?, place?);
    let frame = shared.frame();
    Ok(Json(load::topic(&shared.engine, &frame.snapshot, &name, place).await?))
}

async fn record(
    State(shared): Console,
    path: Result<Path<(String, i32, i64)>, PathRejection>,
) -> Answered<RecordView> {
    let Path((topic, partition, offset)) = path?;
    Ok(Json(load::record(&shared.engine, &topic, partition, offset).await?))
}

#[derive(Serialize)]
struct Groups {
    groups: Vec<GroupLine>,
}

async fn groups(State(shared): Console) -> Json<Groups> {
    Json(Groups { groups: shared.frame().snapshot.groups.clone() })
}

async fn group(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
) -> Answered<GroupView> {
    let Path(name) = path?;
    let frame = shared.frame();
    Ok(Json(load::group(&shared.engine, &frame.snapshot, &name).await?))
}

#[derive(Serialize)]
struct Events {
    /// Newest first.
    events: Vec<EventLine>,
}

async fn events(
    State(shared): Console,
    search: Result<Query<Search>, QueryRejection>,
) -> Answered<Events> {
    let Query(search) = search?;
    let frame = shared.frame();
    let found = frame.snapshot.events.iter().filter(|event| event.mentions(&search.q));
    Ok(Json(Events { events: found.cloned().collect() }))
}

/// What services of the SDK have put aside, and letters of whatever topic.
#[derive(Serialize)]
struct DeadView {
    services: Vec<ServiceLine>,
    /// The `after` of the next page of services.
    next: Option<String>,
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
    let (services, next) = desk::api::services(&shared, after.as_deref()).await?;
    Ok(Json(DeadView { services, next, letters: shared.frame().snapshot.dead.clone() }))
}
