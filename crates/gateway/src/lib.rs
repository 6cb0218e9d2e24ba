//! HTTP above the engine's seam, for programs: the schema registry, and events that are published and followed. And
//! what every listener shares: who may ask it, how long a client may take, how it refuses.
//!
//! All of it are axum routers over an [`Engine`](tidings_engine::Engine), and know nothing of the node behind it. Pages for
//! people are the console's, a crate of its own above this one. Nothing here asks anything of the network.

mod access;
pub mod events;
pub mod limits;
mod origin;
mod registry;
pub mod route;
mod serve;
mod stall;
mod trouble;
mod url;

pub use access::{Access, AccessOptions, Accounts, BadAccounts, BadHost, Login, LoginPage};
pub use axum::Router;
pub use origin::only_own_pages;
pub use registry::{Schemas, registry};
pub use serve::serve;
pub use trouble::{ApiTrouble, Body, Trouble, media_type, sent_form};
pub use url::{Cursor, cursor, url_encoded};

use std::time::{SystemTime, UNIX_EPOCH};

/// The system's time, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
