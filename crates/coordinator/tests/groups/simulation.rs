//! Members that join, beat, freeze, leave, repeat requests and come back, driven by a seed.
//!
//! Checked: within a generation every partition has one owner; what a fenced or former member
//! commits is refused; every request is answered; after the chaos the group converges; the state
//! is what the kept records say.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_coordinator::{Coordinator, GroupRefused, JoinGroup, Joined};

use crate::house::{GROUP, House, commit, join, static_join, sync};

const PARTITIONS: usize = 7;

/// Sequence of a linear congruential generator; the seed names the run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Out,
    Joining(u64),
    Joined,
    Syncing(u64),
    Working,
}

/// A client as well behaved as Kafka's own, except where the dice freeze it.
struct Client {
    instance: Option<String>,
    id: String,
    generation: i32,
    step: Step,
    plan: Vec<(String, String)>,
    owned: Vec<usize>,
    frozen: u64,
}

struct World {
    house: House,
    dice: Dice,
    clients: Vec<Client>,
    /// Generation → partition → member, as it was handed out.
    owners: BTreeMap<i32, BTreeMap<usize, String>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |index: usize| Client {
            instance: index.is_multiple_of(3).then(|| format!("instance-{index}")),
            id: String::new(),
            generation: -1,
            step: Step::Out,
            plan: Vec::new(),
            owned: Vec::new(),
            frozen: 0,
        };
        Self {
            house: House::default(),
            dice: Dice(seed),
            clients: (0..5).map(client).collect(),
            owners: BTreeMap::new(),
        }
    }

    /// One client does what it does next.
    fn act(&mut self, index: usize, chaos: bool) {
        if self.clients[index].frozen > 0 {
            self.clients[index].frozen -= 1;
            return;
        }
        match self.clients[index].step {
            Step::Out => self.send_join(index),
            Step::Joining(sent) => match self.house.joined(sent) {
                Some(answer) => self.take_join(index, answer),
                None if chaos && self.dice.roll(8) == 0 => self.send_join(index),
                None => {}
            },
            Step::Joined => {
                let client = &self.clients[index];
                let plan: Vec<(&str, &str)> =
                    client.plan.iter().map(|(id, plan)| (id.as_str(), plan.as_str())).collect();
                let request = sync(&client.id, client.generation, &plan);
                self.clients[index].step = Step::Syncing(self.house.send_sync(request));
            }
            Step::Syncing(sent) => {
                if let Some(answer) = self.house.synced(sent) {
                    match answer {
                        Ok(synced) => self.take_assignment(index, &synced.assignment),
                        Err(refused) => self.take_refusal(index, &refused),
                    }
                }
            }
            Step::Working => self.work(index, chaos),
        }
    }

    fn send_join(&mut self, index: usize) {
        let client = &self.clients[index];
        let request = match &client.instance {
            Some(instance) => static_join(&client.id, instance),
            None => JoinGroup { require_known_member_id: true, ..join(&client.id) },
        };
        self.clients[index].step = Step::Joining(self.house.send_join(request));
    }

    fn take_join(&mut self, index: usize, answer: Result<Joined, GroupRefused>) {
        let joined = match answer {
            Ok(joined) => joined,
            Err(refused) => return self.take_refusal(index, &refused),
        };
        let plan = |(at, (id, _, _)): (usize, &(String, Option<String>, Bytes))| {
            let count = joined.members.len();
            let mine = (0..PARTITIONS).filter(|p| p % count == at).map(|p| p.to_string());
            (id.clone(), mine.collect::<Vec<_>>().join(","))
        };
        let client = &mut self.clients[index];
        client.plan = joined.members.iter().enumerate().map(plan).collect();
        client.id = joined.member_id;
        client.generation = joined.generation;
        client.step = Step::Joined;
    }

    fn take_assignment(&mut self, index: usize, assignment: &Bytes) {
        let client = &mut self.clients[index];
        let text = std::str::from_utf8(assignment).expect("the plan is text");
        client.owned = text.split(',').filter_map(|number| number.parse().ok()).collect();
        client.step = Step::Working;
        let owners = self.owners.entry(client.generation).or_default();
        for partition in &client.owned {
            let before = owners.insert(*partition, client.id.clone());
            let same =
                before.as_ref().is_none_or(|id| *id == client.id || client.instance.is_some());
            assert!(same, "{partition} had {before:?} in generation {}", client.generation);
        }
    }

    fn take_refusal(&mut self, index: usize, refused: &GroupRefused) {
        let client = &mut self.clients[index];
        client.owned.clear();
        client.step = Step::Out;
        match refused {
            GroupRefused::MemberIdRequired { member_id } => client.id.clone_from(member_id),
            GroupRefused::UnknownMember | GroupRefused::FencedInstance => client.id.clear(),
            GroupRefused::Rebalancing | GroupRefused::IllegalGeneration => {}
            other => panic!("a well behaved client was refused: {other}"),
        }
    }

    fn work(&mut self, index: usize, chaos: bool) {
        let (id, generation) = (self.clients[index].id.clone(), self.clients[index].generation);
        let outcome = match self.dice.roll(if chaos { 24 } else { 2 }) {
            0 => self.commit(&id, generation),
            2 => {
                self.clients[index].frozen = self.dice.roll(60);
                return;
            }
            3 => {
                // A restart: the id is forgotten, the instance is not.
                self.clients[index].id.clear();
                self.clients[index].step = Step::Out;
                return;
            }
            4 => {
                self.house.leave(&[(&id, None)]);
                self.clients[index].id.clear();
                self.clients[index].step = Step::Out;
                return;
            }
            _ => self.house.beat(&id, generation),
        };
        if let Err(refused) = outcome {
            self.take_refusal(index, &refused);
        }
    }

    /// A commit is accepted exactly from a member of the current generation.
    fn commit(&mut self, id: &str, generation: i32) -> Result<(), GroupRefused> {
        let described = self.house.groups.describe(GROUP);
        let member = described.members.iter().any(|member| member.member_id == id);
        let outcome = self.house.commit(&commit(id, generation, i64::from(generation))).map(|_| ());
        match &outcome {
            Ok(()) => {
                assert!(member, "{id} is no member and committed");
                let kept = self.house.kept_generation();
                assert!(generation >= kept, "{id} committed in {generation} after {kept}");
            }
            Err(GroupRefused::UnknownMember) => assert!(!member, "{id} is a member"),
            Err(_) => {}
        }
        outcome
    }

    fn converged(&self) -> bool {
        let first = self.clients[0].generation;
        self.house.state() == "Stable"
            && self.clients.iter().all(|c| c.step == Step::Working && c.generation == first)
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..400 {
        let index = usize::try_from(world.dice.roll(5)).expect("small");
        world.act(index, true);
        let ms = world.dice.roll(900);
        world.house.pass(ms);
    }
    let mut rounds = 0;
    while !world.converged() {
        rounds += 1;
        assert!(rounds < 600, "seed {seed}: no convergence, {}", world.house.state());
        for index in 0..world.clients.len() {
            world.act(index, false);
        }
        world.house.pass(200);
    }
    let mut owned: Vec<usize> = world.clients.iter().flat_map(|c| c.owned.clone()).collect();
    owned.sort_unstable();
    assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "seed {seed}: one owner each");

    let mut loaded = Coordinator::new();
    for record in &world.house.kept {
        loaded.apply(world.house.now(), record.clone());
    }
    let seen = |groups: &Coordinator| format!("{:?}", groups.describe(GROUP));
    assert_eq!(seen(&loaded), seen(&world.house.groups), "seed {seed}: loading is replay");
}

#[test]
fn groups_converge_under_churn_and_partitions_have_one_owner() {
    for seed in 0..300 {
        run(seed);
    }
}
