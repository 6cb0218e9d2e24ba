//! The commands that talk to a cluster, and those that look at a data directory.

pub(crate) mod completion;
mod consent;
mod consume;
mod context;
mod copy;
mod dead;
mod doctor;
mod generate;
mod group;
mod log;
mod produce;
mod top;
mod topic;
mod watch;

pub(crate) use consume::{Decode, Rate, consume};
pub(crate) use context::{config, context};
pub(crate) use copy::copy;
pub(crate) use dead::dead;
pub(crate) use doctor::doctor;
pub(crate) use generate::{cheat, generate, objectives};
pub(crate) use group::group;
pub(crate) use log::log;
pub(crate) use produce::produce;
pub(crate) use top::top;
pub(crate) use topic::topic;
