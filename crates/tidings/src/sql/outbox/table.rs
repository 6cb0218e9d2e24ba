//! An outbox's table as statements, and its rows as records.

use std::fmt;

use bytes::Bytes;
use tidings_engine::{Header, SentRecord};

use super::debezium::Shape;
use crate::{
    Id,
    id::digest,
    limits,
    sql::dialect::{Cells, Dialect, Statement, marks, of_rows, text},
};

/// A header's name and value in a row.
type StoredHeader = (String, Option<String>);

/// A table as a relay sees it.
pub(super) enum Table {
    Own { name: String },
    Debezium(Shape),
}

/// A row on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The event's, which the row is deleted by.
    pub(super) id: String,
    pub(super) record: SentRecord,
    /// Why it cannot be published, whatever the log says.
    pub(super) flaw: Option<String>,
}

impl Table {
    pub(super) fn of_outbox(name: &str) -> Self {
        Self::Own { name: name.to_owned() }
    }

    /// The rows that have waited longest.
    pub(super) fn select(&self) -> Statement {
        let most = limits::OUTBOX_ROWS;
        match self {
            Self::Own { name } => Statement::fixed(format!(
                "SELECT id, topic, event_key, headers, payload FROM {name} ORDER BY seq LIMIT {most}"
            )),
            Self::Debezium(shape) => shape.select(most),
        }
    }

    pub(super) fn row(&self, cells: &Cells) -> Row {
        match self {
            Self::Own { .. } => own_row(cells),
            Self::Debezium(shape) => shape.row(cells),
        }
    }

    pub(super) fn delete(&self, ids: &[String]) -> Statement {
        match self {
            Self::Own { name } => {
                of_rows(ids, |of| format!("DELETE FROM {name} WHERE id IN ({})", marks("?", of)))
            }
            Self::Debezium(shape) => of_rows(ids, |of| shape.delete(of)),
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { name } => f.write_str(name),
            Self::Debezium(shape) => write!(f, "{shape:?}"),
        }
    }
}

fn own_row(cells: &Cells) -> Row {
    let cell = |at: usize| cells.get(at).cloned().flatten().map(Bytes::from);
    let stored = serde_json::from_slice::<Vec<StoredHeader>>(&cell(3).unwrap_or_default());
    let (headers, flaw) = match stored {
        Ok(stored) => (stored, None),
        Err(error) => (Vec::new(), Some(format!("its headers are not those of an event: {error}"))),
    };
    let header =
        |(name, value): StoredHeader| Header { name: name.into(), value: value.map(Bytes::from) };
    let record = SentRecord {
        topic: text(cells.get(1)),
        key: cell(2),
        value: cell(4),
        headers: headers.into_iter().map(header).collect(),
        ..SentRecord::default()
    };
    Row { id: text(cells.first()), record, flaw }
}

/// What makes an outbox's table.
pub(super) fn schema(kind: Dialect, name: &str) -> Vec<String> {
    let most = limits::OUTBOX_ID_BYTES_MAX;
    match kind {
        Dialect::Postgres => vec![format!(
            "CREATE TABLE IF NOT EXISTS {name} (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
             id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, event_key BYTEA, event_type TEXT NOT NULL, \
             headers TEXT NOT NULL, payload BYTEA)"
        )],
        Dialect::MySql => {
            let lanes: Vec<String> =
                (0..limits::OUTBOX_LANES).map(|lane| format!("({lane})")).collect();
            vec![
                format!("CREATE TABLE IF NOT EXISTS {name}_lanes (lane INT NOT NULL PRIMARY KEY)"),
                format!("INSERT IGNORE INTO {name}_lanes (lane) VALUES {}", lanes.join(",")),
                // Last, because its being there says that all is there. Ids are compared byte by byte.
                format!(
                    "CREATE TABLE IF NOT EXISTS {name} (seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
                     id VARBINARY({most}) NOT NULL UNIQUE, topic VARBINARY(249) NOT NULL, \
                     event_key LONGBLOB, event_type TEXT NOT NULL, headers LONGBLOB NOT NULL, \
                     payload LONGBLOB) ENGINE=InnoDB"
                ),
            ]
        }
        // AUTOINCREMENT: a number is not given again when its row is gone.
        Dialect::Sqlite => vec![format!(
            "CREATE TABLE IF NOT EXISTS {name} (seq INTEGER PRIMARY KEY AUTOINCREMENT, \
             id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, event_key BLOB, event_type TEXT NOT NULL, \
             headers TEXT NOT NULL, payload BLOB)"
        )],
    }
}

pub(super) fn insert(name: &str, id: &Id, event_type: &str, record: SentRecord) -> Statement {
    let headers: Vec<StoredHeader> = record
        .headers
        .into_iter()
        .map(|Header { name, value }| {
            (name.into_owned(), value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        })
        .collect();
    let headers = serde_json::to_string(&headers).expect("texts have a JSON form");
    let insert = Statement::fixed(format!(
        "INSERT INTO {name} (id, topic, event_key, event_type, headers, payload) \
         VALUES (?, ?, ?, ?, ?, ?)"
    ));
    let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
    let insert = insert.text(id.as_str()).text(record.topic).bytes(key);
    insert.text(event_type).text(headers).bytes(value)
}

/// Which of the lanes a record's topic and key are in.
pub(super) fn lane(outbox: &str, record: &SentRecord) -> u64 {
    let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
    number(&["lane", outbox, &record.topic, &key]) % limits::OUTBOX_LANES
}

/// What a transaction does before it inserts. SQLite has one writer at a time: it needs no lanes.
pub(super) fn before_insert(
    kind: Dialect,
    name: &str,
    lane: Option<u64>,
    is_told: bool,
) -> Vec<Statement> {
    match kind {
        Dialect::Postgres => {
            let lock = "CAST(pg_advisory_xact_lock(?) AS TEXT)";
            let tell = format!("CAST(pg_notify('{}', '') AS TEXT)", channel(name));
            let lane = lane.map(|lane| lane_lock(name, lane));
            match (lane, is_told) {
                (Some(lane), true) => {
                    vec![Statement::fixed(format!("SELECT {lock}, {tell}")).int(lane)]
                }
                (Some(lane), false) => vec![Statement::fixed(format!("SELECT {lock}")).int(lane)],
                (None, true) => vec![Statement::fixed(format!("SELECT {tell}"))],
                (None, false) => Vec::new(),
            }
        }
        Dialect::MySql => lane
            .map(|lane| {
                let sql = format!("SELECT 'locked' FROM {name}_lanes WHERE lane = ? FOR UPDATE");
                Statement::fixed(sql).int(i64::try_from(lane).unwrap_or_default())
            })
            .into_iter()
            .collect(),
        Dialect::Sqlite => Vec::new(),
    }
}

/// PostgreSQL: what transactions tell the relay through.
pub(super) fn channel(name: &str) -> String {
    format!("{name}_added")
}

/// PostgreSQL's advisory locks are numbers: those of an outbox's lanes differ in their last bits.
fn lane_lock(name: &str, lane: u64) -> i64 {
    (number(&["lanes", name]) & !(limits::OUTBOX_LANES - 1) | lane).cast_signed()
}

const _: () = assert!(limits::OUTBOX_LANES.is_power_of_two());

/// The lock of the relay that leads.
pub(super) fn leader_lock(name: &str) -> i64 {
    number(&["leader", name]).cast_signed()
}

fn number(parts: &[&str]) -> u64 {
    let digest = digest(parts);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 16 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_of_topic_and_key_and_their_locks_of_the_outbox() {
        let record = |topic: &str, key: &str| SentRecord {
            topic: topic.into(),
            key: Some(Bytes::from(key.to_owned())),
            ..SentRecord::default()
        };
        let lane = |topic: &str, key: &str| lane("shop", &record(topic, key));
        assert_eq!(lane("orders", "1"), lane("orders", "1"));
        assert_ne!(lane("orders", "1"), lane("orders", "2"));
        assert_ne!(lane("orders", "1"), lane("payments", "1"));
        assert!((0..5_000).all(|n| lane("orders", &n.to_string()) < limits::OUTBOX_LANES));
        assert_eq!(lane_lock("shop", 7) - lane_lock("shop", 0), 7);
        assert_ne!(lane_lock("shop", 7), lane_lock("other", 7));
    }

    #[test]
    fn a_row_whose_headers_are_no_headers_has_a_flaw() {
        let cells = |headers: &str| {
            ["e-1", "orders", "k", headers, "{}"].map(|c| Some(c.as_bytes().to_vec())).to_vec()
        };
        let whole = own_row(&cells(r#"[["ce_id","e-1"],["none",null]]"#));
        assert_eq!(whole.flaw, None);
        assert_eq!(whole.record.headers.len(), 2);
        let flawed = own_row(&cells("ce_id: e-1"));
        assert!(flawed.flaw.is_some_and(|flaw| flaw.starts_with("its headers are not those")));
        assert_eq!((flawed.id.as_str(), flawed.record.topic.as_str()), ("e-1", "orders"));
    }
}
