//! The node as a value: topics, partitions, groups. No I/O of its own, no clock, no threads.
//!
//! A [`Broker`] takes requests with [`Broker::submit`] and yields completions with
//! [`Broker::poll`]. Decisions apply at once; a reply that promises durability is held until the
//! owner has run the sync that [`Broker::sync_begin`] hands out.
#![forbid(unsafe_code)]

mod broker;
mod catalog;
mod config;
mod fetch;
mod groups;
mod held;
pub mod limits;
mod opening;
mod partition;
mod positions;
mod produce;
mod producers;
mod random;
mod refused;
mod request;
mod sync;
mod topic_name;
mod topics;

pub use broker::{Broker, BrokerConfig, Completion, Now, OpenReport, Ticket};
pub use config::{ConfigEntry, ConfigKind, ConfigSource};
pub use refused::{FetchRefused, GroupRefused, GroupTrouble, ProduceRefused, TopicRefused};
pub use request::*;
pub use sync::{SyncBatch, SyncPart};
pub use tidings_coordinator::IN_PROCESS_HOST;
pub use tidings_log as log;
