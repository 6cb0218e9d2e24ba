//! Deterministic simulation of Tidings, and its checkers.
//!
//! One seed decides everything a run does, so any violation can be run again from the seed that
//! is printed with it. [`crash`] takes a partition's log through seeded histories, cuts the power
//! at every call that changes the disk, and checks what comes back against a [`model`] that is too
//! simple to be wrong.

pub mod crash;
pub mod history;
pub mod model;
pub mod random;
