//! Requests whose answer needs segments: read on another thread, then answered.
//!
//! A request becomes one job whatever number of partitions it reads. What it reads stays readable
//! even if its segments are removed meanwhile.

use tidings_log::{ColdRead, ColdSearch, Fault, LogId, ReadRefused, TimedOffset};

use bytes::Bytes;

use crate::broker::{Broker, Completion, Now, Ticket};
use crate::fetch::{Filling, reply_of};
use crate::{Fetched, ListedOffset, Reply};

/// One read or search, to do or done.
#[derive(Debug)]
pub(crate) enum Cold {
    Read(ColdRead),
    Search(ColdSearch),
    /// Being read ahead.
    Ahead(LogId),
    Batches(Result<Vec<Bytes>, ReadRefused>),
    Located(Result<Option<TimedOffset>, Fault>),
    /// While it is being run.
    Running,
}

impl Cold {
    pub(crate) fn run(&mut self) {
        *self = match std::mem::replace(self, Self::Running) {
            Self::Read(read) => Self::Batches(read.run()),
            Self::Search(search) => Self::Located(search.run()),
            done => done,
        };
    }
}

/// The answers that are there, and which of them are still to be filled.
#[derive(Debug)]
pub(crate) enum ColdAnswers {
    Fetch { session: Option<i32>, answers: Vec<Fetched>, missing: Vec<(Filling, Cold)> },
    ListOffsets { answers: Vec<ListedOffset>, missing: Vec<(usize, Cold)> },
}

#[derive(Debug)]
pub(crate) struct ColdRequest {
    pub(crate) ticket: Ticket,
    pub(crate) answers: ColdAnswers,
}

impl ColdRequest {
    /// What it may read, unless a single batch is larger.
    pub(crate) fn bytes_max(&self) -> usize {
        match &self.answers {
            ColdAnswers::Fetch { missing, .. } => missing.iter().map(|(f, _)| f.bytes_max()).sum(),
            ColdAnswers::ListOffsets { .. } => 0,
        }
    }

    pub(crate) fn run(&mut self) {
        match &mut self.answers {
            ColdAnswers::Fetch { missing, .. } => missing.iter_mut().for_each(|(_, c)| c.run()),
            ColdAnswers::ListOffsets { missing, .. } => {
                missing.iter_mut().for_each(|(_, cold)| cold.run());
            }
        }
    }
}

impl Broker {
    /// Answers a request whose reads have been done.
    pub(crate) fn answer_cold(&mut self, now: Now, done: ColdRequest) {
        let reply = match done.answers {
            ColdAnswers::Fetch { session, mut answers, missing } => {
                for (filling, cold) in missing {
                    let Cold::Batches(batches) = cold else {
                        unreachable!("a read that was run has its batches");
                    };
                    if let Ok(batches) = &batches {
                        self.read_on(now, filling.asked, filling.isolation, batches);
                    }
                    self.fill_fetched(&mut answers, &filling, batches);
                }
                reply_of(session, answers)
            }
            ColdAnswers::ListOffsets { mut answers, missing } => {
                for (index, cold) in missing {
                    let Cold::Located(located) = cold else {
                        unreachable!("a search that was run has its answer");
                    };
                    let ListedOffset { topic, partition, outcome } = &mut answers[index];
                    *outcome = self.located(topic, *partition, located);
                }
                Reply::ListOffsets(answers)
            }
        };
        self.completions.push_back(Completion { ticket: done.ticket, reply });
    }
}
