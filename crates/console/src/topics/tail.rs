//! A live tail: records of a topic as they come, sampled when they come fast.
//!
//! 1. Every [`TAIL_EVERY`] it looks at what each partition has gained since, and reads up to [`TAIL_RECORDS`] of the newest
//!    of them.
//! 2. Of those that the filter takes it shows the newest [`TAIL_ROWS`], and says how many more came, whether or not they were
//!    looked at.
//! 3. One message waits for a client, and the next look with it: who reads slowly sees a thinner sample. A client that leaves
//!    one unread for [`LIVE_STALL_MAX`] is dropped.
//! 4. An engine that does not answer is said once, and asked again until it does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::response::sse::Event;
use serde::Serialize;
use serde_json::json;
use tidings_engine::{Engine, Error, Partition, ReadLimit, Topic};
use tidings_gateway::{ApiTrouble, Schemas, Trouble};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::api::Queried;
use super::asked::{Asked, Said, pairs};
use super::filter::Verdict;
use super::pages;
use super::scan::Row;
use super::search::answer;
use crate::Shared;
use crate::limits::{
    LIVE_STALL_MAX, LIVE_STREAMS_MAX, SEARCH_PARTITIONS_MAX, TAIL_BYTES, TAIL_EVERY,
    TAIL_EVERY_CLUSTER, TAIL_RECORDS, TAIL_RETRY, TAIL_ROWS,
};
use crate::observe::now;
use crate::quantity::Count;
use crate::reading::Reader;

/// What a client is told.
#[derive(Debug)]
pub(super) enum Told {
    Came(Came),
    Trouble(Trouble),
}

/// What has come since the last look.
#[derive(Debug, Default, Serialize)]
pub(super) struct Came {
    /// Oldest first.
    pub(super) records: Vec<Row>,
    /// Records that came and are not among these: not taken by the filter or, when they come fast, left out.
    pub(super) left_out: Count,
    /// Of the records that the filter takes, those that were left out; and those that nobody looked at.
    pub(super) not_shown: Count,
}

pub(super) async fn stream_json(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
) -> Result<Response, ApiTrouble> {
    let Path(topic) = path?;
    let asked = Asked::parse(pairs(query)?, now())?;
    let told = begin(&shared, &topic, asked).await?;
    Ok(answer(told, |told| match told {
        Told::Came(came) => Event::default().event("records").data(json!(came).to_string()),
        Told::Trouble(trouble) => {
            Event::default().event("trouble").data(trouble.to_json().to_string())
        }
    }))
}

pub(super) async fn stream_page(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
) -> Result<Response, ApiTrouble> {
    let Path(topic) = path?;
    let asked = Asked::parse(pairs(query)?, now())?;
    let said: Said = asked.said.clone();
    let told = begin(&shared, &topic, asked).await?;
    Ok(answer(told, move |told| pages::tail_event(&said, told)))
}

async fn begin(
    shared: &Arc<Shared>,
    topic: &str,
    asked: Asked,
) -> Result<mpsc::Receiver<Told>, Trouble> {
    let permit = Arc::clone(&shared.streams).try_acquire_owned().map_err(|_full| {
        Trouble::unavailable(format!("there are {LIVE_STREAMS_MAX} live streams already"))
            .hint("try again when others have ended")
    })?;
    let engine = shared.engine.clone();
    let found = engine.topic(topic).await?;
    let ids = found.partitions.iter().map(|partition| partition.id);
    let only: Vec<i32> = ids.filter(|id| asked.partition.is_none_or(|only| only == *id)).collect();
    if only.is_empty() || only.len() > SEARCH_PARTITIONS_MAX {
        let why = format!(
            "that would be {} partitions of {topic}, and a tail has 1 to {SEARCH_PARTITIONS_MAX}",
            only.len()
        );
        return Err(Trouble::unprocessable(why).hint("say `partition`, one that is there"));
    }
    let every = if engine.connection().is_some() { TAIL_EVERY_CLUSTER } else { TAIL_EVERY };
    let (schemas, asked) = (Arc::clone(&shared.schemas), Arc::new(asked));
    let mut tail = Tail { engine, schemas, topic: topic.to_owned(), asked, next: BTreeMap::new() };
    tail.begin_at_end(&found);
    let (client, told) = mpsc::channel(1);
    let pace = Pace { every, retry: TAIL_RETRY, stall_max: LIVE_STALL_MAX };
    tokio::spawn(tail.run(client, pace, permit));
    Ok(told)
}

/// How long it waits, for what.
#[derive(Clone, Copy, Debug)]
struct Pace {
    every: Duration,
    retry: Duration,
    stall_max: Duration,
}

struct Tail {
    engine: Engine,
    schemas: Arc<Schemas>,
    topic: String,
    asked: Arc<Asked>,
    /// The next offset of each partition that is followed.
    next: BTreeMap<i32, i64>,
}

impl Tail {
    fn begin_at_end(&mut self, topic: &Topic) {
        let followed = topic.partitions.iter();
        let followed = followed.filter(|p| self.asked.partition.is_none_or(|only| only == p.id));
        self.next = followed.map(|partition| (partition.id, partition.end_offset)).collect();
    }

    /// Where to go on; one that was added while the tail runs is followed from its beginning.
    fn next_of(&self, partition: &Partition) -> Option<i64> {
        let is_wanted = self.asked.partition.is_none_or(|only| only == partition.id)
            && self.next.len() < SEARCH_PARTITIONS_MAX;
        let added = || is_wanted.then_some(partition.start_offset);
        self.next.get(&partition.id).copied().or_else(added)
    }

    /// Looks until the client is gone.
    async fn run(
        mut self,
        client: mpsc::Sender<Told>,
        Pace { every, retry, stall_max }: Pace,
        _held_while_streaming: OwnedSemaphorePermit,
    ) {
        let mut failing = false;
        // The client learns at once that it is followed.
        let mut told = Some(Told::Came(Came::default()));
        loop {
            let again = Instant::now() + every;
            if let Some(told) = told.take()
                && client.send_timeout(told, stall_max).await.is_err()
            {
                return;
            }
            tokio::select! {
                () = sleep_until(again) => {}
                () = client.closed() => return,
            }
            match self.look().await {
                Ok(came) => {
                    let worth_telling = failing || !came.records.is_empty() || came.left_out.0 > 0;
                    failing = false;
                    told = worth_telling.then_some(Told::Came(came));
                }
                Err(error) => {
                    told = (!failing).then(|| Told::Trouble(error.into()));
                    failing = true;
                    tokio::select! {
                        () = sleep(retry.saturating_sub(every)) => {}
                        () = client.closed() => return,
                    }
                }
            }
        }
    }

    /// What has come since the last look.
    async fn look(&mut self) -> Result<Came, Error> {
        let topic = self.engine.topic(&self.topic).await?;
        let mut came = 0;
        let mut taken: Vec<Row> = Vec::new();
        let reader = Reader::of_list(self.schemas.current().await);
        let mut unseen = 0;
        for partition in &topic.partitions {
            let Some(next) = self.next_of(partition) else { continue };
            // A topic that was made anew begins anew.
            let next = if next > partition.end_offset { partition.start_offset } else { next };
            let end = partition.end_offset;
            if next >= end {
                self.next.insert(partition.id, next);
                continue;
            }
            came += end - next;
            let from = next.max(end - TAIL_RECORDS).max(partition.start_offset);
            unseen += from - next;
            let seen = self.read(partition.id, from, end, &reader, &mut taken).await?;
            unseen += end - seen;
            self.next.insert(partition.id, end);
        }
        taken.sort_by_key(|row| row.line.time);
        let too_many = taken.len().saturating_sub(TAIL_ROWS);
        let records = taken.split_off(too_many);
        let left_out = Count(came - Count::of(records.len()).0);
        let not_shown = Count(unseen + Count::of(too_many).0);
        Ok(Came { records, left_out, not_shown })
    }

    /// Adds what is taken of a range; answers up to where it was read.
    async fn read(
        &self,
        partition: i32,
        from: i64,
        end: i64,
        reader: &Reader,
        taken: &mut Vec<Row>,
    ) -> Result<i64, Error> {
        let records = usize::try_from(TAIL_RECORDS).unwrap_or(usize::MAX);
        let limit = ReadLimit { records, bytes: TAIL_BYTES, wait: Duration::ZERO };
        let read = match self.engine.read(&self.topic, partition, from, limit).await {
            Ok(read) => read,
            // It has moved on, or cannot be read here: what comes next is shown.
            Err(Error::OffsetOutOfRange { .. } | Error::Corrupt(_)) => return Ok(from),
            Err(error) => return Err(error),
        };
        let (asked, reader) = (Arc::clone(&self.asked), reader.clone());
        let judging = move || {
            let Asked { filter, columns, .. } = &*asked;
            let records = read.records.iter().filter(|record| record.offset < end);
            let readings = records.map(|record| reader.read(record));
            let taken = readings.filter(|of| filter.judge(&of.record) == Verdict::Taken);
            taken.map(|reading| Row::of(&reading, columns)).collect::<Vec<_>>()
        };
        let judged = tokio::task::spawn_blocking(judging).await;
        taken.extend(judged.map_err(|error| Error::Unavailable(error.to_string()))?);
        Ok(read.next.min(end))
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::{NewTopic, SentRecord};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::quantity::Moment;

    const BRIEF: Pace = Pace {
        every: Duration::from_millis(10),
        retry: Duration::from_millis(10),
        stall_max: Duration::from_millis(10),
    };

    async fn tail(said: &[(&str, &str)]) -> Tail {
        let engine = Engine::in_memory().await.unwrap();
        let new = NewTopic { name: "t".into(), partitions: Some(1), configs: vec![] };
        engine.create_topic(new).await.unwrap();
        let pairs = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let asked = Arc::new(Asked::parse(pairs.collect(), Moment(0)).unwrap());
        let schemas = Arc::new(Schemas::new(engine.clone()));
        let mut tail = Tail { engine, schemas, topic: "t".into(), asked, next: BTreeMap::new() };
        tail.begin_at_end(&tail.engine.topic("t").await.unwrap());
        tail
    }

    async fn send(tail: &Tail, count: usize) {
        let record = |n| SentRecord {
            topic: "t".into(),
            value: Some(format!("v{n}").into()),
            ..SentRecord::default()
        };
        let records = (0..count).map(record).collect();
        tail.engine.producer().await.unwrap().send(records).await.unwrap();
    }

    #[tokio::test]
    async fn a_partition_that_is_added_is_followed_from_its_beginning() {
        let mut all = tail(&[]).await;
        let mut first = Tail {
            engine: all.engine.clone(),
            schemas: Arc::clone(&all.schemas),
            topic: "t".into(),
            asked: Arc::new(
                Asked::parse(vec![("partition".to_owned(), "0".to_owned())], Moment(0)).unwrap(),
            ),
            next: all.next.clone(),
        };
        all.engine.grow_topic("t", 2).await.unwrap();
        let record = SentRecord { topic: "t".into(), partition: Some(1), ..SentRecord::default() };
        all.engine.producer().await.unwrap().send(vec![record]).await.unwrap();
        assert_eq!(all.look().await.unwrap().records.len(), 1);
        assert!(all.look().await.unwrap().records.is_empty(), "it is shown once");
        assert!(first.look().await.unwrap().records.is_empty(), "another one was asked for");
    }

    #[tokio::test]
    async fn what_comes_fast_is_sampled_and_says_so() {
        let mut tail = tail(&[]).await;
        assert!(tail.look().await.unwrap().records.is_empty());
        send(&tail, 3).await;
        let came = tail.look().await.unwrap();
        let values = came.records.iter().map(|row| row.line.value.as_str());
        assert_eq!(values.collect::<Vec<_>>(), ["v0", "v1", "v2"]);
        assert_eq!((came.left_out, came.not_shown), (Count(0), Count(0)));
        send(&tail, 5_000).await;
        let came = tail.look().await.unwrap();
        assert_eq!(came.records.len(), TAIL_ROWS);
        assert_eq!(came.records[TAIL_ROWS - 1].line.value, "v4999");
        assert_eq!(came.left_out, Count(5_000 - 20));
        assert_eq!(came.left_out, came.not_shown);
        assert!(tail.look().await.unwrap().records.is_empty());
    }

    #[tokio::test]
    async fn a_filter_sees_what_comes() {
        let mut tail = tail(&[("q", "v7")]).await;
        send(&tail, 100).await;
        let came = tail.look().await.unwrap();
        assert_eq!(came.records.len(), 11);
        assert_eq!((came.left_out, came.not_shown), (Count(89), Count(0)));
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_dropped() {
        let tail = tail(&[]).await;
        send(&tail, 10).await;
        let mut tail = tail;
        tail.next = BTreeMap::from([(0, 0)]);
        let (client, mut told) = mpsc::channel(1);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        tail.run(client, BRIEF, permit).await;
        assert!(told.recv().await.is_some(), "one message waited");
        assert!(told.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_topic_that_goes_away_is_said_and_followed_when_it_is_back() {
        let tail = tail(&[]).await;
        let engine = tail.engine.clone();
        let (client, mut told) = mpsc::channel(1);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let pace = Pace { stall_max: LIVE_STALL_MAX, ..BRIEF };
        tokio::spawn(tail.run(client, pace, permit));
        assert!(matches!(told.recv().await, Some(Told::Came(_))));
        engine.delete_topic("t").await.unwrap();
        assert!(matches!(told.recv().await, Some(Told::Trouble(_))));
        let again = NewTopic { name: "t".into(), partitions: Some(1), configs: vec![] };
        engine.create_topic(again).await.unwrap();
        assert!(matches!(told.recv().await, Some(Told::Came(_))));
    }
}
