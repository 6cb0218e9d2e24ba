//! Transactions: every state against every request, and a seeded simulation.

mod decisions;
mod offsets;
mod simulation;
mod time;
