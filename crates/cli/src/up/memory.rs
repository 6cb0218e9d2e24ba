//! `--memory`: one number from which every budget of the node and its listener derives.
//!
//! What is fixed comes first ([`FIXED_BYTES`]), then an eighth for what the allocator keeps between
//! pieces, and the rest is divided by [`SHARES`]. No part is larger than its limit without `--memory`, so
//! past [`MEMORY_DEFAULT_MAX`] more memory changes nothing. That the parts stay below the whole is proved below
//! for every size, at compile time for the smallest.
//!
//! Not counted here: memory of the kernel (sockets, page cache), and what segments are by their number,
//! which the disk bounds.

use std::fmt;
use std::str::FromStr;

use tidings_node::broker::limits::{
    ALL_GROUPS_BYTES_MAX, FETCH_SESSION_PARTITION_BYTES, FETCH_SESSION_PARTITIONS_MAX, KeptLimits,
    PARTITION_BYTES, PARTITIONS_MAX, SAID_BYTES_MAX, TRANSACTION_BYTES_MAX,
};
use tidings_node::limits::{COLD_READERS, DIRECT_BYTES, PRODUCE_BYTES_IN_FLIGHT_MAX};
use tidings_node::{NodeConfig, StoreConfig, broker::log::limits as log};
use tidings_server::limits::{
    ANSWER_BYTES_HELD_MAX, CONNECTION_BYTES, CONNECTIONS_MAX, ConnectionLimits, ELEMENT_BYTES,
    ELEMENTS_IN_FLIGHT_MAX, ELEMENTS_PER_REQUEST_MAX, FETCHED_BYTES_HELD_MAX, FRAME_BYTES_MAX,
    REQUEST_BYTES_IN_FLIGHT_MAX,
};

use super::files::Files;

const MIB: u64 = 1 << 20;
/// The least that `--memory` takes.
pub(super) const MEMORY_MIN: u64 = 512 * MIB;
/// What is used when nothing is said: half of the machine's or the container's memory, but no more.
pub(super) const MEMORY_DEFAULT_MAX: u64 = 6144 * MIB;

/// Code, threads, the console and the registry: 25 MiB when idle.
const PROCESS_BYTES: u64 = 48 * MIB;
/// Batches that are decoded for a request and for upkeep, buffers of the threads that read and flush.
const WORK_BYTES: u64 = 2 * log::DECODING_BYTES_MAX as u64
    + ((COLD_READERS + log::FLUSH_PARTS_MAX) * DIRECT_BYTES) as u64;
const FIXED_BYTES: u64 = PROCESS_BYTES + WORK_BYTES;
/// One part of so many of the whole is left to the allocator.
const ALLOCATOR_SHARE: u64 = 8;
/// Bytes of a place in a compaction's memory.
const SLOT_BYTES: u64 = 24;

/// How the rest is divided, in 64ths.
struct Shares {
    /// The newest batches, for readers and until they are in segments.
    tail: u64,
    /// Frames of requests.
    requests: u64,
    fetched: u64,
    answers: u64,
    elements: u64,
    /// Groups, their members, committed offsets.
    groups: u64,
    connections: u64,
    compaction: u64,
    partitions: u64,
    /// What logs remember of producers.
    producers: u64,
    /// Transactional ids and the partitions of their transactions.
    transactions: u64,
    /// Partitions of fetch sessions.
    sessions: u64,
    /// Configurations, assignments and quotas.
    said: u64,
}

const SHARES: Shares = Shares {
    tail: 9,
    requests: 9,
    fetched: 10,
    answers: 4,
    elements: 6,
    groups: 5,
    connections: 6,
    compaction: 2,
    partitions: 5,
    producers: 2,
    transactions: 2,
    sessions: 3,
    said: 1,
};
const WHOLE: u64 = 64;

/// The parts in bytes; see [`Shares`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    tail: u64,
    requests: u64,
    fetched: u64,
    answers: u64,
    elements: u64,
    groups: u64,
    connections: u64,
    compaction: u64,
    partitions: u64,
    producers: u64,
    transactions: u64,
    sessions: u64,
    said: u64,
}

const fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

impl Parts {
    const fn of(memory: u64) -> Self {
        let rest = memory.saturating_sub(FIXED_BYTES + memory / ALLOCATOR_SHARE);
        let share = rest / WHOLE;
        let tail_max = 2 * FRAME_BYTES_MAX as u64 + (320 * MIB);
        let requests_max = (REQUEST_BYTES_IN_FLIGHT_MAX + FRAME_BYTES_MAX) as u64;
        Self {
            tail: least(share * SHARES.tail, tail_max),
            requests: least(share * SHARES.requests, requests_max),
            fetched: least(share * SHARES.fetched, FETCHED_BYTES_HELD_MAX as u64),
            answers: least(share * SHARES.answers, ANSWER_BYTES_HELD_MAX as u64),
            elements: least(
                share * SHARES.elements,
                (ELEMENTS_IN_FLIGHT_MAX * ELEMENT_BYTES) as u64,
            ),
            groups: least(share * SHARES.groups, ALL_GROUPS_BYTES_MAX as u64),
            connections: least(
                share * SHARES.connections,
                (CONNECTIONS_MAX * CONNECTION_BYTES) as u64,
            ),
            compaction: least(
                share * SHARES.compaction,
                log::COMPACTION_SLOTS_MAX as u64 * SLOT_BYTES,
            ),
            partitions: least(share * SHARES.partitions, (PARTITIONS_MAX * PARTITION_BYTES) as u64),
            producers: least(
                share * SHARES.producers,
                (log::PRODUCERS_MAX * log::PRODUCER_BYTES) as u64,
            ),
            transactions: least(share * SHARES.transactions, TRANSACTION_BYTES_MAX as u64),
            sessions: least(
                share * SHARES.sessions,
                (FETCH_SESSION_PARTITIONS_MAX * FETCH_SESSION_PARTITION_BYTES) as u64,
            ),
            said: least(share * SHARES.said, SAID_BYTES_MAX as u64),
        }
    }

    const fn sum(&self) -> u64 {
        let Self { tail, requests, fetched, answers, elements, groups, connections, .. } = *self;
        let Self { compaction, partitions, producers, transactions, sessions, said, .. } = *self;
        tail + requests
            + fetched
            + answers
            + elements
            + groups
            + connections
            + compaction
            + partitions
            + producers
            + transactions
            + sessions
            + said
    }
}

/// As many bytes of each part as it has 64ths.
const ALL_SHARES: Parts = Parts {
    tail: SHARES.tail,
    requests: SHARES.requests,
    fetched: SHARES.fetched,
    answers: SHARES.answers,
    elements: SHARES.elements,
    groups: SHARES.groups,
    connections: SHARES.connections,
    compaction: SHARES.compaction,
    partitions: SHARES.partitions,
    producers: SHARES.producers,
    transactions: SHARES.transactions,
    sessions: SHARES.sessions,
    said: SHARES.said,
};

const _: () = assert!(ALL_SHARES.sum() == WHOLE);
const _: () = assert!(FIXED_BYTES + MEMORY_MIN / ALLOCATOR_SHARE < MEMORY_MIN);
const _: () =
    assert!(FIXED_BYTES + MEMORY_MIN / ALLOCATOR_SHARE + Parts::of(MEMORY_MIN).sum() <= MEMORY_MIN);

/// A number of bytes, said like `512MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, String> {
        let digits = said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len());
        let (number, unit) = said.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err("a number with KiB, MiB or GiB is wanted".to_owned()),
        };
        let number: u64 = number.parse().map_err(|_| "a number is wanted".to_owned())?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 / MIB)
    }
}

/// Why no budget can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooLittle {
    Memory(Size),
    Connections { said: usize, fit: usize, memory: Size },
    Files { said: usize, fit: usize },
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(said) => {
                write!(f, "{said} is less than the {} that a node needs", Size(MEMORY_MIN))
            }
            Self::Connections { said, fit, memory } => {
                write!(f, "{said} connections are more than the {fit} that fit into {memory}")
            }
            Self::Files { said, fit } => {
                write!(f, "{said} connections are more than the {fit} that files may be open for")
            }
        }
    }
}

/// What the node and the listener may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) memory: Size,
    parts: Parts,
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    /// None: as many as there are.
    files: Option<Files>,
}

impl Budget {
    pub(super) fn of(
        memory: Size,
        connections: Option<usize>,
        connections_per_address: Option<usize>,
    ) -> Result<Self, TooLittle> {
        if memory.0 < MEMORY_MIN {
            return Err(TooLittle::Memory(memory));
        }
        let parts = Parts::of(memory.0);
        assert!(
            FIXED_BYTES + memory.0 / ALLOCATOR_SHARE + parts.sum() <= memory.0,
            "the parts are shares of what is left"
        );
        let fit = parts.connections as usize / CONNECTION_BYTES;
        match connections {
            Some(said) if said > fit => Err(TooLittle::Connections { said, fit, memory }),
            _ => Ok(Self { memory, parts, connections, connections_per_address, files: None }),
        }
    }

    /// No more than there are files for.
    pub(super) fn within(self, files: Files) -> Result<Self, TooLittle> {
        let fit = files.connections;
        match self.connections {
            Some(said) if said > fit => Err(TooLittle::Files { said, fit }),
            _ => Ok(Self { files: Some(files), ..self }),
        }
    }

    pub(super) fn http_connections(&self) -> usize {
        self.files.map_or(usize::MAX, |files| files.http)
    }

    pub(super) fn node(&self) -> NodeConfig {
        let usual = NodeConfig::default();
        NodeConfig {
            store: self.store(usual.store),
            produce_bytes_in_flight_max: self
                .request_bytes_in_flight()
                .min(PRODUCE_BYTES_IN_FLIGHT_MAX),
            fetched_bytes_held_max: self.parts.fetched as usize,
            kept: self.kept(),
            ..usual
        }
    }

    fn kept(&self) -> KeptLimits {
        KeptLimits {
            partitions_max: self.parts.partitions as usize / PARTITION_BYTES,
            said_bytes_max: self.parts.said as usize,
            group_bytes_max: self.parts.groups as usize,
            transaction_bytes_max: self.parts.transactions as usize,
            fetch_session_partitions_max: self.parts.sessions as usize
                / FETCH_SESSION_PARTITION_BYTES,
        }
    }

    /// The tail holds what waits for its flush, which one request may exceed, or the cache.
    fn store(&self, usual: StoreConfig) -> StoreConfig {
        let tail = self.parts.tail - 2 * self.request_bytes() as u64;
        let slots = self.parts.compaction / SLOT_BYTES;
        let slots = 1usize << (u64::BITS - 1 - slots.leading_zeros());
        StoreConfig {
            unflushed_bytes_max: usual.unflushed_bytes_max.min(tail),
            cache_bytes: usual.cache_bytes.min(tail / 5 * 4),
            flush_bytes: usual.flush_bytes.min(tail / 5),
            compaction_slots_max: usual.compaction_slots_max.min(slots),
            open_files_max: self.files.map_or(usual.open_files_max, |files| files.logs),
            producers_max: self.parts.producers as usize / log::PRODUCER_BYTES,
            ..usual
        }
    }

    /// The longest request: one may be read beyond what requests hold together, and one be copied
    /// into the tail beyond what that holds.
    fn request_bytes(&self) -> usize {
        FRAME_BYTES_MAX.min(self.parts.requests as usize / 4).min(self.parts.tail as usize / 4)
    }

    fn request_bytes_in_flight(&self) -> usize {
        self.parts.requests as usize - self.request_bytes()
    }

    pub(super) fn connections(&self) -> ConnectionLimits {
        let fit = self.parts.connections as usize / CONNECTION_BYTES;
        let fit = self.files.map_or(fit, |files| fit.min(files.connections));
        let connections_max = self.connections.unwrap_or(fit);
        let elements = self.parts.elements as usize / ELEMENT_BYTES;
        ConnectionLimits {
            connections_max,
            connections_per_address_max: self
                .connections_per_address
                .map_or(connections_max, |said| said.min(connections_max)),
            request_bytes_max: self.request_bytes(),
            request_bytes_in_flight_max: self
                .request_bytes_in_flight()
                .min(REQUEST_BYTES_IN_FLIGHT_MAX),
            elements_per_request_max: elements.min(ELEMENTS_PER_REQUEST_MAX),
            elements_in_flight_max: elements.min(ELEMENTS_IN_FLIGHT_MAX),
            answer_bytes_held_max: self.parts.answers as usize,
            ..ConnectionLimits::default()
        }
    }
}

/// The memory to use when nothing is said.
pub(super) fn default_memory() -> Size {
    let kibibytes = |text: String| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(kibibytes);
    // Version 2 of control groups, then version 1; "max" is no number and no limit.
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.iter().find_map(|path| read(path)?.trim().parse::<u64>().ok());
    Size(share_of(machine, group))
}

/// Half of the smaller, within what is reasonable.
fn share_of(machine: Option<u64>, group: Option<u64>) -> u64 {
    let there = machine.into_iter().chain(group).min();
    there.map_or(MEMORY_DEFAULT_MAX, |bytes| bytes / 2).clamp(MEMORY_MIN, MEMORY_DEFAULT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(mebibytes: u64) -> Budget {
        Budget::of(Size(mebibytes * MIB), None, None).unwrap()
    }

    fn kept_bytes(kept: &KeptLimits) -> usize {
        kept.partitions_max * PARTITION_BYTES
            + kept.said_bytes_max
            + kept.group_bytes_max
            + kept.transaction_bytes_max
            + kept.fetch_session_partitions_max * FETCH_SESSION_PARTITION_BYTES
    }

    #[test]
    fn the_parts_stay_below_the_whole_and_none_is_nothing() {
        for mebibytes in (512..8192).step_by(37).chain([1 << 20, 1 << 40]) {
            let budget = budget(mebibytes);
            let (node, limits) = (budget.node(), budget.connections());
            let store = node.store;
            let tail = store.unflushed_bytes_max.max(store.cache_bytes)
                + 2 * limits.request_bytes_max as u64;
            let requests = limits.request_bytes_in_flight_max + limits.request_bytes_max;
            let taken = FIXED_BYTES
                + tail
                + requests as u64
                + node.fetched_bytes_held_max as u64
                + kept_bytes(&node.kept) as u64
                + (store.producers_max * log::PRODUCER_BYTES) as u64
                + limits.answer_bytes_held_max as u64
                + (limits.elements_in_flight_max * ELEMENT_BYTES) as u64
                + (limits.connections_max * CONNECTION_BYTES) as u64
                + store.compaction_slots_max as u64 * SLOT_BYTES;
            assert!(taken <= budget.memory.0 / 8 * 7, "{mebibytes} MiB: {taken} bytes");
            assert!(store.flush_bytes < store.unflushed_bytes_max, "{mebibytes} MiB");
            assert!(store.compaction_slots_max.is_power_of_two(), "{mebibytes} MiB");
            assert!(limits.request_bytes_max >= 4 << 20, "{mebibytes} MiB");
            assert!(limits.request_bytes_max <= limits.request_bytes_in_flight_max);
            assert!(limits.elements_per_request_max >= 10_000, "{mebibytes} MiB");
            assert!(limits.connections_max >= 900, "{mebibytes} MiB");
            assert!(node.kept.partitions_max >= 1000, "{mebibytes} MiB");
            assert!(node.kept.fetch_session_partitions_max >= 5000, "{mebibytes} MiB");
            assert!(store.producers_max >= 3000, "{mebibytes} MiB");
        }
    }

    #[test]
    fn with_enough_memory_every_limit_is_what_it_is_without() {
        let budget = budget(6144);
        assert_eq!(budget.connections(), ConnectionLimits::default());
        let (node, usual) = (budget.node(), NodeConfig::default());
        assert_eq!((node.store, node.kept), (usual.store, usual.kept));
        assert_eq!(node.produce_bytes_in_flight_max, usual.produce_bytes_in_flight_max);
    }

    #[test]
    fn too_little_is_refused() {
        let memory = Size(MEMORY_MIN - 1);
        assert_eq!(Budget::of(memory, None, None), Err(TooLittle::Memory(memory)));
        let memory = Size(MEMORY_MIN);
        let fit = budget(512).connections().connections_max;
        let refused = TooLittle::Connections { said: fit + 1, fit, memory };
        assert_eq!(Budget::of(memory, Some(fit + 1), None), Err(refused));
        let limits = Budget::of(memory, Some(7), Some(9)).unwrap().connections();
        assert_eq!((limits.connections_max, limits.connections_per_address_max), (7, 7));
        let files = Files::of(300, 0).unwrap();
        let within = budget(512).within(files).unwrap();
        assert_eq!(within.connections().connections_max, files.connections);
        assert_eq!(within.node().store.open_files_max, files.logs);
        let said = files.connections + 1;
        let refused = TooLittle::Files { said, fit: files.connections };
        let budget = Budget::of(memory, Some(said), None).unwrap();
        assert_eq!(budget.within(files), Err(refused));
    }

    #[test]
    fn sizes_are_said_in_powers_of_two() {
        for (said, bytes) in [
            ("1024", Ok(1024)),
            ("512MiB", Ok(512 << 20)),
            ("2g", Ok(2 << 30)),
            ("3 KiB", Ok(3 << 10)),
            ("MiB", Err("a number is wanted".to_owned())),
            ("1MB", Err("a number with KiB, MiB or GiB is wanted".to_owned())),
            ("99999999999g", Err("too large".to_owned())),
        ] {
            assert_eq!(said.parse::<Size>().map(|size| size.0), bytes, "{said}");
        }
    }

    #[test]
    fn half_of_what_is_there_is_used_unless_said() {
        for (machine, group, wanted) in [
            (Some(2 << 30), None, 1 << 30),
            (Some(16 << 30), Some(2 << 30), 1 << 30),
            (Some(16 << 30), Some(u64::MAX / 2), MEMORY_DEFAULT_MAX),
            (Some(256 << 20), None, MEMORY_MIN),
            (None, None, MEMORY_DEFAULT_MAX),
        ] {
            assert_eq!(share_of(machine, group), wanted, "{machine:?} {group:?}");
        }
    }
}
