//! Events and the user's own database: an outbox out of its transactions, an inbox in them.
//!
//! [`Outbox`] adds events to a transaction of the user's, and a [`Relay`] publishes them, each once.
//! [`Tx`] hands a handler a transaction that also holds the handler's inbox row, so that what the handler
//! changes in the database happens once. Why they are made as they are: docs/decisions/0013.
//!
//! Three databases speak through [`Database`]; what differs between them is the text of statements, in the
//! module of the table that they are about.

mod dialect;
mod inbox;
mod outbox;
mod trouble;
mod tx;

pub use dialect::Database;
pub use inbox::Inbox;
pub use outbox::{Debezium, DebeziumOutbox, Outbox, Relay, Relayed};
pub use trouble::DatabaseError;
pub use tx::Tx;
