//! `/groups`, the page of one group, and their twins. Setting positions is in [`reset`](super::reset).

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidings_gateway::ApiTrouble;
use tidings_gateway::route::{Answer, Route, json as json_answer, problem, query, read};

use super::super::api::Search;
use super::super::event::contains_ignoring_case;
use super::super::pages::{Frame, Page, page};
use super::super::snapshot::{GroupLine, Snapshot};
use super::super::{LogAddress, Shared};
use super::view::{GroupView, look};
use super::{Range, reset};

type Console = State<Arc<Shared>>;

pub(in super::super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/groups", get(groups))
        .route("/groups/{group}", get(group))
        .merge(reset::routes())
}

pub(in super::super) fn table() -> Vec<Route<Arc<Shared>>> {
    const SAMPLED: &[Answer] = &[json_answer(200, "As it was sampled last.")];
    const LOOKED_UP: &[Answer] =
        &[json_answer(200, "As it is now."), problem(404, "There is no such group.")];
    let mut table = vec![
        Route {
            said: read("/groups", "All consumer groups.", &[], SAMPLED),
            handler: || get(listed),
        },
        Route {
            said: read(
                "/groups/{group}",
                "A group, its members, positions and lag over time.",
                const { &[query("range", "string", "Of the lag's history: 30m or 24h.")] },
                LOOKED_UP,
            ),
            handler: || get(one),
        },
    ];
    table.extend(reset::table());
    table
}

/// What of a group's past is shown, and what was just done to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    range: Range,
    /// Positions that were just set.
    set: Option<u64>,
}

#[derive(Serialize)]
struct Listed {
    groups: Vec<GroupLine>,
}

async fn listed(State(shared): Console) -> Json<Listed> {
    Json(Listed { groups: shared.frame().snapshot.groups.clone() })
}

async fn one(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Result<Json<GroupView>, ApiTrouble> {
    let (Path(name), Query(shown)) = (path?, shown?);
    let frame = shared.frame();
    Ok(Json(look(&shared, &frame.snapshot, &name, shown.range).await?))
}

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage<'a> {
    frame: Frame<'a>,
    search: &'a str,
    groups: Vec<&'a GroupLine>,
}

/// The rows of the list, alone.
#[derive(Template)]
#[template(path = "part/group_rows.html")]
pub(in super::super) struct Rows<'a> {
    pub(in super::super) groups: Vec<&'a GroupLine>,
}

/// Those whose names are like this, what is wrong first.
pub(in super::super) fn matching<'s>(snapshot: &'s Snapshot, search: &str) -> Vec<&'s GroupLine> {
    let groups = snapshot.groups.iter();
    let mut groups: Vec<_> =
        groups.filter(|group| contains_ignoring_case(&group.name, search)).collect();
    groups.sort_by_key(|group| group.severity().map_or(2, |severity| severity as u8));
    groups
}

async fn groups(State(shared): Console, search: Result<Query<Search>, QueryRejection>) -> Page {
    let Query(Search { q: search }) = search?;
    let sampled = shared.frame();
    let groups = matching(&sampled.snapshot, &search);
    let frame = Frame::new(&shared, &sampled.snapshot, "groups", "Groups");
    page(&GroupsPage { frame, search: &search, groups })
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage<'a> {
    frame: Frame<'a>,
    group: &'a GroupView,
    set: Option<u64>,
}

/// What changes on a group's page, alone.
#[derive(Template)]
#[template(path = "part/group.html")]
pub(in super::super) struct Body<'a> {
    pub(in super::super) group: &'a GroupView,
}

async fn group(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Page {
    let (Path(name), Query(Shown { range, set })) = (path?, shown?);
    let sampled = shared.frame();
    let group = look(&shared, &sampled.snapshot, &name, range).await?;
    let frame = Frame::new(&shared, &sampled.snapshot, "groups", &name);
    page(&GroupPage { frame, group: &group, set })
}
