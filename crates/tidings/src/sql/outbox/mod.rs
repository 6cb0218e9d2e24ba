//! The outbox: a table that events wait in until a relay has published them.
//!
//! An event is a row, added in the user's transaction and complete: topic, key, payload and every header of its
//! envelope, so that the relay has nothing to decide. Rows of one key are added one transaction after the other
//! (its *lane* is locked until the transaction ends), so the order of the rows is that of the commits. A row is
//! known by its event's id, and deleted when it is published.

mod debezium;
mod notes;
mod relay;
mod table;

use std::sync::Arc;

use sqlx::{Pool, Transaction};
use tidings_engine::{Engine, SentRecord};

use super::{Database, DatabaseError, dialect::Statement};
use crate::{Error, Id, Outgoing, limits, publisher::record_bytes};
use table::Table;

pub use debezium::{Debezium, DebeziumOutbox};
pub use relay::{Relay, Relayed};

/// Events that are published if, and only if, the transaction that they are added in is committed.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn place(pool: tidings::sqlx::SqlitePool, engine: &tidings_engine::Engine) -> Result<(), tidings::DatabaseError> {
/// # use serde::{Deserialize, Serialize};
/// use tidings::{Outbox, sqlx};
///
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # struct OrderPlaced { order: String, pence: i64 }
/// let outbox = Outbox::open(&pool, "shop_outbox").await?;
/// let relay = outbox.relay(engine);
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("INSERT INTO orders (name) VALUES ('536365')").execute(&mut *tx).await?;
/// outbox.add(&mut tx, OrderPlaced { order: "536365".into(), pence: 13_912 }).await?;
/// tx.commit().await?;
///
/// relay.until(|relayed| relayed.published == 1).await;
/// relay.stop().await;
/// # Ok(()) }
/// ```
///
/// **Order.** Events of one topic and key are published in the order in which their transactions commit. For that, a
/// transaction that adds one waits for those that have added one of the same key and are not over. Add
/// late in a transaction, and several keys in one order everywhere; what the database finds to be a deadlock it
/// refuses. [`Outbox::unordered`] does without.
#[derive(Debug)]
pub struct Outbox<Db: Database> {
    pool: Pool<Db>,
    name: String,
    source: String,
    is_ordered: bool,
    is_told: bool,
}

impl<Db: Database> Clone for Outbox<Db> {
    fn clone(&self) -> Self {
        let Self { pool, name, source, .. } = self;
        Self { pool: pool.clone(), name: name.clone(), source: source.clone(), ..*self }
    }
}

impl<Db: Database> Outbox<Db> {
    /// The outbox of that name: its table, which is made unless it is there, the `ce_source` of its events, and its transactional
    /// id in the log. No two outboxes that publish into one log may have one name.
    ///
    /// A name has small letters, digits and `_`, up to [`limits::OUTBOX_NAME_LENGTH_MAX`].
    pub async fn open(pool: &Pool<Db>, name: impl Into<String>) -> Result<Self, DatabaseError> {
        let name = legal_name(name.into())?;
        let mut connection = pool.acquire().await?;
        make::<Db>(&mut connection, &name, &table::schema(Db::DIALECT, &name)).await?;
        let source = name.clone();
        Ok(Self { pool: pool.clone(), name, source, is_ordered: true, is_told: true })
    }

    /// The statements that make the table, for those who make their tables themselves.
    pub fn schema(name: impl Into<String>) -> Result<Vec<String>, DatabaseError> {
        Ok(table::schema(Db::DIALECT, &legal_name(name.into())?))
    }

    /// What the events say in `ce_source` instead of the outbox's name.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// No lane is locked: transactions that add events of one key do not wait for each other, and their events may be
    /// published in another order than they were committed. Those of one transaction keep theirs.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.is_ordered = false;
        self
    }

    /// PostgreSQL: transactions send no NOTIFY, and the relay looks every [`limits::OUTBOX_POLL`] as it does
    /// with the other databases. For a server with thousands of commits a second: those that notify are
    /// committed one by one.
    #[must_use]
    pub fn polled(mut self) -> Self {
        self.is_told = false;
        self
    }

    /// Adds an event to the transaction; its id.
    ///
    /// An event is anything with `derive(Event)`, or an [`Outgoing`] for one with an id or headers of its own. The same
    /// id twice is refused by the database as long as the first is not published. Nothing is
    /// added on any error; on PostgreSQL the transaction can then only be rolled back.
    pub async fn add(
        &self,
        tx: &mut Transaction<'_, Db>,
        event: impl Into<Outgoing>,
    ) -> Result<Id, DatabaseError> {
        let record = event.into().into_record(&self.source)?;
        let bytes = record_bytes(&record);
        let (id, event_type) = identity(&record);
        if bytes > limits::INPUT_OUTPUT_BYTES_MAX {
            let most = limits::INPUT_OUTPUT_BYTES_MAX;
            let what = format!("{event_type} of {bytes} bytes exceeds {most} bytes");
            return Err(invalid(what).into());
        }
        if id.as_str().len() > limits::OUTBOX_ID_BYTES_MAX {
            let most = limits::OUTBOX_ID_BYTES_MAX;
            let what = format!("the id of {event_type}, {id}, is longer than {most} bytes");
            return Err(invalid(what).into());
        }
        for statement in self.before(&record) {
            // A lane that is not in its table cannot be locked.
            if Db::fetch(&mut *tx, statement, usize::MAX).await?.is_empty() {
                return Err(DatabaseError::Refused(sqlx::Error::RowNotFound));
            }
        }
        Db::execute(&mut *tx, table::insert(&self.name, &id, &event_type, record)).await?;
        Ok(id)
    }

    /// Locks the record's lane, and tells the relay when the transaction is committed.
    fn before(&self, record: &SentRecord) -> Vec<Statement> {
        let lane = self.is_ordered.then(|| table::lane(&self.name, record));
        table::before_insert(Db::DIALECT, &self.name, lane, self.is_told)
    }

    /// Starts a relay from this outbox into the log, in a task of its own.
    ///
    /// As many may be started, in as many processes, as are wanted: one of them leads, the others stand by.
    pub fn relay(&self, engine: &Engine) -> Relay {
        let table = Table::of_outbox(&self.name);
        relay::start(&self.pool, engine, &self.name, Arc::new(table), self.is_told)
    }
}

/// What a record's envelope says that it is.
fn identity(record: &SentRecord) -> (Id, String) {
    let header = |name| {
        let header = record.headers.iter().find(|header| header.name == name);
        let value = header.and_then(|header| header.value.as_deref()).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    (header("ce_id").into(), header("ce_type"))
}

fn invalid(what: String) -> Error {
    tidings_engine::Error::Invalid(what).into()
}

/// Names of tables, topics and locks are made of it.
fn legal_name(name: String) -> Result<String, DatabaseError> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if starts && name.len() <= limits::OUTBOX_NAME_LENGTH_MAX && name.chars().all(legal) {
        return Ok(name);
    }
    let what = "an outbox: small letters, digits and `_`, no digit first, up to 40";
    Err(DatabaseError::Name { name, what })
}

/// Makes a table unless it is there: who may not make tables may well use one that was made.
pub(super) async fn make<Db: Database>(
    connection: &mut Db::Connection,
    table: &str,
    schema: &[String],
) -> Result<(), sqlx::Error> {
    let look = Statement::once(format!("SELECT 1 FROM {table} WHERE 1 = 0"));
    if Db::fetch(connection, look, usize::MAX).await.is_ok() {
        return Ok(());
    }
    for sql in schema {
        // PostgreSQL refuses one of two that make the same table at once, and the other has made it then.
        if Db::execute(connection, Statement::once(sql.as_str())).await.is_err() {
            Db::execute(connection, Statement::once(sql.as_str())).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_a_table_and_a_topic() {
        for (name, expected) in [
            ("shop_outbox", true),
            ("_2", true),
            ("", false),
            ("2nd", false),
            ("Shop", false),
            ("shop.outbox", false),
            ("shop; DROP TABLE orders", false),
            (&"x".repeat(41), false),
        ] {
            assert_eq!(legal_name(name.to_owned()).is_ok(), expected, "{name}");
        }
    }
}
