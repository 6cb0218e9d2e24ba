//! Carries records: for each partition a reader and a writer beside each other, several partitions at once.
//!
//! A step is a transaction: records that follow each other in the source, and the note of where they went. What is
//! appended must stand together; where it does not, somebody else writes to the target, and the copy stops.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidings_engine::{Error, Offset, Record, SentRecord, TransactionalProducer};
use tidings_terminal::failure::Failure;
use tidings_terminal::progress::Progress;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;

use super::notes::{Note, Noted};
use super::plan::{Job, Plan, Tail, foreign, tail};
use super::runs::Runs;
use super::{Sides, again, limit, within};
use crate::limits::{COPY_STEP_BYTES, COPY_STEP_RECORDS_MAX, COPY_STEPS_AHEAD};
use crate::place::failed;

/// What this run has copied of a partition.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) job: Job,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Offsets that the source has got since the copy began.
    pub(super) since: i64,
}

/// Records of a partition that go in one transaction.
#[derive(Debug)]
struct Portion {
    /// The source's offsets that it stands for.
    first: i64,
    next: i64,
    records: Vec<Record>,
    bytes: usize,
}

#[derive(Debug)]
struct Carrying {
    sides: Arc<Sides>,
    left: Mutex<VecDeque<Job>>,
    progress: Mutex<Progress>,
    carried: Mutex<Vec<Carried>>,
}

/// Carries every partition to where it ended when the plan was made.
pub(super) async fn carry(
    sides: &Arc<Sides>,
    plan: &Plan,
    producers: Vec<TransactionalProducer>,
) -> Result<Vec<Carried>, Failure> {
    let mut jobs: Vec<Job> = plan.jobs().cloned().collect();
    let total = jobs.iter().map(|job| u64::try_from(job.end - job.from).unwrap_or(0)).sum();
    // The longest first, so that none is left over at the end.
    jobs.sort_by_key(|job| job.from - job.end);
    let carrying = Arc::new(Carrying {
        sides: Arc::clone(sides),
        left: Mutex::new(jobs.into()),
        progress: Mutex::new(Progress::told(total)),
        carried: Mutex::default(),
    });
    let mut workers = JoinSet::new();
    for producer in producers {
        let carrying = Arc::clone(&carrying);
        workers.spawn(async move { carrying.work(&producer).await });
    }
    while let Some(ended) = workers.join_next().await {
        // The first failure ends all: who is dropped aborts its transaction.
        ended.map_err(|e| Failure::failed("the copy has stopped").why(e))??;
    }
    let mut carried =
        std::mem::take(&mut *carrying.carried.lock().unwrap_or_else(PoisonError::into_inner));
    carried.sort_by(|a, b| a.job.at.cmp(&b.job.at));
    Ok(carried)
}

impl Carrying {
    fn next(&self) -> Option<Job> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn work(&self, producer: &TransactionalProducer) -> Result<(), Failure> {
        while let Some(job) = self.next() {
            let carried = self.carry(producer, job).await?;
            self.carried.lock().unwrap_or_else(PoisonError::into_inner).push(carried);
        }
        Ok(())
    }

    async fn carry(&self, producer: &TransactionalProducer, job: Job) -> Result<Carried, Failure> {
        let (sender, mut portions) = mpsc::channel(COPY_STEPS_AHEAD);
        let reading = tokio::spawn(read(Arc::clone(&self.sides), job.clone(), sender));
        let mut at = job.clone();
        let (mut records, mut bytes) = (0, 0);
        while let Some(portion) = portions.recv().await {
            let (passed, size) = (portion.next - at.from, portion.bytes as u64);
            records += portion.records.len() as u64;
            bytes += size;
            at.from = portion.next;
            at.target_next = self.put(producer, &at, portion).await?;
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.add(u64::try_from(passed).unwrap_or(0), size, &at.at.to_string());
        }
        reading.await.map_err(|e| Failure::failed("the copy has stopped").why(e))??;
        let end = self.sides.source.offset(&job.at.topic, job.at.partition, Offset::Latest).await;
        let end = end.map_err(|error| failed(format!("{} has no end", job.at), &error))?;
        Ok(Carried { since: end - job.end, job, records, bytes })
    }

    /// One transaction. Returns the target's offset after the last record.
    async fn put(
        &self,
        producer: &TransactionalProducer,
        job: &Job,
        portion: Portion,
    ) -> Result<i64, Failure> {
        let notes = &self.sides.notes;
        let unwritten = |error: Error| {
            again(failed(format!("{} cannot be written at the target", job.at), &error), &error)
        };
        let source = (portion.first, portion.next);
        let offsets = portion.records.iter().map(|record| record.offset - portion.first);
        let runs: Runs = offsets.collect();
        let records: Vec<SentRecord> = portion.records.into_iter().map(to_sent).collect();
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let mut transaction = producer.begin().await.map_err(unwritten)?;
        let mut first = job.target_next;
        if !records.is_empty() {
            let positions = transaction.append(records).await.map_err(unwritten)?;
            first = positions[0].offset;
            let stray = (first..).zip(&positions).find(|(wanted, is)| *wanted != is.offset);
            // Of this transaction nothing can be seen yet; of those that were given up, nothing ever.
            let before = match first > job.target_next + 1 {
                true => tail(&self.sides, &job.at, job.target_next).await?,
                false => Tail::End(first),
            };
            let before = match before {
                Tail::Record(offset) => Some(offset),
                Tail::End(_) => None,
            };
            if let Some(offset) = before.or(stray.map(|(offset, _)| offset)) {
                transaction.abort().await.map_err(unwritten)?;
                return Err(foreign(job, offset));
            }
        }
        let noted = Noted {
            topic: job.at.topic.clone(),
            partition: job.at.partition,
            source,
            target: (first, first + count),
            runs,
        };
        let note = Note::Step(noted).to_record(&notes.topic);
        transaction.append(vec![note]).await.map_err(unwritten)?;
        transaction.commit().await.map_err(unwritten)?;
        Ok(first + count)
    }
}

/// Reads a partition in portions, up to the job's end.
async fn read(sides: Arc<Sides>, job: Job, portions: Sender<Portion>) -> Result<(), Failure> {
    let mut next = job.from;
    let mut portion = Portion::from(next);
    while next < job.end {
        let at = &job.at;
        let read = within(&sides.source, &at.topic, at.partition, next, limit()).await?;
        for record in read.records {
            if record.offset >= job.end {
                break;
            }
            if !portion.takes(&record) {
                let offset = record.offset;
                let full = std::mem::replace(&mut portion, Portion::from(offset));
                // Who writes has failed, and says why.
                let Ok(()) = portions.send(full.up_to(offset)).await else { return Ok(()) };
            }
            portion.push(record);
        }
        next = read.next.min(job.end);
    }
    if next > portion.first {
        // The same as above.
        let (Ok(()) | Err(_)) = portions.send(portion.up_to(next)).await;
    }
    Ok(())
}

impl Portion {
    fn from(offset: i64) -> Self {
        Self { first: offset, next: offset, records: Vec::new(), bytes: 0 }
    }

    fn up_to(mut self, next: i64) -> Self {
        self.next = next;
        self
    }

    fn takes(&self, record: &Record) -> bool {
        let fits = self.bytes + size_of(record) <= COPY_STEP_BYTES;
        self.records.is_empty() || (fits && self.records.len() < COPY_STEP_RECORDS_MAX)
    }

    fn push(&mut self, record: Record) {
        self.bytes += size_of(&record);
        self.records.push(record);
    }
}

fn to_sent(record: Record) -> SentRecord {
    SentRecord {
        topic: record.topic.to_string(),
        partition: Some(record.partition),
        key: record.key,
        value: record.value,
        headers: record.headers,
        timestamp: Some(record.timestamp),
    }
}

/// The bytes that a producer gave.
pub(super) fn size_of(record: &Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|header| header.name.len() + length(&header.value));
    record.payload_bytes() + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_bounded_in_bytes_and_records_and_takes_a_large_record_alone() {
        let record = |bytes: usize| Record {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp: 1,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Vec::new(),
        };
        let mut portion = Portion::from(0);
        assert!(portion.takes(&record(2 * COPY_STEP_BYTES)));
        portion.push(record(2 * COPY_STEP_BYTES));
        assert!(!portion.takes(&record(0)));
        let mut portion = Portion::from(0);
        portion.push(record(1));
        assert!(portion.takes(&record(COPY_STEP_BYTES - 1)));
        assert!(!portion.takes(&record(COPY_STEP_BYTES)));
        for _ in 1..COPY_STEP_RECORDS_MAX {
            assert!(portion.takes(&record(0)));
            portion.push(record(0));
        }
        assert!(!portion.takes(&record(0)));
    }
}
