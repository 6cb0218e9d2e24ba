//! What an engine refuses or fails at, by what the caller can do about it.

/// Why an engine call did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such topic or partition.
    #[error("topic or partition {0} does not exist")]
    UnknownTopic(String),
    /// The topic is there already.
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// The request itself is wrong; repeating it will not help.
    #[error("{0}")]
    Invalid(String),
    /// The offset is not in the log.
    #[error("offset {wanted} is outside {first}..{next}")]
    OffsetOutOfRange {
        /// The offset asked for.
        wanted: i64,
        /// The first offset there is.
        first: i64,
        /// The offset of the next record to come.
        next: i64,
    },
    /// The group has moved on: the member must join again before it may commit.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The storage refuses, passingly or for good; the text says which and what to do.
    #[error("{0}")]
    Storage(String),
    /// Bytes in the log fail their check and are not served.
    #[error("{0}")]
    Corrupt(String),
    /// The engine has stopped or cannot be reached.
    #[error("{0}")]
    Unavailable(String),
}
