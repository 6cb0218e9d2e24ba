//! Replies that wait for the disk.
//!
//! Invariants: a held reply goes once every log it waits for has reached its mark durably, or has
//! failed; a part of the reply whose log failed carries that failure; replies that become ready
//! together go in the order in which they were held.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::{Completion, Ticket};
use tidings_log::LogId;

use crate::{
    DeleteRecordsRefused, FeaturesRefused, GroupRefused, GroupTrouble, MarkerRefused,
    ProduceRefused, QuotaRefused, ReassignRefused, Reply, TopicRefused, TransactionRefused,
};

/// Which of a log's durable offsets is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// The offset after the last durable record.
    End,
    /// The log start offset that a crash cannot take back.
    Start,
}

/// What one part of a reply waits for: `mark` of `log` at `past` or beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) log: LogId,
    pub(crate) mark: Mark,
    pub(crate) past: i64,
    /// Index of the answer within the reply that fails with the log.
    pub(crate) part: usize,
}

/// Offset, held reply, part.
type WaitingPart = (i64, u64, usize);

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    reply: Reply,
    outstanding: usize,
}

#[derive(Debug, Default)]
pub(crate) struct HeldReplies {
    next: u64,
    held: BTreeMap<u64, Held>,
    waiting: BTreeMap<(LogId, Mark), BTreeSet<WaitingPart>>,
    ready: BTreeMap<u64, Completion>,
}

impl HeldReplies {
    /// Holds a reply; one that waits for nothing is ready at once.
    pub(crate) fn hold(&mut self, ticket: Ticket, reply: Reply, waits: &[Wait]) {
        let id = self.next;
        self.next += 1;
        let distinct: BTreeSet<_> =
            waits.iter().map(|w| ((w.log, w.mark), (w.past, id, w.part))).collect();
        for (log_and_mark, waiting) in &distinct {
            self.waiting.entry(*log_and_mark).or_default().insert(*waiting);
        }
        if distinct.is_empty() {
            self.ready.insert(id, Completion { ticket, reply });
        } else {
            self.held.insert(id, Held { ticket, reply, outstanding: distinct.len() });
        }
    }

    /// `mark` of `log` is durably at `durable`.
    pub(crate) fn release(&mut self, log: LogId, mark: Mark, durable: i64) {
        let Some(waiting) = self.waiting.get_mut(&(log, mark)) else { return };
        let rest = waiting.split_off(&(durable + 1, 0, 0));
        let reached = std::mem::replace(waiting, rest);
        if waiting.is_empty() {
            self.waiting.remove(&(log, mark));
        }
        for (_, id, _) in reached {
            self.finish_part(id);
        }
    }

    /// `log` will not become durable: what waits for it is answered with `trouble`.
    pub(crate) fn fail(&mut self, log: LogId, trouble: &str) {
        for mark in [Mark::End, Mark::Start] {
            for (_, id, part) in self.waiting.remove(&(log, mark)).unwrap_or_default() {
                if let Some(held) = self.held.get_mut(&id) {
                    fail_part(&mut held.reply, part, trouble);
                }
                self.finish_part(id);
            }
        }
    }

    /// The logs that replies wait for.
    pub(crate) fn logs(&self) -> BTreeSet<LogId> {
        self.waiting.keys().map(|(log, _)| *log).collect()
    }

    fn finish_part(&mut self, id: u64) {
        let held = self.held.get_mut(&id).expect("a waiting part belongs to a held reply");
        held.outstanding -= 1;
        if held.outstanding == 0 {
            let Held { ticket, reply, .. } = self.held.remove(&id).expect("found above");
            self.ready.insert(id, Completion { ticket, reply });
        }
    }

    /// The next reply to go.
    pub(crate) fn pop_ready(&mut self) -> Option<Completion> {
        self.ready.pop_first().map(|(_, completion)| completion)
    }
}

fn fail_part(reply: &mut Reply, part: usize, trouble: &str) {
    let group = || GroupRefused::Other(GroupTrouble::Storage(trouble.to_owned()));
    let topic = || TopicRefused::Storage(trouble.to_owned());
    let transaction = || TransactionRefused::Storage(trouble.to_owned());
    match reply {
        Reply::Produce(parts) => {
            parts[part].outcome = Err(ProduceRefused::Storage(trouble.to_owned()));
        }
        Reply::CreateTopics(parts) => parts[part].outcome = Err(topic()),
        Reply::DeleteTopics(parts) => parts[part].outcome = Err(topic()),
        Reply::DescribeTopics(parts) => parts[part].topic = Err(topic()),
        Reply::InitProducer(answer) => {
            *answer = Err(ProduceRefused::Storage(trouble.to_owned()));
        }
        Reply::InitTransactions(answer) | Reply::EndTransaction(answer) => {
            *answer = Err(transaction());
        }
        Reply::AddPartitions(parts) => {
            parts.iter_mut().for_each(|part| part.outcome = Err(transaction().into()));
        }
        Reply::AddOffsets(answer) => *answer = Err(transaction()),
        Reply::CommitInTransaction(answer) => *answer = Err(transaction().into()),
        Reply::WriteMarkers(parts) => {
            parts[part].outcome = Err(MarkerRefused::Storage(trouble.to_owned()));
        }
        Reply::JoinGroup(answer) => *answer = Err(group()),
        Reply::SyncGroup(answer) => *answer = Err(group()),
        Reply::ConsumerHeartbeat(answer) => *answer = Err(group()),
        Reply::CommitOffsets(answer) => *answer = Err(group()),
        Reply::FetchOffsets(answer) => *answer = Err(group()),
        Reply::DeleteOffsets(answer) => *answer = Err(group()),
        Reply::DeleteRecords(parts) => {
            parts[part].outcome = Err(DeleteRecordsRefused::Storage(trouble.to_owned()));
        }
        Reply::DeleteGroups(parts) => parts[part].1 = Err(group()),
        Reply::CreatePartitions(parts) => parts[part].outcome = Err(topic()),
        Reply::Reassign(parts) => {
            parts[part].outcome = Err(ReassignRefused::Storage(trouble.to_owned()));
        }
        Reply::UpdateFeatures(answer) => {
            *answer = Err(FeaturesRefused::Storage(trouble.to_owned()));
        }
        Reply::AlterConfigs(parts) => parts[part].1 = Err(topic()),
        Reply::AlterQuotas(parts) => {
            parts[part] = Err(QuotaRefused::Storage(trouble.to_owned()));
        }
        Reply::DescribeConfigs(_)
        | Reply::DescribeQuotas(_)
        | Reply::ConnectionOpened(_)
        | Reply::DescribeFeatures(_)
        | Reply::ListConfigResources(_)
        | Reply::DescribeMetadataLog(_)
        | Reply::Fetch(_)
        | Reply::FetchInSession(_)
        | Reply::ListOffsets(_)
        | Reply::EndsOfEpochs(_)
        | Reply::Heartbeat(_)
        | Reply::LeaveGroup(_)
        | Reply::ListGroups(_)
        | Reply::DescribeConsumerGroups(_)
        | Reply::DescribeTransactions(_)
        | Reply::ListTransactions(_)
        | Reply::DescribeProducers(_)
        | Reply::DescribeGroups(_) => unreachable!("these answers promise nothing to wait for"),
    }
}
