//! Kafka's error codes, as far as the commands can meet them.

use tidings_terminal::failure::{Exit, Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub(crate) i16);

/// Code, Kafka's name, meaning: what clusters of several brokers answer besides the codes of
/// [`tidings_server::ErrorCode::ALL`].
const TABLE: &[(i16, &str, &str)] = &[
    (-1, "UNKNOWN_SERVER_ERROR", "the broker failed in a way it has no name for"),
    (5, "LEADER_NOT_AVAILABLE", "the partition has no leader yet"),
    (6, "NOT_LEADER_OR_FOLLOWER", "the partition has moved to another broker"),
    (7, "REQUEST_TIMED_OUT", "the broker did not finish in time"),
    (13, "NETWORK_EXCEPTION", "the brokers could not reach each other"),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", "the group's coordinator is still loading"),
    (15, "COORDINATOR_NOT_AVAILABLE", "the group has no coordinator yet"),
    (16, "NOT_COORDINATOR", "the group has moved to another broker"),
    (19, "NOT_ENOUGH_REPLICAS", "too few replicas are in sync"),
    (29, "TOPIC_AUTHORIZATION_FAILED", "access to the topic is not allowed"),
    (30, "GROUP_AUTHORIZATION_FAILED", "access to the group is not allowed"),
    (31, "CLUSTER_AUTHORIZATION_FAILED", "this is not allowed on the cluster"),
    (44, "POLICY_VIOLATION", "a policy of the broker forbids it"),
    (73, "TOPIC_DELETION_DISABLED", "the broker does not delete topics"),
];

impl ErrorCode {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub(crate) const UNKNOWN_TOPIC: Self = Self(3);
    pub(crate) const GROUP_NOT_FOUND: Self = Self(69);

    /// The same request may work at another broker or a little later.
    pub(crate) fn is_moving(self) -> bool {
        matches!(self.0, 5 | 6 | 13 | 14 | 15 | 16 | 74)
    }

    fn exit(self) -> Exit {
        match self.0 {
            3 | 69 => Exit::NotFound,
            36 => Exit::Conflict,
            // A name, a number of partitions or replicas, or a config that the cluster does not take.
            17 | 37 | 38 | 40 => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// Kafka's name and what it means.
    fn meaning(self) -> String {
        let served = tidings_server::ErrorCode::ALL.iter().find(|known| known.code == self.0);
        let known = served.map(|known| (known.name, known.meaning)).or_else(|| {
            let (_, name, meaning) = TABLE.iter().find(|(code, ..)| *code == self.0)?;
            Some((*name, *meaning))
        });
        match known {
            Some((name, meaning)) => format!("{meaning} ({name})"),
            None => format!("the broker answered with error code {}", self.0),
        }
    }

    /// What could not be done, with the broker's own words where it has some.
    pub(crate) fn failure(self, what: impl Into<String>, said: Option<String>) -> Failure {
        let why = said.filter(|said| !said.is_empty()).unwrap_or_else(|| self.meaning());
        Failure::new(self.exit(), what).why(why)
    }

    /// Why a topic was not made.
    pub(crate) fn not_created(self, topic: &str, said: Option<String>) -> Failure {
        let failure = self.failure(format!("topic {topic} was not created"), said);
        match self.0 {
            17 => failure.hint("a name of letters, digits, `.`, `_` and `-`"),
            36 => failure.hint(format!("`tidings topic describe {topic}`, or another name")),
            37 => failure.hint("another number with --partitions"),
            38 => failure.hint("another number with --replication"),
            40 => failure.hint("`tidings topic describe` of any topic, which lists the configs"),
            _ => failure,
        }
    }

    /// Why a topic was not deleted.
    pub(crate) fn not_deleted(self, topic: &str, said: Option<String>) -> Failure {
        let failure = self.failure(format!("topic {topic} was not deleted"), said);
        if self == Self::UNKNOWN_TOPIC {
            return failure.hint("`tidings topic list`");
        }
        failure
    }

    /// The failure of something with a topic.
    pub(crate) fn topic_failure(self, topic: &str, said: Option<String>) -> Failure {
        let failure = self.failure(format!("topic {topic} cannot be used"), said);
        if self == Self::UNKNOWN_TOPIC {
            return failure
                .hint(format!("`tidings topic list`, or `tidings topic create {topic}`"));
        }
        failure
    }
}
