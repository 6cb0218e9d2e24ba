//! Events over HTTP: published one by one or in batches, followed as a stream.
//!
//! An event that was taken is durable: the answer waits for the engine's. What is written is CloudEvents in
//! Kafka's binary mode, as services of the SDK write and read it. A stream has no group and no position on
//! the server: its cursor is in every message, and whoever connects again says it.
//!
//! Bounded: bytes of bodies that come, publishers at once ([`PUBLISHERS_MAX`](crate::limits::PUBLISHERS_MAX)), streams
//! ([`EVENT_STREAMS_MAX`](crate::limits::EVENT_STREAMS_MAX)), partitions of a stream, and how long a
//! client may leave a message unread.

mod body;
mod cloud;
mod follow;
mod line;
mod publish;
mod socket;
mod stream;

pub use publish::refuse_internal;

use std::sync::Arc;

use axum::routing::{get, post};
use tidings_engine::{Engine, Error, Producer};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::limits::{EVENT_STREAMS_MAX, PUBLISHERS_MAX};
use crate::route::{Answer, Parameter, Route, Said, Taken, Verb, json, problem, query};

/// What all requests about events share.
#[derive(Debug)]
pub struct Events {
    engine: Engine,
    /// Opened by the first event; again after it was fenced.
    producer: Mutex<Option<Producer>>,
    bodies: Arc<body::Bodies>,
    publishers: Semaphore,
    streams: Arc<Semaphore>,
    /// True when streams have to end.
    stopping: watch::Receiver<bool>,
}

impl Events {
    /// Streams end when `stopping` says so.
    pub fn new(engine: Engine, stopping: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            producer: Mutex::new(None),
            bodies: Arc::default(),
            publishers: Semaphore::new(PUBLISHERS_MAX),
            streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            stopping,
        })
    }

    /// What publishes; opened when it is first asked for.
    pub async fn producer(&self) -> Result<Producer, Error> {
        let mut held = self.producer.lock().await;
        if let Some(producer) = &*held {
            return Ok(producer.clone());
        }
        Ok(held.insert(self.engine.producer().await?).clone())
    }

    /// The next one that publishes opens it anew: this one was fenced.
    pub async fn forget_producer(&self) {
        *self.producer.lock().await = None;
    }
}

/// Where a stream begins, of all its kinds.
const FOLLOWED: &[Parameter] = &[
    query(
        "from",
        "string",
        "earliest, latest, or a time in milliseconds since the epoch; latest when not said.",
    ),
    query(
        "cursor",
        "string",
        "Where a stream was: the id of its last message. It goes before `from`.",
    ),
    query("key", "string", "Only records with this key."),
    query("partition", "integer", "Only this partition."),
    Parameter {
        place: "header",
        name: "last-event-id",
        kind: "string",
        meaning: "As `cursor`; EventSource sends it when it connects again.",
    },
];

/// Below `/api`.
pub fn table() -> Vec<Route<Arc<Events>>> {
    const PUBLISHED: Said = Said {
        verb: Verb::Post,
        path: "/topics/{topic}/events",
        summary: "Publishes events; answered when they are durable.",
        parameters: &[
            query(
                "key",
                "string",
                "The record's key; else the event's partitionkey, or its subject.",
            ),
            query("type", "string", "Of plain JSON: makes it an event of this type."),
            query(
                "source",
                "string",
                "Of plain JSON with a type: its source; `http` when not said.",
            ),
            query(
                "id",
                "string",
                "Of plain JSON with a type: its id, by which services handle it once.",
            ),
        ],
        takes: &[
            Taken { media: "application/json", schema: "Data" },
            Taken { media: "application/cloudevents+json", schema: "CloudEvent" },
            Taken { media: "application/cloudevents-batch+json", schema: "CloudEvents" },
            Taken { media: "*/*", schema: "Bytes" },
        ],
        answers: &[
            json(202, "Durable, with where each went: topic, partition, offset."),
            problem(404, "There is no such topic."),
            problem(422, "It is not the event that it should be."),
        ],
    };
    const STREAMED: Said = Said {
        verb: Verb::Get,
        path: "/topics/{topic}/events",
        summary: "Records as they come, as server-sent events.",
        parameters: FOLLOWED,
        takes: &[],
        answers: &[Answer {
            status: 200,
            media: "text/event-stream",
            meaning: "A message for each record; its id is the cursor behind it.",
        }],
    };
    const SOCKET: Said = Said {
        verb: Verb::Get,
        path: "/topics/{topic}/events/socket",
        summary: "The same over a WebSocket: text messages, each with its cursor.",
        parameters: FOLLOWED,
        takes: &[],
        answers: &[Answer {
            status: 101,
            media: "application/json",
            meaning: "A message for each record.",
        }],
    };
    vec![
        Route { said: PUBLISHED, handler: || post(publish::publish) },
        Route { said: STREAMED, handler: || get(stream::stream) },
        Route { said: SOCKET, handler: || get(socket::socket) },
    ]
}
