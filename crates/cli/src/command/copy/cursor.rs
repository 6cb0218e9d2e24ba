//! The records of a partition, as far as a comparison looks.

use std::collections::VecDeque;

use tidings_engine::{Engine, Offset, Record, TopicPartition};
use tidings_terminal::failure::Failure;

use super::{limit, within};
use crate::place::failed;

/// The records of a partition, one after the other.
pub(super) struct Cursor<'v> {
    pub(super) engine: &'v Engine,
    pub(super) at: TopicPartition,
    next: i64,
    pub(super) end: i64,
    read: VecDeque<Record>,
}

impl<'v> Cursor<'v> {
    /// Of these offsets, those that the partition has.
    pub(super) async fn within(
        engine: &'v Engine,
        at: &TopicPartition,
        (first, end): (i64, i64),
    ) -> Result<Self, Failure> {
        let (start, last) = ends(engine, at).await?;
        let (next, end) = (first.max(start), end.min(last));
        Ok(Self { engine, at: at.clone(), next, end, read: VecDeque::new() })
    }

    pub(super) async fn peek(&mut self) -> Result<Option<&Record>, Failure> {
        while self.read.is_empty() && self.next < self.end {
            let TopicPartition { topic, partition } = &self.at;
            let read = within(self.engine, topic, *partition, self.next, limit()).await?;
            self.next = read.next;
            self.read = read.records.into();
        }
        Ok(self.read.front().filter(|record| record.offset < self.end))
    }

    pub(super) async fn next(&mut self) -> Result<Option<Record>, Failure> {
        let there = self.peek().await?.is_some();
        Ok(if there { self.read.pop_front() } else { None })
    }
}

/// First offset, and the one after the last that may be read.
pub(super) async fn ends(engine: &Engine, at: &TopicPartition) -> Result<(i64, i64), Failure> {
    let place = async |place| {
        let offset = engine.offset(&at.topic, at.partition, place).await;
        offset.map_err(|error| failed(format!("{at} cannot be seen"), &error))
    };
    Ok((place(Offset::Earliest).await?, place(Offset::Latest).await?))
}
