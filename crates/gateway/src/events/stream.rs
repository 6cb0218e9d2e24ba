//! `GET /api/topics/{topic}/events`: a stream as server-sent events.
//!
//! The id of each message is the cursor behind it, so that an `EventSource` that connects again goes on where it was.
//! A heartbeat is a comment with an id and without data, which a browser keeps and shows to nobody. The
//! last message of a stream that the server ends is `closed`, with the reason.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::Events;
use super::follow::{Asked, Following, Message, follow, stalled};
use crate::limits::EVENT_RECONNECT;
use crate::trouble::{ApiTrouble, Trouble};

pub(super) async fn stream(
    State(events): State<Arc<Events>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiTrouble> {
    let (Path(topic), Query(mut asked)) = (path?, asked?);
    // Where a client is goes before where it began: it connects again under the same URL.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        asked.cursor = Some(last.to_owned());
    }
    let Following { messages, stalled: ended } = follow(&events, &topic, asked).await?;
    let messages = ReceiverStream::new(messages).map(event);
    let mut ended = Some(ended);
    let last = std::iter::from_fn(move || {
        let ended = ended.take()?;
        (*ended.borrow()).then(|| closed(&stalled()))
    });
    let all = messages.chain(tokio_stream::iter(last)).map(Ok::<_, Infallible>);
    // Proxies that gather answers would hold messages back.
    Ok(([("x-accel-buffering", "no")], Sse::new(all)).into_response())
}

fn event(message: Message) -> Event {
    match message {
        Message::Line { cursor, line } => Event::default().id(cursor).data(line),
        Message::Still { cursor } => {
            Event::default().retry(EVENT_RECONNECT).id(cursor).comment("nothing new")
        }
        Message::Closed(trouble) => closed(&trouble),
    }
}

fn closed(trouble: &Trouble) -> Event {
    Event::default().event("closed").data(trouble.to_json().to_string())
}
