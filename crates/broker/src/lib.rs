//! The node as a value: topics, partitions, groups. No I/O of its own, no clock, no threads.
//!
//! A [`Broker`] takes requests with [`Broker::submit`] and yields completions with
//! [`Broker::poll`]. Decisions apply at once; a reply that promises durability is held until the
//! owner has run the sync that [`Broker::sync_begin`] hands out.
#![forbid(unsafe_code)]

mod broker;
mod config;
pub mod limits;
mod refused;
mod request;

pub use broker::{Broker, BrokerConfig, Completion, Now, OpenReport, SyncBatch, Ticket};
pub use config::{ConfigEntry, ConfigKind, ConfigSource};
pub use refused::{FetchRefused, GroupRefused, GroupTrouble, ProduceRefused, TopicRefused};
pub use request::*;
pub use tidings_log as log;
