//! The engine of a cluster against a real Apache Kafka that asks who is there: every way in, every way to get
//! it wrong, and what a user may not do.

mod broker;
mod permissions;
mod tls;

pub(super) use broker::Secured;

/// Passwords, which nobody may ever see. Each is so odd that finding it anywhere is no accident.
const OWNER: &str = "hunter2-of-the-owner";
const GUEST: &str = "hunter3-of-the-guest";
const LIE: &str = "hunter4-is-a-lie";
/// Of the client's private key.
const KEY: &str = "hunter5-of-the-key";
/// A variable that cargo sets for every test: a password in the environment.
const VARIABLE: &str = "CARGO_PKG_NAME";
