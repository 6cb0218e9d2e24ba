//! Offsets committed in transactions: pending until the producer's transaction ends, then committed
//! or forgotten (KIP-98, KIP-447).
//!
//! Invariant: of two commits to one partition of a group the later one in the log counts, whichever
//! transaction ends first. A commit outside transactions, or a tombstone, therefore supersedes what is
//! pending when it is made.
//!
//! Limits: [`limits::PENDING_OFFSETS_MAX`] on one node, and the memory of all groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::Coordinator;
use crate::group::{Group, State};
use crate::memory::pending_bytes;
use crate::offsets::tombstone;
use crate::{
    CommitDecision, CommitOffsets, Committed, ConsumerTrouble, GroupRefused, GroupTrouble, Now,
    Record, TransactionEnd, limits,
};

/// Group, topic and partition.
type Place = (String, String, i32);

#[derive(Debug)]
struct Pending {
    /// Its place among all that was ever pending.
    order: u64,
    /// None once something later was committed.
    committed: Option<Committed>,
}

#[derive(Debug, Default)]
pub(crate) struct PendingOffsets {
    orders: u64,
    count: usize,
    by_producer: BTreeMap<i64, BTreeMap<Place, Pending>>,
    producers: BTreeMap<Place, BTreeSet<i64>>,
}

impl PendingOffsets {
    fn add(&mut self, producer_id: i64, place: Place, committed: Committed) {
        self.orders += 1;
        let pending = Pending { order: self.orders, committed: Some(committed) };
        self.producers.entry(place.clone()).or_default().insert(producer_id);
        let of_producer = self.by_producer.entry(producer_id).or_default();
        self.count += usize::from(of_producer.insert(place, pending).is_none());
    }

    /// Something was committed there after what was pending before `order`.
    fn supersede(&mut self, place: &Place, order: u64) {
        for producer_id in self.producers.get(place).into_iter().flatten() {
            let of_producer = self.by_producer.get_mut(producer_id);
            let pending = of_producer.and_then(|places| places.get_mut(place));
            if let Some(pending) = pending.filter(|pending| pending.order < order) {
                pending.committed = None;
            }
        }
    }

    /// All that the producer has pending, oldest first.
    fn take(&mut self, producer_id: i64) -> Vec<(u64, Place, Option<Committed>)> {
        let places = self.by_producer.remove(&producer_id).unwrap_or_default();
        self.count -= places.len();
        let mut taken = Vec::with_capacity(places.len());
        for (place, Pending { order, committed }) in places {
            if let Some(producers) = self.producers.get_mut(&place) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.producers.remove(&place);
                }
            }
            taken.push((order, place, committed));
        }
        taken.sort_by_key(|(order, ..)| *order);
        taken
    }

    /// What it takes of memory.
    pub(crate) fn held_bytes(&self) -> usize {
        let places = self.by_producer.values().flatten();
        let bytes = places.map(|((group, topic, _), pending)| {
            let metadata = pending.committed.as_ref().map_or(0, |held| held.metadata.len());
            pending_bytes(group, topic, metadata)
        });
        bytes.sum()
    }

    pub(crate) fn is_pending(&self, place: &Place) -> bool {
        self.producers.contains_key(place)
    }

    /// Whether something is pending where the record says something.
    pub(crate) fn touches(&self, record: &Record) -> bool {
        match record {
            Record::Offset { group, topic, partition, .. } => {
                self.is_pending(&(group.clone(), topic.clone(), *partition))
            }
            Record::Group { .. } | Record::Consumer { .. } => false,
        }
    }

    pub(crate) fn supersede_all(&mut self, place: &Place) {
        self.supersede(place, u64::MAX);
    }

    /// Every topic in which something is pending.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.producers.keys().map(|(_, topic, _)| topic.as_str())
    }

    /// The tombstones of what is pending in a topic.
    pub(crate) fn tombstones_in(&self, topic: &str) -> impl Iterator<Item = Record> {
        self.tombstones(move |(_, named, _)| named == topic)
    }

    /// Whether something is pending in the group, which may have nothing else.
    fn knows(&self, group: &str) -> bool {
        self.producers.keys().any(|(named, ..)| named == group)
    }

    /// The tombstones of what is pending in a group.
    pub(crate) fn tombstones_of(&self, group: &str) -> impl Iterator<Item = Record> {
        self.tombstones(move |(named, ..)| named == group)
    }

    fn tombstones(&self, which: impl Fn(&Place) -> bool) -> impl Iterator<Item = Record> {
        let places = self.producers.keys().filter(move |place| which(place));
        places.map(|(group, topic, partition)| tombstone(group, topic, *partition))
    }
}

impl Coordinator {
    /// Whether offsets may be committed in a transaction, and the records that do it; changes nothing.
    /// Unlike other commits these are taken during a rebalance, and from producers that do not say
    /// which member they work for.
    pub fn decide_commit_in_transaction(
        &self,
        now: Now,
        request: &CommitOffsets,
    ) -> Result<CommitDecision, GroupRefused> {
        if request.group.is_empty() || request.group.len() > limits::NAME_BYTES_MAX {
            return Err(GroupRefused::InvalidGroup);
        }
        match self.group(&request.group) {
            Some(_) if !says_who(request) => {}
            Some(group) => match self.consumer_group(&request.group) {
                Some(consumers) => consumers.may_commit(request).map_err(without_epochs)?,
                None => group.may_commit_in_transaction(request)?,
            },
            None if request.generation >= 0 && self.pending.knows(&request.group) => {
                return Err(GroupRefused::UnknownMember);
            }
            None if request.generation >= 0 => return Err(GroupRefused::IllegalGeneration),
            None if self.is_full() => return Err(GroupRefused::Full),
            None => {}
        }
        let wanted = self.pending.count.saturating_add(request.partitions.len());
        if wanted > limits::PENDING_OFFSETS_MAX {
            return Err(GroupRefused::Full);
        }
        Ok(self.check_and_record(now, request))
    }

    /// Folds one record of a producer's transaction into the state.
    pub fn apply_in_transaction(&mut self, producer_id: i64, record: Record) {
        // Groups and tombstones are never part of one.
        if let Record::Offset { group, topic, partition, committed: Some(committed) } = record {
            self.pending.add(producer_id, (group, topic, partition), committed);
        }
    }

    /// Folds the end of a producer's transaction into the state.
    pub fn end_transaction(&mut self, now: Now, producer_id: i64, end: TransactionEnd) {
        for (order, place, committed) in self.pending.take(producer_id) {
            let Some(committed) = committed.filter(|_| end == TransactionEnd::Commit) else {
                continue;
            };
            self.pending.supersede(&place, order);
            self.put_offset(now, place, committed);
        }
    }
}

impl Group {
    fn may_commit_in_transaction(&self, request: &CommitOffsets) -> Result<(), GroupRefused> {
        if self.state == State::Empty && request.generation < 0 {
            return Ok(());
        }
        self.validate(&request.member_id, request.instance_id.as_deref())?;
        self.validate_generation(request.generation)
    }
}

/// Whether the producer says for which member it works.
fn says_who(request: &CommitOffsets) -> bool {
    request.generation >= 0 || !request.member_id.is_empty() || request.instance_id.is_some()
}

/// No version of the request knows of member epochs.
fn without_epochs(refused: GroupRefused) -> GroupRefused {
    match refused {
        GroupRefused::Other(GroupTrouble::Consumer(ConsumerTrouble::StaleEpoch { .. })) => {
            GroupRefused::IllegalGeneration
        }
        other => other,
    }
}
