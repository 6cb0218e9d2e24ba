//! Reading what a service has written: the events that its states are made of, each once, and changelogs.
//!
//! Every partition has a cursor. What this instance appends itself is remembered by offset, so that
//! a later reading passes over it: it has been folded already. Order: the log's within a partition;
//! across partitions by timestamp, then topic and partition. Folds of different keys must therefore
//! not depend on each other's order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use tidings_engine::{Engine, Error, Header, Offset, Position, ReadLimit, Record, TopicPartition};

use crate::limits;

/// Which output of how many: written beside the envelope.
const OUTPUT: &str = "tidings-output";
/// The handler that produced an output.
pub(crate) const HANDLER: &str = "tidings-handler";

/// An output's number among the outputs of its input, as a header.
pub(crate) fn ordinal(number: u32, of: u32) -> Header {
    Header::text(OUTPUT, format!("{number}/{of}"))
}

#[derive(Debug, Default)]
struct Cursor {
    /// The first offset not yet seen.
    next: i64,
    /// Own appends at or after `next`.
    own: BTreeSet<i64>,
}

impl Cursor {
    fn appended(&mut self, offset: i64) {
        if offset < self.next {
            return;
        }
        self.own.insert(offset);
        while self.own.remove(&self.next) {
            self.next += 1;
        }
    }

    /// Moves past an offset; false when it was an own append.
    fn pass(&mut self, offset: i64) -> bool {
        self.next = self.next.max(offset + 1);
        !self.own.remove(&offset)
    }
}

/// How far a reading goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// What can be read now. A transaction that is not decided, of whomever, hides what follows it.
    Readable,
    /// All that there is now: such transactions are waited for.
    Settled,
}

/// How far a service's own topics have been read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    cursors: BTreeMap<TopicPartition, Cursor>,
}

/// A partition being read, up to where it ended when the reading began.
struct Lane {
    partition: TopicPartition,
    next: i64,
    end: i64,
    buffer: VecDeque<Record>,
}

impl Replay {
    /// Remembers own appends.
    pub(crate) fn appended(&mut self, positions: &[Position]) {
        for Position { topic, partition, offset } in positions {
            let partition = TopicPartition { topic: topic.clone(), partition: *partition };
            self.cursors.entry(partition).or_default().appended(*offset);
        }
    }

    /// Whether so many own appends are remembered that the topics should be read on.
    pub(crate) fn is_full(&self) -> bool {
        self.cursors.values().map(|c| c.own.len()).sum::<usize>() >= limits::OWN_APPENDS_MAX
    }

    /// The next own record of others (another instance, an earlier run), oldest first; none at the
    /// ends that the topics had when the reading began.
    ///
    /// The ends are asked for partition by partition: one that is there but cannot be read is
    /// described as empty, and only refuses when it is asked itself.
    pub(crate) async fn reading<'r>(
        &'r mut self,
        engine: &'r Engine,
        topics: &[String],
        until: Until,
    ) -> Result<Reading<'r>, Error> {
        let mut lanes = Vec::new();
        for topic in topics {
            for partition in engine.topic(topic).await?.partitions {
                let id = TopicPartition { topic: topic.clone(), partition: partition.id };
                let mut lane = Lane::of(engine, id, partition.end_offset, until).await?;
                let cursor = self.cursors.entry(lane.partition.clone()).or_default();
                lane.next = lane.next.max(cursor.next);
                lanes.push(lane);
            }
        }
        let give_up = Instant::now() + limits::SETTLED_WITHIN;
        Ok(Reading { replay: self, engine, lanes, give_up })
    }
}

/// A reading under way.
pub(crate) struct Reading<'r> {
    replay: &'r mut Replay,
    engine: &'r Engine,
    lanes: Vec<Lane>,
    give_up: Instant,
}

impl Reading<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            for lane in &mut self.lanes {
                lane.fill(self.engine, self.give_up).await?;
            }
            let oldest = self
                .lanes
                .iter_mut()
                .filter(|lane| !lane.buffer.is_empty())
                .min_by_key(|lane| lane.buffer.front().map(|record| record.timestamp));
            let Some(lane) = oldest else {
                self.pass_the_ends();
                return Ok(None);
            };
            let Some(record) = lane.buffer.pop_front() else { continue };
            let cursor = self.replay.cursors.entry(lane.partition.clone()).or_default();
            if cursor.pass(record.offset) {
                return Ok(Some(record));
            }
        }
    }

    /// Offsets without records (compacted, or of transactions) are passed as well.
    fn pass_the_ends(&mut self) {
        for lane in &self.lanes {
            let cursor = self.replay.cursors.entry(lane.partition.clone()).or_default();
            cursor.next = cursor.next.max(lane.next);
            cursor.own = cursor.own.split_off(&cursor.next);
        }
    }
}

/// Reads partitions one after the other, from their beginnings to the ends that they have now; transactions that
/// are not decided are waited for.
pub(crate) async fn read_all(
    engine: &Engine,
    partitions: &[TopicPartition],
    mut take: impl FnMut(Record),
) -> Result<(), Error> {
    let give_up = Instant::now() + limits::SETTLED_WITHIN;
    for at in partitions {
        let mut tail = Tail { give_up, ..Tail::of(engine, at, Until::Settled).await? };
        while let Some(record) = tail.next(engine).await? {
            take(record);
        }
    }
    Ok(())
}

/// A partition being read up to the end that it has now.
pub(crate) struct Tail {
    lane: Lane,
    give_up: Instant,
}

impl Tail {
    /// From the beginning.
    pub(crate) async fn of(
        engine: &Engine,
        at: &TopicPartition,
        until: Until,
    ) -> Result<Self, Error> {
        let described = engine.topic(&at.topic).await?.partitions;
        let found = described.iter().find(|partition| partition.id == at.partition);
        let end = found.ok_or_else(|| Error::UnknownTopic(at.to_string()))?.end_offset;
        let lane = Lane::of(engine, at.clone(), end, until).await?;
        Ok(Self { lane, give_up: Instant::now() + limits::SETTLED_WITHIN })
    }

    /// One past the last offset that there is.
    pub(crate) fn end(&self) -> i64 {
        self.lane.end
    }

    /// Leaves out what is before that offset.
    pub(crate) fn begin(&mut self, from: i64) {
        self.lane.next = self.lane.next.max(from);
    }

    pub(crate) async fn next(&mut self, engine: &Engine) -> Result<Option<Record>, Error> {
        if self.lane.buffer.is_empty() {
            self.lane.fill(engine, self.give_up).await?;
        }
        Ok(self.lane.buffer.pop_front())
    }

    /// The next ones in one piece; none at the end.
    #[cfg(feature = "disk")]
    pub(crate) async fn part(&mut self, engine: &Engine) -> Result<Vec<Record>, Error> {
        if self.lane.buffer.is_empty() {
            self.lane.fill(engine, self.give_up).await?;
        }
        Ok(self.lane.buffer.drain(..).collect())
    }
}

impl Lane {
    /// From the beginning; the description's end is that of all records, readable or not.
    async fn of(
        engine: &Engine,
        partition: TopicPartition,
        described_end: i64,
        until: Until,
    ) -> Result<Self, Error> {
        let TopicPartition { topic, partition: number } = &partition;
        let next = engine.offset(topic, *number, Offset::Earliest).await?;
        let readable = engine.offset(topic, *number, Offset::Latest).await?;
        let end = match until {
            Until::Readable => readable,
            Until::Settled => readable.max(described_end),
        };
        Ok(Self { partition, next, end, buffer: VecDeque::new() })
    }

    async fn fill(&mut self, engine: &Engine, give_up: Instant) -> Result<(), Error> {
        let limit = ReadLimit {
            records: limits::REPLAY_RECORDS,
            bytes: limits::REPLAY_BYTES,
            wait: std::time::Duration::ZERO,
        };
        while self.buffer.is_empty() && self.next < self.end {
            let TopicPartition { topic, partition } = &self.partition;
            let read = match engine.read(topic, *partition, self.next, limit).await {
                // Retention has been faster.
                Err(Error::OffsetOutOfRange { first, .. }) if first > self.next => {
                    self.next = first;
                    continue;
                }
                read => read?,
            };
            if read.next <= self.next {
                if Instant::now() >= give_up {
                    return Err(Error::Unavailable(format!(
                        "{}: a transaction at offset {} is not decided",
                        self.partition, self.next
                    )));
                }
                tokio::time::sleep(limits::REPLAY_PAUSE).await;
            }
            self.next = self.next.max(read.next);
            self.buffer.extend(read.records);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_appends_are_passed_over_and_forgotten_when_contiguous() {
        let mut cursor = Cursor::default();
        cursor.appended(0);
        cursor.appended(1);
        assert_eq!((cursor.next, cursor.own.len()), (2, 0));
        cursor.appended(5);
        cursor.appended(3);
        cursor.appended(1);
        assert_eq!((cursor.next, cursor.own.len()), (2, 2));
        let seen: Vec<bool> = [2, 3, 4, 5, 6].map(|offset| cursor.pass(offset)).to_vec();
        assert_eq!(seen, [true, false, true, false, true]);
        assert_eq!((cursor.next, cursor.own.len()), (7, 0));
    }

    #[test]
    fn many_own_appends_ask_for_a_reading() {
        let mut replay = Replay::default();
        let position = |offset| Position { topic: "t".into(), partition: 0, offset };
        let count = i64::try_from(limits::OWN_APPENDS_MAX).expect("fits");
        replay.appended(&(1..count).map(position).collect::<Vec<_>>());
        assert!(!replay.is_full());
        replay.appended(&[position(count)]);
        assert!(replay.is_full());
        replay.appended(&[position(0)]);
        assert!(!replay.is_full());
    }
}
