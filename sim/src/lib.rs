//! Deterministic simulation of Tidings, and its checkers.
//!
//! One seed decides everything a run does, so any violation can be run again from the seed that
//! is printed with it. [`history`] is what the owner of a store does; [`crash`] cuts the power at
//! every call of a history and lets every call fail; [`model`] is what comes back, too simple to
//! be wrong; [`sites`] tells which calls of the log's sources a run reached; [`damage`] flips every
//! bit of a data directory.

pub mod batches;
pub mod books;
pub mod crash;
pub mod damage;
pub mod disk;
pub mod history;
pub mod model;
pub mod random;
pub mod sites;
mod steps;
