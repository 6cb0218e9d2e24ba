//! `/slos` and `/api/slos`: the objectives of services and how fast their budgets burn.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::pages::{Frame, Page, page};
use super::snapshot::Snapshot;
use super::trouble::ApiTrouble;
use super::{LogAddress, Shared};
use crate::route::{Answer, Route, json, query, read};
use crate::slo::{SloLine, State as Budget};

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

/// What the pages say of an objective.
pub(crate) trait Shown {
    fn class(&self) -> &'static str;
    fn state_text(&self) -> &'static str;
    /// A burn rate as people read it; a dash where nothing has happened.
    fn burn_text(&self, window: &str) -> String;
    /// How much has been good since the console looks; a dash where nothing has happened.
    fn good_text(&self) -> String;
}

impl Shown for SloLine {
    fn class(&self) -> &'static str {
        match self.state {
            Budget::Page => "bad",
            Budget::Ticket => "warn",
            Budget::Ok | Budget::Idle => "",
        }
    }

    fn state_text(&self) -> &'static str {
        match self.state {
            Budget::Page => "burns fast",
            Budget::Ticket => "burns",
            Budget::Ok => "within",
            Budget::Idle => "idle",
        }
    }

    fn burn_text(&self, window: &str) -> String {
        match self.burn(window) {
            None => "–".to_owned(),
            Some(0.0) => "0".to_owned(),
            Some(rate) if rate < 0.1 => "<0.1".to_owned(),
            Some(rate) if rate < 10.0 => format!("{rate:.1}"),
            Some(rate) => format!("{rate:.0}"),
        }
    }

    fn good_text(&self) -> String {
        let all = self.good as f64 + self.bad as f64;
        if all == 0.0 {
            return "–".to_owned();
        }
        // What is not all good is not shown as 100 %.
        let part = self.good as f64 / all;
        let shown = if self.bad > 0 { part.min(0.999_99) } else { part };
        crate::slo::percent((shown * 100_000.0).floor() / 100_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(good: u64, bad: u64) -> SloLine {
        SloLine {
            service: "pay".to_owned(),
            kind: crate::slo::Kind::Success,
            objective: 0.999,
            within_seconds: None,
            state: Budget::Ok,
            good,
            bad,
            observed_seconds: 60,
            windows: Vec::new(),
        }
    }

    #[test]
    fn the_good_part_is_shown_whatever_an_instance_reports() {
        for (good, bad, wanted) in [
            (0, 0, "–"),
            (10, 0, "100 %"),
            (9_999_999, 1, "99.999 %"),
            (1, 3, "25 %"),
            (u64::MAX, u64::MAX, "50 %"),
        ] {
            assert_eq!(line(good, bad).good_text(), wanted, "{good} {bad}");
        }
    }
}
