//! What a database refuses or fails at, by what the caller can do.

use crate::Error;

/// Why a call to the outbox or the inbox did not happen.
///
/// ```
/// use tidings::{DatabaseError, sqlx};
///
/// let error = DatabaseError::from(sqlx::Error::PoolTimedOut);
/// assert!(matches!(error, DatabaseError::Outage(_)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database cannot be reached, is shutting down, full or busy. The transaction is lost; the same
    /// again later may work.
    #[error("the database is out of reach: {0}")]
    Outage(#[source] sqlx::Error),
    /// The database refuses the statement: roll back, and look at what it says.
    #[error("the database refuses: {0}")]
    Refused(#[source] sqlx::Error),
    /// The event cannot be written, or is too large to be published.
    #[error(transparent)]
    Event(#[from] Error),
    /// A name that cannot be what it is to name.
    #[error("{name:?} cannot name {what}")]
    Name {
        /// The name.
        name: String,
        /// What it was to name, and which names can.
        what: &'static str,
    },
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) { Self::Outage(error) } else { Self::Refused(error) }
    }
}

/// Whether an error is about the database as a whole, and not about the statement.
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::Protocol(_) => true,
        E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => true,
        E::Database(error) => error.code().is_some_and(|code| is_outage_code(&code)),
        _ => false,
    }
}

/// PostgreSQL and MySQL say five characters of the SQL standard and their own, SQLite a number.
fn is_outage_code(code: &str) -> bool {
    /// SQLite's primary codes: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
    const SQLITE: [u32; 6] = [5, 6, 8, 10, 13, 14];
    /// Connection, resources, operator's intervention, system error.
    const CLASSES: [&str; 4] = ["08", "53", "57P", "58"];
    /// A standby that only reads; MySQL: the connection was killed.
    const WHOLE: [&str; 2] = ["25006", "70100"];
    if code.len() == 5 && !code.starts_with("HY") {
        return CLASSES.iter().any(|class| code.starts_with(class)) || WHOLE.contains(&code);
    }
    // The extended codes have the primary one in their lowest byte.
    code.parse::<u32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_from_a_refusal() {
        let table = [
            ("57P01", true),  // the administrator shuts PostgreSQL down
            ("57P03", true),  // it is starting
            ("53300", true),  // too many connections
            ("25006", true),  // a standby
            ("08S01", true),  // MySQL shuts down
            ("57014", false), // a statement's timeout
            ("23505", false), // a unique key
            ("40001", false), // serialization
            ("40P01", false), // deadlock
            ("42P01", false), // no such table
            ("HY000", false),
            ("5", true),     // SQLITE_BUSY
            ("261", true),   // SQLITE_BUSY_RECOVERY
            ("13", true),    // SQLITE_FULL
            ("2067", false), // SQLITE_CONSTRAINT_UNIQUE
            ("1", false),    // SQLITE_ERROR
        ];
        for (code, expected) in table {
            assert_eq!(is_outage_code(code), expected, "{code}");
        }
        assert!(is_outage(&sqlx::Error::PoolTimedOut));
        assert!(!is_outage(&sqlx::Error::RowNotFound));
    }
}
