package tools;

import static tools.AdminCalls.get;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringSerializer;
import tools.AdminCalls.Table;

/** Calls about topics: their partitions, records, configuration and places. */
final class AdminTopics {
    static final TopicPartition FIRST = new TopicPartition("t", 0);
    private static final TopicPartition NOWHERE = new TopicPartition("t", 99);
    private static final long TIME = 1_700_000_000_000L;

    private AdminTopics() {}

    static void fill(Table table) {
        topics(table);
        records(table);
        configs(table);
        places(table);
    }

    private static void topics(Table table) {
        table.add("createTopics", "with a configuration", admin -> {
            var topic = new NewTopic("t", 2, (short) 1).configs(Map.of("retention.ms", "-1"));
            var made = admin.createTopics(List.of(topic));
            return List.of(made.numPartitions("t"), made.replicationFactor("t"),
                    made.config("t").thenApply(config -> config.get("retention.ms").value()), made.all());
        }).add("createTopics", "by the broker's defaults",
                admin -> admin.createTopics(List.of(new NewTopic("u", Optional.empty(), Optional.empty())))
                        .numPartitions("u"))
        .add("createTopics", "with replicas",
                admin -> admin.createTopics(List.of(new NewTopic("v", Map.of(0, List.of(1), 1, List.of(1)))))
                        .numPartitions("v"))
        .add("createTopics", "refused", admin -> admin.createTopics(List.of(
                new NewTopic("t", 1, (short) 1), new NewTopic("a b", 1, (short) 1), new NewTopic("w", 0, (short) 1),
                new NewTopic("x", 1, (short) 2), new NewTopic("y", Map.of(0, List.of(7))),
                new NewTopic("z", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).values())
        .add("createTopics", "validated only", admin -> List.of(
                admin.createTopics(List.of(new NewTopic("n", 5, (short) 1)),
                        new CreateTopicsOptions().validateOnly(true)).numPartitions("n"),
                admin.listTopics().names().thenApply(names -> names.contains("n"))));
        table.add("createPartitions", "more, fewer, none, nowhere", admin -> admin.createPartitions(Map.of(
                "t", NewPartitions.increaseTo(3), "u", NewPartitions.increaseTo(1),
                "v", NewPartitions.increaseTo(2), "nowhere", NewPartitions.increaseTo(2))).values());
        table.add("listTopics", "all but the internal ones", admin -> admin.listTopics().names());
        table.add("listTopics", "internal ones", admin -> admin
                .listTopics(new ListTopicsOptions().listInternal(true)).listings()
                .thenApply(all -> all.stream().filter(one -> one.isInternal()).map(one -> one.name()).sorted()
                        .toList()));
        table.add("describeTopics", "by name", admin -> admin.describeTopics(List.of("t", "nowhere"))
                .topicNameValues().entrySet().stream().map(one -> one.getKey() + " "
                        + shown(one.getValue())).sorted().toList());
        table.add("describeTopics", "by id", admin -> {
            Uuid id = get(admin.describeTopics(List.of("u")).allTopicNames()).get("u").topicId();
            var asked = TopicCollection.ofTopicIds(List.of(id, new Uuid(1, 2)));
            return admin.describeTopics(asked).topicIdValues().values().stream().map(AdminTopics::shown).sorted()
                    .toList();
        });
        table.add("describeTopics", "with the operations that are allowed", admin -> admin.describeTopics(List.of("t"),
                new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames()
                .thenApply(all -> all.get("t").authorizedOperations()));
        table.add("deleteTopics", "by name and id", admin -> {
            Uuid id = get(admin.describeTopics(List.of("u")).allTopicNames()).get("u").topicId();
            return List.of(admin.deleteTopics(List.of("v", "nowhere")).topicNameValues(),
                    admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all(),
                    admin.deleteTopics(TopicCollection.ofTopicIds(List.of(new Uuid(1, 2)))).all());
        });
    }

    private static String shown(KafkaFuture<TopicDescription> described) {
        try {
            var topic = get(described);
            return topic.name() + " " + topic.isInternal() + " " + topic.authorizedOperations() + " "
                    + topic.partitions().stream().map(AdminTopics::shown).toList();
        } catch (Exception refused) {
            return refused.getCause().getClass().getSimpleName();
        }
    }

    private static String shown(TopicPartitionInfo one) {
        return one.partition() + " led by " + one.leader().id() + " on "
                + one.replicas().stream().map(node -> node.id()).toList() + " in sync "
                + one.isr().stream().map(node -> node.id()).toList() + " eligible " + one.elr() + " "
                + one.lastKnownElr();
    }

    /** Ten records in the first partition, a second apart. */
    static void produce(String bootstrap) throws Exception {
        var settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < 10; n++) {
                get(producer.send(new ProducerRecord<>("t", 0, TIME + n * 1000, "k", "v" + n)));
            }
        }
    }

    private static void records(Table table) {
        table.add("listOffsets", "every kind", admin -> {
            Map<String, OffsetSpec> kinds = Map.of(
                    "earliest", OffsetSpec.earliest(), "latest", OffsetSpec.latest(),
                    "largest time", OffsetSpec.maxTimestamp(), "local", OffsetSpec.earliestLocal(),
                    "tiered", OffsetSpec.latestTiered(), "at a time", OffsetSpec.forTimestamp(TIME + 3500),
                    "after the last", OffsetSpec.forTimestamp(TIME + 1_000_000),
                    "not yet uploaded", OffsetSpec.earliestPendingUpload());
            var found = new java.util.TreeMap<String, Object>();
            kinds.forEach((name, kind) -> found.put(name, admin.listOffsets(Map.of(FIRST, kind))
                    .partitionResult(FIRST).thenApply(one -> one.offset() + " at " + one.timestamp()
                            + " epoch " + one.leaderEpoch().isPresent())));
            return found;
        }).add("listOffsets", "committed", admin -> admin.listOffsets(Map.of(FIRST, OffsetSpec.latest()),
                new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).partitionResult(FIRST)
                .thenApply(one -> one.offset()));
        table.add("deleteRecords", "before 4, all, beyond the end", admin -> List.of(
                lowWatermark(admin, 4), lowWatermark(admin, 100), lowWatermark(admin, -2), lowWatermark(admin, -1)));
    }

    private static KafkaFuture<Long> lowWatermark(Admin admin, long before) {
        return admin.deleteRecords(Map.of(FIRST, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(FIRST)
                .thenApply(deleted -> deleted.lowWatermark());
    }

    private static ConfigResource resource(ConfigResource.Type type, String name) {
        return new ConfigResource(type, name);
    }

    private static String shown(ConfigEntry entry) {
        return entry == null ? "-" : entry.name() + "=" + entry.value() + " " + entry.source() + " " + entry.type()
                + " sensitive " + entry.isSensitive() + " fixed " + entry.isReadOnly() + " synonyms "
                + entry.synonyms().stream().map(one -> one.name() + "=" + one.value() + " " + one.source()).toList()
                + (entry.documentation() == null ? "" : " documented");
    }

    private static KafkaFuture<String> described(Admin admin, ConfigResource resource, String name) {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return admin.describeConfigs(List.of(resource), options).values().get(resource)
                .thenApply(config -> shown(config.get(name)));
    }

    private static KafkaFuture<Void> altered(Admin admin, ConfigResource resource, String name, String value) {
        Collection<AlterConfigOp> operations = List.of(new AlterConfigOp(new ConfigEntry(name, value), OpType.SET));
        return admin.incrementalAlterConfigs(Map.of(resource, operations)).values().get(resource);
    }

    private static void configs(Table table) {
        var topic = resource(ConfigResource.Type.TOPIC, "t");
        var broker = resource(ConfigResource.Type.BROKER, "1");
        var all = resource(ConfigResource.Type.BROKER, "");
        var loggers = resource(ConfigResource.Type.BROKER_LOGGER, "1");
        var group = resource(ConfigResource.Type.GROUP, "g");
        var metrics = resource(ConfigResource.Type.CLIENT_METRICS, "m");
        table.add("incrementalAlterConfigs", "a topic", admin -> altered(admin, topic, "segment.bytes", "2000000"))
                .add("incrementalAlterConfigs", "a topic, wrongly",
                        admin -> List.of(altered(admin, topic, "segment.bytes", "-5"),
                                altered(admin, topic, "no.such", "1"),
                                altered(admin, resource(ConfigResource.Type.TOPIC, "nowhere"), "retention.ms", "1")))
                .add("incrementalAlterConfigs", "all brokers", admin -> altered(admin, all, "log.retention.ms", "9999999"))
                .add("incrementalAlterConfigs", "a broker", admin -> altered(admin, broker, "log.segment.bytes", "5000000"))
                .add("incrementalAlterConfigs", "a broker, what cannot change",
                        admin -> altered(admin, broker, "node.id", "2"))
                .add("incrementalAlterConfigs", "loggers", admin -> altered(admin, loggers, "kafka", "WARN"))
                .add("incrementalAlterConfigs", "a group",
                        admin -> altered(admin, group, "consumer.session.timeout.ms", "50000"))
                .add("incrementalAlterConfigs", "metrics of clients",
                        admin -> altered(admin, metrics, "interval.ms", "60000"));
        table.add("describeConfigs", "a topic's", admin -> List.of(
                        described(admin, topic, "segment.bytes"), described(admin, topic, "retention.ms"),
                        described(admin, topic, "compression.type")))
                .add("describeConfigs", "a topic's that is not there",
                        admin -> described(admin, resource(ConfigResource.Type.TOPIC, "nowhere"), "retention.ms"))
                .add("describeConfigs", "a broker's", admin -> List.of(
                        described(admin, broker, "log.segment.bytes"), described(admin, broker, "log.retention.ms"),
                        described(admin, broker, "node.id")))
                .add("describeConfigs", "all brokers'", admin -> described(admin, all, "log.retention.ms"))
                .add("describeConfigs", "loggers", admin -> described(admin, loggers, "kafka"))
                .add("describeConfigs", "a group's", admin -> List.of(
                        described(admin, group, "consumer.session.timeout.ms"),
                        described(admin, group, "consumer.heartbeat.interval.ms")))
                .add("describeConfigs", "metrics of clients", admin -> described(admin, metrics, "interval.ms"));
        table.add("listConfigResources", "topics, brokers and groups", admin -> admin.listConfigResources(
                Set.of(ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER, ConfigResource.Type.GROUP),
                new ListConfigResourcesOptions()).all().thenApply(found -> found.stream()
                        .filter(one -> !one.name().startsWith("__")).map(one -> one.type() + " " + one.name())
                        .sorted().toList()));
        table.add("listClientMetricsResources", "all", admin -> admin.listClientMetricsResources().all()
                .thenApply(found -> found.stream().map(one -> one.name()).toList()));
    }

    private static void places(Table table) {
        var replica = new TopicPartitionReplica("t", 0, 1);
        table.add("describeLogDirs", "this broker's", admin -> admin.describeLogDirs(List.of(1)).descriptions().get(1)
                .thenApply(dirs -> dirs.values().stream().map(dir -> dir.error() + " "
                        + dir.replicaInfos().get(FIRST).isFuture() + " " + dir.replicaInfos().get(FIRST).offsetLag()
                        + " free " + (dir.usableBytes().orElse(0) > 0) + " of " + (dir.totalBytes().orElse(0) > 0))
                        .toList()));
        table.add("describeReplicaLogDirs", "of a partition and of none", admin -> admin.describeReplicaLogDirs(
                List.of(replica, new TopicPartitionReplica("t", 99, 1))).values().values().stream()
                .map(one -> one.thenApply(dir -> (dir.getCurrentReplicaLogDir() != null) + " "
                        + dir.getCurrentReplicaOffsetLag() + " " + dir.getFutureReplicaLogDir())).toList());
        table.add("alterReplicaLogDirs", "where it is, and nowhere", admin -> {
            String own = get(admin.describeReplicaLogDirs(List.of(replica)).all()).get(replica)
                    .getCurrentReplicaLogDir();
            return List.of(admin.alterReplicaLogDirs(Map.of(replica, own)).all(),
                    admin.alterReplicaLogDirs(Map.of(replica, "/nowhere")).all());
        });
        table.add("electLeaders", "preferred, unclean, nowhere", admin -> List.of(
                admin.electLeaders(ElectionType.PREFERRED, Set.of(FIRST, NOWHERE)).partitions(),
                admin.electLeaders(ElectionType.UNCLEAN, Set.of(FIRST)).partitions()))
                .add("electLeaders", "all", admin -> admin.electLeaders(ElectionType.PREFERRED, null).partitions());
        table.add("alterPartitionReassignments", "here, away, nowhere, none", admin -> List.of(
                moved(admin, FIRST, Optional.of(new NewPartitionReassignment(List.of(1)))),
                moved(admin, FIRST, Optional.of(new NewPartitionReassignment(List.of(7)))),
                moved(admin, NOWHERE, Optional.of(new NewPartitionReassignment(List.of(1)))),
                moved(admin, FIRST, Optional.empty())));
        table.add("listPartitionReassignments", "all, one", admin -> List.of(
                admin.listPartitionReassignments().reassignments(),
                admin.listPartitionReassignments(Set.of(FIRST)).reassignments()));
    }

    private static KafkaFuture<Void> moved(
            Admin admin, TopicPartition place, Optional<NewPartitionReassignment> to) {
        return admin.alterPartitionReassignments(Map.of(place, to)).values().get(place);
    }
}
