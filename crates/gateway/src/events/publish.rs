//! `POST /api/topics/{topic}/events`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidings_engine::{Error, SentRecord};
use tokio::time::timeout;

use super::Events;
use super::cloud::{SaidInUrl, records};
use crate::limits::PUBLISHER_WAIT;
use crate::serve::Peer;
use crate::trouble::{ApiTrouble, Trouble, media_type};

pub(super) async fn publish(
    State(events): State<Arc<Events>>,
    path: Result<Path<String>, PathRejection>,
    said: Result<Query<SaidInUrl>, QueryRejection>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiTrouble> {
    let (Path(topic), Query(said)) = (path?, said?);
    refuse_internal(&topic)?;
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
    let body = events.bodies.read(body, peer).await?;
    // Whose body comes slowly has no place until it is there.
    let place = timeout(PUBLISHER_WAIT, events.publishers.acquire()).await;
    let _place = place.map_err(|_elapsed| {
        Trouble::unavailable("too many events are being published").hint("try again")
    })?;
    let (media, headers) = (media_type(&head.headers), head.headers);
    let mut read = records(&media, &headers, &said, &body.bytes).map_err(|no| {
        Trouble::unprocessable(format!("event {} of the body: {}", no.number, no.why))
            .titled("This is not taken as an event")
            .hint("nothing was published; /openapi.json says what is expected")
    })?;
    for record in &mut read {
        record.topic.clone_from(&topic);
    }
    let ids: Vec<Option<String>> = read.iter().map(id_of).collect();
    let producer = events.producer().await.map_err(Trouble::from)?;
    let positions = match producer.send(read).await {
        Ok(positions) => positions,
        Err(error) => {
            if matches!(error, Error::Fenced(_)) {
                events.forget_producer().await;
            }
            if matches!(error, Error::UnknownTopic(_)) {
                let trouble = Trouble::from(error);
                return Err(ApiTrouble(
                    trouble.hint("make it first: tidings topic create NAME; then send all of them"),
                ));
            }
            let trouble = Trouble::from(error);
            // Each partition's part of it is taken or refused by itself.
            let unknown = ids.len() > 1;
            return Err(ApiTrouble(if unknown {
                trouble.hint("send all of them again with the same ids: some may be there, and services handle an id once")
            } else {
                trouble
            }));
        }
    };
    let taken = positions.iter().zip(ids).map(|(at, id)| {
        json!({ "topic": at.topic, "partition": at.partition, "offset": at.offset, "id": id })
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "events": taken.collect::<Vec<_>>() }))))
}

/// The engine's own topics are written by nobody else.
pub fn refuse_internal(topic: &str) -> Result<(), Trouble> {
    if !topic.starts_with("__") {
        return Ok(());
    }
    let why = format!("{topic} is kept by the engine for itself");
    Err(Trouble::new(StatusCode::FORBIDDEN, why).hint("use a topic of your own"))
}

fn id_of(record: &SentRecord) -> Option<String> {
    let id = record.headers.iter().find(|header| header.name == "ce_id")?;
    Some(String::from_utf8_lossy(id.value.as_deref()?).into_owned())
}
