//! `/services`, the page of one service, and their twins.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tidings::Report;
use tidings_gateway::route::{Answer, Route, json as json_answer, problem, read};
use tidings_gateway::{ApiTrouble, Trouble};
use tidings_slo::SloLine;

use super::super::api::Search;
use super::super::event::contains_ignoring_case;
use super::super::pages::{Frame, Page, page};
use super::super::slos::Shown as _;
use super::super::snapshot::Snapshot;
use super::super::{LogAddress, Shared};
use super::view::{ServiceLine, ServiceView};

type Console = State<Arc<Shared>>;

pub(in super::super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/services", get(services)).route("/services/{service}", get(service))
}

pub(in super::super) fn table() -> Vec<Route<Arc<Shared>>> {
    const SAMPLED: &[Answer] = &[json_answer(200, "As it was sampled last.")];
    const LOOKED_UP: &[Answer] =
        &[json_answer(200, "As it was sampled last."), problem(404, "Nothing tells of it.")];
    vec![
        Route {
            said: read(
                "/services",
                "Services, and the last report of each of their instances.",
                &[],
                SAMPLED,
            ),
            handler: || get(listed),
        },
        Route {
            said: read(
                "/services/{service}",
                "A service, its handlers and instances.",
                &[],
                LOOKED_UP,
            ),
            handler: || get(one),
        },
    ]
}

#[derive(Serialize)]
struct Listed {
    /// As they were written.
    services: Vec<Report>,
    /// What they amount to.
    by_service: Vec<ServiceLine>,
}

async fn listed(State(shared): Console) -> Json<Listed> {
    let frame = shared.frame();
    let Snapshot { services, service_lines, .. } = &frame.snapshot;
    let services = services.iter().map(|of| Report::clone(&of.report)).collect();
    Json(Listed { services, by_service: service_lines.clone() })
}

fn found(snapshot: &Snapshot, name: &str) -> Result<ServiceView, Trouble> {
    ServiceView::of(snapshot, name).ok_or_else(|| {
        Trouble::not_found(format!("no service {name} reports, and none has left a changelog"))
            .titled("There is no such service")
            .hint("services of the SDK report themselves a few seconds after their start")
    })
}

async fn one(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ServiceView>, ApiTrouble> {
    let Path(name) = path?;
    Ok(Json(found(&shared.frame().snapshot, &name)?))
}

#[derive(Template)]
#[template(path = "services.html")]
struct ServicesPage<'a> {
    frame: Frame<'a>,
    search: &'a str,
    services: Vec<&'a ServiceLine>,
}

/// The rows of the list, alone.
#[derive(Template)]
#[template(path = "part/service_rows.html")]
pub(in super::super) struct Rows<'a> {
    pub(in super::super) services: Vec<&'a ServiceLine>,
}

/// Those whose names are like this, what is wrong first.
pub(in super::super) fn matching<'s>(snapshot: &'s Snapshot, search: &str) -> Vec<&'s ServiceLine> {
    let lines = snapshot.service_lines.iter();
    let mut lines: Vec<_> =
        lines.filter(|line| contains_ignoring_case(&line.name, search)).collect();
    lines.sort_by_key(|line| line.severity().map_or(2, |severity| severity as u8));
    lines
}

async fn services(State(shared): Console, search: Result<Query<Search>, QueryRejection>) -> Page {
    let Query(Search { q: search }) = search?;
    let sampled = shared.frame();
    let services = matching(&sampled.snapshot, &search);
    let frame = Frame::new(&shared, &sampled.snapshot, "services", "Services");
    page(&ServicesPage { frame, search: &search, services })
}

#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage<'a> {
    frame: Frame<'a>,
    view: &'a ServiceView,
    slos: Vec<&'a SloLine>,
}

/// What changes on a service's page, alone.
#[derive(Template)]
#[template(path = "part/service.html")]
pub(in super::super) struct Body<'a> {
    pub(in super::super) view: &'a ServiceView,
}

async fn service(State(shared): Console, path: Result<Path<String>, PathRejection>) -> Page {
    let Path(name) = path?;
    let sampled = shared.frame();
    let view = found(&sampled.snapshot, &name)?;
    let frame = Frame::new(&shared, &sampled.snapshot, "services", &name);
    let slos = sampled.snapshot.slos.of(Some(&name));
    page(&ServicePage { frame, view: &view, slos })
}
