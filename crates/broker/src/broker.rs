//! The broker's main value: what it holds, and the way in and out.
//!
//! 1. [`Broker::submit`] decides at once; answers that promise nothing are ready at once.
//! 2. [`Broker::next_write`] gives the durable writes of the journal; [`Broker::write_done`] takes an
//!    outcome and lets the replies go that waited for it. [`Broker::next_job`] gives what blocks.
//! 3. [`Broker::tick`] acts on timers, which are derived from state and never kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_coordinator::Coordinator;
pub use tidings_coordinator::Now;
use tidings_log::{Disk, Fault, LogId, NewRecord, StoreConfig};

use crate::admission::Admission;
use crate::catalog::{CATALOG, Catalog, CatalogRecord};
use crate::fetch::WaitingFetches;
use crate::fetch_sessions::FetchSessions;
use crate::held::{HeldReplies, Mark, Wait};
use crate::jobs::Jobs;
use crate::limits::KeptLimits;
use crate::partition::Logs;
use crate::producers::ProducerIds;
use crate::quotas::{Buckets, Mutations};
use crate::random::Random;
use crate::read_ahead::ReadAhead;
use crate::topics::{Removal, distinct};
use crate::transactions::Ledger;
use crate::{Reply, Request};

/// Names one submitted request until its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

#[derive(Debug)]
pub struct Completion {
    pub ticket: Ticket,
    pub reply: Reply,
}

/// What the broker is told once.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub node_id: i32,
    /// The brokers that clients are shown, with ids from the node's own on. More than one is an aid
    /// for tests: there is one copy of the data all the same.
    pub brokers: i32,
    pub default_partitions: i32,
    pub auto_create_topics: bool,
    /// Whether clients may delete topics.
    pub delete_topics: bool,
    /// Free bytes that produce must leave, kept for what must still work on a full disk.
    pub disk_reserve_bytes: u64,
    /// How much memory and disk the logs take.
    pub store: StoreConfig,
    /// How much clients may make it keep beside records.
    pub kept: KeptLimits,
    /// Seeds topic, member and cluster ids, so that a run can be repeated.
    pub seed: u64,
}

/// What opening found, for the operator.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Topics of clients, the broker's own left out.
    pub topics: usize,
    /// Partitions of those topics.
    pub partitions: usize,
    /// One line for each partition that was cut, rebuilt or damaged.
    pub findings: Vec<String>,
}

#[derive(Debug)]
pub struct Broker {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: BrokerConfig,
    pub(crate) cluster_id: String,
    pub(crate) random: Random,
    pub(crate) catalog: Catalog,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) quota_buckets: Buckets,
    /// Of the request that is being decided, when its client is charged for the partitions that it
    /// creates and deletes.
    pub(crate) mutations: Option<Mutations>,
    pub(crate) logs: Logs,
    pub(crate) groups: Coordinator,
    /// Why the groups could not be loaded.
    pub(crate) groups_trouble: Option<String>,
    pub(crate) ledger: Ledger,
    pub(crate) held: HeldReplies,
    pub(crate) fetches: WaitingFetches,
    pub(crate) sessions: FetchSessions,
    pub(crate) admission: Admission,
    pub(crate) jobs: Jobs,
    pub(crate) ahead: ReadAhead,
    pub(crate) completions: VecDeque<Completion>,
    /// Partitions whose topic's creation is not on disk.
    pub(crate) unsettled: BTreeSet<LogId>,
    pub(crate) removals: BTreeMap<String, Removal>,
    /// Free bytes of the disk less what is accepted and not yet in segments.
    pub(crate) free_bytes: u64,
    pub(crate) journal_has_failed: bool,
    /// Lines for the operator that nobody has asked for yet.
    pub(crate) damage: VecDeque<String>,
}

impl Broker {
    /// 22 characters of URL-safe base64, made at first start and kept.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Takes a request; its completion comes from [`Broker::poll`], now or later.
    pub fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        self.tell_groups_of_topics();
        match request {
            Request::Produce(request) => self.produce(now, ticket, request),
            Request::Fetch(request) => self.fetch(now, ticket, request),
            Request::FetchInSession(request) => self.fetch_in_session(now, ticket, request),
            Request::DescribeTopics(request) => self.describe_topics(now, ticket, request),
            Request::CreateTopics(request) => self.create_topics(now, ticket, &request),
            Request::AlterQuotas(request) => self.alter_quotas(now, ticket, &request),
            Request::AlterConfigs(request) => self.alter_configs(now, ticket, request),
            Request::DeleteTopics(request) => self.delete_topics(now, ticket, request),
            Request::InitProducer(request) => self.init_producer(now, ticket, &request),
            Request::InitTransactions(request) => self.init_transactions(now, ticket, &request),
            Request::AddPartitions(request) => self.add_partitions(now, ticket, &request),
            Request::AddOffsets(request) => self.add_offsets(now, ticket, &request),
            Request::EndTransaction(request) => self.end_transaction(now, ticket, &request),
            Request::CommitInTransaction(request) => {
                self.commit_in_transaction(now, ticket, &request);
            }
            Request::WriteMarkers(request) => self.write_markers(now, ticket, &request),
            Request::JoinGroup(request) => self.join_group(now, ticket, request),
            Request::ConsumerHeartbeat(request) => self.consumer_heartbeat(now, ticket, request),
            Request::SyncGroup(request) => self.sync_group(now, ticket, request),
            Request::CommitOffsets(request) => self.commit_offsets(now, ticket, &request),
            Request::FetchOffsets(request) => self.fetch_offsets(ticket, &request),
            Request::DeleteOffsets(request) => self.delete_offsets(now, ticket, &request),
            Request::DeleteGroups(request) => self.delete_groups(now, ticket, request),
            Request::ListOffsets(request) => self.list_offsets(ticket, request),
            Request::CreatePartitions(request) => self.create_partitions(now, ticket, request),
            Request::Reassign(request) => self.reassign(now, ticket, request),
            Request::UpdateFeatures(request) => self.update_features(now, ticket, &request),
            Request::EndsOfEpochs(request) => self.ends_of_epochs(ticket, request),
            Request::DeleteRecords(request) => self.delete_records(ticket, request),
            Request::LeaveGroup(request) => {
                let reply = Reply::LeaveGroup(self.groups.leave(now, request));
                self.carry_out_group_effects(now);
                self.answer(ticket, reply, &[]);
            }
            at_once => {
                let reply = self.answer_at_once(now, at_once);
                self.answer(ticket, reply, &[]);
            }
        }
    }

    /// Requests that neither change what is kept nor wait for anything.
    fn answer_at_once(&mut self, now: Now, request: Request) -> Reply {
        match request {
            Request::Heartbeat(request) => Reply::Heartbeat(self.groups.heartbeat(now, &request)),
            Request::DescribeConfigs(request) => {
                Reply::DescribeConfigs(self.describe_configs(request))
            }
            Request::DescribeMetadataLog(_) => {
                Reply::DescribeMetadataLog(self.describe_metadata_log(now))
            }
            Request::DescribeFeatures(_) => Reply::DescribeFeatures(self.describe_features()),
            Request::DescribeQuotas(request) => {
                Reply::DescribeQuotas(self.describe_quotas(&request))
            }
            Request::ConnectionOpened(request) => {
                Reply::ConnectionOpened(self.charge_connection(now, request))
            }
            Request::ListConfigResources(_) => {
                Reply::ListConfigResources(self.list_config_resources())
            }
            Request::ListGroups(request) => Reply::ListGroups(self.groups.list(&request)),
            Request::DescribeGroups(request) => {
                let groups = distinct(request.groups, |group| group);
                let described = groups.iter().map(|group| self.groups.describe(group));
                Reply::DescribeGroups(described.collect())
            }
            Request::DescribeConsumerGroups(request) => {
                Reply::DescribeConsumerGroups(self.describe_consumer_groups(request))
            }
            Request::DescribeTransactions(request) => {
                Reply::DescribeTransactions(self.describe_transactions(request))
            }
            Request::ListTransactions(request) => {
                Reply::ListTransactions(self.list_transactions(now, &request))
            }
            Request::DescribeProducers(request) => {
                Reply::DescribeProducers(self.describe_producers(request))
            }
            other => unreachable!("{} is dispatched by submit", other.name()),
        }
    }

    /// The next finished request, if any.
    pub fn poll(&mut self) -> Option<Completion> {
        self.completions.pop_front().or_else(|| self.held.pop_ready())
    }

    /// When [`Broker::tick`] must be called next, in `Now::mono_ms` terms.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let timers = [
            self.groups.next_timeout_ms(),
            self.ledger.next_timeout_ms(),
            self.fetches.next_deadline_ms(),
            self.admission.next_timeout_ms(),
        ];
        timers.into_iter().flatten().min()
    }

    /// When [`Broker::next_job`] has work that nothing but time makes due.
    pub fn next_job_ms(&self) -> Option<u64> {
        self.logs.store.next_timeout_ms()
    }

    /// Acts on every timer that is due: sessions, rebalances, transactions, waiting fetches and produce requests.
    pub fn tick(&mut self, now: Now) {
        self.tell_groups_of_topics();
        self.groups.tick(now);
        self.carry_out_group_effects(now);
        self.expire_offsets(now);
        self.tick_transactions(now);
        self.expire_fetches(now);
        self.admit(now);
    }

    /// Bytes accepted and not yet in segments.
    pub fn unflushed_bytes(&self) -> u64 {
        self.logs.store.unflushed_bytes()
    }

    /// Closes the store cleanly: everything accepted goes into segments, and the next start finds
    /// nothing to recover. No write and no job may be out.
    pub fn close(&mut self) -> Result<(), Fault> {
        self.logs.store.close()
    }

    /// Answers now, or when every wait is over.
    pub(crate) fn answer(&mut self, ticket: Ticket, reply: Reply, waits: &[Wait]) {
        self.held.hold(ticket, reply, waits);
        for wait in waits {
            // A log that has failed already, or is past the mark (a repeated batch is), will not
            // tell again.
            let tells_no_more = self.logs.log(wait.log).is_some_and(|log| {
                let reached = match wait.mark {
                    Mark::End => log.durable_offset(),
                    Mark::Start => log.durable_start_offset(),
                };
                reached >= wait.past || self.logs.trouble(log).is_some()
            });
            if tells_no_more {
                self.log_advanced(wait.log);
            }
        }
    }

    // ---- the broker's own records --------------------------------------------------------------

    /// Appends records of the broker's own; returns the offset after the last.
    pub(crate) fn append_own(
        &mut self,
        now: Now,
        log: LogId,
        records: &[NewRecord],
    ) -> Result<i64, String> {
        let outcome = self.logs.append_own(log, now.wall_ms, records);
        if outcome.is_err() {
            self.log_advanced(log);
            self.carry_on_removals(now);
        }
        outcome
    }

    pub(crate) fn append_catalog(
        &mut self,
        now: Now,
        record: &CatalogRecord,
    ) -> Result<i64, String> {
        self.append_own(now, CATALOG, &[record.encode(now.wall_ms)])
    }
}
