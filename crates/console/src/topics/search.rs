//! A search as server-sent events: what is found at once, how far it is, and where it ended.
//!
//! The twin under `/api` sends `record` (a row as JSON), `looked` (what was looked at), `ended` (why, and the cursor of the
//! next search) and `trouble` (a problem). The id of each is the cursor: whoever connects again with
//! `Last-Event-ID` goes on there. The page is sent the same as markup.
//!
//! One message waits for a client, and the search with it; a client that leaves it unread for [`LIVE_STALL_MAX`] is
//! dropped. A search takes up to [`SEARCH_STREAM`], and there are [`SEARCHES_MAX`](crate::limits::SEARCHES_MAX) at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidings_gateway::{ApiTrouble, Trouble, cursor};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::api::Queried;
use super::asked::{Asked, Pairs, Said, pairs};
use super::pages;
use super::scan::{Ended, Looked, Next, Row, Scan};
use super::view::busy;
use crate::Shared;
use crate::limits::{LIVE_STALL_MAX, SEARCH_PROGRESS, SEARCH_STREAM, SEARCH_WAIT};
use crate::observe::now;
use crate::reading::Reader;

/// What a client is told.
#[derive(Debug)]
pub(super) enum Told {
    Row { row: Box<Row>, cursor: Option<String> },
    Looked { looked: Looked, cursor: Option<String> },
    Ended { ended: Ended, looked: Looked, cursor: Option<String> },
    Trouble { trouble: Trouble, cursor: Option<String> },
}

pub(super) async fn stream_json(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
    headers: HeaderMap,
) -> Result<Response, ApiTrouble> {
    let Path(topic) = path?;
    let told = begin(&shared, &topic, pairs(query)?, &headers).await?;
    Ok(answer(told, as_json))
}

pub(super) async fn stream_page(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
    headers: HeaderMap,
) -> Result<Response, ApiTrouble> {
    let Path(topic) = path?;
    let pairs = pairs(query)?;
    let said = Said::of(&pairs);
    let told = begin(&shared, &topic, pairs, &headers).await?;
    Ok(answer(told, move |told| pages::search_event(&said, told)))
}

/// Proxies that gather answers would hold messages back.
pub(super) fn answer<T: Send + 'static>(
    told: mpsc::Receiver<T>,
    mut to_event: impl FnMut(T) -> Event + Send + 'static,
) -> Response {
    let events = ReceiverStream::new(told).map(move |told| Ok::<_, Infallible>(to_event(told)));
    ([("x-accel-buffering", "no")], Sse::new(events)).into_response()
}

async fn begin(
    shared: &Arc<Shared>,
    topic: &str,
    pairs: Pairs,
    headers: &HeaderMap,
) -> Result<mpsc::Receiver<Told>, Trouble> {
    let mut asked = Asked::parse(pairs, now())?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        asked.before = cursor(last)?;
    }
    let turn = timeout(SEARCH_WAIT, Arc::clone(&shared.searches).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(busy()) };
    let topic = shared.engine.topic(topic).await?;
    let reader = Reader::new(shared.schemas.current().await);
    let scan = Scan::begin(&shared.engine, &topic, asked, SEARCH_STREAM, reader).await?;
    let (client, told) = mpsc::channel(1);
    tokio::spawn(run(scan, client, turn));
    Ok(told)
}

async fn run(
    mut scan: Scan,
    client: mpsc::Sender<Told>,
    _held_while_searching: OwnedSemaphorePermit,
) {
    let mut said = Instant::now();
    loop {
        let next = tokio::select! {
            next = scan.next() => next,
            () = client.closed() => return,
        };
        let told = match next {
            Ok(Next::Row(row)) => Told::Row { row, cursor: scan.cursor() },
            Ok(Next::Looked) if said.elapsed() < SEARCH_PROGRESS => continue,
            Ok(Next::Looked) => {
                said = Instant::now();
                Told::Looked { looked: scan.looked.clone(), cursor: scan.cursor() }
            }
            Ok(Next::Ended(ended)) => {
                Told::Ended { ended, looked: scan.looked.clone(), cursor: scan.cursor() }
            }
            Err(error) => Told::Trouble { trouble: error.into(), cursor: scan.cursor() },
        };
        let is_last = matches!(told, Told::Ended { .. } | Told::Trouble { .. });
        if client.send_timeout(told, LIVE_STALL_MAX).await.is_err() || is_last {
            return;
        }
    }
}

fn as_json(told: Told) -> Event {
    let with = |event: Event, cursor: Option<String>| match cursor {
        Some(cursor) => event.id(cursor),
        None => event,
    };
    match told {
        Told::Row { row, cursor } => {
            with(Event::default().event("record").data(json!(row).to_string()), cursor)
        }
        Told::Looked { looked, cursor } => {
            with(Event::default().event("looked").data(json!(looked).to_string()), cursor)
        }
        Told::Ended { ended, looked, cursor } => {
            let data = json!({ "ended": ended, "looked": looked, "before": cursor });
            with(Event::default().event("ended").data(data.to_string()), cursor)
        }
        Told::Trouble { trouble, cursor } => {
            let data = trouble.to_json().to_string();
            with(Event::default().event("trouble").data(data), cursor)
        }
    }
}
