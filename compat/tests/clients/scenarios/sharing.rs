//! What the members of one group own and read, as they see it, and how they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Scope, ScopedJoinHandle};

use serde_json::{Value, json};
use tidings_compat::eventually;

use super::calls::{Answer, Client, PATIENCE, Producer, Producing, Protocol};
use super::script::{create, numbered};

const PARTITIONS: i32 = 4;
const BATCH: usize = 40;

#[derive(Default)]
struct Seen {
    members: usize,
    owners: BTreeMap<i32, usize>,
    owned: BTreeMap<usize, BTreeSet<i32>>,
    read: BTreeMap<String, usize>,
    overlaps: usize,
    together: usize,
}

/// What all members have seen.
#[derive(Default, Clone)]
pub(crate) struct Sharing(Arc<Mutex<Seen>>);

impl Sharing {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no member panics with the lock")
    }

    /// How many different records were read.
    pub(crate) fn distinct(&self) -> usize {
        self.seen().read.len()
    }

    fn facts(&self) -> Value {
        let seen = self.seen();
        json!({
            "read": seen.read.len(),
            "read twice": seen.read.values().map(|times| times - 1).sum::<usize>(),
            "two owners": seen.overlaps,
            "owners at a time": seen.together,
        })
    }
}

/// A member as the client that consumes sees it.
pub(crate) struct Member {
    sharing: Sharing,
    number: usize,
    leaving: AtomicBool,
}

impl Member {
    pub(crate) fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn assigned(&self, partitions: impl IntoIterator<Item = i32>) {
        let mut seen = self.sharing.seen();
        for partition in partitions {
            let before = seen.owners.insert(partition, self.number);
            if before.is_some_and(|before| before != self.number) {
                seen.overlaps += 1;
            }
            seen.owned.entry(self.number).or_default().insert(partition);
        }
        let busy = seen.owned.values().filter(|owned| !owned.is_empty()).count();
        seen.together = seen.together.max(busy);
    }

    pub(crate) fn revoked(&self, partitions: impl IntoIterator<Item = i32>) {
        let mut seen = self.sharing.seen();
        for partition in partitions {
            if seen.owners.get(&partition) == Some(&self.number) {
                seen.owners.remove(&partition);
            }
            seen.owned.entry(self.number).or_default().remove(&partition);
        }
    }

    pub(crate) fn saw(&self, partition: i32, value: String) {
        let mut seen = self.sharing.seen();
        if seen.owners.get(&partition) != Some(&self.number) {
            seen.overlaps += 1;
        }
        *seen.read.entry(value).or_default() += 1;
    }
}

/// A member that consumes in a thread of its own; told to leave when it is dropped.
pub(crate) struct Joined<'scope> {
    member: Arc<Member>,
    thread: Option<ScopedJoinHandle<'scope, Answer<()>>>,
}

impl<'scope> Joined<'scope> {
    pub(crate) fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        client: &'env dyn Client,
        (group, topic): (String, String),
        how: Protocol,
        sharing: &Sharing,
    ) -> Self {
        let mut seen = sharing.seen();
        seen.members += 1;
        let (sharing, number) = (sharing.clone(), seen.members);
        let member = Arc::new(Member { sharing, number, leaving: AtomicBool::new(false) });
        let hears = Arc::clone(&member);
        let thread = scope.spawn(move || client.member(&group, &topic, how, &hears));
        Self { member, thread: Some(thread) }
    }

    /// Fails when the member has ended by itself.
    pub(crate) fn check(&mut self) {
        if self.thread.as_ref().is_some_and(ScopedJoinHandle::is_finished) {
            let ended = self.thread.take().map(ScopedJoinHandle::join);
            panic!("a member ended: {ended:?}");
        }
    }

    /// Returns when the member is out of the group.
    pub(crate) fn leave(mut self) {
        self.member.leaving.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it has not left");
        thread.join().expect("it does not panic").expect("it leaves");
    }

    fn share(&self) -> usize {
        self.member.sharing.seen().owned.get(&self.member.number).map_or(0, BTreeSet::len)
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.member.leaving.store(true, Ordering::Relaxed);
    }
}

/// A group through which records flow while members come and go.
struct Group<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    client: &'env dyn Client,
    name: String,
    sharing: Sharing,
    producer: Box<dyn Producer>,
    sent: usize,
}

impl<'scope, 'env> Group<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>, client: &'env dyn Client, name: &str) -> Self {
        create(client, name, PARTITIONS);
        let producer = client.producer(Producing::With { codec: "none" });
        let (name, sharing) = (name.to_owned(), Sharing::default());
        Self { scope, client, name, sharing, producer, sent: 0 }
    }

    fn flow(&mut self) {
        let mut records = numbered(&format!("batch{}", self.sent), BATCH);
        for (record, partition) in records.iter_mut().zip((0..PARTITIONS).cycle()) {
            record.partition = Some(partition);
        }
        self.producer.send(&self.name, &records).expect("sent");
        self.sent += BATCH;
    }

    fn join(&mut self, how: Protocol) -> Joined<'scope> {
        self.flow();
        let names = (self.name.clone(), self.name.clone());
        Joined::new(self.scope, self.client, names, how, &self.sharing)
    }

    /// Waits until these own all partitions, and each of them some.
    fn settled(&mut self, members: &mut [&mut Joined<'_>]) {
        let settled = eventually(PATIENCE, || {
            members.iter_mut().for_each(|member| member.check());
            let shares: Vec<usize> = members.iter().map(|member| member.share()).collect();
            let all = shares.iter().sum::<usize>() == PARTITIONS as usize;
            (all && !shares.contains(&0)).then_some(())
        });
        settled.expect("each member owns some partitions");
        self.flow();
    }

    /// The last member reads what is left, and leaves.
    fn end(self, mut last: Joined<'_>) -> Value {
        let all = eventually(PATIENCE, || {
            last.check();
            (self.sharing.distinct() == self.sent).then_some(())
        });
        assert!(all.is_some(), "{} of {} records came", self.sharing.distinct(), self.sent);
        last.leave();
        self.sharing.facts()
    }
}

/// Members join and leave while records flow.
pub(crate) fn churn(client: &dyn Client, name: &str, how: Protocol) -> Value {
    thread::scope(|scope| {
        let mut group = Group::new(scope, client, name);
        let mut first = group.join(how);
        group.settled(&mut [&mut first]);
        let mut second = group.join(how);
        group.settled(&mut [&mut first, &mut second]);
        let mut third = group.join(how);
        group.settled(&mut [&mut first, &mut second, &mut third]);
        first.leave();
        group.settled(&mut [&mut second, &mut third]);
        second.leave();
        group.settled(&mut [&mut third]);
        group.end(third)
    })
}

/// A classic group becomes one of the consumer protocol, is a classic one again, and is moved for good.
pub(crate) fn migration(client: &dyn Client, name: &str, classic: Protocol) -> Value {
    thread::scope(|scope| {
        let mut group = Group::new(scope, client, name);
        let mut first = group.join(classic);
        group.settled(&mut [&mut first]);
        let mut second = group.join(classic);
        group.settled(&mut [&mut first, &mut second]);
        let mut third = group.join(Protocol::Consumer);
        group.settled(&mut [&mut first, &mut second, &mut third]);
        third.leave();
        group.settled(&mut [&mut first, &mut second]);
        let mut fourth = group.join(Protocol::Consumer);
        group.settled(&mut [&mut first, &mut second, &mut fourth]);
        first.leave();
        group.settled(&mut [&mut second, &mut fourth]);
        second.leave();
        group.settled(&mut [&mut fourth]);
        group.end(fourth)
    })
}
