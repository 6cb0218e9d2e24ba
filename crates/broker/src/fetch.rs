//! Fetch: whole batches below the high watermark, and the wait for them.
//!
//! Invariants: nothing is served that is not on disk; an answer holds at least one batch when there
//! is one to be had, even above the limits; a fetch with an error in it is answered at once.
//! At most [`limits::WAITING_FETCHES_MAX`] fetches wait.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidings_log::{CommitLog, FaultKind, ReadRefused, split};

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::catalog::LogId;
use crate::partition::{LEADER_EPOCH, Partition};
use crate::{Fetch, FetchPartition, FetchRefused, Fetched, FetchedData, Reply, limits};

/// Fetches that wait for data.
#[derive(Debug, Default)]
pub(crate) struct WaitingFetches {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    by_log: BTreeMap<LogId, BTreeSet<u64>>,
    by_deadline: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    request: Fetch,
    deadline_ms: u64,
    /// Size of the logs it reads at which there may be enough for it.
    enough_at_bytes: u64,
}

impl WaitingFetches {
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= limits::WAITING_FETCHES_MAX
    }

    fn insert(&mut self, logs: impl Iterator<Item = LogId>, fetch: Waiting) {
        let id = self.next;
        self.next += 1;
        for log in logs {
            self.by_log.entry(log).or_default().insert(id);
        }
        self.by_deadline.insert((fetch.deadline_ms, id));
        self.waiting.insert(id, fetch);
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let fetch = self.waiting.remove(&id)?;
        self.by_deadline.remove(&(fetch.deadline_ms, id));
        Some(fetch)
    }

    fn due(&self, now_ms: u64) -> Option<u64> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, id)| *id)
    }

    /// The fetches that read any of these logs.
    fn of(&self, logs: &[LogId]) -> BTreeSet<u64> {
        logs.iter().filter_map(|log| self.by_log.get(log)).flatten().copied().collect()
    }

    fn forget(&mut self, logs: impl Iterator<Item = LogId>, id: u64) {
        for log in logs {
            if let Some(ids) = self.by_log.get_mut(&log) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_log.remove(&log);
                }
            }
        }
    }
}

/// What one look at the partitions gave.
struct Look {
    answers: Vec<Fetched>,
    bytes: usize,
    refused: bool,
    /// A size limit kept something back that may be read: waiting brings no more.
    full: bool,
}

impl Look {
    fn is_enough(&self, min_bytes: usize) -> bool {
        self.bytes >= min_bytes || self.refused || self.full
    }
}

impl Broker {
    pub(crate) fn fetch(&mut self, now: Now, ticket: Ticket, request: Fetch) {
        let look = self.look(&request);
        let enough = look.is_enough(request.min_bytes) || request.max_wait_ms == 0;
        if enough || request.partitions.is_empty() || self.fetches.is_full() {
            return self.answer_fetch(ticket, look);
        }
        let wait_ms = u64::from(request.max_wait_ms.min(limits::FETCH_WAIT_MAX_MS));
        let missing = request.min_bytes.saturating_sub(look.bytes) as u64;
        let logs = self.logs_of(&request);
        let fetch = Waiting {
            ticket,
            deadline_ms: now.mono_ms + wait_ms,
            enough_at_bytes: if self.size_tells(&request, &logs) {
                self.size_of(&logs).saturating_add(missing)
            } else {
                0
            },
            request,
        };
        self.fetches.insert(logs.into_iter(), fetch);
    }

    fn answer_fetch(&mut self, ticket: Ticket, look: Look) {
        self.completions.push_back(Completion { ticket, reply: Reply::Fetch(look.answers) });
    }

    fn logs_of(&self, request: &Fetch) -> BTreeSet<LogId> {
        let parts = request.partitions.iter();
        parts.filter_map(|part| self.catalog.log(&part.topic, part.partition)).collect()
    }

    fn size_of(&self, logs: &BTreeSet<LogId>) -> u64 {
        let held = logs.iter().filter_map(|log| self.logs.get(*log)?.log.as_ref().ok());
        held.map(CommitLog::size_bytes).sum()
    }

    /// Whether the logs' sizes tell how much more may be read: all they hold may be read now, and no
    /// size limit ends an answer before it has enough.
    fn size_tells(&self, request: &Fetch, logs: &BTreeSet<LogId>) -> bool {
        let catalog_durable = self.logs.durable(LogId::CATALOG);
        let mut held = logs.iter().filter_map(|log| self.logs.get(*log));
        let all_shown = held.all(|partition| {
            let log = partition.log.as_ref();
            log.is_ok_and(|l| partition.high_watermark(l, catalog_durable) == l.end_offset())
        });
        let most = request.max_bytes.min(limits::FETCH_BYTES_MAX);
        let mut limits = request.partitions.iter().map(|part| part.max_bytes);
        all_shown && request.min_bytes <= most && limits.all(|limit| request.min_bytes <= limit)
    }

    /// What these logs show has changed: answers the fetches that now have enough.
    pub(crate) fn wake_fetches(&mut self, now: Now, changed: &[LogId]) {
        for id in self.fetches.of(changed) {
            let Some(waiting) = self.fetches.waiting.get(&id) else { continue };
            let logs = self.logs_of(&waiting.request);
            let gone = changed.iter().any(|log| self.logs.get(*log).is_none());
            // Written bytes may not be durable yet, so this only saves looks that are too early.
            let unready = !gone
                && waiting.request.min_bytes > 1
                && self.size_of(&logs) < waiting.enough_at_bytes
                && waiting.deadline_ms > now.mono_ms;
            if unready {
                continue;
            }
            let look = self.look(&waiting.request);
            if look.is_enough(waiting.request.min_bytes) {
                self.finish_fetch(id, logs.iter().chain(changed).copied(), look);
            }
        }
    }

    /// Answers every fetch whose wait is over with what there is.
    pub(crate) fn expire_fetches(&mut self, now: Now) {
        while let Some(id) = self.fetches.due(now.mono_ms) {
            let request = &self.fetches.waiting[&id].request;
            let (look, logs) = (self.look(request), self.logs_of(request));
            self.finish_fetch(id, logs.into_iter(), look);
        }
    }

    fn finish_fetch(&mut self, id: u64, logs: impl Iterator<Item = LogId>, look: Look) {
        self.fetches.forget(logs, id);
        if let Some(fetch) = self.fetches.remove(id) {
            self.answer_fetch(fetch.ticket, look);
        }
    }

    fn look(&self, request: &Fetch) -> Look {
        let mut look = Look { answers: Vec::new(), bytes: 0, refused: false, full: false };
        let most = request.max_bytes.min(limits::FETCH_BYTES_MAX);
        for part in &request.partitions {
            let room = most.saturating_sub(look.bytes);
            let outcome = self.read(part, room.min(part.max_bytes), look.bytes == 0);
            match &outcome {
                Ok(data) => {
                    look.bytes += data.batches.len();
                    look.full |= look.bytes < request.min_bytes
                        && end_of(data).unwrap_or(part.offset) < data.high_watermark;
                }
                Err(_) => look.refused = true,
            }
            let (topic, partition) = (part.topic.clone(), part.partition);
            look.answers.push(Fetched { topic, partition, outcome });
        }
        look
    }

    /// Batches of one partition; with `at_least_one`, the first even when it exceeds `max_bytes`.
    fn read(
        &self,
        part: &FetchPartition,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<FetchedData, FetchRefused> {
        let partition = self.partition_for_read(&part.topic, part.partition)?;
        check_epoch(part.current_leader_epoch)?;
        let log = partition.readable().map_err(FetchRefused::Storage)?;
        let high_watermark = partition.high_watermark(log, self.logs.durable(LogId::CATALOG));
        let (first, end) = (log.start_offset(), log.end_offset());
        if part.offset < first || part.offset > end {
            let (wanted, next) = (part.offset, high_watermark);
            return Err(FetchRefused::OutOfRange { wanted, first, next });
        }
        let mut batches = Bytes::new();
        if part.offset < high_watermark && (max_bytes > 0 || at_least_one) {
            batches = log.read(part.offset, high_watermark, max_bytes).map_err(read_refusal)?;
            if batches.len() > max_bytes && !at_least_one {
                batches = Bytes::new();
            }
        }
        Ok(FetchedData { high_watermark, log_start_offset: first, batches })
    }

    pub(crate) fn partition_for_read(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<&Partition, FetchRefused> {
        let log = self.catalog.log(topic, partition).ok_or(FetchRefused::UnknownPartition)?;
        self.logs.get(log).ok_or(FetchRefused::UnknownPartition)
    }
}

/// The offset after the last batch read, if any.
fn end_of(data: &FetchedData) -> Option<i64> {
    let last = split(data.batches.clone()).last()?.ok()?;
    Some(last.last_offset() + 1)
}

/// Whether the client's idea of the leader's epoch is the present one; -1 and nothing are no idea.
pub(crate) fn check_epoch(said: Option<i32>) -> Result<(), FetchRefused> {
    let current = LEADER_EPOCH;
    match said {
        Some(got) if got > current => Err(FetchRefused::UnknownEpoch { got, current }),
        Some(got) if (0..current).contains(&got) => Err(FetchRefused::FencedEpoch { got, current }),
        _ => Ok(()),
    }
}

pub(crate) fn read_refusal(refused: ReadRefused) -> FetchRefused {
    match refused {
        ReadRefused::OutOfRange { wanted, first, next } => {
            FetchRefused::OutOfRange { wanted, first, next }
        }
        ReadRefused::Fault(fault) => match fault.kind {
            FaultKind::Corrupt(_) => FetchRefused::Corrupt(fault.to_string()),
            _ => FetchRefused::Storage(fault.to_string()),
        },
    }
}
