//! Event-driven services whose safe behaviour is the short one.
//!
//! An event is a struct, a handler is an async function that *returns* what happens, and a service
//! is a list of handlers on an [`Engine`](tidings_engine::Engine). The service keeps the position,
//! the outputs, the retries and the dead letters; the handler sees none of them.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidings::{Event, Outcome, Publisher, Received, Service, done};
//! use tidings_engine::Engine;
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(topic = "shop.orders", key = "order")]
//! struct OrderPlaced { order: String, pence: i64 }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(topic = "shop.payments", key = "order")]
//! struct PaymentCompleted { order: String, pence: i64 }
//!
//! async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
//!     done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tidings::Error> {
//! let engine = Engine::in_memory().await?;
//! let payment = Service::new("payment").on(charge).start(&engine).await?;
//! let till = Publisher::open(&engine, "till").await?;
//! till.emit(&OrderPlaced { order: "536365".into(), pence: 13_912 }).await?;
//! payment.until(|figures| figures.emitted == 1).await;
//! payment.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a service promises:
//! - **Ids are derived**: the id of an output is a hash of the input's id, the service, the handler
//!   and the output's number ([`Id::derived`]). A redelivered input makes the same ids.
//! - **Each output is in the log once**, also after a crash at any moment: it is in one transaction
//!   with the position of its input, and an instance that lost its partitions can append nothing. An
//!   event that is in the input twice is handled once among the last inputs of its partition: at least
//!   [`limits::RECENT_SLOTS`] times [`limits::RECENT_BLOCK_MIN`] of them.
//! - **Four outcomes**: [`done`], [`reject`] (dead letter at once), [`retry`] (again, then dead
//!   letter) and [`outage`] (commit nothing, dead-letter nothing, wait). A panic, a timeout and
//!   every error that `?` returns is a failed attempt, as with `retry`.
//! - **Events of every version are read** as the event of today, by upcasters ([`Event::upcast`]), and a
//!   [`golden`](mod@golden) file makes `cargo test` fail on a change that others could not read.
//! - **State by key** is kept in the same transaction ([`Keyed`]), in a compacted topic that others can read as a table.
//!   What spans keys is a fold of the service's own outputs ([`Service::fold`]), rebuilt from the log.
//!
//! What it does not promise: effects outside the log (a call to a bank) happen *at least* once, so
//! hand them [`Once::key`]. `docs/guarantees.md` has the whole table.
#![warn(missing_docs)]

#[cfg(test)]
extern crate self as tidings;

mod backoff;
mod bucket;
mod control;
mod dead_letter;
mod desk;
mod envelope;
mod error;
mod event;
mod exposition;
mod extract;
mod figures;
pub mod golden;
mod handler;
mod histogram;
mod id;
mod keyed;
mod kind;
mod limited;
pub mod limits;
mod metrics;
mod outcome;
mod publisher;
mod replay;
mod report;
pub mod rfc3339;
mod run;
pub mod said_time;
mod service;
pub mod shape;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;
mod state;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod topics;
mod trace;
mod version;

pub use backoff::Backoff;
pub use control::{Act, Selection};
pub use dead_letter::{DeadKind, DeadLetter};
pub use desk::{Audited, CommandOutcome, DeadCause, DeadKey, Desk, Given, NewCommand};
pub use envelope::{DecodeError, Envelope, Received, decode};
pub use error::Error;
pub use event::{Effects, Either, Emissions, Event};
pub use exposition::exposition;
pub use extract::{Dep, Extract, Once, Scope, State, Wiring, Work};
pub use figures::{Figures, HandlerFigures};
pub use handler::Handler;
pub use histogram::Histogram;
pub use id::Id;
pub use keyed::{Absent, Kept, Keyed, Missing, OrCreate, OrDrop, OrPark};
pub use kind::Kind;
pub use limited::{Limited, Limits, Turn};
pub use metrics::{DependencyMetrics, HandlerMetrics, Metrics};
pub use outcome::{OutageOn, Outcome, Stop, done, outage, reject, retry};
pub use publisher::{Outgoing, Publisher};
pub use report::{REPORTS_TOPIC, Report, ReportedHandler};
pub use service::{Running, Service};
pub use shape::Shape;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use sql::{
    Database, DatabaseError, Debezium, DebeziumOutbox, Inbox, Outbox, Relay, Relayed, Tx,
};
/// The library behind [`Outbox`], [`Inbox`] and [`Tx`]: its types are in their signatures.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use sqlx;
pub use task::{BreakerOptions, Outage, POSITION_TEXT};
/// Implements [`trait@Event`] and [`Effects`] for a struct with named fields.
pub use tidings_derive::Event;
pub use version::Older;

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
