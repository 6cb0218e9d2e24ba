//! Confluent's schema registry API over the topic `_schemas`.
//!
//! Every answer to a write is given after its records are durable and folded. Any number of registries may share a
//! topic: none gives away an id that another has given. Not supported, and
//! refused as such: Protobuf, references, metadata and rule sets, levels other than `NONE`, modes
//! other than `READWRITE`, contexts.

mod answer;
mod routes;
mod schemas;
mod store;

pub use schemas::Schemas;

use axum::Router;
use tidings_engine::{Engine, Error};

/// The registry on this engine, loaded from `_schemas` if that topic is there. The topic is made
/// by the first write.
pub async fn registry(engine: Engine) -> Result<Router, Error> {
    Ok(routes::router(store::Store::open(engine).await?))
}
