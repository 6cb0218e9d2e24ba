//! The coordinator as its owner sees it: behaviours in tables, and a seeded simulation.

mod consumer_protocol;
mod consumer_simulation;
mod house;
mod membership;
mod mixed_simulation;
mod offsets;
mod simulation;
