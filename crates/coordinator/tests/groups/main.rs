//! The coordinator as its owner sees it: behaviours in tables, and a seeded simulation.

mod house;
mod membership;
mod offsets;
mod simulation;
