//! The three databases as two calls: run a statement, read its rows.
//!
//! Statements are written with `?` for what is bound and return text or bytes; every cell arrives as bytes.

use std::fmt;

use sqlx::{AssertSqlSafe, Pool, Row as _};
use tokio_stream::StreamExt as _;

/// Which of the three it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

/// A statement with what is bound to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    sql: String,
    binds: Vec<Bind>,
    /// Its text is always the same, so the connection may keep it prepared.
    is_fixed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bind {
    Text(String),
    Bytes(Vec<u8>),
    Int(i64),
}

impl Statement {
    /// Of a text that is always the same.
    pub(super) fn fixed(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), binds: Vec::new(), is_fixed: true }
    }

    /// Of a text that is seldom the same.
    pub(super) fn once(sql: impl Into<String>) -> Self {
        Self { is_fixed: false, ..Self::fixed(sql) }
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.binds.push(Bind::Text(text.into()));
        self
    }

    pub(super) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.binds.push(Bind::Bytes(bytes.into()));
        self
    }

    pub(super) fn int(mut self, int: i64) -> Self {
        self.binds.push(Bind::Int(int));
        self
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

/// The cells of a row; none is NULL.
pub(super) type Cells = Vec<Option<Vec<u8>>>;

/// A cell as text; bytes that are not UTF-8 are replaced.
pub(super) fn text(cell: Option<&Option<Vec<u8>>>) -> String {
    let bytes = cell.and_then(Option::as_deref).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// A database that outbox and inbox can be in: `sqlx::Postgres`, `sqlx::MySql` or `sqlx::Sqlite`, each with
/// the feature of its name. It is implemented for nothing else.
pub trait Database: sqlx::Database {
    #[doc(hidden)]
    const DIALECT: Dialect;
    /// Hears what transactions tell as they commit.
    #[doc(hidden)]
    type Listener: Send;

    /// Runs a statement; how many rows it changed.
    #[doc(hidden)]
    fn execute(
        connection: &mut Self::Connection,
        statement: Statement,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Rows until there are no more, or these bytes are passed.
    #[doc(hidden)]
    fn fetch(
        connection: &mut Self::Connection,
        statement: Statement,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<Cells>, sqlx::Error>> + Send;

    /// A listener, where the database can tell.
    #[doc(hidden)]
    fn listen(
        pool: &Pool<Self>,
        channel: &str,
    ) -> impl Future<Output = Result<Option<Self::Listener>, sqlx::Error>> + Send;

    /// Waits until something is told, or may have been.
    #[doc(hidden)]
    fn heard(listener: &mut Self::Listener)
    -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

macro_rules! speaks {
    ($database:ty, $placeholders:path) => {
        async fn execute(
            connection: &mut Self::Connection,
            statement: Statement,
        ) -> Result<u64, sqlx::Error> {
            let sql = $placeholders(&statement.sql);
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(statement.is_fixed);
            for bind in statement.binds {
                query = match bind {
                    Bind::Text(text) => query.bind(text),
                    Bind::Bytes(bytes) => query.bind(bytes),
                    Bind::Int(int) => query.bind(int),
                };
            }
            Ok(query.execute(connection).await?.rows_affected())
        }

        async fn fetch(
            connection: &mut Self::Connection,
            statement: Statement,
            bytes_max: usize,
        ) -> Result<Vec<Cells>, sqlx::Error> {
            let sql = $placeholders(&statement.sql);
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(statement.is_fixed);
            for bind in statement.binds {
                query = match bind {
                    Bind::Text(text) => query.bind(text),
                    Bind::Bytes(bytes) => query.bind(bytes),
                    Bind::Int(int) => query.bind(int),
                };
            }
            let mut stream = query.fetch(connection);
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while bytes <= bytes_max
                && let Some(row) = stream.next().await
            {
                let row: <$database as sqlx::Database>::Row = row?;
                let cells =
                    (0..row.len()).map(|at| row.try_get_unchecked::<Option<Vec<u8>>, _>(at));
                let cells = cells.collect::<Result<Cells, _>>()?;
                bytes += cells.iter().flatten().map(Vec::len).sum::<usize>();
                rows.push(cells);
            }
            Ok(rows)
        }
    };
}

#[cfg(feature = "postgres")]
impl Database for sqlx::Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    type Listener = sqlx::postgres::PgListener;
    speaks!(sqlx::Postgres, numbered);

    async fn listen(
        pool: &Pool<Self>,
        channel: &str,
    ) -> Result<Option<Self::Listener>, sqlx::Error> {
        let mut listener = sqlx::postgres::PgListener::connect_with(pool).await?;
        listener.listen(channel).await?;
        Ok(Some(listener))
    }

    async fn heard(listener: &mut Self::Listener) -> Result<(), sqlx::Error> {
        // None says that the connection was lost: something may have been told meanwhile.
        listener.try_recv().await.map(|_told| ())
    }
}

#[cfg(feature = "mysql")]
impl Database for sqlx::MySql {
    const DIALECT: Dialect = Dialect::MySql;
    type Listener = std::convert::Infallible;
    speaks!(sqlx::MySql, as_written);

    async fn listen(_: &Pool<Self>, _: &str) -> Result<Option<Self::Listener>, sqlx::Error> {
        Ok(None)
    }

    async fn heard(listener: &mut Self::Listener) -> Result<(), sqlx::Error> {
        match *listener {}
    }
}

#[cfg(feature = "sqlite")]
impl Database for sqlx::Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    type Listener = std::convert::Infallible;
    speaks!(sqlx::Sqlite, as_written);

    async fn listen(_: &Pool<Self>, _: &str) -> Result<Option<Self::Listener>, sqlx::Error> {
        Ok(None)
    }

    async fn heard(listener: &mut Self::Listener) -> Result<(), sqlx::Error> {
        match *listener {}
    }
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn as_written(sql: &str) -> String {
    sql.to_owned()
}

/// `?` becomes `$1`, `$2`, …; no statement here has a `?` that means something else.
#[cfg(feature = "postgres")]
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (part, number) in parts.zip(1..) {
        numbered.push_str(&format!("${number}{part}"));
    }
    numbered
}

/// A statement that names some of a table's rows: `sql` is asked for so many marks, and given a few more than there
/// are names; the last name fills them.
///
/// So there are ten texts, and not one for each number of rows, and a connection keeps each prepared. What it does not keep
/// costs a round trip, and with sqlx 0.9.0 on MySQL 40 ms (its issue 4335: no TCP_NODELAY).
pub(super) fn of_rows(names: &[String], sql: impl FnOnce(usize) -> String) -> Statement {
    let most = names.len().next_power_of_two();
    let last = names.last().into_iter().cycle();
    let names = names.iter().chain(last).take(most);
    names.fold(Statement::fixed(sql(most)), |statement, name| statement.text(name.as_str()))
}

/// So many times this, with commas between.
pub(super) fn marks(mark: &str, of: usize) -> String {
    vec![mark; of].join(", ")
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered() {
        for (written, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"),
            ("CAST(? AS uuid)", "CAST($1 AS uuid)"),
        ] {
            assert_eq!(numbered(written), expected);
        }
    }

    #[test]
    fn rows_are_named_with_few_texts() {
        let names = |of: usize| (0..of).map(|n| n.to_string()).collect::<Vec<_>>();
        let statement = |of| of_rows(&names(of), |marked| marks("?", marked));
        let bound = |of| statement(of).binds.len();
        assert_eq!([1, 2, 3, 5, 500].map(bound), [1, 2, 4, 8, 512]);
        let texts = |names: &[&str]| names.iter().map(|n| Bind::Text((*n).to_owned())).collect();
        let expected: Vec<Bind> = texts(&["0", "1", "2", "2"]);
        assert_eq!((statement(3).sql.as_str(), statement(3).binds), ("?, ?, ?, ?", expected));
    }
}
