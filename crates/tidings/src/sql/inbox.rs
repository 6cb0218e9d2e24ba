//! The inbox: a row for each input of each handler that asks for a `Tx`, in the transaction of its effects.
//!
//! A row is known by a hash of (service, handler, input id), so that no id is too long for a key or means
//! something to a collation. It says at which place of the log the input was and which events the handler
//! returned. Rows stay until somebody calls [`Inbox::forget`].

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sqlx::Pool;

use super::{
    Database, DatabaseError,
    dialect::{Cells, Dialect, Statement, marks, of_rows, text},
    outbox::make,
};
use crate::{
    Envelope, Id, Kind,
    envelope::Stamp,
    event::Emission,
    limits,
    outcome::Stop,
    publisher::{now_ms, record_bytes},
};

const TABLE: &str = "tidings_inbox";

/// The inbox of a database; a dependency of the services whose handlers ask for a [`Tx`](crate::Tx).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn wire(pool: tidings::sqlx::SqlitePool) -> Result<(), tidings::DatabaseError> {
/// # use serde::{Deserialize, Serialize};
/// use tidings::{Inbox, Outcome, Received, Service, Tx, done, sqlx};
///
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # struct OrderPlaced { order: String, pence: i64 }
/// async fn book(event: Received<OrderPlaced>, mut tx: Tx<sqlx::Sqlite>) -> Outcome<()> {
///     let book = sqlx::query("INSERT INTO ledger (booked, pence) VALUES (?, ?)");
///     book.bind(&event.order).bind(event.pence).execute(&mut *tx).await?;
///     done(())
/// }
///
/// let inbox = Inbox::open(&pool).await?;
/// let ledger = Service::new("ledger").with(inbox).on(book);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Inbox<Db: Database> {
    pub(super) pool: Pool<Db>,
}

impl<Db: Database> Inbox<Db> {
    /// Makes the table `tidings_inbox` unless it is there.
    pub async fn open(pool: &Pool<Db>) -> Result<Self, DatabaseError> {
        let mut connection = pool.acquire().await?;
        make::<Db>(&mut connection, TABLE, &table(Db::DIALECT)).await?;
        Ok(Self { pool: pool.clone() })
    }

    /// Removes the rows of inputs that were handled longer ago than this, and says how many.
    ///
    /// An input whose row is gone is handled anew should it come again. It cannot when it is not in the log
    /// any more: what is safe is more than the `retention.ms` of every topic that the services read. Of a topic that
    /// keeps its records, an input comes again when its group is set back, or a producer sends it twice.
    pub async fn forget(&self, older_than: Duration) -> Result<u64, DatabaseError> {
        let age = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let before = now_ms().saturating_sub(age);
        let old = format!(
            "SELECT known_by FROM {TABLE} WHERE handled_ms < ? LIMIT {}",
            limits::INBOX_FORGET_ROWS
        );
        let mut connection = self.pool.acquire().await?;
        let mut removed = 0;
        loop {
            let asked = Statement::fixed(old.as_str()).int(before);
            let rows = Db::fetch(&mut connection, asked, usize::MAX).await?;
            if rows.is_empty() {
                return Ok(removed);
            }
            let old: Vec<String> = rows.iter().map(|row| text(row.first())).collect();
            let delete = of_rows(&old, |of| {
                format!("DELETE FROM {TABLE} WHERE known_by IN ({})", marks("?", of))
            });
            removed += Db::execute(&mut connection, delete).await?;
        }
    }
}

fn table(kind: Dialect) -> Vec<String> {
    let (text, bytes, index) = match kind {
        Dialect::Postgres => ("TEXT", "BYTEA", ""),
        Dialect::MySql => ("TEXT", "LONGBLOB", ", KEY handled (handled_ms)"),
        Dialect::Sqlite => ("TEXT", "BLOB", ""),
    };
    let mut statements = vec![format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (known_by CHAR(36) NOT NULL PRIMARY KEY, \
         service {text} NOT NULL, handler {text} NOT NULL, input_place {text} NOT NULL, \
         handled_ms BIGINT NOT NULL, outputs {bytes}{index})"
    )];
    if kind != Dialect::MySql {
        statements
            .push(format!("CREATE INDEX IF NOT EXISTS {TABLE}_handled ON {TABLE} (handled_ms)"));
    }
    statements
}

/// One input of one handler.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) service: String,
    pub(super) handler: String,
    pub(super) input: Id,
}

/// What the inbox knows of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: its row is in the transaction now, without outputs.
    New,
    /// It was handled, and these are the outputs that the log may lack.
    Handled(Vec<Emission>),
    /// Its row has no outputs, so the handler has committed by itself.
    HalfDone,
}

impl Entry {
    fn known_by(&self) -> String {
        let parts = ["inbox", self.service.as_str(), self.handler.as_str(), self.input.as_str()];
        Id::derived(&parts).to_string()
    }

    /// Inserts the row, waiting for a transaction that has it in hand; or reads the one that is there.
    pub(super) async fn begin<Db: Database>(
        &self,
        connection: &mut Db::Connection,
        place: &str,
    ) -> Result<Known, sqlx::Error> {
        // MySQL's `INSERT IGNORE` would ignore more than the row that is there.
        let on_conflict = match Db::DIALECT {
            Dialect::MySql => "",
            Dialect::Postgres | Dialect::Sqlite => " ON CONFLICT DO NOTHING",
        };
        let insert = Statement::fixed(format!(
            "INSERT INTO {TABLE} (known_by, service, handler, input_place, handled_ms) \
             VALUES (?, ?, ?, ?, ?){on_conflict}"
        ));
        let insert = insert.text(self.known_by()).text(&self.service).text(&self.handler);
        let inserted = Db::execute(connection, insert.text(place).int(now_ms())).await;
        match inserted {
            Ok(0) => {}
            Ok(_) => return Ok(Known::New),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
        let select = Statement::fixed(format!(
            "SELECT input_place, outputs FROM {TABLE} WHERE known_by = ?"
        ));
        let rows = Db::fetch(connection, select.text(self.known_by()), usize::MAX).await?;
        let row = rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
        Ok(known(&row, place))
    }

    /// Refuses what the service would refuse when the database has committed: more outputs than one append takes.
    pub(super) fn fits(&self, cause: &Envelope, outputs: &[Emission]) -> Result<(), Stop> {
        let stamp = Stamp {
            id: &cause.id,
            source: &self.service,
            time_ms: cause.time_ms,
            correlation: cause.correlation.as_ref().unwrap_or(&cause.id),
            causation: Some(&cause.id),
            traceparent: cause.traceparent.as_deref(),
        };
        // Its id may be longer or shorter than the input's; the service adds which output it is, and of whom.
        let more = 36 + self.handler.len() + 128;
        let bytes = |output: &Emission| record_bytes(&output.clone().into_record(&stamp)) + more;
        let (bytes, most) =
            (outputs.iter().map(bytes).sum::<usize>(), limits::INPUT_OUTPUT_BYTES_MAX);
        if bytes <= most {
            return Ok(());
        }
        let outputs = outputs.len();
        Err(Stop::failed(format!(
            "{outputs} outputs of {bytes} bytes exceed the limit of {most} bytes per input"
        )))
    }

    /// Writes the outputs into the row; false when the transaction does not have it any more.
    pub(super) async fn finish<Db: Database>(
        &self,
        connection: &mut Db::Connection,
        outputs: &[Emission],
    ) -> Result<bool, sqlx::Error> {
        let update = format!("UPDATE {TABLE} SET outputs = ? WHERE known_by = ?");
        let update = Statement::fixed(update).bytes(encode(outputs)).text(self.known_by());
        Ok(Db::execute(connection, update).await? == 1)
    }
}

/// What a row says to who is at this place of the log.
///
/// At the place where the input was handled, its outputs may not be in the log: the service ended, or was
/// fenced, between the two commits. At another place it is the same event a second time. Its outputs come with the first:
/// they were committed with the position of that place, or will be when it is delivered again.
fn known(row: &Cells, place: &str) -> Known {
    match row.get(1).and_then(Option::as_deref) {
        None => Known::HalfDone,
        Some(_) if text(row.first()) != place => Known::Handled(Vec::new()),
        Some(outputs) => decode(outputs).map_or(Known::HalfDone, Known::Handled),
    }
}

/// An output in its row.
#[derive(Serialize, Deserialize)]
struct Stored {
    topic: String,
    r#type: String,
    version: u32,
    kind: Kind,
    key: String,
    /// JSON, as text.
    payload: String,
}

fn encode(outputs: &[Emission]) -> Vec<u8> {
    let stored = outputs.iter().map(|output| Stored {
        topic: output.topic.to_owned(),
        r#type: output.event_type.to_owned(),
        version: output.version,
        kind: output.kind,
        key: output.key.clone(),
        payload: String::from_utf8_lossy(&output.payload).into_owned(),
    });
    serde_json::to_vec(&stored.collect::<Vec<_>>()).expect("texts and numbers have a JSON form")
}

fn decode(outputs: &[u8]) -> Option<Vec<Emission>> {
    let stored: Vec<Stored> = serde_json::from_slice(outputs).ok()?;
    let emissions = stored.into_iter().map(|output| Emission {
        topic: for_ever(output.topic),
        event_type: for_ever(output.r#type),
        version: output.version,
        kind: output.kind,
        key: output.key,
        payload: Bytes::from(output.payload),
    });
    Some(emissions.collect())
}

/// A name of a topic or a type, of which a program has so many and no more: each is kept once.
fn for_ever(name: String) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    match names.get(name.as_str()) {
        Some(known) => known,
        None => {
            let name = Box::leak(name.into_boxed_str());
            names.insert(name);
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(n: u8) -> Emission {
        Emission {
            topic: "shop.payments",
            event_type: "PaymentCompleted",
            version: 2,
            kind: Kind::Integration,
            key: format!("order \u{0} {n}"),
            payload: Bytes::from(format!("{{\"n\":{n},\"text\":\"é\\u0000\"}}")),
        }
    }

    #[test]
    fn outputs_survive_their_row() {
        let outputs = vec![output(1), output(2)];
        assert_eq!(decode(&encode(&outputs)), Some(outputs));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        assert_eq!(decode(b"{"), None);
    }

    #[test]
    fn outputs_are_for_the_place_where_they_were_made() {
        let row = |outputs: Option<Vec<u8>>| vec![Some(b"orders-0@7".to_vec()), outputs];
        let made = row(Some(encode(&[output(1)])));
        assert_eq!(known(&made, "orders-0@7"), Known::Handled(vec![output(1)]));
        assert_eq!(known(&made, "orders-0@9"), Known::Handled(Vec::new()));
        assert_eq!(known(&row(None), "orders-0@7"), Known::HalfDone);
        assert_eq!(known(&row(Some(b"{".to_vec())), "orders-0@7"), Known::HalfDone);
    }

    #[test]
    fn a_name_is_kept_once() {
        let (one, two) = (for_ever("kept once".into()), for_ever("kept once".into()));
        assert!(std::ptr::eq(one, two));
    }
}
