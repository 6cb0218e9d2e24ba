//! One transaction for everything that has ended.

use std::time::Duration;

use tidings_engine::{Position, SentRecord, TopicPartition};

use super::{Broken, Worker, not_a_member};
use crate::{
    limits,
    publisher::{now_ms, record_bytes},
    replay::Until,
};

/// Effects not yet in the log.
#[derive(Default)]
pub(super) struct Pending {
    records: Vec<SentRecord>,
    bytes: usize,
    pub(super) emitted: u64,
    pub(super) dead: u64,
    pub(super) decided: Vec<Decided>,
}

/// What a handler decided on an event, for its figures.
#[derive(Clone, Copy)]
pub(super) struct Decided {
    handler: usize,
    /// When the event happened.
    time_ms: i64,
    outputs: usize,
}

impl Decided {
    pub(super) fn of(handler: usize, time_ms: i64, outputs: usize) -> Self {
        Self { handler, time_ms, outputs }
    }
}

impl Pending {
    pub(super) fn add(&mut self, record: SentRecord) {
        self.bytes += record_bytes(&record);
        self.records.push(record);
    }

    /// Something else is to be committed with them.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= limits::PENDING_BYTES_MAX
    }

    pub(super) fn is_half_full(&self) -> bool {
        self.bytes >= limits::PENDING_BYTES_MAX / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

type Offsets = [(TopicPartition, i64, Option<String>)];

impl Worker {
    pub(super) fn is_something_to_commit(&mut self) -> bool {
        self.pass_markers();
        !self.pending.is_empty() || self.tasks.iter_mut().any(|task| task.has_changes())
    }

    /// What is behind the last record of a partition is done as well: markers of transactions, which would be
    /// lag for ever.
    fn pass_markers(&mut self) {
        let Some(member) = &self.subscription else { return };
        for task in &mut self.tasks {
            if let Some(position) = member.position(task.at()) {
                task.pass(position);
            }
        }
    }

    /// Commits what has ended: effects and positions in one transaction, positions alone without one.
    pub(super) async fn commit(&mut self) -> Result<(), Broken> {
        self.pass_markers();
        self.taken = 0;
        self.may_be_more = true;
        let pending = std::mem::take(&mut self.pending);
        let (mut records, mut offsets) = (pending.records, Vec::new());
        for task in &mut self.tasks {
            let commit = task.commit();
            records.extend(commit.changelog);
            let at = task.at();
            offsets.extend(commit.position.map(|(next, text)| (at.clone(), next, text)));
        }
        if !records.is_empty() {
            let mut committed = self.transact(records, &offsets).await?;
            #[cfg(test)]
            self.service.crash.here()?;
            for task in &mut self.tasks {
                task.committed(&committed)?;
            }
            if self.service.has_states() {
                committed.retain(|position| self.topics.outputs.contains(&position.topic));
                self.replay.appended(&committed);
            }
        } else if !offsets.is_empty() {
            self.member()?.commit(&offsets).await?;
        }
        let figures = &mut self.counts.now;
        figures.emitted += pending.emitted;
        figures.dead += pending.dead;
        self.count_decided(&pending.decided);
        self.show_shelves();
        self.show_behind();
        #[cfg(test)]
        self.service.crash.here()?;
        if self.replay.is_full() {
            self.catch_up(Until::Readable).await?;
        }
        Ok(())
    }

    /// What was decided is in the log from now on.
    fn count_decided(&mut self, decided: &[Decided]) {
        let now_ms = now_ms();
        for Decided { handler, time_ms, outputs } in decided {
            let its = &mut self.counts.handlers[*handler];
            its.emitted += *outputs as u64;
            // An event of a clock that is ahead has taken no time.
            let took_ms = u64::try_from(now_ms.saturating_sub(*time_ms)).unwrap_or_default();
            its.end_to_end.add(Duration::from_millis(took_ms));
        }
    }

    /// One transaction; where its records went.
    async fn transact(
        &mut self,
        mut records: Vec<SentRecord>,
        offsets: &Offsets,
    ) -> Result<Vec<Position>, Broken> {
        let in_doubt = |error| Broken::Engine { error, in_doubt: true };
        let (Some(producer), Some(member)) = (&self.producer, &self.subscription) else {
            return Err(in_doubt(not_a_member()));
        };
        #[cfg(test)]
        self.service.crash.here()?;
        let mut transaction = producer.begin().await.map_err(in_doubt)?;
        let mut appended = Vec::with_capacity(records.len());
        while !records.is_empty() {
            let rest = records.split_off(append_of(&records));
            appended.extend(transaction.append(records).await.map_err(in_doubt)?);
            records = rest;
        }
        #[cfg(test)]
        let mut transaction = self.service.crash.leaving(transaction)?;
        transaction.commit_offsets(member, offsets).await.map_err(in_doubt)?;
        #[cfg(test)]
        let transaction = self.service.crash.leaving(transaction)?;
        transaction.commit().await.map_err(in_doubt)?;
        Ok(appended)
    }
}

/// How many records go into one append: all of it may be one batch of one partition.
fn append_of(records: &[SentRecord]) -> usize {
    let mut bytes = 0;
    let fits = |record: &&SentRecord| {
        bytes += record_bytes(record);
        bytes <= limits::APPEND_BYTES_MAX
    };
    records.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_a_batch_at_most_and_one_record_at_least() {
        let record = |bytes: usize| SentRecord {
            value: Some(vec![0; bytes].into()),
            ..SentRecord::default()
        };
        let half = limits::APPEND_BYTES_MAX / 2 - 100;
        for (records, first) in [
            (vec![record(10), record(10)], 2),
            (vec![record(half), record(half), record(10), record(half)], 3),
            (vec![record(limits::APPEND_BYTES_MAX), record(10)], 1),
        ] {
            assert_eq!(append_of(&records), first);
        }
    }
}
