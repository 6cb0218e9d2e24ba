//! The table of broker configs: every one of Apache Kafka 4.2.
//!
//! One that has a meaning here shows what holds. One that has none is listed without a value, is
//! read-only, and says why. Those that topics fall back to have the rule and the default of the
//! topic's config.

use super::ConfigKind::{self, Boolean, Class, Double, Int, List, Long, Password, Short, String};
use super::broker_row::{BrokerConfigRow, Live, Value};
use super::topic_table::{TOPIC_CONFIGS, TopicConfig};
use crate::limits;

/// The row of a name.
pub(super) fn broker_config(name: &str) -> Option<&'static BrokerConfigRow> {
    let place = BROKER_CONFIGS.binary_search_by(|config| config.name.cmp(name)).ok()?;
    BROKER_CONFIGS.get(place)
}

const fn fixed(
    name: &'static str,
    kind: ConfigKind,
    value: Value,
    documentation: &'static str,
) -> BrokerConfigRow {
    BrokerConfigRow { name, kind, value, documentation }
}

const fn live(
    name: &'static str,
    kind: ConfigKind,
    live: Live,
    documentation: &'static str,
) -> BrokerConfigRow {
    BrokerConfigRow { name, kind, value: Value::Live(live), documentation }
}

const fn served(
    name: &'static str,
    kind: ConfigKind,
    documentation: &'static str,
) -> BrokerConfigRow {
    BrokerConfigRow { name, kind, value: Value::OfServer, documentation }
}

const fn nothing(
    name: &'static str,
    kind: ConfigKind,
    documentation: &'static str,
) -> BrokerConfigRow {
    BrokerConfigRow { name, kind, value: Value::Nothing, documentation }
}

/// The row of a config that topics fall back to, which one of them names.
const fn of_topics(name: &'static str) -> BrokerConfigRow {
    let mut place = 0;
    while place < TOPIC_CONFIGS.len() {
        let config = &TOPIC_CONFIGS[place];
        if let Some(broker) = config.broker
            && same(broker, name)
        {
            let value = Value::Live(Live::OfTopics(config));
            let TopicConfig { kind, documentation, .. } = *config;
            return BrokerConfigRow { name, kind, value, documentation };
        }
        place += 1;
    }
    panic!("no topic config falls back to this")
}

/// `==`, in a constant.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

use Live::{
    Assignors, AutoCreate, DefaultPartitions, Groups, Migration, ProducerExpiry, Transactions,
};
use Value::{DeleteTopics, NodeId, Number, Store, Text};

const IMPLEMENTATION: &str = "Of Kafka's implementation: nothing here has it.";
const NO_AUTHENTICATION: &str = "There is no authentication.";
const NO_PLUGINS: &str = "There are no plug-ins.";
const NO_QUORUM: &str = "One node has no quorum to take part in.";
const NO_SHARE_GROUPS: &str = "Share groups are not served.";
const NO_STREAMS_GROUPS: &str = "Streams groups are not served.";
const NO_TELEMETRY: &str = "Metrics of clients are not taken.";
const NO_TLS: &str = "There is no TLS.";
const ONE_WRITE: &str = "Transactions are decided and carried out in one write of this node.";
const ONE_REPLICA: &str = "One node holds one replica.";
const TIERED: &str = "There is no tiered storage.";

pub(super) const MINUTE_MS: i64 = 60_000;

/// By name.
pub(super) const BROKER_CONFIGS: &[BrokerConfigRow] = &[
    nothing("add.partitions.to.txn.retry.backoff.max.ms", Int, ONE_WRITE),
    nothing("add.partitions.to.txn.retry.backoff.ms", Int, ONE_WRITE),
    served("advertised.listeners", List, "Where clients are told to connect to."),
    nothing("alter.config.policy.class.name", Class, NO_PLUGINS),
    nothing("alter.log.dirs.replication.quota.window.num", Int, ONE_REPLICA),
    nothing("alter.log.dirs.replication.quota.window.size.seconds", Int, ONE_REPLICA),
    fixed(
        "authorizer.class.name",
        String,
        Text(""),
        "There is no authorizer: everybody may do everything.",
    ),
    live(
        "auto.create.topics.enable",
        Boolean,
        AutoCreate,
        "Whether asking for a missing topic's metadata creates it.",
    ),
    nothing("auto.leader.rebalance.enable", Boolean, ONE_REPLICA),
    nothing("background.threads", Int, IMPLEMENTATION),
    nothing("broker.heartbeat.interval.ms", Int, NO_QUORUM),
    fixed("broker.id", Int, NodeId, "This node's id."),
    nothing("broker.rack", String, ONE_REPLICA),
    nothing("broker.session.timeout.ms", Int, NO_QUORUM),
    nothing("client.quota.callback.class", Class, NO_PLUGINS),
    of_topics("compression.gzip.level"),
    of_topics("compression.lz4.level"),
    of_topics("compression.type"),
    of_topics("compression.zstd.level"),
    nothing("config.providers", List, NO_PLUGINS),
    nothing("connection.failed.authentication.delay.ms", Int, NO_AUTHENTICATION),
    served("connections.max.idle.ms", Long, "Silence after which a connection is closed."),
    fixed(
        "connections.max.reauth.ms",
        Long,
        Number(0),
        "There is no authentication, so none that is repeated.",
    ),
    nothing("controlled.shutdown.enable", Boolean, NO_QUORUM),
    nothing("controller.listener.names", List, NO_QUORUM),
    nothing("controller.quorum.append.linger.ms", Int, NO_QUORUM),
    nothing("controller.quorum.auto.join.enable", Boolean, NO_QUORUM),
    nothing("controller.quorum.bootstrap.servers", List, NO_QUORUM),
    nothing("controller.quorum.election.backoff.max.ms", Int, NO_QUORUM),
    nothing("controller.quorum.election.timeout.ms", Int, NO_QUORUM),
    nothing("controller.quorum.fetch.timeout.ms", Int, NO_QUORUM),
    nothing("controller.quorum.request.timeout.ms", Int, NO_QUORUM),
    nothing("controller.quorum.retry.backoff.ms", Int, NO_QUORUM),
    nothing("controller.quorum.voters", List, NO_QUORUM),
    fixed(
        "controller.quota.window.num",
        Int,
        Number(limits::QUOTA_WINDOW_MS as i64 / 1000 + 1),
        "Samples of Kafka's meters; here what a client may use at once.",
    ),
    fixed("controller.quota.window.size.seconds", Int, Number(1), "Seconds of such a sample."),
    nothing("controller.socket.timeout.ms", Int, NO_QUORUM),
    nothing("create.topic.policy.class.name", Class, NO_PLUGINS),
    fixed("default.replication.factor", Int, Number(1), "One node holds one replica."),
    nothing("delegation.token.expiry.check.interval.ms", Long, NO_AUTHENTICATION),
    nothing("delegation.token.expiry.time.ms", Long, NO_AUTHENTICATION),
    nothing("delegation.token.max.lifetime.ms", Long, NO_AUTHENTICATION),
    nothing("delegation.token.secret.key", Password, NO_AUTHENTICATION),
    nothing("delete.records.purgatory.purge.interval.requests", Int, IMPLEMENTATION),
    fixed("delete.topic.enable", Boolean, DeleteTopics, "Whether topics can be deleted."),
    nothing("early.start.listeners", List, NO_QUORUM),
    served("fetch.max.bytes", Int, "Bytes of one fetch, whatever it asks."),
    nothing("fetch.purgatory.purge.interval.requests", Int, IMPLEMENTATION),
    live(
        "group.consumer.assignors",
        List,
        Assignors,
        "Assignors of the server; the first where no member prefers one.",
    ),
    live(
        "group.consumer.heartbeat.interval.ms",
        Int,
        Groups(|groups| groups.consumer.heartbeat_interval_ms as i64, 1, i32::MAX as i64),
        "How often members of the consumer protocol send heartbeats.",
    ),
    live(
        "group.consumer.max.heartbeat.interval.ms",
        Int,
        Groups(|groups| groups.consumer.heartbeat_interval_max_ms as i64, 1, i32::MAX as i64),
        "Longest interval that a group may have.",
    ),
    live(
        "group.consumer.max.session.timeout.ms",
        Int,
        Groups(|groups| groups.consumer.session_timeout_max_ms as i64, 1, i32::MAX as i64),
        "Longest session timeout that a group may have.",
    ),
    live(
        "group.consumer.max.size",
        Int,
        Groups(
            |groups| groups.consumer.group_size_max as i64,
            1,
            limits::MEMBERS_PER_GROUP_MAX as i64,
        ),
        "Members of one group of the consumer protocol.",
    ),
    live(
        "group.consumer.migration.policy",
        String,
        Migration,
        "Whether groups change their protocol while they have members.",
    ),
    live(
        "group.consumer.min.heartbeat.interval.ms",
        Int,
        Groups(|groups| groups.consumer.heartbeat_interval_min_ms as i64, 1, i32::MAX as i64),
        "Shortest interval that a group may have.",
    ),
    live(
        "group.consumer.min.session.timeout.ms",
        Int,
        Groups(|groups| groups.consumer.session_timeout_min_ms as i64, 1, i32::MAX as i64),
        "Shortest session timeout that a group may have.",
    ),
    live(
        "group.consumer.session.timeout.ms",
        Int,
        Groups(|groups| groups.consumer.session_timeout_ms as i64, 1, i32::MAX as i64),
        "Session timeout of members of the consumer protocol.",
    ),
    nothing("group.coordinator.append.linger.ms", Int, IMPLEMENTATION),
    fixed(
        "group.coordinator.rebalance.protocols",
        List,
        Text("classic,consumer"),
        "Kinds of groups that are served.",
    ),
    nothing("group.coordinator.threads", Int, IMPLEMENTATION),
    fixed(
        "group.initial.rebalance.delay.ms",
        Int,
        Number(0),
        "The first member of a group does not wait for others.",
    ),
    live(
        "group.max.session.timeout.ms",
        Int,
        Groups(|groups| groups.session_timeout_max_ms as i64, 0, i32::MAX as i64),
        "Longest session timeout of a classic group's member.",
    ),
    live(
        "group.max.size",
        Int,
        Groups(
            |groups| groups.classic_group_size_max as i64,
            1,
            limits::MEMBERS_PER_GROUP_MAX as i64,
        ),
        "Members of one classic group.",
    ),
    live(
        "group.min.session.timeout.ms",
        Int,
        Groups(|groups| groups.session_timeout_min_ms as i64, 0, i32::MAX as i64),
        "Shortest session timeout of a classic group's member.",
    ),
    nothing("group.share.assignors", List, NO_SHARE_GROUPS),
    nothing("group.share.delivery.count.limit", Int, NO_SHARE_GROUPS),
    nothing("group.share.heartbeat.interval.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.max.heartbeat.interval.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.max.record.lock.duration.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.max.session.timeout.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.max.share.sessions", Int, NO_SHARE_GROUPS),
    nothing("group.share.max.size", Int, NO_SHARE_GROUPS),
    nothing("group.share.min.heartbeat.interval.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.min.record.lock.duration.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.min.session.timeout.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.partition.max.record.locks", Int, NO_SHARE_GROUPS),
    nothing("group.share.record.lock.duration.ms", Int, NO_SHARE_GROUPS),
    nothing("group.share.session.timeout.ms", Int, NO_SHARE_GROUPS),
    nothing("group.streams.heartbeat.interval.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.initial.rebalance.delay.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.max.heartbeat.interval.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.max.session.timeout.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.max.size", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.max.standby.replicas", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.min.heartbeat.interval.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.min.session.timeout.ms", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.num.standby.replicas", Int, NO_STREAMS_GROUPS),
    nothing("group.streams.session.timeout.ms", Int, NO_STREAMS_GROUPS),
    nothing("initial.broker.registration.timeout.ms", Int, NO_QUORUM),
    nothing("inter.broker.listener.name", String, NO_QUORUM),
    nothing("kafka.metrics.polling.interval.secs", Int, IMPLEMENTATION),
    nothing("kafka.metrics.reporters", List, NO_PLUGINS),
    nothing("leader.imbalance.check.interval.seconds", Long, ONE_REPLICA),
    fixed("listener.security.protocol.map", String, Text("PLAINTEXT:PLAINTEXT"), NO_TLS),
    served("listeners", List, "Where the node listens."),
    nothing("log.cleaner.backoff.ms", Long, IMPLEMENTATION),
    nothing("log.cleaner.dedupe.buffer.size", Long, IMPLEMENTATION),
    of_topics("log.cleaner.delete.retention.ms"),
    fixed("log.cleaner.enable", Boolean, Text("true"), "Compacted topics are compacted."),
    nothing("log.cleaner.io.buffer.load.factor", Double, IMPLEMENTATION),
    nothing("log.cleaner.io.buffer.size", Int, IMPLEMENTATION),
    nothing("log.cleaner.io.max.bytes.per.second", Double, IMPLEMENTATION),
    of_topics("log.cleaner.max.compaction.lag.ms"),
    of_topics("log.cleaner.min.cleanable.ratio"),
    of_topics("log.cleaner.min.compaction.lag.ms"),
    fixed("log.cleaner.threads", Int, Number(1), "Retention and compaction do one work at a time."),
    of_topics("log.cleanup.policy"),
    nothing("log.dir", List, "Said by DescribeLogDirs."),
    nothing("log.dir.failure.timeout.ms", Long, ONE_REPLICA),
    served("log.dirs", List, "Where the records are."),
    of_topics("log.flush.interval.messages"),
    of_topics("log.flush.interval.ms"),
    nothing("log.flush.offset.checkpoint.interval.ms", Int, IMPLEMENTATION),
    nothing("log.flush.scheduler.interval.ms", Long, IMPLEMENTATION),
    nothing("log.flush.start.offset.checkpoint.interval.ms", Int, IMPLEMENTATION),
    of_topics("log.index.interval.bytes"),
    of_topics("log.index.size.max.bytes"),
    of_topics("log.local.retention.bytes"),
    of_topics("log.local.retention.ms"),
    of_topics("log.message.timestamp.after.max.ms"),
    of_topics("log.message.timestamp.before.max.ms"),
    of_topics("log.message.timestamp.type"),
    of_topics("log.preallocate"),
    of_topics("log.retention.bytes"),
    fixed(
        "log.retention.check.interval.ms",
        Long,
        Store(|store| store.retention_check_ms.cast_signed()),
        "Time between two looks at a log's retention and compaction.",
    ),
    fixed("log.retention.hours", Int, Number(168), "What log.retention.ms is unless it is said."),
    nothing("log.retention.minutes", Int, "See log.retention.ms."),
    of_topics("log.retention.ms"),
    fixed("log.roll.hours", Int, Number(168), "What log.roll.ms is unless it is said."),
    fixed("log.roll.jitter.hours", Int, Number(0), "What log.roll.jitter.ms is unless it is said."),
    of_topics("log.roll.jitter.ms"),
    of_topics("log.roll.ms"),
    of_topics("log.segment.bytes"),
    of_topics("log.segment.delete.delay.ms"),
    nothing(
        "max.connection.creation.rate",
        Int,
        "No bound for all addresses together; quotas bound each.",
    ),
    served("max.connections", Int, "Connections at once."),
    served("max.connections.per.ip", Int, "Connections at once from one address."),
    nothing("max.connections.per.ip.overrides", String, IMPLEMENTATION),
    nothing("max.incremental.fetch.session.cache.slots", Int, IMPLEMENTATION),
    nothing("max.request.partition.size.limit", Int, IMPLEMENTATION),
    of_topics("message.max.bytes"),
    nothing("metadata.log.dir", String, NO_QUORUM),
    nothing("metadata.log.max.record.bytes.between.snapshots", Long, NO_QUORUM),
    nothing("metadata.log.max.snapshot.interval.ms", Long, NO_QUORUM),
    nothing("metadata.log.segment.bytes", Int, NO_QUORUM),
    nothing("metadata.log.segment.ms", Long, NO_QUORUM),
    nothing("metadata.max.idle.interval.ms", Int, NO_QUORUM),
    nothing("metadata.max.retention.bytes", Long, NO_QUORUM),
    nothing("metadata.max.retention.ms", Long, NO_QUORUM),
    nothing("metric.reporters", List, NO_PLUGINS),
    nothing("metrics.num.samples", Int, IMPLEMENTATION),
    nothing("metrics.recording.level", String, IMPLEMENTATION),
    nothing("metrics.sample.window.ms", Long, IMPLEMENTATION),
    of_topics("min.insync.replicas"),
    fixed("node.id", Int, NodeId, "This node's id."),
    nothing("num.io.threads", Int, IMPLEMENTATION),
    nothing("num.network.threads", Int, IMPLEMENTATION),
    live("num.partitions", Int, DefaultPartitions, "Partitions of a topic that does not say."),
    nothing("num.recovery.threads.per.data.dir", Int, IMPLEMENTATION),
    nothing("num.replica.alter.log.dirs.threads", Int, ONE_REPLICA),
    nothing("num.replica.fetchers", Int, ONE_REPLICA),
    fixed(
        "offset.metadata.max.bytes",
        Int,
        Number(limits::OFFSET_METADATA_BYTES_MAX as i64),
        "Largest metadata of one committed offset.",
    ),
    nothing("offsets.commit.timeout.ms", Int, IMPLEMENTATION),
    nothing("offsets.load.buffer.size", Int, IMPLEMENTATION),
    live(
        "offsets.retention.check.interval.ms",
        Long,
        Groups(|groups| groups.retention_check_ms.cast_signed(), 1, i64::MAX),
        "Time between two looks at committed offsets.",
    ),
    live(
        "offsets.retention.minutes",
        Int,
        Groups(|groups| groups.offsets_retention_ms / MINUTE_MS, 1, i32::MAX as i64),
        "How long the offsets of a group are kept that nobody is in.",
    ),
    nothing("offsets.topic.compression.codec", Int, IMPLEMENTATION),
    fixed("offsets.topic.num.partitions", Int, Number(1), "Partitions of __consumer_offsets."),
    fixed("offsets.topic.replication.factor", Short, Number(1), "One node holds one replica."),
    fixed(
        "offsets.topic.segment.bytes",
        Int,
        Number(104_857_600),
        "Size of a segment of __consumer_offsets.",
    ),
    nothing("principal.builder.class", Class, NO_AUTHENTICATION),
    fixed("process.roles", List, Text("broker,controller"), "One node is both."),
    live(
        "producer.id.expiration.ms",
        Int,
        ProducerExpiry,
        "Silence after which an idempotent producer is forgotten.",
    ),
    nothing("producer.purgatory.purge.interval.requests", Int, IMPLEMENTATION),
    served(
        "queued.max.request.bytes",
        Long,
        "Bytes of requests that are read or answered at once.",
    ),
    served("queued.max.requests", Int, "Requests of one connection that are under way at once."),
    fixed(
        "quota.window.num",
        Int,
        Number(limits::QUOTA_WINDOW_MS as i64 / 1000 + 1),
        "Samples of Kafka's meters; here what a client may use at once.",
    ),
    fixed("quota.window.size.seconds", Int, Number(1), "Seconds of such a sample."),
    nothing("remote.fetch.max.wait.ms", Int, TIERED),
    nothing("remote.list.offsets.request.timeout.ms", Long, TIERED),
    nothing("remote.log.index.file.cache.total.size.bytes", Long, TIERED),
    nothing("remote.log.manager.copier.thread.pool.size", Int, TIERED),
    nothing("remote.log.manager.copy.max.bytes.per.second", Long, TIERED),
    nothing("remote.log.manager.copy.quota.window.num", Int, TIERED),
    nothing("remote.log.manager.copy.quota.window.size.seconds", Int, TIERED),
    nothing("remote.log.manager.expiration.thread.pool.size", Int, TIERED),
    nothing("remote.log.manager.fetch.max.bytes.per.second", Long, TIERED),
    nothing("remote.log.manager.fetch.quota.window.num", Int, TIERED),
    nothing("remote.log.manager.fetch.quota.window.size.seconds", Int, TIERED),
    nothing("remote.log.manager.follower.thread.pool.size", Int, TIERED),
    nothing("remote.log.manager.task.interval.ms", Long, TIERED),
    nothing("remote.log.manager.thread.pool.size", Int, TIERED),
    nothing("remote.log.metadata.custom.metadata.max.bytes", Int, TIERED),
    nothing("remote.log.metadata.manager.class.name", String, TIERED),
    nothing("remote.log.metadata.manager.class.path", String, TIERED),
    nothing("remote.log.metadata.manager.impl.prefix", String, TIERED),
    nothing("remote.log.metadata.manager.listener.name", String, TIERED),
    nothing("remote.log.reader.max.pending.tasks", Int, TIERED),
    nothing("remote.log.reader.threads", Int, TIERED),
    nothing("remote.log.storage.manager.class.name", String, TIERED),
    nothing("remote.log.storage.manager.class.path", String, TIERED),
    nothing("remote.log.storage.manager.impl.prefix", String, TIERED),
    fixed(
        "remote.log.storage.system.enable",
        Boolean,
        Text("false"),
        "There is no tiered storage.",
    ),
    nothing("replica.fetch.backoff.ms", Int, ONE_REPLICA),
    nothing("replica.fetch.max.bytes", Int, ONE_REPLICA),
    nothing("replica.fetch.min.bytes", Int, ONE_REPLICA),
    nothing("replica.fetch.response.max.bytes", Int, ONE_REPLICA),
    nothing("replica.fetch.wait.max.ms", Int, ONE_REPLICA),
    nothing("replica.high.watermark.checkpoint.interval.ms", Long, ONE_REPLICA),
    nothing("replica.lag.time.max.ms", Long, ONE_REPLICA),
    nothing("replica.selector.class", String, ONE_REPLICA),
    nothing("replica.socket.receive.buffer.bytes", Int, ONE_REPLICA),
    nothing("replica.socket.timeout.ms", Int, ONE_REPLICA),
    nothing("replication.quota.window.num", Int, ONE_REPLICA),
    nothing("replication.quota.window.size.seconds", Int, ONE_REPLICA),
    nothing("request.timeout.ms", Int, IMPLEMENTATION),
    nothing("sasl.client.callback.handler.class", Class, NO_AUTHENTICATION),
    fixed("sasl.enabled.mechanisms", List, Text(""), "There is no authentication."),
    nothing("sasl.jaas.config", Password, NO_AUTHENTICATION),
    nothing("sasl.kerberos.kinit.cmd", String, NO_AUTHENTICATION),
    nothing("sasl.kerberos.min.time.before.relogin", Long, NO_AUTHENTICATION),
    nothing("sasl.kerberos.principal.to.local.rules", List, NO_AUTHENTICATION),
    nothing("sasl.kerberos.service.name", String, NO_AUTHENTICATION),
    nothing("sasl.kerberos.ticket.renew.jitter", Double, NO_AUTHENTICATION),
    nothing("sasl.kerberos.ticket.renew.window.factor", Double, NO_AUTHENTICATION),
    nothing("sasl.login.callback.handler.class", Class, NO_AUTHENTICATION),
    nothing("sasl.login.class", Class, NO_AUTHENTICATION),
    nothing("sasl.login.connect.timeout.ms", Int, NO_AUTHENTICATION),
    nothing("sasl.login.read.timeout.ms", Int, NO_AUTHENTICATION),
    nothing("sasl.login.refresh.buffer.seconds", Short, NO_AUTHENTICATION),
    nothing("sasl.login.refresh.min.period.seconds", Short, NO_AUTHENTICATION),
    nothing("sasl.login.refresh.window.factor", Double, NO_AUTHENTICATION),
    nothing("sasl.login.refresh.window.jitter", Double, NO_AUTHENTICATION),
    nothing("sasl.login.retry.backoff.max.ms", Long, NO_AUTHENTICATION),
    nothing("sasl.login.retry.backoff.ms", Long, NO_AUTHENTICATION),
    nothing("sasl.mechanism.controller.protocol", String, NO_AUTHENTICATION),
    nothing("sasl.mechanism.inter.broker.protocol", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.algorithm", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.aud", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.exp.seconds", Int, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.iss", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.jti.include", Boolean, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.claim.sub", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.file", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.private.key.file", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.private.key.passphrase", Password, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.assertion.template.file", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.client.credentials.client.id", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.client.credentials.client.secret", Password, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.clock.skew.seconds", Int, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.expected.audience", List, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.expected.issuer", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwks.endpoint.url", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwt.retriever.class", Class, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.jwt.validator.class", Class, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.scope", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.scope.claim.name", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.sub.claim.name", String, NO_AUTHENTICATION),
    nothing("sasl.oauthbearer.token.endpoint.url", String, NO_AUTHENTICATION),
    nothing("sasl.server.callback.handler.class", Class, NO_AUTHENTICATION),
    nothing("sasl.server.max.receive.size", Int, NO_AUTHENTICATION),
    nothing("security.inter.broker.protocol", String, NO_TLS),
    nothing("security.providers", String, NO_TLS),
    nothing("share.coordinator.append.linger.ms", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.load.buffer.size", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.snapshot.update.records.per.snapshot", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.state.topic.compression.codec", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.state.topic.min.isr", Short, NO_SHARE_GROUPS),
    nothing("share.coordinator.state.topic.num.partitions", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.state.topic.replication.factor", Short, NO_SHARE_GROUPS),
    nothing("share.coordinator.state.topic.segment.bytes", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.threads", Int, NO_SHARE_GROUPS),
    nothing("share.coordinator.write.timeout.ms", Int, NO_SHARE_GROUPS),
    nothing("share.fetch.purgatory.purge.interval.requests", Int, NO_SHARE_GROUPS),
    nothing("socket.connection.setup.timeout.max.ms", Long, IMPLEMENTATION),
    nothing("socket.connection.setup.timeout.ms", Long, IMPLEMENTATION),
    nothing("socket.listen.backlog.size", Int, IMPLEMENTATION),
    nothing("socket.receive.buffer.bytes", Int, IMPLEMENTATION),
    served("socket.request.max.bytes", Int, "Bytes of one request."),
    nothing("socket.send.buffer.bytes", Int, IMPLEMENTATION),
    nothing("ssl.allow.dn.changes", Boolean, NO_TLS),
    nothing("ssl.allow.san.changes", Boolean, NO_TLS),
    nothing("ssl.cipher.suites", List, NO_TLS),
    nothing("ssl.client.auth", String, NO_TLS),
    nothing("ssl.enabled.protocols", List, NO_TLS),
    nothing("ssl.endpoint.identification.algorithm", String, NO_TLS),
    nothing("ssl.engine.factory.class", Class, NO_TLS),
    nothing("ssl.key.password", Password, NO_TLS),
    nothing("ssl.keymanager.algorithm", String, NO_TLS),
    nothing("ssl.keystore.certificate.chain", Password, NO_TLS),
    nothing("ssl.keystore.key", Password, NO_TLS),
    nothing("ssl.keystore.location", String, NO_TLS),
    nothing("ssl.keystore.password", Password, NO_TLS),
    nothing("ssl.keystore.type", String, NO_TLS),
    nothing("ssl.principal.mapping.rules", String, NO_TLS),
    nothing("ssl.protocol", String, NO_TLS),
    nothing("ssl.provider", String, NO_TLS),
    nothing("ssl.secure.random.implementation", String, NO_TLS),
    nothing("ssl.trustmanager.algorithm", String, NO_TLS),
    nothing("ssl.truststore.certificates", Password, NO_TLS),
    nothing("ssl.truststore.location", String, NO_TLS),
    nothing("ssl.truststore.password", Password, NO_TLS),
    nothing("ssl.truststore.type", String, NO_TLS),
    nothing("telemetry.max.bytes", Int, NO_TELEMETRY),
    nothing("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, ONE_WRITE),
    live(
        "transaction.max.timeout.ms",
        Int,
        Transactions(|transactions| transactions.timeout_max_ms as i64),
        "Longest transaction that a producer may ask for.",
    ),
    fixed(
        "transaction.partition.verification.enable",
        Boolean,
        Text("true"),
        "Every transactional batch must be part of its transaction.",
    ),
    nothing("transaction.remove.expired.transaction.cleanup.interval.ms", Int, ONE_WRITE),
    nothing("transaction.state.log.load.buffer.size", Int, ONE_WRITE),
    fixed("transaction.state.log.min.isr", Int, Number(1), ONE_REPLICA),
    fixed(
        "transaction.state.log.num.partitions",
        Int,
        Number(1),
        "Partitions of __transaction_state.",
    ),
    fixed("transaction.state.log.replication.factor", Short, Number(1), ONE_REPLICA),
    nothing("transaction.state.log.segment.bytes", Int, ONE_WRITE),
    fixed(
        "transaction.two.phase.commit.enable",
        Boolean,
        Text("false"),
        "Prepared transactions (KIP-939) are not served.",
    ),
    live(
        "transactional.id.expiration.ms",
        Int,
        Transactions(|transactions| transactions.id_kept_ms.cast_signed()),
        "How long a transactional id is kept that nobody uses.",
    ),
    of_topics("unclean.leader.election.enable"),
];
