//! Members of the consumer protocol that join, beat, freeze, leave, restart, and whose requests are repeated
//! and late, driven by a seed; the coordinator dies now and then and comes back with what the log has, or
//! with all but the last few records of it.
//!
//! Checked: no partition has two owners, by what the members were told and have not said they gave up; what a
//! fenced member commits is refused; after the chaos every member has its target, all of the topic is
//! assigned and every request is answered; the state is what the log says.

use std::collections::{BTreeMap, BTreeSet};

use tidings_coordinator::{
    Beat, CommitOffsets, ConsumerHeartbeat, Coordinator, GroupRefused, JoinGroup, Partitions,
    TopicFacts,
};

use crate::consumer_protocol::{enter, of_orders, owning, reloaded, state};
use crate::house::{GROUP, House, ORDERS_ID, commit, join, sync};
use crate::simulation::Dice;

const PARTITIONS: i32 = 7;

/// A client as well behaved as Kafka's own, except where the dice freeze it.
struct Client {
    name: String,
    /// Counts restarts: each makes a new member id.
    life: u32,
    instance: Option<String>,
    epoch: i32,
    owned: Partitions,
    frozen: u64,
    out: bool,
    /// A heartbeat that arrives once more, later.
    late: Option<ConsumerHeartbeat>,
}

impl Client {
    fn id(&self) -> String {
        format!("{}-{}", self.name, self.life)
    }

    fn start_over(&mut self) {
        self.epoch = 0;
        self.owned = Partitions::default();
    }
}

struct World {
    house: House,
    dice: Dice,
    clients: Vec<Client>,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |index: usize| Client {
            name: format!("c{index}"),
            life: 0,
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}")),
            epoch: 0,
            owned: Partitions::default(),
            frozen: 0,
            out: false,
            late: None,
        };
        let mut house = House::default();
        let facts = TopicFacts { id: ORDERS_ID, partitions: PARTITIONS };
        house.groups.topics_mut().put("orders", facts);
        Self { house, dice: Dice(seed), clients: (0..5).map(client).collect() }
    }

    fn request(&self, index: usize) -> ConsumerHeartbeat {
        let client = &self.clients[index];
        let instance_id = client.instance.clone();
        if client.epoch == 0 {
            return ConsumerHeartbeat { instance_id, ..enter(&client.id()) };
        }
        ConsumerHeartbeat { instance_id, ..owning(&client.id(), client.epoch, &client.owned) }
    }

    fn act(&mut self, index: usize, chaos: bool) {
        if self.clients[index].frozen > 0 {
            self.clients[index].frozen -= 1;
            return;
        }
        if chaos {
            match self.dice.roll(30) {
                0 => self.clients[index].frozen = self.dice.roll(80),
                1 => return self.leave(index),
                2 => return self.restart(index),
                3 => self.clients[index].late = Some(self.request(index)),
                4 => self.repeat(index),
                5 => self.commit(index),
                6 => return self.crash(),
                _ => {}
            }
        }
        self.clients[index].out = false;
        let request = self.request(index);
        let outcome = self.house.consumer_beat(request);
        self.take(index, outcome);
    }

    fn take(&mut self, index: usize, outcome: Result<Beat, GroupRefused>) {
        let client = &mut self.clients[index];
        match outcome {
            Ok(beat) => {
                client.epoch = beat.epoch;
                if let Some(assigned) = beat.assignment {
                    client.owned = assigned;
                }
            }
            // Fenced, or not known any more: it gives everything up and joins anew.
            Err(_) => {
                client.start_over();
                client.life += u32::from(client.instance.is_none());
            }
        }
        self.check_owners();
    }

    /// What a client uses, it alone uses: the coordinator counts it among the client's own.
    fn check_owners(&self) {
        let Ok(described) = self.house.groups.describe_consumers(GROUP) else { return };
        let mut owners: BTreeMap<([u8; 16], i32), &str> = BTreeMap::new();
        for member in &described.members {
            for (topic, _, numbers) in &member.assigned {
                for number in numbers {
                    let before = owners.insert((*topic, *number), &member.member_id);
                    assert_eq!(before, None, "{number} has two owners");
                }
            }
        }
        // A client's own idea counts as long as it is a member: after that it is fenced.
        let mut used: BTreeMap<([u8; 16], i32), &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.frozen == 0 && client.epoch > 0) {
            let id = client.id();
            if !described.members.iter().any(|member| member.member_id == id) {
                continue;
            }
            for at in client.owned.iter() {
                let before = used.insert(at, &client.name);
                assert_eq!(before, None, "{at:?} is used by {} too", client.name);
            }
        }
    }

    fn leave(&mut self, index: usize) {
        let for_a_while = self.clients[index].instance.is_some() && self.dice.roll(2) == 0;
        let request = ConsumerHeartbeat {
            epoch: if for_a_while { -2 } else { -1 },
            owned: None,
            ..self.request(index)
        };
        // It may not be known any more, which is as good.
        let _known = self.house.consumer_beat(request);
        self.clients[index].start_over();
        self.clients[index].life += 1;
        self.clients[index].frozen = self.dice.roll(20);
    }

    /// The process dies without a word.
    fn restart(&mut self, index: usize) {
        self.clients[index].start_over();
        self.clients[index].life += 1;
    }

    /// An earlier heartbeat arrives once more; nobody reads the answer.
    fn repeat(&mut self, index: usize) {
        if let Some(late) = self.clients[index].late.take() {
            let _unread = self.house.consumer_beat(late);
            self.check_owners();
        }
    }

    fn commit(&mut self, index: usize) {
        let client = &self.clients[index];
        let (id, epoch) = (client.id(), client.epoch);
        let request = CommitOffsets { knows_epochs: true, ..commit(&id, epoch, i64::from(epoch)) };
        let known = self.house.groups.describe_consumers(GROUP).ok().and_then(|described| {
            let mut members = described.members.into_iter();
            members.find(|member| member.member_id == id).map(|member| member.epoch)
        });
        let accepted = self.house.commit(&request).is_ok();
        assert_eq!(accepted, known == Some(epoch), "{id} at {epoch}, known at {known:?}");
    }

    /// The coordinator comes back with what the log has.
    fn crash(&mut self) {
        let before = format!("{:?}", self.house.groups.describe_consumers(GROUP).ok());
        self.house.groups = reloaded(&self.house);
        let facts = TopicFacts { id: ORDERS_ID, partitions: PARTITIONS };
        self.house.groups.topics_mut().put("orders", facts);
        let after = format!("{:?}", self.house.groups.describe_consumers(GROUP).ok());
        assert_eq!(before, after, "the state is what the log says");
    }

    fn converges(&mut self) {
        for client in &mut self.clients {
            client.frozen = 0;
        }
        for _ in 0..60 {
            self.house.pass(2_000);
            for index in 0..self.clients.len() {
                self.act(index, false);
            }
        }
        assert_eq!(state(&self.house), "Stable");
        let mut all = Partitions::default();
        for client in &self.clients {
            let owned = client.owned.count();
            assert!((1..=2).contains(&owned), "{} has {owned} of 7 among 5", client.name);
            assert!(!all.intersects(&client.owned));
            all.extend(client.owned.iter());
        }
        assert_eq!(all.count(), usize::try_from(PARTITIONS).unwrap());
        self.crash();
    }
}

#[test]
fn members_that_freeze_leave_restart_and_repeat_themselves_never_share_a_partition() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.house.pass(1_000);
            let index = usize::try_from(world.dice.roll(5)).unwrap();
            world.act(index, true);
        }
        world.converges();
    }
}

#[test]
fn a_crash_at_every_record_leaves_a_group_that_goes_on() {
    let mut world = World::new(11);
    for _ in 0..60 {
        world.house.pass(1_000);
        let index = usize::try_from(world.dice.roll(5)).unwrap();
        world.act(index, true);
    }
    let kept = world.house.kept.clone();
    for cut in 0..=kept.len() {
        let mut world = World::new(0);
        world.house.kept = kept[..cut].to_vec();
        world.house.groups = reloaded(&world.house);
        let facts = TopicFacts { id: ORDERS_ID, partitions: PARTITIONS };
        world.house.groups.topics_mut().put("orders", facts);
        world.check_owners();
        // Whoever was there is gone; others come.
        for client in &mut world.clients {
            client.life = 1_000;
        }
        for _ in 0..40 {
            world.house.pass(2_000);
            for index in 0..world.clients.len() {
                world.act(index, false);
            }
        }
        world.converges();
    }
}

/// Classic consumers that know only JoinGroup, SyncGroup and Heartbeat, and own what they are given.
struct Classic {
    id: String,
    generation: i32,
    owned: BTreeSet<i32>,
    joining: Option<u64>,
    syncing: Option<u64>,
}

pub(crate) fn subscription(owned: &BTreeSet<i32>) -> bytes::Bytes {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\x01\0\x06orders".to_vec();
    bytes.extend_from_slice(&i32::try_from(owned.len()).unwrap().to_be_bytes());
    owned.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes.into()
}

/// The partitions of `orders` in an assignment of version 1.
pub(crate) fn assigned(bytes: &[u8]) -> BTreeSet<i32> {
    if bytes.len() < 18 {
        return BTreeSet::new();
    }
    let numbers = bytes[18..bytes.len() - 4].chunks_exact(4);
    numbers.map(|number| i32::from_be_bytes(number.try_into().unwrap())).collect()
}

pub(crate) fn assignment(numbers: &[i32]) -> String {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x06orders".to_vec();
    bytes.extend_from_slice(&i32::try_from(numbers.len()).unwrap().to_be_bytes());
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes.extend_from_slice(&[0; 4]);
    String::from_utf8(bytes).expect("small numbers are text")
}

impl Classic {
    fn new() -> Self {
        let (id, owned) = Default::default();
        Self { id, generation: -1, owned, joining: None, syncing: None }
    }

    fn join(&mut self, house: &mut House) {
        let request = JoinGroup {
            protocols: vec![("cooperative-sticky".into(), subscription(&self.owned))],
            ..join(&self.id)
        };
        self.joining = Some(house.send_join(request));
    }

    /// One step of the client's life.
    fn act(&mut self, house: &mut House) {
        if let Some(sent) = self.joining {
            let Some(answer) = house.joined(sent) else { return };
            self.joining = None;
            let joined = match answer {
                Ok(joined) => joined,
                Err(refused) => return self.refused(&refused),
            };
            (self.id, self.generation) = (joined.member_id.clone(), joined.generation);
            let count = joined.members.len();
            let plan: Vec<_> = joined
                .members
                .iter()
                .enumerate()
                .map(|(at, (id, ..))| {
                    let at = i32::try_from(at).unwrap();
                    let share = i32::try_from(count).unwrap();
                    let mine: Vec<i32> =
                        (0..PARTITIONS).filter(|number| number % share == at).collect();
                    (id.clone(), assignment(&mine))
                })
                .collect();
            let plan: Vec<_> = plan.iter().map(|(id, own)| (id.as_str(), own.as_str())).collect();
            self.syncing = Some(house.send_sync(sync(&self.id, self.generation, &plan)));
        } else if let Some(sent) = self.syncing {
            let Some(answer) = house.synced(sent) else { return };
            self.syncing = None;
            match answer {
                Ok(synced) => self.owned = assigned(&synced.assignment),
                Err(refused) => self.refused(&refused),
            }
        } else if self.generation < 0 {
            self.join(house);
        } else if let Err(refused) = house.beat(&self.id, self.generation) {
            self.refused(&refused);
        }
    }

    fn refused(&mut self, refused: &GroupRefused) {
        self.generation = -1;
        match refused {
            GroupRefused::Rebalancing | GroupRefused::IllegalGeneration => {}
            GroupRefused::UnknownMember => {
                self.id.clear();
                self.owned.clear();
            }
            other => panic!("a well behaved client was refused: {other}"),
        }
    }
}

fn live(house: &mut House, clients: &mut [Classic], rounds: u32, mut each: impl FnMut(&mut House)) {
    for _ in 0..rounds {
        house.pass(500);
        clients.iter_mut().for_each(|client| client.act(house));
        each(house);
    }
}

#[test]
fn a_group_is_upgraded_by_its_first_new_member_and_downgraded_when_the_last_leaves() {
    for crash in [false, true] {
        let mut world = World::new(1);
        let house = &mut world.house;
        let mut clients = [Classic::new(), Classic::new()];
        live(house, &mut clients, 20, |_| {});
        assert_eq!((house.state(), clients[0].owned.len() + clients[1].owned.len()), ("Stable", 7));
        let before = clients[0].owned.clone();
        let reload = |house: &mut House| {
            if crash {
                house.groups = reloaded(house);
                let facts = TopicFacts { id: ORDERS_ID, partitions: PARTITIONS };
                house.groups.topics_mut().put("orders", facts);
            }
        };

        // The first member of the other protocol.
        let mut beat = house.consumer_beat(enter("new")).expect("the group is upgraded");
        assert_eq!(beat.assignment, Some(Partitions::default()), "nothing is free yet");
        assert_eq!(house.state(), "Dead", "it is no classic group any more");
        reload(house);
        let mut owned = Partitions::default();
        live(house, &mut clients, 30, |house| {
            beat = house.consumer_beat(owning("new", beat.epoch, &owned)).expect("a member");
            if let Some(assigned) = &beat.assignment {
                owned = assigned.clone();
            }
        });
        assert_eq!(state(house), "Stable");
        let of_new: BTreeSet<i32> = owned.iter().map(|(_, number)| number).collect();
        assert_eq!(of_new.len(), 2);
        let mut all: Vec<i32> =
            clients.iter().flat_map(|c| &c.owned).chain(&of_new).copied().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        assert!(clients[0].owned.is_subset(&before), "what it kept it had before");
        let outcome = house.commit(&commit(&clients[0].id, clients[0].generation, 9));
        assert!(outcome.is_ok(), "classic members commit by their generation");

        // It leaves, and the others are a classic group again.
        house
            .consumer_beat(ConsumerHeartbeat { owned: None, ..owning("new", -1, &owned) })
            .unwrap();
        assert_eq!(state(house), "none");
        reload(house);
        live(house, &mut clients, 30, |_| {});
        assert_eq!(house.state(), "Stable");
        assert_eq!(clients[0].owned.len() + clients[1].owned.len(), 7);
        assert!(clients[0].owned.is_disjoint(&clients[1].owned));
        assert_eq!(reloaded(house).describe(GROUP).members.len(), 2);
    }
}

/// A classic member that has been told to give partitions up, or is about to be, uses them until it joins
/// without them: so in the group that it is converted to.
#[test]
fn what_a_classic_member_gives_up_nobody_gets_before_it_says_so_in_an_upgraded_group() {
    let mut house = House::default();
    let member = |numbers: &[i32], id: &str| JoinGroup {
        protocols: vec![(
            "cooperative-sticky".to_owned(),
            subscription(&numbers.iter().copied().collect()),
        )],
        ..join(id)
    };
    let old = house.join_now(member(&[], "")).member_id;
    house.sync_now(sync(&old, 1, &[(old.as_str(), assignment(&[0, 1, 2, 3]).as_str())])).unwrap();
    // In the next generation it is left two.
    let joined = house.join_now(member(&[0, 1, 2, 3], &old));
    assert_eq!(joined.generation, 2);
    house.send_sync(sync(&old, 2, &[(old.as_str(), assignment(&[0, 1]).as_str())]));

    let beat = house.consumer_beat(enter("new")).expect("the group is upgraded");
    assert_eq!(beat.assignment, Some(Partitions::default()), "it may still use all four");
    assert_eq!(house.beat(&old, 2), Err(GroupRefused::Rebalancing));
    let joined = house.join_now(member(&[0, 1], &old));
    let synced = house.sync_now(sync(&old, joined.generation, &[])).unwrap();
    assert_eq!(assigned(&synced), BTreeSet::from([0, 1]));
    let beat = house.consumer_beat(owning("new", beat.epoch, &Partitions::default())).unwrap();
    assert_eq!(beat.assignment, Some(of_orders(&[2, 3])));
}

#[test]
fn a_classic_member_that_was_removed_learns_it_before_it_joins_an_upgraded_group_again() {
    let mut house = House::default();
    house.consumer_beat(enter("new")).unwrap();
    let old = |owned: &[i32], id: &str| JoinGroup {
        protocols: vec![("range".to_owned(), subscription(&owned.iter().copied().collect()))],
        ..join(id)
    };
    let joined = house.join_now(old(&[], "given-out-before"));
    assert_eq!(joined.member_id, "given-out-before", "it owns nothing yet");
    house.leave(&[("given-out-before", None)]);
    let refused = house.refused_join(old(&[2, 3], "given-out-before"));
    assert_eq!(refused, GroupRefused::UnknownMember);
}

#[test]
fn groups_that_cannot_be_converted_are_not() {
    use tidings_coordinator::{GroupTrouble, MigrationPolicy};
    let not_found = GroupRefused::Other(GroupTrouble::NotFound);
    for (migration, protocol_type) in [
        (MigrationPolicy::Disabled, "consumer"),
        (MigrationPolicy::Downgrade, "consumer"),
        (MigrationPolicy::Bidirectional, "connect"),
    ] {
        let mut house = House::default();
        let mut config = house.groups.config().clone();
        config.consumer.migration = migration;
        house.groups.configure(config);
        let metadata = subscription(&BTreeSet::new());
        let member = house.join_now(JoinGroup {
            protocol_type: protocol_type.into(),
            protocols: vec![("range".into(), metadata)],
            ..join("")
        });
        house.sync_now(sync(&member.member_id, 1, &[])).unwrap();
        assert_eq!(house.consumer_beat(enter("new")), Err(not_found.clone()), "{migration:?}");
        assert_eq!(house.state(), "Stable");
        // Without members it may be of any kind.
        house.leave(&[(&member.member_id, None)]);
        assert_eq!(house.consumer_beat(enter("new")).map(|beat| beat.epoch), Ok(1));
        assert_eq!(
            house.refused_join(JoinGroup { protocol_type: "connect".into(), ..join("") }),
            GroupRefused::InconsistentProtocol
        );
        house.consumer_beat(ConsumerHeartbeat { epoch: -1, ..enter("new") }).unwrap();
        assert_eq!(house.join_now(join("")).generation, 1);
        let groups: Coordinator = reloaded(&house);
        assert_eq!(groups.describe_consumers(GROUP).unwrap_err(), not_found);
    }
}
