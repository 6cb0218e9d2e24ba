//! Fetches of a session: the partitions that may have news are looked at, those that have are
//! answered.
//!
//! 1. The request changes the session ([`crate::fetch_sessions`]) or begins one; whoever waited in it
//!    is answered that it is outdated.
//! 2. Partitions that may have news are looked at in turn. What has none is passed over from then on.
//! 3. With enough, or without time, the answer says what is new, and the session that it was said.
//!    Otherwise the fetch waits; a log that moves makes news, and 2 is done again.
//!
//! A partition is in an answer when it has records or is refused, when its high watermark or start
//! offset are not those that the client was told, and in a session's first answer.

use tidings_log::LogId;

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::fetch::{Look, NO_SESSION, News, Seen, Waiting, deadline_ms};
use crate::fetch_sessions::{Ended, Slot, Told};
use crate::{
    Fetch, FetchInSession, FetchPartition, FetchRefused, FetchSessionRefused, Reply, SessionStep,
    TopicId, TopicName,
};

/// A look at the news of a session.
struct SessionLook {
    look: Look,
    told: Vec<(Slot, Told)>,
    quiet: Vec<(Slot, Told)>,
}

impl Broker {
    pub(crate) fn fetch_in_session(&mut self, now: Now, ticket: Ticket, request: FetchInSession) {
        let FetchInSession { step, by_id, mut fetch, forgotten } = request;
        match step {
            SessionStep::End { ends } => {
                self.end_session(ends);
                self.fetch_whole(now, ticket, Some(NO_SESSION), fetch);
            }
            SessionStep::Begin { ends } => {
                self.end_session(ends);
                match self.begin_session(now, by_id, &mut fetch) {
                    Some(id) => self.fetch_next(now, ticket, id, fetch),
                    None => self.fetch_whole(now, ticket, Some(NO_SESSION), fetch),
                }
            }
            SessionStep::Next { id, epoch } => {
                let changed = std::mem::take(&mut fetch.partitions);
                let at = (id, epoch);
                let resumed = self.sessions.resume(now.mono_ms, at, by_id, changed, &forgotten);
                match resumed {
                    Err(refused) => self.refuse_in_session(ticket, refused),
                    Ok(resumed) => {
                        let outdated =
                            FetchSessionRefused::WrongEpoch { expected: epoch, got: epoch - 1 };
                        self.refuse_waiting(resumed.outdated, outdated);
                        if resumed.ended {
                            self.fetch_whole(now, ticket, Some(NO_SESSION), fetch);
                        } else {
                            self.fetch_next(now, ticket, id, fetch);
                        }
                    }
                }
            }
        }
    }

    /// A session of the fetch's partitions; none when there is no room.
    fn begin_session(&mut self, now: Now, by_id: bool, fetch: &mut Fetch) -> Option<i32> {
        let id = self.fresh_session_id();
        let mut evicted = None;
        let parts = fetch.partitions.clone();
        let began = self.sessions.begin(now.mono_ms, id, by_id, parts, &mut evicted);
        self.refuse_ended(evicted);
        began.then(|| fetch.partitions.clear())?;
        Some(id)
    }

    fn fresh_session_id(&mut self) -> i32 {
        loop {
            let [a, b, c, d, ..] = self.random.bytes();
            let id = i32::from_be_bytes([a, b, c, d]) & i32::MAX;
            if id != NO_SESSION && self.sessions.get(id).is_none() {
                return id;
            }
        }
    }

    fn end_session(&mut self, id: i32) {
        let ended = self.sessions.end(id);
        self.refuse_ended(ended);
    }

    fn refuse_ended(&mut self, ended: Option<Ended>) {
        if let Some(Ended { id, waiting }) = ended {
            self.refuse_waiting(waiting, FetchSessionRefused::NotFound(id));
        }
    }

    fn refuse_waiting(&mut self, waiting: Option<u64>, refused: FetchSessionRefused) {
        if let Some(waiting) = waiting.and_then(|id| self.fetches.remove(id)) {
            self.refuse_in_session(waiting.ticket, refused);
        }
    }

    fn refuse_in_session(&mut self, ticket: Ticket, refused: FetchSessionRefused) {
        let reply = Reply::FetchInSession(Err(refused));
        self.completions.push_back(Completion { ticket, reply });
    }

    /// The news of a session; `fetch` has the limits.
    fn fetch_next(&mut self, now: Now, ticket: Ticket, id: i32, fetch: Fetch) {
        let seen = self.look_in_session(id, &fetch);
        let enough = seen.look.is_enough(fetch.min_bytes) || fetch.max_wait_ms == 0;
        if enough || self.fetches.is_full() {
            return self.answer_in_session(now, ticket, id, seen);
        }
        self.sessions.tell(id, &seen.quiet);
        let deadline_ms = deadline_ms(now, &fetch);
        let waiting =
            Waiting { ticket, request: fetch, session: Some(id), deadline_ms, enough_at_bytes: 0 };
        let waiting = self.fetches.insert(std::iter::empty(), waiting);
        self.sessions.set_waiting(id, Some(waiting));
    }

    /// A log that a waiting fetch reads has moved.
    pub(crate) fn look_again_in_session(&mut self, now: Now, waiting: u64) {
        let Some((id, limits)) = self.waiting_in_session(waiting) else { return };
        let seen = self.look_in_session(id, &limits);
        if seen.look.is_enough(limits.min_bytes) {
            self.finish_looked(now, waiting, id, seen);
        } else {
            self.sessions.tell(id, &seen.quiet);
        }
    }

    /// The wait of a session's fetch is over.
    pub(crate) fn finish_in_session(&mut self, now: Now, waiting: u64) {
        let Some((id, limits)) = self.waiting_in_session(waiting) else { return };
        let seen = self.look_in_session(id, &limits);
        self.finish_looked(now, waiting, id, seen);
    }

    /// The session of a waiting fetch, and its limits.
    fn waiting_in_session(&self, waiting: u64) -> Option<(i32, Fetch)> {
        let fetch = self.fetches.get(waiting)?;
        Some((fetch.in_session()?, fetch.request.clone()))
    }

    fn finish_looked(&mut self, now: Now, waiting: u64, id: i32, seen: SessionLook) {
        self.sessions.set_waiting(id, None);
        if let Some(fetch) = self.fetches.remove(waiting) {
            self.answer_in_session(now, fetch.ticket, id, seen);
        }
    }

    fn answer_in_session(&mut self, now: Now, ticket: Ticket, id: i32, seen: SessionLook) {
        self.sessions.tell(id, &seen.quiet);
        self.sessions.tell(id, &seen.told);
        self.answer_fetch(now, ticket, Some(id), seen.look);
    }

    fn look_in_session(&mut self, id: i32, limits: &Fetch) -> SessionLook {
        self.find_logs_in_session(id);
        let mut seen = SessionLook { look: Look::default(), told: Vec::new(), quiet: Vec::new() };
        let Some(session) = self.sessions.get(id) else { return seen };
        for (slot, part) in session.news() {
            let found = part
                .log
                .ok_or_else(|| self.not_found(&part.wanted, |topic| session.name_of(topic)));
            let at = self.look_at(&part.wanted, found, limits, &mut seen.look);
            match told_of(&at, part.told) {
                Told::Nothing if at.news == News::None => seen.quiet.push((slot, Told::Nothing)),
                // What a limit kept back is looked at again.
                Told::Nothing => {}
                told => {
                    seen.told.push((slot, told));
                    seen.look.push(&part.wanted, at);
                }
            }
        }
        seen
    }

    /// Looks for the logs of partitions that have none, or whose log is gone.
    fn find_logs_in_session(&mut self, id: i32) {
        let Some(session) = self.sessions.get(id) else { return };
        let lost = |log: Option<LogId>| log.is_none_or(|log| self.logs.get(log).is_none());
        let found: Vec<(Slot, Option<LogId>, Option<String>)> = session
            .news()
            .filter(|(_, part)| lost(part.log))
            .map(|(slot, part)| {
                let FetchPartition { topic, partition, .. } = &part.wanted;
                let known = self.catalog.find(topic);
                let log = known.and_then(|topic| topic.log(*partition));
                (slot, log, known.map(|topic| topic.name.clone()))
            })
            .collect();
        for (slot, log, name) in found {
            self.sessions.found(id, slot, log, name.as_deref());
        }
    }

    /// Why a session's partition has no log.
    fn not_found<'a>(
        &self,
        wanted: &FetchPartition,
        name_of: impl Fn(&TopicId) -> Option<&'a str>,
    ) -> FetchRefused {
        match &wanted.topic {
            TopicName::Id(id) if !self.catalog.has_id(id) => {
                let again = name_of(id).is_some_and(|name| self.catalog.topic(name).is_some());
                if again { FetchRefused::InconsistentId } else { FetchRefused::UnknownId }
            }
            _ => FetchRefused::UnknownPartition,
        }
    }
}

/// What to tell of a partition whose client knows these offsets.
fn told_of(seen: &Seen, known: Option<(i64, i64)>) -> Told {
    let Ok(data) = &seen.outcome else { return Told::Wrong };
    if data.diverging.is_some() {
        return Told::Wrong;
    }
    let offsets = (data.high_watermark, data.log_start_offset);
    match seen.news {
        News::Batches => Told::Records { offsets },
        news if known != Some(offsets) => Told::Offsets { offsets, more: news == News::Later },
        _ => Told::Nothing,
    }
}
