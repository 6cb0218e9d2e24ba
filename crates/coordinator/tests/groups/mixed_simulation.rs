//! Members of both protocols in one group, as when its clients are upgraded one by one and taken back:
//! they join, leave, freeze, die, change the protocol and come back; requests are late and repeated; the
//! coordinator dies at any record, with the answers that it owed. Driven by a seed.
//!
//! Checked: what a member uses, it alone uses; nobody commits who is not a member, or is one of another
//! epoch; the state is what the log says; when all is quiet, each has its share and all is assigned.
//!
//! A join is not repeated after its answer has been read: no protocol has a way to tell that from a member
//! that starts over and owns what the join says.

use std::collections::{BTreeMap, BTreeSet};

use tidings_coordinator::{
    Beat, CommitOffsets, ConsumerHeartbeat, GroupRefused, JoinGroup, Joined, SyncGroup, TopicFacts,
};

use crate::consumer_protocol::{enter, of_orders, owning, reloaded, state};
use crate::consumer_simulation::{assigned, assignment, subscription};
use crate::house::{GROUP, House, ORDERS_ID, commit, join, sync};
use crate::simulation::Dice;

const PARTITIONS: i32 = 7;
const CLIENTS: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Classic,
    Consumer,
}

/// What a classic client does next.
#[derive(Clone, Debug)]
enum Step {
    Join,
    /// Its join is on the way.
    Joining(u64),
    /// Its sync is on the way.
    Syncing(u64),
    Work,
}

/// A client as well behaved as Kafka's own, except where the dice freeze it. Classic ones assign
/// cooperatively.
struct Client {
    name: String,
    /// Counts restarts: each makes a new member id.
    life: u32,
    instance: Option<String>,
    protocol: Protocol,
    step: Step,
    id: String,
    /// Or the generation; 0 and -1 where it is no member.
    epoch: i32,
    owned: BTreeSet<i32>,
    frozen: u64,
}

impl Client {
    fn begin(&mut self, protocol: Protocol) {
        self.life += 1;
        self.protocol = protocol;
        self.id = match protocol {
            Protocol::Classic => String::new(),
            Protocol::Consumer => format!("{}-{}", self.name, self.life),
        };
        self.lose();
    }

    /// It is fenced, or starts over.
    fn lose(&mut self) {
        self.owned.clear();
        self.step = Step::Join;
        self.epoch = if self.protocol == Protocol::Classic { -1 } else { 0 };
    }

    fn is_in(&self) -> bool {
        self.epoch > 0
    }

    fn commit(&self) -> CommitOffsets {
        CommitOffsets {
            knows_epochs: self.protocol == Protocol::Consumer,
            ..commit(&self.id, self.epoch, i64::from(self.epoch))
        }
    }
}

/// What may arrive once more, later.
enum Late {
    Sync(SyncGroup),
    Beat(String, i32),
    ConsumerBeat(ConsumerHeartbeat),
    Leave(String),
    Commit(CommitOffsets),
}

struct World {
    house: House,
    dice: Dice,
    clients: Vec<Client>,
    late: Vec<Late>,
    /// What most clients that begin a life speak.
    trend: Protocol,
    /// How often the group was of the other protocol than before.
    conversions: u32,
    was_consumers: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |index: u64| Client {
            name: format!("c{index}"),
            life: 0,
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}")),
            protocol: Protocol::Classic,
            step: Step::Join,
            id: String::new(),
            epoch: -1,
            owned: BTreeSet::new(),
            frozen: 0,
        };
        let mut house = House::default();
        house.groups.topics_mut().put("orders", facts());
        Self {
            house,
            dice: Dice(seed),
            clients: (0..CLIENTS).map(client).collect(),
            late: Vec::new(),
            trend: Protocol::Classic,
            conversions: 0,
            was_consumers: false,
        }
    }

    fn act(&mut self, index: usize, chaos: bool) {
        if self.clients[index].frozen > 0 {
            self.clients[index].frozen -= 1;
            return;
        }
        if chaos {
            match self.dice.roll(60) {
                0 | 1 => self.clients[index].frozen = self.dice.roll(80),
                2 | 3 => return self.leave(index),
                4 => return self.restart(index),
                5..=7 => self.deliver_late(),
                8 | 9 => self.commit(index),
                10 => self.turn(),
                11 => return self.crash(self.house.kept.len()),
                _ => {}
            }
        }
        match self.clients[index].protocol {
            Protocol::Classic => self.act_classic(index, chaos),
            Protocol::Consumer => self.act_consumer(index, chaos),
        }
        self.check();
    }

    /// Asks the coordinator; none when it has died before it answered, with or without what it wrote.
    fn ask<T>(&mut self, chaos: bool, call: impl FnOnce(&mut House) -> T) -> Option<T> {
        let before = self.house.kept.len();
        let answer = call(&mut self.house);
        if chaos && self.dice.roll(80) == 0 {
            let kept = if self.dice.roll(2) == 0 { before } else { self.house.kept.len() };
            self.crash(kept);
            return None;
        }
        Some(answer)
    }

    fn repeat(&mut self, chaos: bool, late: impl FnOnce() -> Late) {
        if chaos && self.dice.roll(12) == 0 {
            self.late.push(late());
        }
    }

    // ---- the consumer protocol -----------------------------------------------------------------

    fn act_consumer(&mut self, index: usize, chaos: bool) {
        let request = self.consumer_beat(index);
        if request.epoch > 0 {
            self.repeat(chaos, || Late::ConsumerBeat(request.clone()));
        }
        let answer = self.ask(chaos, |house| house.consumer_beat(request));
        if let Some(answer) = answer {
            self.take_beat(index, answer);
        }
    }

    fn consumer_beat(&self, index: usize) -> ConsumerHeartbeat {
        let client = &self.clients[index];
        let instance_id = client.instance.clone();
        if !client.is_in() {
            return ConsumerHeartbeat { instance_id, ..enter(&client.id) };
        }
        let owned: Vec<i32> = client.owned.iter().copied().collect();
        ConsumerHeartbeat { instance_id, ..owning(&client.id, client.epoch, &of_orders(&owned)) }
    }

    fn take_beat(&mut self, index: usize, answer: Result<Beat, GroupRefused>) {
        let client = &mut self.clients[index];
        match answer {
            Ok(beat) => {
                client.epoch = beat.epoch;
                if let Some(assigned) = beat.assignment {
                    client.owned = assigned.iter().map(|(_, number)| number).collect();
                }
            }
            // An instance that has not left keeps its place until its session ends.
            Err(_) if client.instance.is_some() => client.lose(),
            Err(_) => client.begin(Protocol::Consumer),
        }
    }

    // ---- the classic protocol ------------------------------------------------------------------

    fn act_classic(&mut self, index: usize, chaos: bool) {
        match self.clients[index].step {
            Step::Join => {
                let client = &self.clients[index];
                let protocols =
                    vec![("cooperative-sticky".to_owned(), subscription(&client.owned))];
                let request = JoinGroup {
                    protocols,
                    instance_id: client.instance.clone(),
                    require_known_member_id: client.instance.is_none(),
                    ..join(&client.id)
                };
                let twice = chaos && self.dice.roll(20) == 0 && client.instance.is_none();
                let copy = twice.then(|| request.clone());
                if let Some(sent) = self.ask(chaos, |house| house.send_join(request)) {
                    // The answer to the first copy is lost.
                    let again = copy.map(|request| self.house.send_join(request));
                    self.clients[index].step = Step::Joining(again.unwrap_or(sent));
                }
            }
            Step::Joining(sent) => match self.house.joined(sent) {
                None => {}
                Some(Ok(joined)) => self.take_join(index, joined, chaos),
                Some(Err(refused)) => self.take_refusal(index, refused),
            },
            Step::Syncing(sent) => match self.house.synced(sent) {
                None => {}
                Some(Ok(synced)) => {
                    let client = &mut self.clients[index];
                    let before = std::mem::replace(&mut client.owned, assigned(&synced.assignment));
                    // What it has given up others may have when it has said so.
                    let gives_up = !before.is_subset(&client.owned);
                    client.step = if gives_up { Step::Join } else { Step::Work };
                }
                Some(Err(refused)) => self.take_refusal(index, refused),
            },
            Step::Work => {
                let (id, epoch) = (self.clients[index].id.clone(), self.clients[index].epoch);
                self.repeat(chaos, || Late::Beat(id.clone(), epoch));
                if let Some(Err(refused)) = self.ask(chaos, |house| house.beat(&id, epoch)) {
                    self.take_refusal(index, refused);
                }
            }
        }
    }

    fn take_join(&mut self, index: usize, joined: Joined, chaos: bool) {
        let plan = plan(&joined);
        let plan: Vec<(&str, &str)> =
            plan.iter().map(|(id, own)| (id.as_str(), own.as_str())).collect();
        let request = sync(&joined.member_id, joined.generation, &plan);
        let client = &mut self.clients[index];
        (client.id, client.epoch) = (joined.member_id, joined.generation);
        self.repeat(chaos, || Late::Sync(request.clone()));
        let sent = self.ask(chaos, |house| house.send_sync(request));
        if let Some(sent) = sent {
            self.clients[index].step = Step::Syncing(sent);
        }
    }

    fn take_refusal(&mut self, index: usize, refused: GroupRefused) {
        let client = &mut self.clients[index];
        match refused {
            GroupRefused::MemberIdRequired { member_id } => {
                client.id = member_id;
                client.step = Step::Join;
            }
            GroupRefused::Rebalancing => client.step = Step::Join,
            GroupRefused::IllegalGeneration => client.lose(),
            GroupRefused::UnknownMember | GroupRefused::FencedInstance => {
                client.id.clear();
                client.lose();
            }
            other => panic!("a well behaved client was refused: {other}"),
        }
    }

    // ---- what goes wrong -----------------------------------------------------------------------

    /// From now on clients begin with the other protocol, mostly.
    fn turn(&mut self) {
        self.trend = match self.trend {
            Protocol::Classic => Protocol::Consumer,
            Protocol::Consumer => Protocol::Classic,
        };
    }

    fn next_protocol(&mut self) -> Protocol {
        if self.dice.roll(6) == 0 {
            self.turn();
        }
        self.trend
    }

    fn leave(&mut self, index: usize) {
        let (id, instance) = (self.clients[index].id.clone(), self.clients[index].instance.clone());
        match self.clients[index].protocol {
            Protocol::Classic if !id.is_empty() => {
                self.repeat(true, || Late::Leave(id.clone()));
                self.ask(true, |house| house.leave(&[(&id, instance.as_deref())]));
            }
            Protocol::Classic => {}
            Protocol::Consumer => {
                let for_a_while = instance.is_some() && self.dice.roll(2) == 0;
                let request = ConsumerHeartbeat {
                    epoch: if for_a_while { -2 } else { -1 },
                    owned: None,
                    ..self.consumer_beat(index)
                };
                self.repeat(true, || Late::ConsumerBeat(request.clone()));
                // It may not be known any more, which is as good.
                self.ask(true, |house| house.consumer_beat(request));
            }
        }
        self.restart(index);
        self.clients[index].frozen = self.dice.roll(20);
    }

    /// The process dies without a word, and another one begins.
    fn restart(&mut self, index: usize) {
        // What it would still have said arrives later.
        let last = self.clients[index].commit();
        self.repeat(true, || Late::Commit(last));
        let protocol = self.next_protocol();
        self.clients[index].begin(protocol);
    }

    /// A request arrives once more; nobody reads the answer.
    fn deliver_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.dice.roll(self.late.len() as u64) as usize;
        match self.late.swap_remove(at) {
            Late::Sync(request) => {
                self.house.send_sync(request);
            }
            Late::Beat(id, generation) => {
                let _unread = self.house.beat(&id, generation);
            }
            Late::ConsumerBeat(request) => {
                let _unread = self.house.consumer_beat(request);
            }
            Late::Leave(id) => {
                self.house.leave(&[(&id, None)]);
            }
            Late::Commit(request) => self.try_commit(&request),
        }
        self.check();
    }

    fn commit(&mut self, index: usize) {
        let request = self.clients[index].commit();
        self.repeat(true, || Late::Commit(request.clone()));
        self.try_commit(&request);
    }

    /// A commit is taken from a member of this epoch only.
    fn try_commit(&mut self, request: &CommitOffsets) {
        let id = &request.member_id;
        let known = self.house.groups.describe_consumers(GROUP).ok().map(|described| {
            let mut members = described.members.into_iter();
            members.find(|member| member.member_id == *id).map(|member| member.epoch)
        });
        let classic = self.house.groups.describe(GROUP);
        let is_in = classic.members.iter().any(|member| member.member_id == *id);
        let is_empty = classic.members.is_empty()
            && self.house.groups.describe_consumers(GROUP).is_ok_and(|g| g.members.is_empty());
        let accepted = self.house.commit(request).is_ok();
        let from_outside = request.generation < 0 && (is_empty || classic.state != "Stable");
        let may = match known {
            Some(epoch) => epoch == Some(request.generation),
            None => is_in && request.generation >= self.house.kept_generation(),
        };
        assert!(!accepted || may || from_outside, "{id} at {} of {known:?}", request.generation);
    }

    /// The coordinator comes back with `kept` records; the answers that it owed are lost.
    fn crash(&mut self, kept: usize) {
        self.house.kept.truncate(kept);
        self.house.groups = reloaded(&self.house);
        self.house.groups.topics_mut().put("orders", facts());
        self.house.forget_answers();
        for client in &mut self.clients {
            if matches!(client.step, Step::Joining(_) | Step::Syncing(_)) {
                client.step = Step::Join;
            }
        }
    }

    // ---- what must hold ------------------------------------------------------------------------

    /// Whether the coordinator takes the client for a member of its epoch: what it uses then is its own.
    fn counts(&self, client: &Client) -> bool {
        let outcome = self.house.groups.decide_commit(self.house.now(), &client.commit());
        client.is_in() && matches!(outcome, Ok(_) | Err(GroupRefused::Rebalancing))
    }

    fn check(&mut self) {
        let mut used: BTreeMap<i32, &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| self.counts(client)) {
            for number in &client.owned {
                let before = used.insert(*number, &client.name);
                assert_eq!(before, None, "{number} is used by {} too", client.name);
            }
        }
        let described = self.house.groups.describe_consumers(GROUP);
        let is_consumers = described.as_ref().is_ok_and(|group| !group.members.is_empty());
        let mut owners = BTreeSet::new();
        for member in described.into_iter().flat_map(|group| group.members) {
            let numbers = member.assigned.iter().flat_map(|(.., numbers)| numbers);
            for number in numbers {
                assert!(owners.insert(*number), "{number} is assigned to two");
            }
        }
        self.conversions += u32::from(is_consumers != self.was_consumers);
        self.was_consumers = is_consumers;
    }

    fn converges(&mut self, what: &str) {
        for client in &mut self.clients {
            client.frozen = 0;
        }
        for _ in 0..80 {
            self.house.pass(2_000);
            for index in 0..self.clients.len() {
                self.act(index, false);
            }
        }
        let is_mixed = self.clients.iter().any(|client| client.protocol == Protocol::Consumer);
        let states = (self.house.state(), state(&self.house));
        assert_eq!(
            states,
            if is_mixed { ("Dead", "Stable") } else { ("Stable", "none") },
            "{what}"
        );
        let mut all: BTreeSet<i32> = BTreeSet::new();
        for client in &self.clients {
            assert!(self.counts(client), "{what}: {} is fenced", client.name);
            let owned = client.owned.len();
            assert!((1..=2).contains(&owned), "{what}: {} has {owned} of 7 among 5", client.name);
            all.extend(&client.owned);
        }
        assert_eq!(all.len(), 7, "{what}: {all:?}");
        let shown = |house: &House| {
            let (classic, consumers) =
                (house.groups.describe(GROUP), house.groups.describe_consumers(GROUP));
            format!("{classic:?} {consumers:?}")
        };
        let before = shown(&self.house);
        self.crash(self.house.kept.len());
        assert_eq!(shown(&self.house), before, "{what}: the state is what the log says");
    }
}

fn facts() -> TopicFacts {
    TopicFacts { id: ORDERS_ID, partitions: PARTITIONS }
}

/// A leader's plan, cooperative and sticky: members keep what they say they own up to their share; what one
/// has to give up nobody gets in this generation.
fn plan(joined: &Joined) -> Vec<(String, String)> {
    let mut free: BTreeSet<i32> = (0..PARTITIONS).collect();
    let mut members: Vec<(String, Vec<i32>)> = Vec::new();
    for (id, _, metadata) in &joined.members {
        let owned = owned_in(metadata).into_iter().filter(|number| free.remove(number));
        members.push((id.clone(), owned.collect()));
    }
    if members.is_empty() {
        return Vec::new();
    }
    let count = members.len();
    members.sort_by_key(|(_, owned)| std::cmp::Reverse(owned.len()));
    for (at, (_, owned)) in members.iter_mut().enumerate() {
        let share = (PARTITIONS as usize + count - 1 - at) / count;
        owned.truncate(share);
        while owned.len() < share
            && let Some(number) = free.pop_first()
        {
            owned.push(number);
        }
    }
    members.into_iter().map(|(id, own)| (id, assignment(&own))).collect()
}

/// The partitions of `orders` that a subscription of version 1 says are owned.
fn owned_in(subscription: &[u8]) -> BTreeSet<i32> {
    let numbers = subscription[34..].chunks_exact(4);
    numbers.map(|number| i32::from_be_bytes(number.try_into().unwrap())).collect()
}

fn chaos(seed: u64, steps: u32) -> World {
    let mut world = World::new(seed);
    for _ in 0..steps {
        let ms = world.dice.roll(2_000);
        world.house.pass(ms);
        let index = world.dice.roll(CLIENTS) as usize;
        world.act(index, true);
    }
    world
}

#[test]
fn members_of_both_protocols_never_share_a_partition() {
    let mut conversions = 0;
    for seed in 0..120 {
        let mut world = chaos(seed, 500);
        world.converges(&format!("seed {seed}"));
        conversions += world.conversions;
    }
    assert!(conversions > 300, "{conversions} conversions are too few to say something");
}

#[test]
fn a_crash_at_every_record_of_a_mixed_group_leaves_one_that_goes_on() {
    for seed in [3, 8] {
        let kept = chaos(seed, 120).house.kept;
        for cut in 0..=kept.len() {
            let mut world = World::new(cut as u64);
            world.house.kept = kept.clone();
            world.crash(cut);
            // Whoever was there is gone; others come, of both protocols.
            for client in &mut world.clients {
                client.life = 1_000;
                let roll = world.dice.roll(2);
                client.begin(if roll == 0 { Protocol::Classic } else { Protocol::Consumer });
            }
            world.check();
            world.converges(&format!("seed {seed}, cut at {cut}"));
        }
    }
}
