//! The desk's pages. A command is looked at before it is given: the page in between says what would
//! happen, and its form holds the moment of the look as the cut-off.
//!
//! Everything works without the script. A form is answered with a redirection to the audit, so that
//! going back or loading again gives no command twice.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde::Deserialize;
use tidings_gateway::{Trouble, sent_form, url_encoded};

use super::super::api::After;
use super::super::pages::{Frame, Page, page};
use super::super::snapshot::Snapshot;
use super::super::trouble::PageTrouble;
use super::super::{LogAddress, Shared};
use super::api::{
    DryRun, Older, Services, Wanted, dry_run, services, view_audit, view_key, view_keys,
    view_service,
};
use super::command::Form;
use super::view::{AuditView, KeyView, KeysView, ServiceView};
use super::{desk, give};
use crate::limits::{
    BY_CHARS_MAX, DRY_RUN_KEYS, OVERVIEW_ROWS, PAYLOAD_SHOWN_BYTES, REASON_CHARS_MAX,
    REDRIVE_RATE_MAX,
};

type Console = State<Arc<Shared>>;

pub(in super::super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/dead", get(dead))
        .route("/dead/{service}", get(service))
        .route("/dead/{service}/keys", get(keys))
        .route("/dead/{service}/keys/{letter}", get(key))
        .route("/dead/{service}/command", get(preview))
        .route("/dead/{service}/commands", get(audit).post(command))
}

#[derive(Template)]
#[template(path = "dead.html")]
struct DeadPage<'a> {
    frame: Frame<'a>,
    snapshot: &'a Snapshot,
    desk: Services,
}

async fn dead(State(shared): Console, after: Result<Query<After>, QueryRejection>) -> Page {
    let Query(After { after }) = after?;
    let desk = services(&shared, after.as_deref()).await;
    let sampled = shared.frame();
    let snapshot = &sampled.snapshot;
    let frame = Frame::new(&shared, snapshot, "dead", "Dead letters");
    page(&DeadPage { frame, snapshot, desk })
}

#[derive(Template)]
#[template(path = "dead_service.html")]
struct ServicePage<'a> {
    frame: Frame<'a>,
    view: ServiceView,
}

async fn service(State(shared): Console, path: Result<Path<String>, PathRejection>) -> Page {
    let Path(name) = path?;
    let view = view_service(&shared, name.clone()).await?;
    let sampled = shared.frame();
    let title = format!("Dead keys of {name}");
    page(&ServicePage { frame: Frame::new(&shared, &sampled.snapshot, "dead", &title), view })
}

#[derive(Template)]
#[template(path = "dead_keys.html")]
struct KeysPage<'a> {
    frame: Frame<'a>,
    view: KeysView,
    /// This page without an opened key, to which `open=` is added.
    here: String,
}

impl KeysPage<'_> {
    fn is_open(&self, letter: &str) -> bool {
        let open = self.view.open.as_ref();
        open.is_some_and(|open| open.letters.iter().any(|id| id == letter))
    }
}

async fn keys(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Page {
    let (Path(name), Query(wanted)) = (path?, wanted?);
    let mut here = String::new();
    for (said, value) in [("cause", &wanted.cause), ("after", &wanted.after)] {
        if let Some(value) = value {
            here.push_str(&format!("{said}={}&", url_encoded(value)));
        }
    }
    let view = view_keys(&shared, name.clone(), wanted).await?;
    let sampled = shared.frame();
    let title = format!("Dead keys of {name}");
    let frame = Frame::new(&shared, &sampled.snapshot, "dead", &title);
    page(&KeysPage { frame, view, here })
}

#[derive(Template)]
#[template(path = "dead_key.html")]
struct KeyPage<'a> {
    frame: Frame<'a>,
    key: KeyView,
}

async fn key(State(shared): Console, path: Result<Path<(String, String)>, PathRejection>) -> Page {
    let Path((service, id)) = path?;
    let key = view_key(&shared, &service, &id).await?;
    let sampled = shared.frame();
    let title = format!("A dead key of {service}");
    page(&KeyPage { frame: Frame::new(&shared, &sampled.snapshot, "dead", &title), key })
}

#[derive(Template)]
#[template(path = "dead_command.html")]
struct PreviewPage<'a> {
    frame: Frame<'a>,
    service: &'a str,
    form: &'a Form,
    run: DryRun,
    /// The key that is edited.
    edited: Option<KeyView>,
}

impl PreviewPage<'_> {
    fn verb(&self) -> &'static str {
        match self.form.act.as_str() {
            "redrive" => "Redrive",
            "edit" => "Edit",
            _ => "Discard",
        }
    }
}

async fn preview(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    form: Result<Query<Form>, QueryRejection>,
) -> Page {
    let (Path(service), Query(mut form)) = (path?, form?);
    let mut edited = None;
    if form.act == "edit" {
        let key = view_key(&shared, &service, &form.letter).await?;
        let value = key.value.editable().ok_or_else(|| {
            Trouble::unprocessable("its value is no text")
                .titled("The event cannot be edited")
                .hint("redrive or discard it")
        })?;
        form.value = Some(value.to_owned());
        edited = Some(key);
    }
    let run = dry_run(&shared, &service, &form.clone().asked()?.previewed()?).await?;
    let sampled = shared.frame();
    let title = format!("A command for {service}");
    let frame = Frame::new(&shared, &sampled.snapshot, "dead", &title);
    page(&PreviewPage { frame, service: &service, form: &form, run, edited })
}

async fn command(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Redirect, PageTrouble> {
    let Path(service) = path?;
    let form: Form = sent_form(request).await?;
    let command = form.asked()?.meant()?;
    dry_run(&shared, &service, &command).await?;
    let (given, _shown_by_the_audit) =
        give(&shared, &desk(&shared, &service).await?, command).await?;
    let (service, id) = (url_encoded(&service), url_encoded(given.id.as_str()));
    Ok(Redirect::to(&format!("/dead/{service}/commands?given={id}&keys={}", given.keys)))
}

/// The command that was just given.
#[derive(Clone, Debug, Default, Deserialize)]
struct JustGiven {
    #[serde(default)]
    given: String,
    /// Keys that it was for.
    #[serde(default)]
    keys: u64,
}

#[derive(Template)]
#[template(path = "dead_commands.html")]
struct AuditPage<'a> {
    frame: Frame<'a>,
    view: AuditView,
    given: JustGiven,
}

impl AuditPage<'_> {
    /// Keys that the command just given has left alone.
    fn left(&self) -> u64 {
        let its = self.view.commands.iter().find(|command| command.id == self.given.given);
        its.map_or(0, |its| its.left)
    }

    /// Keys of the command just given that nothing has been heard of; none when it is not on this page.
    fn unheard(&self) -> Option<u64> {
        let its = self.view.commands.iter().find(|command| command.id == self.given.given)?;
        Some(self.given.keys.saturating_sub(its.done + its.left))
    }
}

async fn audit(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    older: Result<Query<Older>, QueryRejection>,
    given: Result<Query<JustGiven>, QueryRejection>,
) -> Result<axum::response::Response, PageTrouble> {
    let (Path(name), Query(older), Query(given)) = (path?, older?, given?);
    let view = view_audit(&shared, name.clone(), &older).await?;
    let sampled = shared.frame();
    let title = format!("Commands for {name}");
    let frame = Frame::new(&shared, &sampled.snapshot, "dead", &title);
    Ok(page(&AuditPage { frame, view, given })?.into_response())
}
