//! Puts a node on the network: the Kafka protocol.
//!
//! Bytes become requests in [`tidings_wire`], requests become questions to the node in `handlers/`,
//! one file per API, and the table in `api.rs` says which there are. Invariants: responses of a
//! connection leave in the order of its requests; nothing that a client sends harms another
//! connection; every queue and buffer has its limit in [`limits`].

mod allowances;
mod api;
mod authorized;
mod connection;
mod context;
mod error_code;
mod handlers;
mod incoming;
pub mod limits;
mod pauses;
mod protocol_page;
mod said;
mod server;
mod unimplemented;

pub use error_code::ErrorCode;
pub use protocol_page::protocol_page;
pub use server::{Server, ServerConfig, ServerError, ServerFigures, start};
