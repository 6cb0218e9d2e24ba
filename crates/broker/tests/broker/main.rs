//! The broker as its owner sees it, on a disk in memory.

mod allocator;
mod clock;
mod configuration;
mod crash;
mod deletion;
mod epochs;
mod failing_disk;
mod fetch;
mod groups;
mod hostile;
mod kept;
mod memory;
mod partitions;
mod produce;
mod quotas;
mod read_ahead;
mod rig;
mod room;
mod sessions;
mod topics;
mod transactions;
mod transactions_crash;
mod upkeep;
