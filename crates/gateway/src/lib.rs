//! Everything HTTP: the schema registry and the console, above the engine's seam.
//!
//! Both are axum routers over an [`Engine`](tidings_engine::Engine) and know nothing of the node
//! behind it; figures of the node are handed in by the binary as [`Figure`]s. Nothing here asks
//! anything of the network, and pages load nothing from anywhere else.

mod access;
mod console;
mod events;
mod json_path;
pub mod limits;
mod openapi;
mod origin;
mod registry;
mod route;
mod serve;
mod stall;

pub use access::{Access, AccessOptions, Accounts, BadAccounts, BadHost};
pub use axum::Router;
pub use console::{
    Addresses, Console, ConsoleOptions, Family, Figure, FigureKind, FigureSource, LogAddress,
    METRICS, MetricsText,
};
pub use json_path::JsonPath;
pub use registry::registry;
pub use serve::serve;
pub use tidings_slo as slo;
