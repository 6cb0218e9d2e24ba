//! `/live`: the overview's changing parts, as server-sent events.
//!
//! Each event is a JSON object from the name of a part to its new markup; parts that have not
//! changed since the last event of this stream are left out. A slow client holds back nobody: one
//! event waits for it, it then sees the newest state, and it is dropped after [`LIVE_STALL_MAX`].
//! There are up to [`LIVE_STREAMS_MAX`](crate::limits::LIVE_STREAMS_MAX) streams.

use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::snapshot::Snapshot;
use super::{Frame, Shared};
use crate::limits::{LIVE_STALL_MAX, OVERVIEW_EVENTS, OVERVIEW_ROWS};

/// A part of the overview and its markup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    name: &'static str,
    markup: String,
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
            Ok(vec![$(Fragment { name: $name, markup: $part { snapshot }.render()? }),+])
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

impl Frame {
    /// The parts of this frame, rendered by whoever asks first.
    fn fragments(&self) -> &[Fragment] {
        self.fragments.get_or_init(|| render(&self.snapshot).unwrap_or_default())
    }
}

pub(super) async fn stream(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(permit) = shared.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many live streams\n").into_response();
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(follow(shared.frames.clone(), sender, permit));
    Sse::new(ReceiverStream::new(receiver)).into_response()
}

/// Sends each frame's changes until the client, or the console, is gone.
async fn follow(
    mut frames: watch::Receiver<Arc<Frame>>,
    client: mpsc::Sender<Result<Event, Infallible>>,
    _held_while_streaming: OwnedSemaphorePermit,
) {
    let mut shown: Option<Arc<Frame>> = None;
    loop {
        let frame = frames.borrow_and_update().clone();
        let event = changes(shown.as_deref(), &frame);
        if client.send_timeout(Ok(event), LIVE_STALL_MAX).await.is_err() {
            return;
        }
        shown = Some(frame);
        if frames.changed().await.is_err() {
            return;
        }
    }
}

fn changes(shown: Option<&Frame>, frame: &Frame) -> Event {
    let before = shown.map(Frame::fragments).unwrap_or_default();
    let changed = frame.fragments().iter().filter(|fragment| !before.contains(fragment));
    let parts: Map<_, _> =
        changed.map(|f| (f.name.to_owned(), Value::from(f.markup.as_str()))).collect();
    Event::default().data(Value::Object(parts).to_string())
}
