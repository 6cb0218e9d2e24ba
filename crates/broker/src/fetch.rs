//! Fetch: whole batches below the high watermark, and the wait for them.
//!
//! Invariants: nothing is served that is not on disk; an answer holds at least one batch when there
//! is one to be had, even above the limits; a fetch with an error in it is answered at once. What
//! memory has is served from there without a copy; a fetch that needs segments is answered with
//! what they have as soon as they have been read, whatever it wanted at least.
//! At most [`limits::WAITING_FETCHES_MAX`] fetches wait for data, and at most
//! [`limits::READS_OUT_MAX`] read segments at once. A fetch of a session is looked at by
//! [`crate::session_fetch`], which knows what of it may have changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidings_log::{FaultKind, LogId, PartitionLog, ReadRefused, Reading};

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::cold::{Cold, ColdAnswers, ColdRequest};
use crate::read_ahead::{Asked, end_of};
use crate::{
    Fetch, FetchPartition, FetchRefused, Fetched, FetchedData, Isolation, Reply, SessionFetched,
    TopicName, limits,
};

/// The id that says so.
pub(crate) const NO_SESSION: i32 = 0;

/// Fetches that wait for data.
#[derive(Debug, Default)]
pub(crate) struct WaitingFetches {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    by_log: BTreeMap<LogId, BTreeSet<u64>>,
    by_deadline: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    /// Of a session: its limits alone.
    pub(crate) request: Fetch,
    /// The session that it is of; 0: it was asked for as one of a session, and there is none.
    pub(crate) session: Option<i32>,
    pub(crate) deadline_ms: u64,
    /// Bytes appended to the logs it reads at which there may be enough for it.
    pub(crate) enough_at_bytes: u64,
}

impl Waiting {
    pub(crate) fn in_session(&self) -> Option<i32> {
        self.session.filter(|id| *id != NO_SESSION)
    }
}

impl WaitingFetches {
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= limits::WAITING_FETCHES_MAX
    }

    /// Lets a fetch wait for any of these logs; returns what it is known by.
    pub(crate) fn insert(&mut self, logs: impl Iterator<Item = LogId>, fetch: Waiting) -> u64 {
        let id = self.next;
        self.next += 1;
        for log in logs {
            self.by_log.entry(log).or_default().insert(id);
        }
        self.by_deadline.insert((fetch.deadline_ms, id));
        self.waiting.insert(id, fetch);
        id
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Waiting> {
        self.waiting.get(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Waiting> {
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
#[derive(Default)]
pub(crate) struct Look {
    pub(crate) answers: Vec<Fetched>,
    /// What is to be read from segments first.
    missing: Vec<(Filling, Cold)>,
    pub(crate) bytes: usize,
    pub(crate) refused: bool,
    /// A size limit kept something back that may be read: waiting brings no more.
    full: bool,
}

impl Look {
    pub(crate) fn is_enough(&self, min_bytes: usize) -> bool {
        self.bytes >= min_bytes || self.refused || self.full || !self.missing.is_empty()
    }

    /// Takes the answer of a partition.
    pub(crate) fn push(&mut self, part: &FetchPartition, seen: Seen) {
        let (topic, partition) = (part.topic.clone(), part.partition);
        self.answers.push(Fetched { topic, partition, outcome: seen.outcome });
    }
}

/// One partition as a look saw it.
pub(crate) struct Seen {
    pub(crate) outcome: Result<FetchedData, FetchRefused>,
    pub(crate) news: News,
}

/// What a partition has for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Batches, in the outcome or to be read from segments.
    Batches,
    /// Batches that a limit keeps back, or something that is wrong.
    Later,
    /// Nothing past the offset wanted.
    None,
}

/// How an answer is completed by what is read from segments.
#[derive(Debug)]
pub(crate) struct Filling {
    answer: usize,
    pub(crate) asked: Asked,
    /// The first batch counts even when it exceeds the limit.
    at_least_one: bool,
    pub(crate) isolation: Isolation,
}

impl Filling {
    pub(crate) fn bytes_max(&self) -> usize {
        self.asked.max_bytes
    }
}

impl Broker {
    pub(crate) fn fetch(&mut self, now: Now, ticket: Ticket, request: Fetch) {
        self.fetch_whole(now, ticket, None, request);
    }

    /// All partitions of the request, in no session: none, or 0.
    pub(crate) fn fetch_whole(
        &mut self,
        now: Now,
        ticket: Ticket,
        session: Option<i32>,
        request: Fetch,
    ) {
        let look = self.look(&request);
        let enough = look.is_enough(request.min_bytes) || request.max_wait_ms == 0;
        if enough || request.partitions.is_empty() || self.fetches.is_full() {
            return self.answer_fetch(now, ticket, session, look);
        }
        let missing = request.min_bytes.saturating_sub(look.bytes) as u64;
        let logs = self.logs_of(&request);
        let fetch = Waiting {
            ticket,
            session,
            deadline_ms: deadline_ms(now, &request),
            enough_at_bytes: if self.size_tells(&request, &logs) {
                self.appended_to(&logs).saturating_add(missing)
            } else {
                0
            },
            request,
        };
        self.fetches.insert(logs.into_iter(), fetch);
    }

    /// Answers with what is there, once what is in segments has been read.
    pub(crate) fn answer_fetch(
        &mut self,
        now: Now,
        ticket: Ticket,
        session: Option<i32>,
        look: Look,
    ) {
        let Look { answers, missing, .. } = look;
        if missing.is_empty() {
            self.completions.push_back(Completion { ticket, reply: reply_of(session, answers) });
        } else {
            let answers = ColdAnswers::Fetch { session, answers, missing };
            self.read_or_answer(now, ColdRequest { ticket, answers });
        }
    }

    fn logs_of(&self, request: &Fetch) -> BTreeSet<LogId> {
        let parts = request.partitions.iter();
        parts.filter_map(|part| self.find_log(&part.topic, part.partition).ok()).collect()
    }

    /// The log of a partition.
    pub(crate) fn find_log(
        &self,
        topic: &TopicName,
        partition: i32,
    ) -> Result<LogId, FetchRefused> {
        match (self.catalog.find(topic), topic) {
            (Some(topic), _) => topic.log(partition).ok_or(FetchRefused::UnknownPartition),
            (None, TopicName::Name(_)) => Err(FetchRefused::UnknownPartition),
            (None, TopicName::Id(_)) => Err(FetchRefused::UnknownId),
        }
    }

    fn appended_to(&self, logs: &BTreeSet<LogId>) -> u64 {
        let held = logs.iter().filter_map(|log| self.logs.get(*log));
        held.map(|partition| partition.appended_bytes).sum()
    }

    /// Whether what is appended tells how much more may be read: all there is may be read now, and no
    /// size limit ends an answer before it has enough.
    fn size_tells(&self, request: &Fetch, logs: &BTreeSet<LogId>) -> bool {
        let mut held = logs.iter().filter_map(|id| Some((*id, self.logs.log(*id)?)));
        let all_shown = held.all(|(id, log)| {
            self.logs.readable_until(id, log, request.isolation) == log.end_offset()
        });
        let most = request.max_bytes.min(limits::FETCH_BYTES_MAX);
        let mut limits = request.partitions.iter().map(|part| part.max_bytes);
        all_shown && request.min_bytes <= most && limits.all(|limit| request.min_bytes <= limit)
    }

    /// What these logs show has changed: answers the fetches that now have enough.
    pub(crate) fn wake_fetches(&mut self, now: Now, changed: &[LogId]) {
        for id in self.sessions.moved(changed) {
            self.look_again_in_session(now, id);
        }
        for id in self.fetches.of(changed) {
            let Some(waiting) = self.fetches.waiting.get(&id) else { continue };
            let logs = self.logs_of(&waiting.request);
            let gone = changed.iter().any(|log| self.logs.get(*log).is_none());
            // Appended bytes may not be durable yet, so this only saves looks that are too early.
            let unready = !gone
                && waiting.request.min_bytes > 1
                && self.appended_to(&logs) < waiting.enough_at_bytes
                && waiting.deadline_ms > now.mono_ms;
            if unready {
                continue;
            }
            let look = self.look(&waiting.request);
            if look.is_enough(waiting.request.min_bytes) {
                self.finish_fetch(now, id, logs.iter().chain(changed).copied(), look);
            }
        }
    }

    /// Answers every fetch whose wait is over with what there is.
    pub(crate) fn expire_fetches(&mut self, now: Now) {
        while let Some(id) = self.fetches.due(now.mono_ms) {
            let waiting = &self.fetches.waiting[&id];
            if waiting.in_session().is_some() {
                self.finish_in_session(now, id);
                continue;
            }
            let (look, logs) = (self.look(&waiting.request), self.logs_of(&waiting.request));
            self.finish_fetch(now, id, logs.into_iter(), look);
        }
    }

    fn finish_fetch(&mut self, now: Now, id: u64, logs: impl Iterator<Item = LogId>, look: Look) {
        self.fetches.forget(logs, id);
        if let Some(fetch) = self.fetches.remove(id) {
            self.answer_fetch(now, fetch.ticket, fetch.session, look);
        }
    }

    fn look(&self, request: &Fetch) -> Look {
        let answers = Vec::with_capacity(request.partitions.len());
        let mut look = Look { answers, ..Look::default() };
        for part in &request.partitions {
            let found = self.find_log(&part.topic, part.partition);
            let seen = self.look_at(part, found, request, &mut look);
            look.push(part, seen);
        }
        look
    }

    /// One partition: what memory has of it goes into the outcome, what segments have into
    /// `look.missing`, for the answer that is pushed next. The first batch of an answer is returned
    /// even when it exceeds the limits.
    pub(crate) fn look_at(
        &self,
        part: &FetchPartition,
        found: Result<LogId, FetchRefused>,
        request: &Fetch,
        look: &mut Look,
    ) -> Seen {
        let most = request.max_bytes.min(limits::FETCH_BYTES_MAX);
        let max_bytes = most.saturating_sub(look.bytes).min(part.max_bytes);
        let read = found.and_then(|id| self.read_part(id, part, request, max_bytes, look));
        match read {
            Ok((data, news)) => {
                look.refused |= data.diverging.is_some();
                Seen { outcome: Ok(data), news }
            }
            Err(refused) => {
                look.refused = true;
                Seen { outcome: Err(refused), news: News::Later }
            }
        }
    }

    fn read_part(
        &self,
        id: LogId,
        part: &FetchPartition,
        request: &Fetch,
        max_bytes: usize,
        look: &mut Look,
    ) -> Result<(FetchedData, News), FetchRefused> {
        let log = self.logs.readable(id).map_err(FetchRefused::Storage)?;
        self.logs.check_epoch(id, part.current_leader_epoch)?;
        let mut data = self.describe_log(id, log);
        let (first, end) = (log.start_offset(), log.end_offset());
        let (wanted, next) = (part.offset, data.high_watermark);
        let out_of_range = Err(FetchRefused::OutOfRange { wanted, first, next });
        if wanted < first {
            return out_of_range;
        }
        if let Some(epoch) = part.last_fetched_epoch {
            let Some(parted) = self.logs.epoch_end(id, log, epoch) else { return out_of_range };
            // What is not on disk yet is past the high watermark, and not another history.
            let current = epoch == self.logs.leader_epoch(id);
            let known = if current { end } else { parted.end_offset };
            if parted.epoch < epoch || known < wanted {
                data.diverging = Some(parted);
                return Ok((data, News::Later));
            }
        }
        if wanted > end {
            return out_of_range;
        }
        let until = self.logs.readable_until(id, log, request.isolation);
        let at_least_one = look.bytes == 0;
        if wanted >= until {
            return Ok((data, News::None));
        }
        if max_bytes == 0 && !at_least_one {
            look.full = true;
            return Ok((data, News::Later));
        }
        match self.logs.store.read(id, wanted, until, max_bytes).map_err(read_refusal)? {
            Reading::Cold(read) => {
                let asked = Asked { log: id, from: wanted, until, max_bytes };
                let (answer, isolation) = (look.answers.len(), request.isolation);
                let filling = Filling { answer, asked, at_least_one, isolation };
                look.missing.push((filling, self.ahead.find(asked, read)));
                // What it will come to is not known; later partitions leave it all its room.
                look.bytes += max_bytes.max(1);
            }
            Reading::Ready(batches) => {
                take_batches(&mut data, batches, max_bytes, at_least_one);
                look.bytes += data.bytes();
                look.full |= look.bytes < request.min_bytes
                    && end_of(&data.batches).unwrap_or(wanted) < until;
                add_aborted(&mut data, log, wanted, request.isolation);
                if data.batches.is_empty() {
                    return Ok((data, News::Later));
                }
            }
        }
        Ok((data, News::Batches))
    }

    fn describe_log(&self, id: LogId, log: &PartitionLog) -> FetchedData {
        FetchedData {
            high_watermark: self.logs.high_watermark(id, log),
            last_stable_offset: self.logs.last_stable_offset(id, log),
            log_start_offset: log.start_offset(),
            batches: Vec::new(),
            aborted: Vec::new(),
            diverging: None,
        }
    }

    /// Completes an answer with what was read from segments.
    pub(crate) fn fill_fetched(
        &self,
        answers: &mut [Fetched],
        filling: &Filling,
        batches: Result<Vec<Bytes>, ReadRefused>,
    ) {
        let Fetched { topic, partition, outcome } = &mut answers[filling.answer];
        let filled = batches.map_err(read_refusal).and_then(|batches| {
            let log = self.logs.readable(self.find_log(topic, *partition)?);
            let log = log.map_err(FetchRefused::Storage)?;
            let mut data = outcome.clone()?;
            take_batches(&mut data, batches, filling.asked.max_bytes, filling.at_least_one);
            add_aborted(&mut data, log, filling.asked.from, filling.isolation);
            Ok(data)
        });
        *outcome = filled;
    }
}

/// The answer to a fetch, of a session if it is of one.
pub(crate) fn reply_of(session: Option<i32>, partitions: Vec<Fetched>) -> Reply {
    match session {
        None => Reply::Fetch(partitions),
        Some(session_id) => Reply::FetchInSession(Ok(SessionFetched { session_id, partitions })),
    }
}

pub(crate) fn deadline_ms(now: Now, request: &Fetch) -> u64 {
    now.mono_ms + u64::from(request.max_wait_ms.min(limits::FETCH_WAIT_MAX_MS))
}

/// Takes what was read, unless it is a single batch beyond the limit that nobody must be given.
fn take_batches(data: &mut FetchedData, batches: Vec<Bytes>, max_bytes: usize, at_least_one: bool) {
    let bytes: usize = batches.iter().map(Bytes::len).sum();
    if at_least_one || bytes <= max_bytes {
        data.batches = batches;
    }
}

/// Tells a reader of committed records which of those it gets belong to aborted transactions.
fn add_aborted(data: &mut FetchedData, log: &PartitionLog, from: i64, isolation: Isolation) {
    if isolation == Isolation::Committed
        && let Some(next) = end_of(&data.batches)
    {
        data.aborted = log.aborted(from, next);
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
