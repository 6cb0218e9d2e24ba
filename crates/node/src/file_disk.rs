//! The [`Disk`](tidings_broker::log::Disk) of a real file system, below one data directory.

/// Files below a data directory that this process has locked for itself.
#[derive(Debug)]
pub struct FileDisk {}
