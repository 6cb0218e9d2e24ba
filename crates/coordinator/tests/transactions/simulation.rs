//! Producers that share transactional ids, a network that repeats, reorders, delays and loses, a
//! coordinator that crashes at any record, driven by a seed. Transactions commit offsets of a group, too;
//! producers come back with the epoch that they had (KIP-360), and some begin when epochs run out.
//!
//! The world keeps one log, as the node does: records of transactions, batches, offsets and markers in the
//! order of their appends. A crash leaves any prefix that has all that was answered; what is left of a
//! decided transaction is carried out when it is loaded.
//!
//! Checked: all batches and offsets of a transaction come to the same end, the one its producer was told, and
//! are visible only if it asked for that;
//! nothing is open when time has run out; a producer that was fenced has no success; a repeated end has the
//! same answer; no marker is older than what it ends; the group has what was committed last; every prefix of
//! the log loads to the state that it was written from.

use std::collections::{BTreeMap, BTreeSet};

use tidings_coordinator::{
    Coordinator, Due, EndDecision, EndTransaction, InitDecision, InitTransactions, Now,
    TransactionEnd, TransactionMarker, TransactionProducer, TransactionRecord, TransactionRefused,
    TransactionVersion, Transactions,
};

use crate::offsets::{commit_at, coordinator, shown_at};

const IDS: [&str; 2] = ["t0", "t1"];
const PARTITIONS: i32 = 3;
/// Stands for the partition with the offsets.
const OFFSETS: i32 = PARTITIONS;
const CLIENTS: usize = 3;
const TIMEOUT_MS: i32 = 60_000;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Record(TransactionRecord),
    Batch {
        partition: i32,
        producer: (i64, i16),
        sequence: u64,
        attempt: u64,
    },
    /// The attempt's number is the offset that it commits in its client's partition.
    Offsets {
        client: usize,
        producer: (i64, i16),
        attempt: u64,
    },
    Marker {
        partition: i32,
        marker: TransactionMarker,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Init {
        expected: Option<(i64, i16)>,
    },
    /// By the first version.
    Add {
        partition: i32,
    },
    Produce {
        partition: i32,
        sequence: u64,
        attempt: u64,
    },
    Offsets {
        attempt: u64,
    },
    End {
        end: TransactionEnd,
        attempt: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Message {
    client: usize,
    /// The client's life that sent it.
    life: u64,
    number: u64,
    producer: (i64, i16),
    ask: Ask,
}

type Answer = Result<(i64, i16), TransactionRefused>;

#[derive(Default)]
struct Client {
    id: &'static str,
    life: u64,
    producer: Option<(i64, i16)>,
    /// What it waits for.
    asked: Option<Message>,
    attempt: u64,
    /// The partitions that were added to it.
    added: BTreeSet<i32>,
    batches_left: u64,
    sent: u64,
}

struct World {
    version: TransactionVersion,
    dice: Dice,
    now: Now,
    log: Vec<Entry>,
    durable: usize,
    held: Transactions,
    groups: Coordinator,
    /// The epoch of a new producer.
    first_epoch: i16,
    next_producer: i64,
    network: Vec<Message>,
    /// Answers that wait until so much of the log is durable.
    answers: Vec<(usize, Message, Answer)>,
    clients: Vec<Client>,
    /// Of each id the identity that a producer was last told when it started.
    told: BTreeMap<&'static str, (i64, i16)>,
    ends: BTreeMap<u64, (TransactionEnd, u64)>,
    /// The attempts that their producers asked to commit.
    commits: BTreeSet<u64>,
    /// Batches of an attempt that were acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    numbers: u64,
}

impl World {
    fn new(seed: u64, version: TransactionVersion) -> Self {
        let client = |index: usize| Client { id: IDS[index % IDS.len()], ..Client::default() };
        Self {
            version,
            dice: Dice(seed),
            now: Now { wall_ms: 1_700_000_000_000, mono_ms: 0 },
            log: Vec::new(),
            durable: 0,
            held: Transactions::new(),
            groups: coordinator(),
            first_epoch: if seed.is_multiple_of(2) { 0 } else { i16::MAX - 12 },
            next_producer: 1,
            network: Vec::new(),
            answers: Vec::new(),
            clients: (0..CLIENTS).map(client).collect(),
            told: BTreeMap::new(),
            ends: BTreeMap::new(),
            commits: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            numbers: 0,
        }
    }

    // ---- the node ------------------------------------------------------------------------------

    fn append(&mut self, record: TransactionRecord) {
        if record.uses(self.next_producer) {
            self.next_producer += 1;
        }
        self.log.push(Entry::Record(record.clone()));
        self.held.apply(self.now, record);
    }

    /// Carries out what is decided; a partition may not take its marker now.
    fn finish(&mut self, id: &str, surely: bool) {
        let Some(closing) = self.held.closing(self.now, id) else { return };
        for partition in closing.partitions.values().flatten() {
            if !surely && self.dice.roll(12) == 0 {
                return;
            }
            let marker = closing.marker;
            self.log.push(Entry::Marker { partition: *partition, marker });
            if *partition == OFFSETS {
                self.groups.end_transaction(self.now, marker.producer_id, marker.end);
            }
        }
        self.append(closing.complete);
    }

    fn finish_all(&mut self, surely: bool) {
        let prepared: Vec<String> = self.held.prepared().map(str::to_owned).collect();
        prepared.iter().for_each(|id| self.finish(id, surely));
    }

    fn handle(&mut self, message: Message) {
        let id = self.clients[message.client].id;
        let answer = match message.ask {
            Ask::Init { expected } => self.init(id, expected),
            Ask::Add { partition } => self.add(id, message.producer, partition),
            Ask::Produce { partition, sequence, attempt } => {
                let producer = message.producer;
                let batch = Entry::Batch { partition, producer, sequence, attempt };
                self.write(id, producer, partition).map(|()| {
                    if !self.log.contains(&batch) {
                        self.log.push(batch);
                    }
                    producer
                })
            }
            Ask::Offsets { attempt } => self.commit_offsets(id, &message, attempt),
            Ask::End { end, .. } => self.end(id, message.producer, end),
        };
        if let (Ok(_), Some(told)) = (&answer, self.told.get(id))
            && !matches!(message.ask, Ask::Init { .. })
        {
            let is_older = message.producer.0 == told.0 && message.producer.1 < told.1;
            assert!(!is_older, "{message:?} had a success although {told:?} was told");
        }
        self.answers.push((self.log.len(), message, answer));
    }

    fn init(&mut self, id: &str, expected: Option<(i64, i16)>) -> Answer {
        let request =
            InitTransactions { transactional_id: id.to_owned(), timeout_ms: TIMEOUT_MS, expected };
        for _ in 0..2 {
            match self.held.decide_init(self.now, &request, self.next_producer, self.version)? {
                InitDecision::AbortFirst(record) => {
                    self.append(record);
                    self.finish(id, false);
                }
                InitDecision::Begin(mut record) => {
                    if self.held.get(id).is_none() {
                        let begins = record.transaction.as_mut().expect("no tombstone");
                        begins.epoch = self.first_epoch;
                    }
                    self.append(record);
                    let begun = self.held.get(id).expect("it has begun");
                    return Ok((begun.producer_id, begun.epoch));
                }
            }
        }
        unreachable!("what is aborted is not ongoing")
    }

    fn add(&mut self, id: &str, producer: (i64, i16), partition: i32) -> Answer {
        let partitions = [("a", partition)].into_iter();
        let speaker = speaker(id, producer);
        let added = self.held.decide_add(self.now, speaker, partitions, self.version)?;
        if let Some(record) = added {
            self.append(record);
        }
        Ok(producer)
    }

    /// Whether the producer may write to a partition, which by the second version is thereby added.
    fn write(
        &mut self,
        id: &str,
        producer: (i64, i16),
        partition: i32,
    ) -> Result<(), TransactionRefused> {
        match self.version {
            TransactionVersion::One => self.held.verify(speaker(id, producer), "a", partition),
            TransactionVersion::Two => self.add(id, producer, partition).map(|_| ()),
        }
    }

    fn commit_offsets(&mut self, id: &str, message: &Message, attempt: u64) -> Answer {
        let (client, producer) = (message.client, message.producer);
        self.write(id, producer, OFFSETS)?;
        self.log.push(Entry::Offsets { client, producer, attempt });
        commit_offsets(&mut self.groups, self.now, (client, producer.0), attempt);
        Ok(producer)
    }

    fn end(&mut self, id: &str, producer: (i64, i16), end: TransactionEnd) -> Answer {
        let request = EndTransaction {
            transactional_id: id.to_owned(),
            producer_id: producer.0,
            epoch: producer.1,
            end,
            version: self.version,
        };
        match self.held.decide_end(self.now, &request, self.next_producer)? {
            EndDecision::Already { producer_id, epoch } => Ok((producer_id, epoch)),
            EndDecision::End(record) => {
                self.append(record);
                let goes_on = self.held.closing(self.now, id).expect("decided").goes_on;
                self.finish(id, false);
                Ok(goes_on)
            }
        }
    }

    fn tick(&mut self) {
        while let Some(due) = self.held.pop_due(self.now, self.version) {
            let (Due::TimedOut(record) | Due::Unused(record)) = due;
            let id = record.transactional_id.clone();
            self.append(record);
            self.finish(&id, false);
        }
        self.finish_all(false);
    }

    /// The log is cut somewhere after what was made durable; the node loads what is left.
    fn crash(&mut self) {
        let lost = self.dice.roll((self.log.len() - self.durable) as u64 + 1);
        self.log.truncate(self.log.len() - lost as usize);
        self.durable = self.log.len();
        self.answers.clear();
        self.load();
        self.durable = self.log.len();
    }

    /// The node opens with what the log has.
    fn load(&mut self) {
        self.held = load(self.now, &self.log);
        self.groups = load_groups(self.now, &self.log);
        self.finish_all(true);
    }

    // ---- the clients ---------------------------------------------------------------------------

    fn act(&mut self, index: usize) {
        let again = self.dice.roll(8) == 0;
        let client = &mut self.clients[index];
        if let Some(message) = client.asked {
            // It gave up waiting and asks again; by the first version no copy may be left behind.
            let alone = !self.network.iter().any(|sent| sent.number == message.number);
            if (self.version == TransactionVersion::Two && again) || alone {
                self.network.push(message);
            }
            return;
        }
        let Some(producer) = client.producer else {
            return self.ask(index, (0, 0), Ask::Init { expected: None });
        };
        if client.attempt == 0 {
            self.numbers += 1;
            client.attempt = self.numbers;
            client.added.clear();
            client.batches_left = 1 + self.dice.roll(4);
        }
        let attempt = client.attempt;
        let ask = if client.batches_left > 0 {
            let partition = (self.dice.roll(PARTITIONS as u64 + 1)) as i32;
            if self.version == TransactionVersion::One && client.added.insert(partition) {
                Ask::Add { partition }
            } else if partition == OFFSETS {
                Ask::Offsets { attempt }
            } else {
                client.sent += 1;
                Ask::Produce { partition, sequence: client.sent, attempt }
            }
        } else {
            let end = match self.dice.roll(3) {
                0 => TransactionEnd::Abort,
                _ => TransactionEnd::Commit,
            };
            if end == TransactionEnd::Commit {
                self.commits.insert(attempt);
            }
            Ask::End { end, attempt }
        };
        self.ask(index, producer, ask);
    }

    fn ask(&mut self, index: usize, producer: (i64, i16), ask: Ask) {
        self.numbers += 1;
        let client = &mut self.clients[index];
        let message =
            Message { client: index, life: client.life, number: self.numbers, producer, ask };
        client.asked = Some(message);
        self.network.push(message);
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.dice.roll(self.network.len() as u64) as usize;
        let message = self.network[at];
        let is_old = |client: &Client| {
            client.life != message.life
                || client.asked.is_none_or(|asked| asked.number != message.number)
        };
        // By the second version copies may arrive at any later time.
        let may_stay = self.version == TransactionVersion::Two;
        let kept = may_stay && self.dice.roll(8) == 0;
        if !kept {
            self.network.swap_remove(at);
        }
        if self.version == TransactionVersion::One && is_old(&self.clients[message.client]) {
            return;
        }
        self.handle(message);
    }

    fn listen(&mut self) {
        let ready = self.answers.iter().position(|(past, ..)| *past <= self.durable);
        let Some((_, message, answer)) = ready.map(|at| self.answers.remove(at)) else { return };
        let client = &mut self.clients[message.client];
        let waits = client.life == message.life
            && client.asked.is_some_and(|asked| asked.number == message.number);
        if !waits || self.dice.roll(10) == 0 {
            return;
        }
        client.asked = None;
        match (message.ask, answer) {
            (Ask::Add { .. }, Ok(_)) => {}
            (Ask::Init { .. }, Ok(identity)) => {
                client.producer = Some(identity);
                let told = self.told.entry(client.id).or_insert(identity);
                if told.0 != identity.0 || told.1 < identity.1 {
                    *told = identity;
                }
            }
            (Ask::Produce { attempt, .. } | Ask::Offsets { attempt }, Ok(_)) => {
                client.batches_left -= 1;
                *self.acknowledged.entry(attempt).or_default() += 1;
            }
            (Ask::End { end, attempt }, Ok(identity)) => {
                let batches = self.acknowledged.get(&attempt).copied().unwrap_or(0);
                self.ends.insert(attempt, (end, batches));
                client.producer = Some(identity);
                client.attempt = 0;
            }
            (_, Err(TransactionRefused::Concurrent)) => client.asked = Some(message),
            (Ask::Init { .. }, Err(_)) => Self::reborn(client),
            (_, Err(_)) => {
                let had = client.producer;
                Self::reborn(client);
                // It goes on with the next epoch, if nobody else has it.
                if had.is_some() && self.dice.roll(2) == 0 {
                    self.ask(message.client, (0, 0), Ask::Init { expected: had });
                }
            }
        }
    }

    fn reborn(client: &mut Client) {
        client.life += 1;
        client.producer = None;
        client.asked = None;
        client.attempt = 0;
    }

    fn step(&mut self) {
        let index = self.dice.roll(self.clients.len() as u64) as usize;
        match self.dice.roll(400) {
            0..=3 => self.crash(),
            4..=5 => Self::reborn(&mut self.clients[index]),
            6..=9 => {
                let ms = self.dice.roll(u64::from(TIMEOUT_MS.unsigned_abs()));
                self.now.mono_ms += ms;
                self.now.wall_ms += ms.cast_signed();
                self.tick();
            }
            10..=40 => self.tick(),
            41..=120 => self.durable = self.log.len(),
            121..=200 => self.act(index),
            201..=300 => self.deliver(),
            _ => self.listen(),
        }
    }

    fn check(&mut self, seed: u64) {
        self.now.mono_ms += u64::from(TIMEOUT_MS.unsigned_abs());
        self.now.wall_ms += i64::from(TIMEOUT_MS);
        self.tick();
        self.finish_all(true);
        assert_eq!(self.held.prepared().count(), 0, "seed {seed}: something hangs");
        assert_eq!(
            load(self.now, &self.log).iter().collect::<Vec<_>>(),
            self.held.iter().collect::<Vec<_>>(),
            "seed {seed}"
        );
        let mut fates: BTreeMap<u64, (TransactionEnd, u64)> = BTreeMap::new();
        let mut committed = [-1; CLIENTS];
        for (at, entry) in self.log.iter().enumerate() {
            let (partition, producer, attempt) = match entry {
                Entry::Batch { partition, producer, attempt, .. } => (partition, producer, attempt),
                Entry::Offsets { producer, attempt, .. } => (&OFFSETS, producer, attempt),
                Entry::Record(_) | Entry::Marker { .. } => continue,
            };
            let marker = self.log[at..].iter().find_map(|later| match later {
                Entry::Marker { partition: where_, marker }
                    if where_ == partition && marker.producer_id == producer.0 =>
                {
                    Some(marker)
                }
                _ => None,
            });
            let marker = marker.unwrap_or_else(|| panic!("seed {seed}: attempt {attempt} is open"));
            assert!(marker.epoch >= producer.1, "seed {seed}: {marker:?} ends {entry:?}");
            let fate = marker.end;
            let asked = fate == TransactionEnd::Abort || self.commits.contains(attempt);
            assert!(asked, "seed {seed}: attempt {attempt} is visible and was not to be yet");
            if let (Entry::Offsets { client, .. }, TransactionEnd::Commit) = (entry, fate) {
                committed[*client] = attempt.cast_signed();
            }
            let of_attempt = fates.entry(*attempt).or_insert((fate, 0));
            assert_eq!(of_attempt.0, fate, "seed {seed}: attempt {attempt} is half visible");
            of_attempt.1 += 1;
        }
        for (attempt, (told, batches)) in &self.ends {
            let (fate, found) = fates[attempt];
            assert_eq!(fate, *told, "seed {seed}: attempt {attempt}");
            assert!(found >= *batches, "seed {seed}: attempt {attempt} lost a batch");
        }
        for (client, offset) in committed.into_iter().enumerate() {
            assert_eq!(shown_at(&self.groups, client), (offset, false), "seed {seed}: {client}");
        }
    }
}

fn speaker(id: &str, (producer_id, epoch): (i64, i16)) -> TransactionProducer<'_> {
    TransactionProducer { transactional_id: id, producer_id, epoch }
}

fn commit_offsets(groups: &mut Coordinator, now: Now, who: (usize, i64), attempt: u64) {
    let (client, producer_id) = who;
    let request = commit_at(client, attempt.cast_signed());
    let decision = groups.decide_commit_in_transaction(now, &request).expect("allowed");
    for record in decision.records {
        groups.apply_in_transaction(producer_id, record);
    }
}

/// The groups that a log says.
fn load_groups(now: Now, log: &[Entry]) -> Coordinator {
    let mut groups = coordinator();
    for entry in log {
        match entry {
            Entry::Offsets { client, producer, attempt } => {
                commit_offsets(&mut groups, now, (*client, producer.0), *attempt);
            }
            Entry::Marker { partition: OFFSETS, marker } => {
                groups.end_transaction(now, marker.producer_id, marker.end);
            }
            Entry::Marker { .. } | Entry::Record(_) | Entry::Batch { .. } => {}
        }
    }
    groups
}

/// The state that a log says.
fn load(now: Now, log: &[Entry]) -> Transactions {
    let mut held = Transactions::new();
    for entry in log {
        if let Entry::Record(record) = entry {
            let (key, value) = record.encode();
            let read = TransactionRecord::decode(&key, value.as_deref()).expect("whole");
            assert_eq!(read.as_ref(), Some(record));
            held.apply(now, record.clone());
        }
    }
    held
}

/// Runs one seed; returns how many transactions ended as their producers asked.
fn run(seed: u64, version: TransactionVersion) -> usize {
    let mut world = World::new(seed, version);
    for _ in 0..4_000 {
        world.step();
    }
    world.check(seed);
    world.ends.len()
}

#[test]
fn transactions_are_whole_by_the_second_version() {
    let ended: usize = (1..=60).map(|seed| run(seed, TransactionVersion::Two)).sum();
    assert!(ended > 350, "{ended} transactions are too few to say something");
}

/// Late copies of a request are what the first version cannot tell from the next transaction's.
#[test]
fn transactions_are_whole_by_the_first_version_without_late_copies() {
    let ended: usize = (1..=60).map(|seed| run(seed, TransactionVersion::One)).sum();
    assert!(ended > 350, "{ended} transactions are too few to say something");
}

#[test]
fn every_prefix_of_the_log_comes_to_an_end() {
    use TransactionVersion::{One, Two};
    for (seed, version) in (1..=20).map(|seed| (seed, if seed % 4 < 2 { One } else { Two })) {
        let mut world = World::new(seed, version);
        for _ in 0..400 {
            world.step();
        }
        for cut in 0..=world.log.len() {
            let mut left = World::new(seed, version);
            left.now = world.now;
            left.commits = world.commits.clone();
            left.log = world.log[..cut].to_vec();
            left.load();
            left.check(seed);
        }
    }
}
