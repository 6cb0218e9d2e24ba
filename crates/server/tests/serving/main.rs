//! A real server on a loopback port over a node in memory, driven by the wire crate as its client.

mod administration;
mod client;
mod configs;
mod fetches;
mod groups;
mod hostile;
mod quotas;
mod records;
mod topics;
mod transactions;
mod versions;
