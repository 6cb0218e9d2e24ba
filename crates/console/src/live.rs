//! `/live`: the changing parts of a page, as server-sent events.
//!
//! Each event is a JSON object from the name of a part to its new markup; parts that have not
//! changed since the last event of this stream are left out. `page` says of which page; of the overview
//! when it says nothing. What the overview shows is rendered once for all its streams; the page of a group asks the
//! engine for its positions with every sample.
//!
//! A slow client holds back nobody: one event waits for it, it then sees the newest state, and it is dropped after
//! [`LIVE_STALL_MAX`]. There are up to [`LIVE_STREAMS_MAX`](crate::limits::LIVE_STREAMS_MAX) streams.

use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidings_gateway::{ApiTrouble, Trouble};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::snapshot::Snapshot;
use super::{Frame, Shared, groups, services};
use crate::limits::{LIVE_STALL_MAX, OVERVIEW_EVENTS, OVERVIEW_ROWS};

/// A part of a page and its markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    name: &'static str,
    markup: Arc<str>,
}

impl Fragment {
    fn of(name: &'static str, part: &impl Template) -> Result<Self, askama::Error> {
        Ok(Self { name, markup: part.render()?.into() })
    }
}

macro_rules! parts {
    ($($part:ident $name:literal $path:literal),+ $(,)?) => {
        $(
            #[derive(Template)]
            #[template(path = $path)]
            struct $part<'a> {
                snapshot: &'a Snapshot,
            }
        )+
        fn render(snapshot: &Snapshot) -> Result<Vec<Fragment>, askama::Error> {
            Ok(vec![$(Fragment::of($name, &$part { snapshot })?),+])
        }
    };
}

parts! {
    Problems "problems" "part/problems.html",
    Totals "totals" "part/totals.html",
    Topics "topics" "part/topics.html",
    Groups "groups" "part/groups.html",
    Events "events" "part/events.html",
    Dead "dead" "part/dead.html",
}

/// A page of one part.
fn one(name: &'static str, part: &impl Template) -> Vec<Fragment> {
    Fragment::of(name, part).into_iter().collect()
}

impl Frame {
    /// The parts of this frame, rendered by whoever asks first.
    fn fragments(&self) -> &[Fragment] {
        self.fragments.get_or_init(|| render(&self.snapshot).unwrap_or_default())
    }
}

/// Which page is to be followed, with its state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Followed {
    /// `overview`, `services`, `service`, `groups` or `group`.
    page: String,
    /// Of what the page is.
    name: String,
    /// Text that names must contain.
    q: String,
    /// Of a group's chart.
    range: Option<groups::Range>,
}

impl Followed {
    fn is_known(&self) -> bool {
        matches!(self.page.as_str(), "" | "overview" | "services" | "service" | "groups" | "group")
    }

    /// The parts of the page now; none of what has gone, or cannot be read just now.
    async fn fragments(&self, shared: &Shared, frame: &Frame) -> Vec<Fragment> {
        let snapshot = &frame.snapshot;
        match self.page.as_str() {
            "services" => {
                let services = services::pages::matching(snapshot, &self.q);
                one("rows", &services::pages::Rows { services })
            }
            "service" => {
                let Some(view) = services::view::ServiceView::of(snapshot, &self.name) else {
                    return Vec::new();
                };
                one("body", &services::pages::Body { view: &view })
            }
            "groups" => {
                let groups = groups::pages::matching(snapshot, &self.q);
                one("rows", &groups::pages::Rows { groups })
            }
            "group" => {
                let range = self.range.unwrap_or_default();
                let Ok(group) = groups::view::look(shared, snapshot, &self.name, range).await
                else {
                    return Vec::new();
                };
                one("body", &groups::pages::Body { group: &group })
            }
            _ => frame.fragments().to_vec(),
        }
    }
}

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    followed: Result<Query<Followed>, QueryRejection>,
) -> Response {
    let followed = match followed {
        Ok(Query(followed)) if followed.is_known() => followed,
        Ok(Query(Followed { page, .. })) => {
            let trouble = Trouble::bad_request(format!("no page {page:?} is live"));
            return ApiTrouble(trouble).into_response();
        }
        Err(rejection) => return ApiTrouble::from(rejection).into_response(),
    };
    let Ok(permit) = shared.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many live streams\n").into_response();
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(follow(shared, followed, sender, permit));
    Sse::new(ReceiverStream::new(receiver)).into_response()
}

/// Sends each frame's changes until the client, or the console, is gone.
async fn follow(
    shared: Arc<Shared>,
    followed: Followed,
    client: mpsc::Sender<Result<Event, Infallible>>,
    _held_while_streaming: OwnedSemaphorePermit,
) {
    let mut frames = shared.frames.clone();
    let mut shown = Vec::new();
    loop {
        let frame = frames.borrow_and_update().clone();
        let parts = followed.fragments(&shared, &frame).await;
        let event = changes(&shown, &parts);
        if client.send_timeout(Ok(event), LIVE_STALL_MAX).await.is_err() {
            return;
        }
        shown = parts;
        if frames.changed().await.is_err() {
            return;
        }
    }
}

fn changes(shown: &[Fragment], parts: &[Fragment]) -> Event {
    let changed = parts.iter().filter(|fragment| !shown.contains(fragment));
    let parts: Map<_, _> = changed.map(|f| (f.name.to_owned(), Value::from(&*f.markup))).collect();
    Event::default().data(Value::Object(parts).to_string())
}
