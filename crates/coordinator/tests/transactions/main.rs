//! Transactions: every state against every request, and a seeded simulation.

mod decisions;
mod simulation;
mod time;
