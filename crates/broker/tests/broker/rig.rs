//! A broker on a disk in memory, with a clock, writes and jobs that the test decides on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_broker::limits::KeptLimits;
use tidings_broker::log::{Batch, BatchBuilder, MemoryDisk, NewRecord, StoreConfig, split};
use tidings_broker::{
    Acks, Broker, BrokerConfig, Call, CreateTopics, Fetch, FetchPartition, Fetched, GroupRefused,
    Isolation, Job, NewTopic, Now, OpenReport, Produce, ProducePartition, ProduceRefused,
    ProducedAt, Reply, Ticket, TopicCreation, TopicRefused,
};

pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

pub(crate) struct Rig {
    pub(crate) disk: MemoryDisk,
    pub(crate) broker: Broker,
    pub(crate) report: OpenReport,
    /// What the wall clock says after so many milliseconds.
    pub(crate) clock: fn(u64) -> i64,
    now_ms: u64,
    last: u64,
    done: BTreeMap<u64, Reply>,
    /// Tickets in the order of their completion.
    pub(crate) order: Vec<Ticket>,
}

pub(crate) fn config() -> BrokerConfig {
    BrokerConfig {
        kept: KeptLimits::default(),
        node_id: 1,
        brokers: 1,
        default_partitions: 2,
        auto_create_topics: true,
        delete_topics: true,
        disk_reserve_bytes: 1000,
        store: StoreConfig::small(),
        seed: 42,
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(MemoryDisk::with_crash_model())
    }

    pub(crate) fn on(disk: MemoryDisk) -> Self {
        Self::with(disk, config())
    }

    pub(crate) fn with(disk: MemoryDisk, config: BrokerConfig) -> Self {
        let now = Now { wall_ms: WALL_MS, mono_ms: 0 };
        let (broker, report) =
            Broker::open(Arc::new(disk.clone()), config, now).expect("the disk is healthy");
        let (done, order) = (BTreeMap::new(), Vec::new());
        let clock = |mono_ms| WALL_MS + i64::try_from(mono_ms).expect("short tests");
        Self { disk, broker, report, clock, now_ms: 0, last: 0, done, order }
    }

    /// Closes and opens again.
    pub(crate) fn restart(mut self) -> Self {
        self.broker.close().expect("a clean close");
        let disk = self.disk.clone();
        drop(self);
        Self::on(disk)
    }

    pub(crate) fn now(&self) -> Now {
        let mono_ms = self.now_ms;
        Now { wall_ms: (self.clock)(mono_ms), mono_ms }
    }

    pub(crate) fn submit<C: Call>(&mut self, request: C) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.broker.submit(self.now(), ticket, request.into_request());
        self.collect();
        ticket
    }

    fn collect(&mut self) {
        while let Some(completion) = self.broker.poll() {
            self.order.push(completion.ticket);
            let twice = self.done.insert(completion.ticket.0, completion.reply);
            assert!(twice.is_none(), "{:?} was answered twice", completion.ticket);
        }
    }

    /// The answer, when there is one by now.
    pub(crate) fn answer<C: Call>(&mut self, ticket: Ticket) -> Option<C::Reply> {
        let reply = self.done.remove(&ticket.0)?;
        Some(C::from_reply(reply).expect("a reply of the request's own kind"))
    }

    pub(crate) fn is_answered(&self, ticket: Ticket) -> bool {
        self.done.contains_key(&ticket.0)
    }

    /// The member id in a join's answer, given or required.
    pub(crate) fn member_id_in(&self, ticket: Ticket) -> Option<String> {
        match self.done.get(&ticket.0)? {
            Reply::JoinGroup(Ok(joined)) => Some(joined.member_id.clone()),
            Reply::JoinGroup(Err(GroupRefused::MemberIdRequired { member_id })) => {
                Some(member_id.clone())
            }
            _ => None,
        }
    }

    /// Carries out one write of the journal; false when there was none to be done.
    pub(crate) fn sync(&mut self) -> bool {
        let Some(write) = self.broker.next_write() else { return false };
        let outcome = write.run();
        self.broker.write_done(self.now(), write, outcome);
        self.collect();
        true
    }

    /// Carries out one job; false when none is due.
    pub(crate) fn work(&mut self) -> bool {
        let Some(mut job) = self.broker.next_job(self.now()) else { return false };
        job.run();
        self.give_back(job);
        true
    }

    /// Gives back a job that was run.
    pub(crate) fn give_back(&mut self, job: Job) {
        self.broker.job_done(self.now(), job);
        self.collect();
    }

    /// Carries out what there is until nothing is left.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.sync() && !self.work() {
                return;
            }
        }
        panic!("the work does not come to an end");
    }

    /// Asks, and carries out nothing but writes.
    pub(crate) fn call_without_flush<C: Call>(&mut self, request: C) -> C::Reply {
        let ticket = self.submit(request);
        while self.sync() {}
        self.answer::<C>(ticket).expect("answered when everything is in the journal")
    }

    /// Asks, and works until nothing is left to do.
    pub(crate) fn call<C: Call>(&mut self, request: C) -> C::Reply {
        let ticket = self.submit(request);
        self.settle();
        self.answer::<C>(ticket).expect("answered when everything is on disk")
    }

    /// Lets time pass, acting on each timer at its moment.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(next) = self.broker.next_timeout_ms().filter(|next| *next <= until) {
            self.now_ms = self.now_ms.max(next);
            self.broker.tick(self.now());
            self.collect();
        }
        self.now_ms = until;
    }

    // ---- shorter words for what most tests do --------------------------------------------------

    pub(crate) fn create(&mut self, new: NewTopic) -> Result<TopicCreation, TopicRefused> {
        let request = CreateTopics { topics: vec![new], validate_only: false };
        self.call(request).remove(0).outcome
    }

    /// A topic of two partitions.
    pub(crate) fn topic(&mut self, name: &str) -> TopicCreation {
        self.create(NewTopic { name: name.into(), ..NewTopic::default() }).expect("a new topic")
    }

    pub(crate) fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Result<ProducedAt, ProduceRefused> {
        self.call(produce(topic, partition, batch)).remove(0).outcome
    }

    pub(crate) fn fetch_now(&mut self, request: Fetch) -> Vec<Fetched> {
        let ticket = self.submit(Fetch { max_wait_ms: 0, ..request });
        while !self.is_answered(ticket) && self.work() {}
        self.answer::<Fetch>(ticket).expect("answered when segments have been read")
    }

    /// The values of all records from `offset` on.
    pub(crate) fn values(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<String> {
        let (mut values, mut next) = (Vec::new(), offset);
        loop {
            let fetched = self.fetch_now(fetch(topic, partition, next)).remove(0);
            let data = fetched.outcome.expect("readable");
            let last = data.batches.iter().cloned().flat_map(split).last();
            values.extend(values_of(data.batches, next));
            // One fetch gives what segments have or what memory has.
            match last {
                Some(last) => next = last.expect("whole batches").last_offset() + 1,
                None => return values,
            }
        }
    }
}

pub(crate) fn values_of(batches: Vec<Bytes>, from: i64) -> Vec<String> {
    let mut values = Vec::new();
    for batch in batches.into_iter().flat_map(split) {
        for record in batch.expect("whole batches").records().expect("decodable") {
            if record.offset >= from {
                let value = record.value.expect("tests write values");
                values.push(String::from_utf8(value.to_vec()).expect("tests write text"));
            }
        }
    }
    values
}

pub(crate) fn builder(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(&NewRecord {
            timestamp: WALL_MS,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..NewRecord::default()
        });
    }
    builder
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    builder(values).build().bytes().clone()
}

/// The batch of an idempotent producer.
pub(crate) fn sequenced(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let built: Batch = builder(values).producer(id, epoch, sequence).build();
    built.bytes().clone()
}

pub(crate) fn produce(topic: &str, partition: i32, batch: Bytes) -> Produce {
    Produce {
        acks: Acks::Durable,
        transaction: None,
        zstd_allowed: true,
        partitions: vec![ProducePartition { topic: topic.into(), partition, batch }],
    }
}

/// Waits for a byte, at most a second.
pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> Fetch {
    Fetch {
        isolation: Isolation::Uncommitted,
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        partitions: vec![FetchPartition {
            topic: topic.into(),
            partition,
            offset,
            max_bytes: 1 << 20,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        }],
    }
}
