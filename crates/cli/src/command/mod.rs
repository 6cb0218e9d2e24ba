//! The commands that talk to a cluster.

mod consume;
mod group;
mod produce;
mod topic;

pub(crate) use consume::consume;
pub(crate) use group::group;
pub(crate) use produce::produce;
pub(crate) use topic::topic;
