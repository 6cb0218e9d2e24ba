//! `/slos` and `/api/slos`: the objectives of services and how fast their budgets burn.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidings_gateway::ApiTrouble;
use tidings_gateway::route::{Answer, Route, json, query, read};
use tidings_slo::{SloLine, State as Budget};

use super::pages::{Frame, Page, page};
use super::snapshot::Snapshot;
use super::{LogAddress, Shared};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/slos", get(slos))
}

/// Below `/api`.
pub(super) fn table() -> Vec<Route<Arc<Shared>>> {
    const SAMPLED: &[Answer] = &[json(200, "As it was sampled last.")];
    let said = read(
        "/slos",
        "Objectives of services, and how fast their budgets burn.",
        const { &[query("service", "string", "Only this service's.")] },
        SAMPLED,
    );
    vec![Route { said, handler: || get(api) }]
}

/// What the sampler found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Slos {
    /// The worst first.
    #[serde(rename = "slos")]
    pub(crate) lines: Vec<SloLine>,
    /// Services that there is no room for.
    pub(crate) untracked: usize,
}

impl Slos {
    /// Of one service, or of all where none is named. A page of a service has them as a section with
    /// `part/slo_rows.html`, where `slos` is this and `service_named` is false.
    pub(crate) fn of(&self, service: Option<&str>) -> Vec<&SloLine> {
        let is_wanted = |line: &&SloLine| service.is_none_or(|service| line.service == service);
        self.lines.iter().filter(is_wanted).collect()
    }
}

/// Whose objectives are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    service: Option<String>,
}

async fn api(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Slos>, ApiTrouble> {
    let Query(Wanted { service }) = wanted?;
    let sampled = shared.frame();
    let slos = &sampled.snapshot.slos;
    let lines = slos.of(service.as_deref()).into_iter().cloned().collect();
    Ok(Json(Slos { lines, untracked: slos.untracked }))
}

#[derive(Template)]
#[template(path = "slos.html")]
struct SlosPage<'a> {
    frame: Frame<'a>,
    slos: Vec<&'a SloLine>,
    untracked: usize,
    burning: usize,
}

async fn slos(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Page {
    let Query(Wanted { service }) = wanted?;
    let sampled = shared.frame();
    let snapshot: &Snapshot = &sampled.snapshot;
    let slos = snapshot.slos.of(service.as_deref());
    let burning = slos.iter().filter(|line| line.state >= Budget::Ticket).count();
    let frame = Frame::new(&shared, snapshot, "slos", "Objectives");
    page(&SlosPage { frame, slos, untracked: snapshot.slos.untracked, burning })
}

/// What is wrong, as the style sheet calls it.
pub(crate) trait Shown {
    fn class(&self) -> &'static str;
}

impl Shown for SloLine {
    fn class(&self) -> &'static str {
        match self.state {
            Budget::Page => "bad",
            Budget::Ticket => "warn",
            Budget::Ok | Budget::Idle => "",
        }
    }
}
