//! The engine's handle: topics, append, read, offsets, groups.

#[cfg(feature = "embedded")]
use std::path::Path;

#[cfg(feature = "embedded")]
use crate::embedded::{Embedded, EmbeddedProducer, EmbeddedSubscription, EmbeddedTransactions};
#[cfg(feature = "kafka")]
use crate::kafka::{Kafka, KafkaProducer, KafkaSubscription, KafkaTransactions};
use crate::transaction::Transactions;
use crate::{
    Cluster, Config, Connection, Error, GroupDescription, GroupSummary, Isolation, NewTopic,
    Offset, Producer, Read, ReadLimit, SubscribeOptions, Subscription, Topic, TopicPartition,
    TransactionOptions, TransactionalProducer, producer, subscription,
};

/// A handle to an engine; clones share it.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), tidings_engine::Error> {
/// use tidings_engine::{Engine, NewTopic, ReadLimit, SentRecord};
///
/// let engine = Engine::in_memory().await?;
/// engine.create_topic(NewTopic { name: "orders".into(), ..NewTopic::default() }).await?;
/// let order = SentRecord {
///     topic: "orders".into(),
///     partition: Some(0),
///     value: Some("tea".into()),
///     ..SentRecord::default()
/// };
/// engine.producer().await?.send(vec![order]).await?;
/// let limit = ReadLimit { records: 10, bytes: 1 << 20, wait: std::time::Duration::ZERO };
/// let read = engine.read("orders", 0, 0, limit).await?;
/// assert_eq!(read.records[0].value.as_deref(), Some(b"tea".as_slice()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    #[cfg(feature = "embedded")]
    Embedded(Embedded),
    #[cfg(feature = "kafka")]
    Kafka(Kafka),
}

/// The same method of whichever engine it is.
macro_rules! on {
    ($kind:expr, $engine:ident => $call:expr) => {
        match $kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded($engine) => $call,
            #[cfg(feature = "kafka")]
            Kind::Kafka($engine) => $call,
        }
    };
}

#[cfg(feature = "embedded")]
impl Engine {
    /// Opens the embedded log in a directory, creating it when missing; one process at a time.
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Embedded(Embedded::open(dir.as_ref()).await?) })
    }

    /// The embedded log on a disk in memory: the same code, gone with the last handle.
    #[expect(clippy::unused_async, reason = "opening is asynchronous on every other engine")]
    pub async fn in_memory() -> Result<Self, Error> {
        Ok(Self { kind: Kind::Embedded(Embedded::in_memory()?) })
    }

    /// The embedded engine on a node that the caller runs (and also serves over the network).
    pub fn embedded(node: tidings_node::Node) -> Self {
        Self { kind: Kind::Embedded(Embedded::on(node)) }
    }
}

#[cfg(feature = "kafka")]
impl Engine {
    /// Connects to a cluster that speaks the Kafka protocol, and checks that it can be worked with:
    /// `kafka://host:9092,host2:9092?parameter=value&…`.
    ///
    /// | parameter | meaning |
    /// |---|---|
    /// | `config` | a file of properties, by Kafka's names, that says what the URL does not: `kafka://?config=/etc/kafka.properties` |
    /// | `tls` | `true` for TLS with the system's or `ca`'s certificates; any of the next three implies it |
    /// | `ca`, `cert`, `key` | files in PEM: who signs the brokers' certificates; the client's certificate and key (mTLS) |
    /// | `sasl` | `plain`, `scram-sha-256`, `scram-sha-512` or `oauthbearer` |
    /// | `user` | the user's name, for `plain` and `scram` |
    /// | `password_file`, `password_env` | where the password, or the token of `oauthbearer`, is: a file or an environment variable; a token's file is read again before it expires |
    /// | `key_password_file`, `key_password_env` | where the password of `key` is, if it has one |
    /// | `connect_timeout`, `answer_timeout`, `request_timeout`, `delivery_timeout` | `500ms`, `10s`, `2m` |
    /// | `replication` | of topics that are made; the cluster's default when it is not said |
    /// | `client_id` | shown by the cluster; `tidings` when it is not said |
    ///
    /// A secret is never part of the URL, and neither it nor anything else of the parameters is logged.
    /// What does not work is [`Error::Connect`] with its cause; a wrong URL is [`Error::Invalid`]. TLS, SCRAM and
    /// OAUTHBEARER need the feature `tls`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Kafka(Kafka::connect(url).await?) })
    }
}

impl Engine {
    /// Makes a topic; durable when this returns.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<(), Error> {
        on!(&self.kind, engine => engine.create_topic(topic).await)
    }

    /// Whether this topic could be made, which it is not: what [`Engine::create_topic`] would refuse.
    pub async fn check_topic(&self, topic: NewTopic) -> Result<(), Error> {
        on!(&self.kind, engine => engine.check_topic(topic).await)
    }

    /// Whether records can be appended to every partition of a topic: waits a while for those that have just
    /// lost their leader. [`Error::Unavailable`] says which cannot, why, and what to try.
    pub async fn can_append(&self, topic: &str) -> Result<(), Error> {
        on!(&self.kind, engine => engine.can_append(topic).await)
    }

    /// Deletes a topic with its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        on!(&self.kind, engine => engine.delete_topic(name).await)
    }

    /// Changes single configurations of a topic and leaves the others: a value sets one, none takes it
    /// back to its default. All or none of them change. The brokers of a cluster see it a moment later.
    pub async fn configure_topic(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), Error> {
        on!(&self.kind, engine => engine.configure_topic(name, changes).await)
    }

    /// Gives a topic more partitions, `partitions` in all. Keys go to other partitions from then on. The
    /// brokers of a cluster see it a moment later.
    pub async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        on!(&self.kind, engine => engine.grow_topic(name, partitions).await)
    }

    /// The cluster it is connected to; none when it is the embedded log.
    pub fn connection(&self) -> Option<Connection> {
        match &self.kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded(_) => None,
            #[cfg(feature = "kafka")]
            Kind::Kafka(kafka) => Some(kafka.connection()),
        }
    }

    /// Every topic with its partitions' offsets and sizes, sorted by name.
    pub async fn topics(&self) -> Result<Vec<Topic>, Error> {
        on!(&self.kind, engine => engine.topics().await)
    }

    /// One topic. [`Error::UnknownTopic`] when there is none; never creates.
    pub async fn topic(&self, name: &str) -> Result<Topic, Error> {
        on!(&self.kind, engine => engine.topic(name).await)
    }

    /// A topic's configuration, with what holds for it by default.
    pub async fn topic_configs(&self, name: &str) -> Result<Vec<Config>, Error> {
        on!(&self.kind, engine => engine.topic_configs(name).await)
    }

    /// Who serves this engine, and where partitions are. It waits for no partition that is out of service.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        on!(&self.kind, engine => engine.cluster().await)
    }

    /// A broker's configuration.
    pub async fn broker_configs(&self, id: i32) -> Result<Vec<Config>, Error> {
        on!(&self.kind, engine => engine.broker_configs(id).await)
    }

    /// A producer whose appends are idempotent and ordered per partition.
    pub async fn producer(&self) -> Result<Producer, Error> {
        Ok(Producer::of(match &self.kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded(embedded) => {
                producer::Kind::Embedded(EmbeddedProducer::open(embedded).await?)
            }
            #[cfg(feature = "kafka")]
            Kind::Kafka(kafka) => producer::Kind::Kafka(KafkaProducer::open(kafka)?),
        }))
    }

    /// A producer of transactions under this id. Whoever holds the id is fenced, and what that one left
    /// undecided is aborted, when this returns.
    pub async fn transactional_producer(
        &self,
        id: &str,
        options: TransactionOptions,
    ) -> Result<TransactionalProducer, Error> {
        Ok(TransactionalProducer::of(match &self.kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded(embedded) => Transactions::Embedded(
                EmbeddedTransactions::open(embedded, id, options.timeout).await?,
            ),
            #[cfg(feature = "kafka")]
            Kind::Kafka(kafka) => {
                Transactions::Kafka(KafkaTransactions::open(kafka, id, options.timeout).await?)
            }
        }))
    }

    /// Committed records from an offset on, without a group. At the end it waits as `limit` says;
    /// beyond the end, or before the beginning, it is [`Error::OffsetOutOfRange`].
    pub async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        self.read_isolated(topic, partition, from, limit, Isolation::Committed).await
    }

    /// [`Engine::read`] of the records that the isolation says.
    pub async fn read_isolated(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
        isolation: Isolation,
    ) -> Result<Read, Error> {
        on!(&self.kind, engine => engine.read(topic, partition, from, limit, isolation).await)
    }

    /// The number behind a place in a partition, for a reader of committed records.
    pub async fn offset(&self, topic: &str, partition: i32, at: Offset) -> Result<i64, Error> {
        on!(&self.kind, engine => engine.offset(topic, partition, at).await)
    }

    /// Joins a group on these topics (which must exist, or come to exist). Joining goes on in the
    /// background; the first assignment comes from [`Subscription::poll`].
    #[expect(
        clippy::unused_async,
        reason = "nobody should rely on there being nothing to wait for"
    )]
    pub async fn subscribe(
        &self,
        group: &str,
        topics: &[String],
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        Ok(Subscription::of(match &self.kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded(embedded) => subscription::Kind::Embedded(Box::new(
                EmbeddedSubscription::join(embedded, group, topics, options)?,
            )),
            #[cfg(feature = "kafka")]
            Kind::Kafka(kafka) => subscription::Kind::Kafka(Box::new(KafkaSubscription::join(
                kafka, group, topics, &options,
            )?)),
        }))
    }

    /// Every group, sorted by name.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        on!(&self.kind, engine => engine.groups().await)
    }

    /// A group with members, positions and lag; state `Dead` when there is none.
    pub async fn group(&self, name: &str) -> Result<GroupDescription, Error> {
        on!(&self.kind, engine => engine.group(name).await)
    }

    /// Sets positions of a group that has no members, each with what is to be said with it;
    /// [`Error::Invalid`] when it has some.
    pub async fn reset_group(
        &self,
        name: &str,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        on!(&self.kind, engine => engine.reset_group(name, offsets).await)
    }

    /// Deletes a group with its positions; [`Error::Invalid`] when it has members, or is not there.
    pub async fn delete_group(&self, name: &str) -> Result<(), Error> {
        on!(&self.kind, engine => engine.delete_group(name).await)
    }

    /// Stops the embedded node cleanly, also one that was passed to `Engine::embedded`; lets go of a
    /// cluster. Every other call is [`Error::Unavailable`] afterwards.
    pub async fn close(&self) -> Result<(), Error> {
        on!(&self.kind, engine => engine.close().await)
    }
}
