//! The pages. Each URL holds the whole state of its page.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tidings_gateway::Trouble;

use super::api::Search;
use super::event::EventLine;
use super::snapshot::{Problem, Snapshot};
use super::trouble::PageTrouble;
use super::{ConsoleOptions, LogAddress, Shared, desk, groups, map, services, slos, topics, trace};
use crate::limits::{BADGE_PROBLEMS, OVERVIEW_EVENTS, OVERVIEW_ROWS};

type Console = State<Arc<Shared>>;
pub(super) type Page = Result<Response, PageTrouble>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(overview))
        .route("/events", get(events))
        .merge(topics::routes())
        .merge(services::pages::routes())
        .merge(groups::pages::routes())
        .merge(trace::pages::routes())
        .merge(map::pages::routes())
        .merge(desk::pages::routes())
        .merge(slos::routes())
}

pub(super) async fn not_found() -> PageTrouble {
    PageTrouble::from(Trouble::not_found("there is no such page"))
}

pub(super) fn page(template: &impl Template) -> Page {
    let rendered = template.render().map_err(|e| Trouble::internal(e.to_string()))?;
    Ok(Html(rendered).into_response())
}

/// What surrounds every page.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) section: &'static str,
    pub(super) options: &'a ConsoleOptions,
    pub(super) problems: &'a [Problem],
}

impl<'a> Frame<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        section: &'static str,
        title: &'a str,
    ) -> Self {
        Self { title, section, options: &shared.options, problems: &snapshot.problems }
    }

    /// What the number beside the overview counts.
    pub(super) fn to_look_at(&self) -> String {
        let count = self.problems.len();
        let named: Vec<_> =
            self.problems.iter().take(BADGE_PROBLEMS).map(|p| p.what.as_str()).collect();
        let things = if count == 1 { "thing" } else { "things" };
        let more = if count > named.len() { ", …" } else { "" };
        format!("{count} {things} to look at: {}{more}", named.join(", "))
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    frame: Frame<'a>,
    snapshot: &'a Snapshot,
}

async fn overview(State(shared): Console) -> Page {
    let sampled = shared.frame();
    let snapshot = &sampled.snapshot;
    page(&OverviewPage { frame: Frame::new(&shared, snapshot, "overview", "Overview"), snapshot })
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage<'a> {
    frame: Frame<'a>,
    search: &'a str,
    events: Vec<&'a EventLine>,
}

async fn events(State(shared): Console, search: Result<Query<Search>, QueryRejection>) -> Page {
    let Query(Search { q: search }) = search?;
    let sampled = shared.frame();
    let events = sampled.snapshot.events.iter();
    let events = events.filter(|event| event.mentions(&search)).collect();
    let frame = Frame::new(&shared, &sampled.snapshot, "events", "Events");
    page(&EventsPage { frame, search: &search, events })
}
