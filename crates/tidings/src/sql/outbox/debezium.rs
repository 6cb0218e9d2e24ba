//! Tables in the layout of Debezium's outbox event router: id, aggregatetype, aggregateid, type, payload.
//!
//! Others write such a table; here it is read and emptied. A record is what the router would make of the row with its
//! defaults, and carries the envelope of an event as well, so that services can handle it.
//!
//! Source: Debezium's documentation, "Outbox Event Router", basic outbox table.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use sqlx::Pool;
use tidings_engine::{Engine, Header, SentRecord};

use super::{
    Relay, legal_name, relay,
    table::{Row, Table},
};
use crate::sql::{
    Database, DatabaseError,
    dialect::{Cells, Dialect, Statement, marks, text},
};

/// Where such a table is and how its rows are published.
#[derive(Clone, Debug)]
pub struct Debezium {
    table: String,
    order_by: Option<String>,
    topic_prefix: String,
}

impl Debezium {
    /// A table of that name, which may have its schema before it: `outboxevent`, `shop.outbox`.
    pub fn table(name: impl Into<String>) -> Self {
        let topic_prefix = "outbox.event.".to_owned();
        Self { table: name.into(), order_by: None, topic_prefix }
    }

    /// A column by which the rows are published, such as an identity or a time.
    ///
    /// The five columns of the layout say nothing of an order, so without one there is none. With one, events
    /// of a key keep the order of their commits as far as transactions of one key do not run side by side.
    #[must_use]
    pub fn order_by(mut self, column: impl Into<String>) -> Self {
        self.order_by = Some(column.into());
        self
    }

    /// What the topic's name has before the aggregate's type, instead of `outbox.event.`.
    #[must_use]
    pub fn topic_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.topic_prefix = prefix.into();
        self
    }
}

/// An outbox that others write, in Debezium's layout.
///
/// A row becomes a record of the topic `outbox.event.<aggregatetype>` with the key `aggregateid`, the value
/// `payload` and the header `id`; a row without a payload is a tombstone. `ce_id`, `ce_type` and
/// `ce_source` (the outbox's name) make it an event for services.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn relay(pool: tidings::sqlx::SqlitePool, engine: &tidings_engine::Engine) -> Result<(), tidings::DatabaseError> {
/// use tidings::{Debezium, DebeziumOutbox};
///
/// let table = Debezium::table("outboxevent").order_by("seq");
/// let relay = DebeziumOutbox::open(&pool, "java_shop", table).await?.relay(engine);
/// # relay.stop().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DebeziumOutbox<Db: Database> {
    pool: Pool<Db>,
    name: String,
    table: Arc<Table>,
}

impl<Db: Database> DebeziumOutbox<Db> {
    /// The outbox of that name, as for [`Outbox::open`](crate::Outbox::open), in a table that is there. A table that
    /// lacks a column is [`DatabaseError::Refused`].
    pub async fn open(
        pool: &Pool<Db>,
        name: impl Into<String>,
        debezium: Debezium,
    ) -> Result<Self, DatabaseError> {
        let name = legal_name(name.into())?;
        for identifier in [Some(&debezium.table), debezium.order_by.as_ref()].into_iter().flatten()
        {
            legal_identifier(identifier)?;
        }
        let mut connection = pool.acquire().await?;
        let id_type = type_of::<Db>(&mut connection, &debezium.table, "id").await?;
        let payload_type = type_of::<Db>(&mut connection, &debezium.table, "payload").await?;
        let shape = Shape::new(Db::DIALECT, &name, debezium, &id_type, &payload_type);
        Db::fetch(&mut connection, shape.select(0), usize::MAX).await?;
        Ok(Self { pool: pool.clone(), name, table: Arc::new(Table::Debezium(shape)) })
    }

    /// Starts a relay from this table into the log, as [`Outbox::relay`](crate::Outbox::relay) does. It looks for
    /// rows every [`limits::OUTBOX_POLL`](crate::limits::OUTBOX_POLL).
    pub fn relay(&self, engine: &Engine) -> Relay {
        relay::start(&self.pool, engine, &self.name, Arc::clone(&self.table), false)
    }
}

fn legal_identifier(name: &str) -> Result<(), DatabaseError> {
    let legal_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').count() <= 2 && name.split('.').all(legal_part) {
        return Ok(());
    }
    let what = "a table or column here: letters, digits and `_`, the schema before a dot";
    Err(DatabaseError::Name { name: name.to_owned(), what })
}

/// What the database calls a column's type; nothing when it does not know the column.
async fn type_of<Db: Database>(
    connection: &mut Db::Connection,
    table: &str,
    column: &str,
) -> Result<String, sqlx::Error> {
    let ask = match Db::DIALECT {
        Dialect::Postgres => Statement::fixed(
            "SELECT format_type(atttypid, NULL) FROM pg_attribute \
             WHERE attrelid = to_regclass(?) AND attname = ?",
        )
        .text(table),
        Dialect::MySql => {
            let (schema, table) = table.split_once('.').unwrap_or(("", table));
            Statement::fixed(
                "SELECT data_type FROM information_schema.columns WHERE table_name = ? \
                 AND table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND column_name = ?",
            )
            .text(table)
            .text(schema)
        }
        Dialect::Sqlite => Statement::fixed("SELECT type FROM pragma_table_info(?) WHERE name = ?")
            .text(table.rsplit('.').next().unwrap_or(table)),
    };
    let rows = Db::fetch(connection, ask.text(column), usize::MAX).await?;
    Ok(rows.first().map(|row| text(row.first()).to_lowercase()).unwrap_or_default())
}

/// How the rows of one table are asked for and understood.
pub(super) struct Shape {
    table: String,
    columns: String,
    order: String,
    /// Stands for an id that is bound as text.
    id_mark: String,
    topic_prefix: String,
    source: String,
}

impl Shape {
    fn new(kind: Dialect, source: &str, debezium: Debezium, id: &str, payload: &str) -> Self {
        let (id, id_mark) = match kind {
            Dialect::Postgres if !id.is_empty() => ("CAST(id AS TEXT)", format!("CAST(? AS {id})")),
            Dialect::MySql if id == "binary" => ("LOWER(HEX(id))", "UNHEX(?)".to_owned()),
            Dialect::MySql => ("CAST(id AS CHAR)", "?".to_owned()),
            Dialect::Postgres | Dialect::Sqlite => ("CAST(id AS TEXT)", "?".to_owned()),
        };
        let payload = match kind {
            Dialect::Postgres if payload != "bytea" => "convert_to(CAST(payload AS TEXT), 'UTF8')",
            _ => "payload",
        };
        let columns = format!("{id}, aggregatetype, aggregateid, type, {payload}");
        let order = debezium.order_by.map_or(String::new(), |by| format!(" ORDER BY {by}"));
        let Debezium { table, topic_prefix, .. } = debezium;
        Self { table, columns, order, id_mark, topic_prefix, source: source.to_owned() }
    }

    pub(super) fn select(&self, most: usize) -> Statement {
        let Self { table, columns, order, .. } = self;
        Statement::fixed(format!("SELECT {columns} FROM {table}{order} LIMIT {most}"))
    }

    pub(super) fn delete(&self, of: usize) -> String {
        format!("DELETE FROM {} WHERE id IN ({})", self.table, marks(&self.id_mark, of))
    }

    pub(super) fn row(&self, cells: &Cells) -> Row {
        let bytes = |at: usize| cells.get(at).cloned().flatten().map(Bytes::from);
        let id = text(cells.first());
        let headers = vec![
            Header::text("id", &id),
            Header::text("ce_specversion", "1.0"),
            Header::text("ce_id", &id),
            Header::text("ce_type", text(cells.get(3))),
            Header::text("ce_source", &self.source),
        ];
        let record = SentRecord {
            topic: format!("{}{}", self.topic_prefix, text(cells.get(1))),
            key: bytes(2),
            value: bytes(4),
            headers,
            ..SentRecord::default()
        };
        Row { id, record, flaw: None }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_made_for_the_columns_that_there_are() {
        let debezium = || Debezium::table("shop.outbox").order_by("seq");
        let delete = |kind, id| Shape::new(kind, "java", debezium(), id, "jsonb").delete(2);
        assert_eq!(
            delete(Dialect::Postgres, "uuid"),
            "DELETE FROM shop.outbox WHERE id IN (CAST(? AS uuid), CAST(? AS uuid))"
        );
        assert_eq!(
            delete(Dialect::MySql, "binary"),
            "DELETE FROM shop.outbox WHERE id IN (UNHEX(?), UNHEX(?))"
        );
        assert_eq!(delete(Dialect::Sqlite, "text"), "DELETE FROM shop.outbox WHERE id IN (?, ?)");
        let shape = Shape::new(Dialect::Postgres, "java", debezium(), "uuid", "jsonb");
        let select = Statement::fixed(
            "SELECT CAST(id AS TEXT), aggregatetype, aggregateid, type, \
             convert_to(CAST(payload AS TEXT), 'UTF8') FROM shop.outbox ORDER BY seq LIMIT 5",
        );
        assert_eq!(shape.select(5), select);
    }

    #[test]
    fn what_is_no_identifier_gets_into_no_statement() {
        for (name, expected) in [
            ("outbox", true),
            ("shop.OutboxEvent", true),
            ("a.b.c", false),
            ("outbox; DROP TABLE orders", false),
            ("", false),
            ("shop.", false),
        ] {
            assert_eq!(legal_identifier(name).is_ok(), expected, "{name}");
        }
    }
}
