//! Workers that read one topic and write another in transactions, with their positions among them; and
//! the check of what came of it.
//!
//! Each worker has a partition of the input and a transactional id. It takes some records, writes
//! [`COPIES`] outputs of each into different partitions, sends the position behind them and commits; now and
//! then it aborts, or stands still with its transaction open while a successor takes its id. An output names
//! the transaction that wrote it and the input that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tidings_compat::eventually;

use crate::dice::Dice;
use crate::load::{PATIENCE, client, create};

const PARTITIONS: i32 = 3;
/// Outputs of each input, each in another partition.
const COPIES: i32 = 2;
/// Inputs of one transaction.
const BATCH_MAX: u64 = 20;
/// Of so many transactions one is aborted, and one is left open.
const ABORTED_ONE_IN: u64 = 8;
const LEFT_OPEN_ONE_IN: u64 = 20;
/// For one call of a worker, which is repeated as long as it may be: a server that is gone is
/// noticed soon.
const CALL: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const COMMITTED: &str = "read_committed";
const ALL: &str = "read_uncommitted";

/// Configures an output that loses records in a crash, to show that the check sees it.
pub(crate) const IN_MEMORY: [(&str, &str); 1] = [("tidings.durability", "memory")];

type Producer = ThreadedProducer<DefaultProducerContext>;

/// A worker, which is a partition of the input, and a number.
type Transaction = (i32, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Committed,
    Aborted,
}

#[derive(Clone, Debug)]
struct Moved {
    inputs: Range<i64>,
    /// What the worker was told; none when it never learned what became of it.
    told: Option<End>,
}

type Facts = BTreeMap<Transaction, Moved>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Output {
    worker: i32,
    number: u64,
    input: i64,
    copy: i32,
}

impl Output {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split(' ');
        let output = Self {
            worker: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
            input: words.next()?.parse().ok()?,
            copy: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(output)
    }

    fn value(&self) -> String {
        format!("{} {} {} {}", self.worker, self.number, self.input, self.copy)
    }

    fn partition(&self) -> i32 {
        (i32::try_from(self.input).expect("few inputs") + self.copy) % PARTITIONS
    }

    fn of(worker: i32, number: u64, inputs: &Range<i64>) -> impl Iterator<Item = Self> + use<> {
        let copies = move |input| (0..COPIES).map(move |copy| Self { worker, number, input, copy });
        inputs.clone().flat_map(copies)
    }
}

/// The two topics, and what has been moved between them.
pub(crate) struct Pipeline {
    input: String,
    output: String,
    /// In each partition.
    inputs: i64,
    facts: Arc<Mutex<Facts>>,
}

impl Pipeline {
    /// Makes the topics, the output with these configurations, and fills the input.
    pub(crate) fn new(
        kafka: &str,
        name: &str,
        output_configs: &[(&str, &str)],
        inputs: i64,
    ) -> Self {
        let (input, output) = (format!("{name}-input"), format!("{name}-output"));
        create(kafka, &input, PARTITIONS, &[]);
        create(kafka, &output, PARTITIONS, output_configs);
        let producer: Producer =
            client(kafka).set("enable.idempotence", "true").create().expect("a producer");
        for number in 0..inputs {
            for partition in 0..PARTITIONS {
                let value = number.to_string();
                let record = BaseRecord::<(), str>::to(&input).partition(partition).payload(&value);
                producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
            }
        }
        producer.flush(PATIENCE).expect("the input is written");
        Self { input, output, inputs, facts: Arc::default() }
    }

    /// Sets a worker on each partition of the input, from the committed positions on.
    pub(crate) fn work(&self, kafka: &str, dice: &mut Dice) -> Workers {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |partition| {
            let worker = Worker {
                kafka: kafka.to_owned(),
                input: self.input.clone(),
                output: self.output.clone(),
                partition,
                inputs: self.inputs,
                facts: Arc::clone(&self.facts),
                stop: Arc::clone(&stop),
                dice: Dice::seeded(dice.below(u64::MAX)),
            };
            thread::spawn(move || worker.run())
        };
        let threads = (0..PARTITIONS).map(thread).collect();
        Workers { threads, stop }
    }

    /// Ends the transactions of workers that are gone, as a successor of each would: what they left open
    /// keeps readers from what is committed behind it.
    pub(crate) fn end_what_is_open(&self, kafka: &str) {
        for partition in 0..PARTITIONS {
            let successor = producer(kafka, &self.input, partition);
            successor.init_transactions(PATIENCE).expect("a successor takes over");
        }
    }

    /// How many inputs there are in all.
    pub(crate) fn all(&self) -> u64 {
        self.inputs.unsigned_abs() * u64::from(PARTITIONS.unsigned_abs())
    }

    /// How many inputs are in transactions that workers were told are committed.
    pub(crate) fn moved_now(&self) -> u64 {
        let facts = self.facts.lock().expect("no worker panics with the lock");
        let committed = facts.values().filter(|moved| moved.told == Some(End::Committed));
        committed.map(|moved| (moved.inputs.end - moved.inputs.start).unsigned_abs()).sum()
    }

    /// Waits until so many inputs have been moved; false when that takes too long.
    pub(crate) fn moved(&self, at_least: u64) -> bool {
        eventually(PATIENCE, || (self.moved_now() >= at_least).then_some(())).is_some()
    }

    /// How many transactions were told to be committed, aborted, and of how many nobody knows.
    pub(crate) fn transactions(&self) -> [usize; 3] {
        let facts = self.facts.lock().expect("no worker panics with the lock");
        let count = |told| facts.values().filter(|moved| moved.told == told).count();
        [count(Some(End::Committed)), count(Some(End::Aborted)), count(None)]
    }

    fn facts_now(&self) -> Facts {
        self.facts.lock().expect("no worker panics with the lock").clone()
    }

    /// What is wrong while nothing is open: a transaction that was said to be committed is there and
    /// whole, one that was said to be aborted is not, no input is there twice, and positions and outputs
    /// agree.
    pub(crate) fn violations_so_far(&self, kafka: &str) -> Vec<String> {
        let facts = self.facts_now();
        let before = self.positions(kafka);
        let there = read(kafka, &self.output, COMMITTED);
        let after = self.positions(kafka);
        let mut violations = self.violations_in(&facts, &there);
        let mut of_worker: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        for output in &there {
            of_worker.entry(output.worker).or_default().insert(output.input);
        }
        for partition in 0..PARTITIONS {
            let moved = of_worker.remove(&partition).unwrap_or_default();
            let (first, last) = (before[&partition], after[&partition]);
            let missing = (0..first).find(|input| !moved.contains(input));
            if let Some(input) = missing {
                violations.push(format!(
                    "the position in {partition} is {first}, and input {input} is not moved"
                ));
            }
            if let Some(input) = moved.last().filter(|input| **input >= last) {
                violations.push(format!(
                    "input {input} of {partition} is moved, and its position is {last}"
                ));
            }
        }
        violations
    }

    fn violations_in(&self, facts: &Facts, there: &[Output]) -> Vec<String> {
        let mut violations = Vec::new();
        let mut seen = BTreeSet::new();
        let mut by_input = BTreeSet::new();
        for output in there {
            let Output { worker, number, input, copy } = *output;
            seen.insert(*output);
            if !by_input.insert((worker, input, copy)) {
                violations.push(format!("input {input} of {worker} is moved twice"));
            }
            let told = facts.get(&(worker, number)).and_then(|moved| moved.told);
            if told == Some(End::Aborted) {
                violations.push(format!("{output:?} is visible and was aborted"));
            }
        }
        for ((worker, number), moved) in facts {
            let missing =
                Output::of(*worker, *number, &moved.inputs).find(|one| !seen.contains(one));
            if let (Some(missing), Some(End::Committed)) = (missing, moved.told) {
                violations.push(format!("{missing:?} was committed and is not there"));
            }
        }
        violations
    }

    /// What is wrong when all inputs have been moved and nobody is at work.
    pub(crate) fn violations(&self, kafka: &str) -> Vec<String> {
        let mut violations = self.violations_so_far(kafka);
        let facts = self.facts_now();
        let there: BTreeSet<Output> = read(kafka, &self.output, COMMITTED).into_iter().collect();
        for ((worker, number), moved) in &facts {
            let all = (moved.inputs.end - moved.inputs.start) * i64::from(COPIES);
            let seen = Output::of(*worker, *number, &moved.inputs);
            let seen = seen.filter(|output| there.contains(output)).count() as i64;
            if seen != 0 && seen != all {
                violations.push(format!("{seen} of {all} outputs of {worker} {number} are there"));
            }
        }
        let moved: BTreeSet<(i32, i64, i32)> =
            there.iter().map(|output| (output.worker, output.input, output.copy)).collect();
        let wanted = self.all() * u64::from(COPIES.unsigned_abs());
        if moved.len() as u64 != wanted {
            violations.push(format!("{} outputs are there, and not {wanted}", moved.len()));
        }
        let of_the_end = vec![self.inputs; PARTITIONS as usize];
        let positions: Vec<i64> = self.positions(kafka).into_values().collect();
        if positions != of_the_end {
            violations.push(format!("the positions are {positions:?}"));
        }
        let (stable, end) = (ends(kafka, &self.output, COMMITTED), ends(kafka, &self.output, ALL));
        if stable != end {
            violations.push(format!("a transaction hangs: stable to {stable:?} of {end:?}"));
        }
        let written: BTreeSet<Output> = read(kafka, &self.output, ALL).into_iter().collect();
        if let Some(output) = there.difference(&written).next() {
            violations.push(format!("{output:?} is there only for readers of what is committed"));
        }
        violations
    }

    /// The committed position of each worker.
    fn positions(&self, kafka: &str) -> BTreeMap<i32, i64> {
        let consumer = consumer(kafka, &self.input, COMMITTED);
        let place = |partition| {
            let known = || position(&consumer, &self.input, partition).ok();
            (partition, eventually(PATIENCE, known).expect("a position"))
        };
        (0..PARTITIONS).map(place).collect()
    }
}

/// Workers at work.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Workers {
    /// Waits until everything has been moved.
    pub(crate) fn finish(self) {
        for thread in self.threads {
            thread.join().expect("a worker ends well");
        }
    }

    /// Lets them end where they are: their server is gone. librdkafka can wait without end for a group's
    /// coordinator to commit positions to; a worker that does so is left to it.
    pub(crate) fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
        let all_ended = || self.threads.iter().all(JoinHandle::is_finished).then_some(());
        let _some_wait_on = eventually(2 * CALL, all_ended);
        for thread in self.threads.into_iter().filter(JoinHandle::is_finished) {
            thread.join().expect("a worker ends well");
        }
    }
}

struct Worker {
    kafka: String,
    input: String,
    output: String,
    partition: i32,
    inputs: i64,
    facts: Arc<Mutex<Facts>>,
    stop: Arc<AtomicBool>,
    dice: Dice,
}

/// The producer of the worker of this partition of the input.
fn producer(kafka: &str, input: &str, partition: i32) -> Producer {
    let mut config = client(kafka);
    config.set("transactional.id", format!("{input}-{partition}"));
    config.set("linger.ms", "1").create().expect("a producer")
}

/// How a producer's life ends.
enum Life {
    Done,
    /// Its producer may not go on.
    Broken,
    /// It stands still, and this transaction of it is open.
    Still(Transaction),
}

impl Worker {
    fn run(mut self) {
        let consumer = consumer(&self.kafka, &self.input, COMMITTED);
        let mut still: Option<(Producer, Transaction)> = None;
        while !self.is_stopped() {
            let producer = producer(&self.kafka, &self.input, self.partition);
            if self.until_it_is_known(|| producer.init_transactions(CALL)).is_err() {
                continue;
            }
            if let Some((old, transaction)) = still.take() {
                self.told(transaction, End::Aborted);
                let outcome = old.commit_transaction(CALL);
                assert!(outcome.is_err(), "{transaction:?} was committed after it was fenced");
            }
            match self.live(&consumer, &producer) {
                Life::Done => return,
                Life::Broken => {}
                Life::Still(transaction) => still = Some((producer, transaction)),
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Repeats a call while nothing is known of its outcome.
    fn until_it_is_known(&self, call: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
        loop {
            match call() {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    if self.is_stopped() {
                        return Err(KafkaError::Transaction(error));
                    }
                }
                known => return known,
            }
        }
    }

    fn live(&mut self, consumer: &BaseConsumer, producer: &Producer) -> Life {
        let Some(mut next) = self.position(consumer) else { return Life::Done };
        let mut assigned = None;
        while !self.is_stopped() && next < self.inputs {
            if assigned != Some(next) {
                self.assign(consumer, next);
            }
            let most = 1 + self.dice.below(BATCH_MAX) as i64;
            let until = self.read(consumer, next..(next + most).min(self.inputs));
            assigned = Some(until);
            if until == next {
                continue;
            }
            match self.transact(consumer, producer, next..until) {
                Ok(End::Committed) => next = until,
                Ok(End::Aborted) => {}
                Err(life) => return life,
            }
        }
        Life::Done
    }

    /// Where it goes on; none when it has been stopped.
    fn position(&self, consumer: &BaseConsumer) -> Option<i64> {
        let known =
            eventually(PATIENCE, || match position(consumer, &self.input, self.partition) {
                Ok(position) => Some(Some(position)),
                Err(_) if self.is_stopped() => Some(None),
                Err(_) => None,
            });
        known.expect("a position")
    }

    fn assign(&self, consumer: &BaseConsumer, next: i64) {
        let place = place(&self.input, self.partition, Offset::Offset(next));
        consumer.assign(&place).expect("assigned");
    }

    /// Reads what it gets of `wanted`; returns the position behind it.
    fn read(&self, consumer: &BaseConsumer, wanted: Range<i64>) -> i64 {
        let mut next = wanted.start;
        while next < wanted.end && !self.is_stopped() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    assert_eq!(message.offset(), next, "{} is read in order", self.input);
                    next += 1;
                }
                // Nothing yet, or the server is away: the client asks again.
                Some(Err(_)) | None => break,
            }
        }
        next
    }

    /// One transaction, from its beginning to its end.
    fn transact(
        &mut self,
        consumer: &BaseConsumer,
        producer: &Producer,
        inputs: Range<i64>,
    ) -> Result<End, Life> {
        let transaction = self.begin(inputs.clone());
        let (leaves, aborts) =
            (self.dice.below(LEFT_OPEN_ONE_IN) == 0, self.dice.below(ABORTED_ONE_IN) == 0);
        let written = self.write(consumer, producer, transaction, inputs);
        if leaves || aborts {
            // So that the log has them, if the server is there.
            let _unknown = producer.flush(CALL);
        }
        let ended = match written {
            Ok(()) if leaves => return Err(Life::Still(transaction)),
            Ok(()) if !aborts => self.until_it_is_known(|| producer.commit_transaction(CALL)),
            Ok(()) => {
                return self.abort(producer, transaction);
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {
                self.told(transaction, End::Committed);
                Ok(End::Committed)
            }
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                self.abort(producer, transaction)
            }
            Err(_) => Err(Life::Broken),
        }
    }

    fn write(
        &self,
        consumer: &BaseConsumer,
        producer: &Producer,
        (worker, number): Transaction,
        inputs: Range<i64>,
    ) -> KafkaResult<()> {
        producer.begin_transaction()?;
        for output in Output::of(worker, number, &inputs) {
            let value = output.value();
            let record = BaseRecord::<(), str>::to(&self.output).partition(output.partition());
            producer.send(record.payload(&value)).map_err(|(error, _)| error)?;
        }
        let metadata = consumer.group_metadata().expect("a group");
        let position = place(&self.input, self.partition, Offset::Offset(inputs.end));
        self.until_it_is_known(|| producer.send_offsets_to_transaction(&position, &metadata, CALL))
    }

    fn abort(&self, producer: &Producer, transaction: Transaction) -> Result<End, Life> {
        match self.until_it_is_known(|| producer.abort_transaction(CALL)) {
            Ok(()) => {
                self.told(transaction, End::Aborted);
                Ok(End::Aborted)
            }
            Err(_) => Err(Life::Broken),
        }
    }

    fn begin(&self, inputs: Range<i64>) -> Transaction {
        let mut facts = self.facts.lock().expect("no worker panics with the lock");
        let own = (self.partition, 0)..(self.partition + 1, 0);
        let last = facts.range(own).next_back().map_or(0, |((_, number), _)| *number);
        let transaction = (self.partition, last + 1);
        facts.insert(transaction, Moved { inputs, told: None });
        transaction
    }

    fn told(&self, transaction: Transaction, end: End) {
        let mut facts = self.facts.lock().expect("no worker panics with the lock");
        facts.get_mut(&transaction).expect("it has begun").told = Some(end);
    }
}

fn place(topic: &str, partition: i32, offset: Offset) -> TopicPartitionList {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, offset).expect("an offset");
    place
}

fn consumer(kafka: &str, group: &str, isolation: &str) -> BaseConsumer {
    let mut config: ClientConfig = client(kafka);
    config.set("group.id", group).set("isolation.level", isolation);
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true").create().expect("a consumer")
}

/// The position that the group of the input has committed in a partition of it.
fn position(consumer: &BaseConsumer, input: &str, partition: i32) -> KafkaResult<i64> {
    let asked = place(input, partition, Offset::Invalid);
    let found = consumer.committed_offsets(asked, CALL)?;
    let found = &found.elements()[0];
    found.error()?;
    Ok(found.offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(0))
}

/// Where each partition ends for these readers.
fn ends(kafka: &str, topic: &str, isolation: &str) -> Vec<i64> {
    let consumer = consumer(kafka, "not-joined", isolation);
    let end = |partition| {
        let listed = eventually(PATIENCE, || {
            consumer.offsets_for_times(place(topic, partition, Offset::End), CALL).ok()
        });
        listed.expect("offsets").elements()[0].offset().to_raw().expect("an offset")
    };
    (0..PARTITIONS).map(end).collect()
}

/// What these readers see of a topic up to its end.
fn read(kafka: &str, topic: &str, isolation: &str) -> Vec<Output> {
    let consumer = consumer(kafka, "not-joined", isolation);
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    let mut seen = Vec::new();
    let mut ended = BTreeSet::new();
    let complete = eventually(PATIENCE, || {
        while let Some(polled) = consumer.poll(POLL) {
            match polled {
                Ok(message) => {
                    let value = message.payload().and_then(|value| str::from_utf8(value).ok());
                    let output = value.and_then(Output::parse).expect("an output");
                    assert_eq!(message.partition(), output.partition(), "{output:?} is elsewhere");
                    seen.push(output);
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                // The server was away: the client asks again.
                Err(_) => {}
            }
            if ended.len() == PARTITIONS as usize {
                return Some(());
            }
        }
        None
    });
    assert!(complete.is_some(), "only {} outputs of {topic} came", seen.len());
    seen
}
