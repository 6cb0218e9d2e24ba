//! A topic read on and on for one client, from a cursor.
//!
//! 1. Each partition in turn is read up to a limit, and what was asked for is handed to the client one
//!    message at a time, so what a client does not read is not read here either.
//! 2. A round that found nothing waits in all partitions at once, up to a heartbeat; on a cluster, where each such
//!    read would take a client of its own, it looks again after a pause.
//! 3. A client that leaves a message unread for [`EVENT_STALL_MAX`] has its stream closed, with that reason.
//!
//! A cursor is `partition:offset,…`, the next offsets to read. Partitions that a cursor does not name are
//! read from their beginning: they are newer than it. What is added while a stream goes on is found
//! by the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tidings::said_time;
use tidings_engine::{Engine, Error, Offset, Read, ReadLimit, Topic};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Events, line};
use crate::limits::{
    EVENT_HEARTBEAT, EVENT_LOOK_PAUSE, EVENT_STALL_MAX, EVENT_STREAM_BYTES,
    EVENT_STREAM_PARTITIONS_MAX, EVENT_STREAM_RECORDS, EVENT_STREAMS_MAX,
};
use crate::trouble::Trouble;
use crate::url::cursor;

/// What a client asks to be shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) from: Option<String>,
    pub(super) cursor: Option<String>,
    pub(super) key: Option<String>,
    pub(super) partition: Option<i32>,
}

/// What a client is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// A record, and the cursor behind it.
    Line { cursor: String, line: String },
    /// Nothing new up to this cursor.
    Still { cursor: String },
    /// There is no more, for this reason.
    Closed(Trouble),
}

/// A stream that goes on until one of its ends is dropped.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) messages: mpsc::Receiver<Message>,
    /// Whether it ended because the client did not read, which it then could not be told.
    pub(super) stalled: watch::Receiver<bool>,
}

/// Begins a stream, or refuses to.
pub(super) async fn follow(
    events: &Arc<Events>,
    topic: &str,
    asked: Asked,
) -> Result<Following, Trouble> {
    super::publish::refuse_internal(topic)?;
    let permit = events.streams.clone().try_acquire_owned().map_err(|_full| {
        Trouble::unavailable(format!("there are {EVENT_STREAMS_MAX} streams already"))
            .hint("try again when others have ended")
    })?;
    let next = begin(&events.engine, topic, &asked).await?;
    let (client, messages) = mpsc::channel(1);
    let stream = Stream {
        engine: events.engine.clone(),
        topic: topic.to_owned(),
        key: asked.key,
        next,
        client,
        stall_max: EVENT_STALL_MAX,
        sent: Instant::now(),
    };
    let (stalls, stalled) = watch::channel(false);
    let mut stopping = events.stopping.clone();
    tokio::spawn(async move {
        let _held_while_streaming = permit;
        tokio::select! {
            ended = stream.run() => {
                stalls.send_replace(ended == Ended::Stalled);
            }
            // An error means that the console is gone, too.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    });
    Ok(Following { messages, stalled })
}

/// Where each partition is read from.
async fn begin(engine: &Engine, name: &str, asked: &Asked) -> Result<BTreeMap<i32, i64>, Trouble> {
    let topic = engine.topic(name).await?;
    let wanted: Vec<i32> = topic.partitions.iter().map(|partition| partition.id).collect();
    let wanted: Vec<i32> =
        wanted.into_iter().filter(|id| asked.partition.is_none_or(|only| only == *id)).collect();
    if wanted.is_empty() {
        let none = asked.partition.unwrap_or_default();
        return Err(Trouble::not_found(format!("topic {name} has no partition {none}")));
    }
    if wanted.len() > EVENT_STREAM_PARTITIONS_MAX {
        let why = format!(
            "{name} has {} partitions, and a stream up to {EVENT_STREAM_PARTITIONS_MAX}",
            wanted.len()
        );
        return Err(Trouble::unprocessable(why).hint("follow one with `partition`"));
    }
    if let Some(said) = &asked.cursor {
        return resumed(&topic, &wanted, &cursor(said)?);
    }
    let from = place(asked.from.as_deref().unwrap_or("latest"), crate::now_ms())?;
    let mut next = BTreeMap::new();
    for id in wanted {
        next.insert(id, engine.offset(name, id, from).await?);
    }
    Ok(next)
}

fn place(said: &str, now_ms: i64) -> Result<Offset, Trouble> {
    match said {
        "earliest" => Ok(Offset::Earliest),
        "latest" => Ok(Offset::Latest),
        said => match said_time::moment(said, now_ms) {
            Some(time_ms) => Ok(Offset::Timestamp(time_ms)),
            None => Err(Trouble::bad_request(format!("`from` is {said:?}"))
                .hint("earliest, latest, or a time such as -10m or 2010-12-01T08:26")),
        },
    }
}

fn resumed(
    topic: &Topic,
    wanted: &[i32],
    said: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, Trouble> {
    let mut next = BTreeMap::new();
    for partition in topic.partitions.iter().filter(|partition| wanted.contains(&partition.id)) {
        let offset = said.get(&partition.id).copied().unwrap_or(partition.start_offset);
        if offset < partition.start_offset || offset > partition.end_offset {
            let why = format!(
                "the cursor is at {offset} of partition {}, which has {} to {}",
                partition.id, partition.start_offset, partition.end_offset
            );
            return Err(Trouble::new(axum::http::StatusCode::GONE, why)
                .titled("What the cursor points at is not there")
                .hint(
                    "records were deleted, or the topic is another one: begin with from=earliest",
                ));
        }
        next.insert(partition.id, offset);
    }
    let known = |id: &i32| topic.partitions.iter().any(|partition| partition.id == *id);
    match said.keys().find(|id| !known(id)) {
        Some(id) => Err(Trouble::bad_request(format!(
            "the cursor names partition {id}, which {} has not",
            topic.name
        ))),
        None => Ok(next),
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The client is gone, or was told why.
    Told,
    /// It left a message unread for too long.
    Stalled,
}

struct Stream {
    engine: Engine,
    topic: String,
    key: Option<String>,
    /// The next offset of each partition that is followed.
    next: BTreeMap<i32, i64>,
    client: mpsc::Sender<Message>,
    stall_max: Duration,
    /// When something was last sent.
    sent: Instant,
}

impl Stream {
    async fn run(mut self) -> Ended {
        let ended = self.rounds().await;
        match ended {
            Ok(ended) => ended,
            Err(error) => match self.send(Message::Closed(error.into())).await {
                Err(ended) => ended,
                Ok(()) => Ended::Told,
            },
        }
    }

    /// Rounds until the client is gone; an error is the engine's.
    async fn rounds(&mut self) -> Result<Ended, Error> {
        // The client learns where it is before anything comes.
        let mut idle = true;
        loop {
            if idle || self.sent.elapsed() >= EVENT_HEARTBEAT {
                let cursor = self.cursor();
                if let Err(ended) = self.send(Message::Still { cursor }).await {
                    return Ok(ended);
                }
            }
            let mut found = false;
            let partitions: Vec<i32> = self.next.keys().copied().collect();
            for partition in partitions {
                let read = self.read(partition).await?;
                found |= !read.records.is_empty();
                if let Err(ended) = self.hand_over(partition, read).await {
                    return Ok(ended);
                }
            }
            if !found {
                idle = !self.wait().await;
            } else {
                idle = false;
            }
            if self.client.is_closed() {
                return Ok(Ended::Told);
            }
        }
    }

    async fn read(&self, partition: i32) -> Result<Read, Error> {
        let limit = ReadLimit {
            records: EVENT_STREAM_RECORDS,
            bytes: EVENT_STREAM_BYTES,
            wait: Duration::ZERO,
        };
        self.engine.read(&self.topic, partition, self.at(partition), limit).await
    }

    fn at(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    async fn hand_over(&mut self, partition: i32, read: Read) -> Result<(), Ended> {
        for record in &read.records {
            self.next.insert(partition, record.offset + 1);
            let key = record.key.as_deref();
            if self.key.as_ref().is_some_and(|wanted| key != Some(wanted.as_bytes())) {
                continue;
            }
            let cursor = self.cursor();
            self.send(Message::Line { cursor, line: line::of(record) }).await?;
        }
        // Past what transactions leave between records.
        self.next.insert(partition, read.next);
        Ok(())
    }

    /// Waits for a record in any partition, up to a heartbeat; whether there may be one.
    async fn wait(&self) -> bool {
        if self.engine.connection().is_some() {
            tokio::select! {
                () = sleep(EVENT_LOOK_PAUSE) => {}
                () = self.client.closed() => {}
            }
            return true;
        }
        let mut reads = JoinSet::new();
        for (&partition, &next) in &self.next {
            let (engine, topic) = (self.engine.clone(), self.topic.clone());
            let limit = ReadLimit { records: 1, bytes: 1, wait: EVENT_HEARTBEAT };
            reads.spawn(async move {
                // Trouble is met again by the next round, which tells it.
                let read = engine.read(&topic, partition, next, limit).await;
                read.is_err() || read.is_ok_and(|read| !read.records.is_empty() || read.next > next)
            });
        }
        loop {
            tokio::select! {
                found = reads.join_next() => match found {
                    Some(Ok(false)) => {}
                    None => return false,
                    Some(_) => return true,
                },
                () = self.client.closed() => return true,
            }
        }
    }

    fn cursor(&self) -> String {
        let places = self.next.iter().map(|(partition, offset)| format!("{partition}:{offset}"));
        places.collect::<Vec<_>>().join(",")
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        use mpsc::error::SendTimeoutError::{Closed, Timeout};
        let sent = self.client.send_timeout(message, self.stall_max).await;
        self.sent = Instant::now();
        sent.map_err(|error| match error {
            Closed(_) => Ended::Told,
            Timeout(_) => Ended::Stalled,
        })
    }
}

/// What a client that left its messages unread is told when it reads again.
pub(super) fn stalled() -> Trouble {
    Trouble::new(
        axum::http::StatusCode::REQUEST_TIMEOUT,
        format!("a message was left unread for {EVENT_STALL_MAX:?}"),
    )
    .titled("The stream is closed")
    .hint("connect again with the cursor of the last message, and read faster")
}

#[cfg(test)]
mod tests {
    use tidings_engine::{NewTopic, SentRecord};

    use super::*;

    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up() {
        let engine = Engine::in_memory().await.unwrap();
        let topic = NewTopic { name: "t".into(), partitions: Some(1), configs: Vec::new() };
        engine.create_topic(topic).await.unwrap();
        let record =
            SentRecord { topic: "t".into(), value: Some("x".into()), ..SentRecord::default() };
        engine.producer().await.unwrap().send(vec![record; 8]).await.unwrap();
        let (client, mut messages) = mpsc::channel(1);
        let stream = Stream {
            engine,
            topic: "t".into(),
            key: None,
            next: BTreeMap::from([(0, 0)]),
            client,
            stall_max: Duration::from_millis(20),
            sent: Instant::now(),
        };
        assert_eq!(stream.run().await, Ended::Stalled);
        // One message was waiting for it; nothing more was read on its behalf.
        assert!(matches!(messages.recv().await, Some(Message::Still { .. })));
        assert!(messages.recv().await.is_none());
    }

    #[test]
    fn places_are_read_from_the_url() {
        for (said, wanted) in [
            ("earliest", Some(Offset::Earliest)),
            ("latest", Some(Offset::Latest)),
            ("1291191960000", Some(Offset::Timestamp(1_291_191_960_000))),
            ("-1m", Some(Offset::Timestamp(1_291_191_900_000))),
            ("2010-12-01T08:26", Some(Offset::Timestamp(1_291_191_960_000))),
            ("noon", None),
            ("", None),
        ] {
            assert_eq!(place(said, 1_291_191_960_000).ok(), wanted, "{said:?}");
        }
    }
}
