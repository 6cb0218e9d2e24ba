//! The machines behind an engine, and what they are configured to do.

/// Who serves an engine, and where partitions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Given to the cluster, or to the data directory, when it was made; it never changes.
    pub id: String,
    /// Those that are there now, by id.
    pub brokers: Vec<Broker>,
    /// Of every topic, by topic and number.
    pub placements: Vec<Placement>,
}

/// A broker that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Where clients reach it; none of the embedded one.
    pub address: Option<String>,
}

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The topic.
    pub topic: String,
    /// From 0.
    pub partition: i32,
    /// The broker that takes its records; none while it takes none.
    pub leader: Option<i32>,
    /// The brokers that have it, or should have it.
    pub replicas: Vec<i32>,
    /// Those of them that have everything.
    pub in_sync: Vec<i32>,
}

/// A configuration of a topic or a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kafka's name of it.
    pub name: String,
    /// None where there is none, and where it is secret.
    pub value: Option<String>,
    /// Nobody said otherwise, of the topic or of a broker.
    pub is_default: bool,
}
