//! Real clients against the binary: the server under test and the programs that talk to it.
//!
//! Invariants: every test has a server of its own, on ports the system chose and a fresh data
//! directory; nothing waits without a deadline; a server or program that outlives its test is
//! killed. The tests are `tests/clients`; `cargo xtask compat` finds or installs what they need.

mod broker;
pub mod clients;
mod conversation;
mod deadline;
mod loop_disk;
pub mod matrix;
mod reserved;
mod server;
mod small_disk;
mod terminate;

pub use broker::Broker;
pub use conversation::{Conversation, Finished, run};
pub use deadline::eventually;
pub use loop_disk::LoopDisk;
pub use reserved::ReservedPort;
pub use server::{Server, binary};
pub use small_disk::SmallDisk;

use std::path::{Path, PathBuf};

/// The program or folder that `cargo xtask compat` found for a family of clients.
///
/// # Panics
/// When the variable is not set: the test was not started through `cargo xtask compat`.
pub fn handed_over(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    value.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask compat`")).into()
}

/// A file of this crate, for instance a client's script.
pub fn own_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
