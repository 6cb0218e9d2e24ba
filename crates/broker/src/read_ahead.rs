//! Reading ahead for readers that go through segments from batch to batch.
//!
//! A reader that catches up asks for the next batches when it has taken the last ones: disk and
//! network would wait for each other in turn. So when a read of segments begins where the last one of
//! its log ended, the one after it is begun at once, and kept for whoever asks for it.
//!
//! Invariants: there is at most one read ahead per log; what has been read is kept for at most
//! [`limits::AHEAD_KEPT_MS`], and with what is being read takes at most [`limits::AHEAD_BYTES_MAX`];
//! when reads that somebody waits for have no room, it goes first. A reader is given of it only what
//! it may see and has room for. Several readers at different places of a log get in each other's way
//! here and are none the worse for it than without.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_log::{BatchHeader, ColdRead, LogId, ReadRefused, Reading};

use crate::broker::{Broker, Now};
use crate::cold::{Cold, ColdAnswers, ColdRequest};
use crate::{Isolation, limits};

/// What is known of the reader of a log.
#[derive(Debug)]
struct Place {
    /// Where its last read ended, and what is read ahead begins.
    next: i64,
    /// The reads of the place were bounded so: bytes, and the offset that they stay below.
    max_bytes: usize,
    until: i64,
    state: State,
    since_ms: u64,
}

#[derive(Debug)]
enum State {
    /// One read has been; a second one that goes on from it makes it worth while.
    Seen,
    Reading,
    Read(Vec<Bytes>),
}

impl Place {
    /// What it takes of memory, or may.
    fn bytes(&self) -> usize {
        match &self.state {
            State::Seen => 0,
            State::Reading => self.max_bytes,
            State::Read(batches) => batches.iter().map(Bytes::len).sum(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    places: BTreeMap<LogId, Place>,
    bytes: usize,
    /// Requests that wait for what is being read ahead.
    waiting: Vec<ColdRequest>,
}

/// A read that nobody has asked for, to do or done.
#[derive(Debug)]
pub(crate) struct AheadRead {
    log: LogId,
    cold: Cold,
}

impl AheadRead {
    pub(crate) fn run(&mut self) {
        self.cold.run();
    }
}

/// A read of segments as a fetch asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) log: LogId,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) max_bytes: usize,
}

impl ReadAhead {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What has been read ahead for such a read, or the name of the read under way; `read` itself when
    /// there is none that serves.
    pub(crate) fn find(&self, asked: Asked, read: ColdRead) -> Cold {
        let place = self.places.get(&asked.log).filter(|place| {
            let bounded = place.max_bytes <= asked.max_bytes && place.until <= asked.until;
            place.next == asked.from && bounded
        });
        match place.map(|place| &place.state) {
            Some(State::Read(batches)) => Cold::Batches(Ok(batches.clone())),
            Some(State::Reading) => Cold::Ahead(asked.log),
            Some(State::Seen) | None => Cold::Read(read),
        }
    }

    /// Lets a request wait until all that it needs has been read ahead.
    pub(crate) fn wait(&mut self, request: ColdRequest) {
        self.waiting.push(request);
    }

    /// Takes in what was read; returns the requests that wait for nothing else here.
    fn take(
        &mut self,
        now_ms: u64,
        log: LogId,
        outcome: &Result<Vec<Bytes>, ReadRefused>,
    ) -> Vec<ColdRequest> {
        for request in &mut self.waiting {
            request.fill(log, outcome);
        }
        if let Ok(batches) = outcome
            && let Some(place) = self.places.get_mut(&log)
        {
            self.bytes -= place.bytes();
            place.state = State::Read(batches.clone());
            place.since_ms = now_ms;
            self.bytes += place.bytes();
        } else {
            self.forget(log);
        }
        self.waiting.extract_if(.., |request| !request.waits_for_ahead()).collect()
    }

    fn forget(&mut self, log: LogId) {
        self.bytes -= self.places.remove(&log).map_or(0, |place| place.bytes());
    }

    /// Lets go of what nobody has asked for in time.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.drop_those(|place| place.since_ms + limits::AHEAD_KEPT_MS <= now_ms);
    }

    /// Lets go of all that has been read.
    pub(crate) fn make_room(&mut self) {
        self.drop_those(|_| true);
    }

    fn drop_those(&mut self, goes: impl Fn(&Place) -> bool) {
        self.places.retain(|_, place| {
            let stays = matches!(place.state, State::Reading) || !goes(place);
            if !stays {
                self.bytes -= place.bytes();
            }
            stays
        });
    }
}

impl Broker {
    /// A read of this log has given these batches: reads on, if its reader goes from batch to batch.
    pub(crate) fn read_on(
        &mut self,
        now: Now,
        read: Asked,
        isolation: Isolation,
        batches: &[Bytes],
    ) {
        let Asked { log, from, max_bytes, .. } = read;
        let Some(next) = end_of(batches) else { return };
        let place = self.ahead.places.get(&log);
        if place.is_some_and(|place| matches!(place.state, State::Reading)) {
            return;
        }
        let goes_on = place.is_some_and(|place| place.next == from);
        self.ahead.forget(log);
        let mut place =
            Place { next, max_bytes, until: next, state: State::Seen, since_ms: now.mono_ms };
        let room = self.jobs.has_room_for(self.ahead.bytes + max_bytes)
            && self.ahead.bytes + max_bytes <= limits::AHEAD_BYTES_MAX;
        if goes_on
            && room
            && let Ok(held) = self.logs.readable(log)
        {
            let until = self.logs.readable_until(log, held, isolation);
            let more = next < until;
            if more
                && let Ok(Reading::Cold(cold)) = self.logs.store.read(log, next, until, max_bytes)
            {
                place.until = until;
                place.state = State::Reading;
                self.jobs.read_ahead(AheadRead { log, cold: Cold::Read(cold) });
            }
        }
        self.ahead.bytes += place.bytes();
        self.ahead.places.insert(log, place);
    }

    /// Takes back a read that was done ahead.
    pub(crate) fn read_ahead_done(&mut self, now: Now, done: AheadRead) {
        let Cold::Batches(outcome) = done.cold else {
            unreachable!("a read that was run has its batches");
        };
        for request in self.ahead.take(now.mono_ms, done.log, &outcome) {
            self.read_or_answer(now, request);
        }
    }

    /// Has what is missing read, unless something of it is being read ahead or nothing is missing any
    /// more.
    pub(crate) fn read_or_answer(&mut self, now: Now, request: ColdRequest) {
        if request.waits_for_ahead() {
            self.ahead.wait(request);
        } else if request.is_done() {
            self.answer_cold(now, request);
        } else {
            self.jobs.read(request);
        }
    }
}

impl ColdRequest {
    fn cold(&self) -> impl Iterator<Item = &Cold> {
        let (of_fetch, of_list): (&[_], &[_]) = match &self.answers {
            ColdAnswers::Fetch { missing, .. } => (missing, &[]),
            ColdAnswers::ListOffsets { missing, .. } => (&[], missing),
        };
        of_fetch.iter().map(|(_, cold)| cold).chain(of_list.iter().map(|(_, cold)| cold))
    }

    fn waits_for_ahead(&self) -> bool {
        self.cold().any(|cold| matches!(cold, Cold::Ahead(_)))
    }

    fn is_done(&self) -> bool {
        self.cold().all(|cold| matches!(cold, Cold::Batches(_) | Cold::Located(_)))
    }

    fn fill(&mut self, log: LogId, outcome: &Result<Vec<Bytes>, ReadRefused>) {
        let ColdAnswers::Fetch { missing, .. } = &mut self.answers else { return };
        for (_, cold) in missing {
            if matches!(cold, Cold::Ahead(ahead) if *ahead == log) {
                *cold = Cold::Batches(outcome.clone());
            }
        }
    }
}

/// The offset after the last batch, if any. What was read has been checked: headers are enough.
pub(crate) fn end_of(batches: &[Bytes]) -> Option<i64> {
    let (mut rest, mut end) = (batches.last()?.as_ref(), None);
    while let Some(header) = BatchHeader::read(rest)
        && let Some(after) = header.total_bytes().and_then(|bytes| rest.get(bytes..))
    {
        end = Some(header.last_offset() + 1);
        rest = after;
    }
    end
}
