//! What an engine refuses or fails at, by what the caller can do about it.

use crate::Permission;

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
    /// Somebody else has the place: the group has moved on, or the transactional id has a new holder.
    /// Join or open again.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The storage refuses, passingly or for good; the text says which and what to do.
    #[error("{0}")]
    Storage(String),
    /// Bytes in the log fail their check and are not served.
    #[error("{0}")]
    Corrupt(String),
    /// The engine has stopped or cannot be reached, or did not answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// The cluster does not allow it to this user.
    #[error("{0}")]
    Denied(Permission),
    /// A cluster could not be connected to.
    #[error("{address}: {trouble}")]
    Connect {
        /// The brokers that were asked, as in the URL.
        address: String,
        /// The cause, and what to try.
        trouble: ConnectTrouble,
    },
}

/// Why a cluster could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectTrouble {
    /// No broker answers.
    #[error("no broker answers ({0}); {hint}", hint = self.hint())]
    Unreachable(String),
    /// Broker and client do not agree on TLS: the cause, and what to try.
    #[error("TLS does not work: {0}")]
    Tls(String),
    /// The broker does not accept the credentials, or wants some: the cause, and what to try.
    #[error("the broker does not let this client in: {0}")]
    Denied(String),
    /// A file or a variable that the URL names is not there, or does not hold what it should.
    #[error("{0}")]
    Unusable(String),
    /// The brokers lack what an engine needs.
    #[error("the brokers are too old ({0}); {hint}", hint = self.hint())]
    TooOld(String),
}

impl ConnectTrouble {
    /// What went wrong, without what to try.
    pub fn cause(&self) -> &str {
        self.parts().0
    }

    /// What to try.
    pub fn hint(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        match self {
            Self::Unreachable(cause) => {
                (cause, "check the address, and that the brokers run and are reachable from here")
            }
            Self::TooOld(cause) => (cause, "Apache Kafka 2.5 or later is needed"),
            Self::Tls(told) | Self::Denied(told) | Self::Unusable(told) => {
                told.split_once("; ").unwrap_or((told, "look at the parameters of the URL"))
            }
        }
    }
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recourse {
    /// Repeat it later: what is missing may come back.
    Retry,
    /// Ask for something else: this will be refused again.
    Refused,
    /// Join the group, or open the producer, anew.
    Rejoin,
    /// A person has to look.
    Fatal,
}

impl Error {
    /// What the caller can do about it.
    pub fn recourse(&self) -> Recourse {
        match self {
            Self::Storage(_)
            | Self::Unavailable(_)
            | Self::Connect { trouble: ConnectTrouble::Unreachable(_), .. } => Recourse::Retry,
            Self::UnknownTopic(_)
            | Self::TopicExists(_)
            | Self::Invalid(_)
            | Self::OffsetOutOfRange { .. } => Recourse::Refused,
            Self::Fenced(_) => Recourse::Rejoin,
            Self::Corrupt(_) | Self::Denied(_) | Self::Connect { .. } => Recourse::Fatal,
        }
    }
}
