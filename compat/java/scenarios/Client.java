package scenarios;

import static scenarios.Ground.EARLIEST;
import static scenarios.Ground.LATEST;
import static scenarios.Ground.PATIENCE_SECONDS;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What scenarios ask of Apache Kafka's own client; only with calls that its older versions have too. */
@SuppressWarnings({"deprecation", "removal"})
final class Client {
    private static final Duration POLL = Duration.ofMillis(50);

    private final String bootstrap;
    private final Admin admin;

    Client(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    /** A producer; {@code send} returns when every record is acknowledged. */
    static final class Sender implements AutoCloseable {
        private final KafkaProducer<String, String> producer;

        private Sender(Map<String, Object> settings) {
            producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        }

        void send(String topic, List<Item> items) throws Exception {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (Item item : items) {
                var record =
                        new ProducerRecord<>(topic, item.partition(), item.timestamp(), item.key(), item.value());
                record.headers().add("h", item.header().getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(record));
            }
            producer.flush();
            for (var future : sent) {
                await(future);
            }
        }

        void begin() {
            producer.beginTransaction();
        }

        void commit() {
            producer.commitTransaction();
        }

        void abort() {
            producer.abortTransaction();
        }

        void sendOffset(String group, String topic, long offset) {
            producer.sendOffsetsToTransaction(
                    Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(offset)),
                    new ConsumerGroupMetadata(group));
        }

        @Override
        public void close() {
            producer.close();
        }
    }

    Sender producer(String codec) {
        return new Sender(producing("compression.type", codec, "enable.idempotence", "false"));
    }

    /** An idempotent producer of small batches. */
    Sender idempotent() {
        return new Sender(producing("enable.idempotence", "true", "batch.size", "500"));
    }

    Sender transactional(String id) {
        var sender = new Sender(producing("transactional.id", id));
        sender.producer.initTransactions();
        return sender;
    }

    private Map<String, Object> producing(String... settings) {
        Map<String, Object> all = new HashMap<>();
        all.put("bootstrap.servers", bootstrap);
        all.put("acks", "all");
        all.put("reconnect.backoff.max.ms", "500");
        for (int n = 0; n < settings.length; n += 2) {
            all.put(settings[n], settings[n + 1]);
        }
        return all;
    }

    KafkaConsumer<String, String> consumer(Map<String, String> settings) {
        Map<String, Object> all = new HashMap<>();
        all.put("bootstrap.servers", bootstrap);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", "false");
        all.put("allow.auto.create.topics", "false");
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    List<Item> read(String topic, int partitions, int count) {
        return read(topic, partitions, count, "read_uncommitted");
    }

    List<Item> readCommitted(String topic, int partitions, int count) {
        return read(topic, partitions, count, "read_committed");
    }

    private List<Item> read(String topic, int partitions, int count, String level) {
        List<Item> read = new ArrayList<>();
        try (var consumer = consumer(Map.of("isolation.level", level))) {
            List<TopicPartition> places = new ArrayList<>();
            for (int n = 0; n < partitions; n++) {
                places.add(new TopicPartition(topic, n));
            }
            consumer.assign(places);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
            while (read.size() < count) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError(read.size() + " of " + count + " records came");
                }
                consumer.poll(POLL).forEach(record -> read.add(item(record)));
            }
        }
        return read;
    }

    private static Item item(ConsumerRecord<String, String> record) {
        Header header = record.headers().lastHeader("h");
        String text = header == null ? "" : new String(header.value(), StandardCharsets.UTF_8);
        return new Item(record.key(), record.value(), text, record.partition(), record.timestamp());
    }

    /** Asks for records at an offset, whatever it is. */
    void fetchAt(String topic, int partition, long offset) {
        try (var consumer = consumer(Map.of("auto.offset.reset", "none"))) {
            var place = new TopicPartition(topic, partition);
            consumer.assign(List.of(place));
            consumer.seek(place, offset);
            consumer.poll(Duration.ofSeconds(PATIENCE_SECONDS));
        }
    }

    /** Consumes in a group until it is told to leave; what was read is committed before it is given up. */
    void member(String group, String topic, Protocol protocol, Sharing.Member hears) {
        Map<String, String> settings = new HashMap<>(protocol.settings);
        settings.put("group.id", group);
        settings.put("fetch.max.wait.ms", "100");
        try (var consumer = consumer(settings)) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> given) {
                    hears.assigned(numbers(given));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> taken) {
                    consumer.commitSync();
                    hears.revoked(numbers(taken));
                }

                @Override
                public void onPartitionsLost(Collection<TopicPartition> taken) {
                    hears.revoked(numbers(taken));
                }
            });
            while (!hears.leaving()) {
                consumer.poll(POLL).forEach(record -> hears.saw(record.partition(), record.value()));
            }
        }
    }

    private static List<Integer> numbers(Collection<TopicPartition> places) {
        return places.stream().map(TopicPartition::partition).toList();
    }

    void createTopic(String name, int partitions, int replicas, Map<String, String> configs) throws Exception {
        await(admin.createTopics(List.of(new NewTopic(name, partitions, (short) replicas).configs(configs))).all());
    }

    void growTopic(String name, int partitions) throws Exception {
        await(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(partitions))).all());
    }

    void deleteTopic(String name) throws Exception {
        await(admin.deleteTopics(List.of(name)).all());
    }

    /** 0 when there is no such topic. */
    int partitions(String topic) throws Exception {
        try {
            return await(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
        } catch (ExecutionException refused) {
            if (refused.getCause() instanceof UnknownTopicOrPartitionException) {
                return 0;
            }
            throw refused;
        }
    }

    String config(String topic, String name) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return await(admin.describeConfigs(List.of(resource)).all()).get(resource).get(name).value();
    }

    void alterConfig(String topic, AlterConfigOp.OpType operation, String name, String value) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> operations =
                List.of(new AlterConfigOp(new ConfigEntry(name, value), operation));
        await(admin.incrementalAlterConfigs(Map.of(resource, operations)).all());
    }

    List<String> listGroups() throws Exception {
        return await(admin.listConsumerGroups().all()).stream().map(ConsumerGroupListing::groupId).toList();
    }

    String groupType(String group) throws Exception {
        return await(admin.listConsumerGroups().all()).stream()
                .filter(listed -> listed.groupId().equals(group)).findFirst().orElseThrow()
                .type().orElseThrow().toString();
    }

    String groupState(String group) throws Exception {
        return await(admin.describeConsumerGroups(List.of(group)).all()).get(group).state().toString();
    }

    int groupMembers(String group) throws Exception {
        return await(admin.describeConsumerGroups(List.of(group)).all()).get(group).members().size();
    }

    void deleteGroup(String group) throws Exception {
        await(admin.deleteConsumerGroups(List.of(group)).all());
    }

    /** -1 where nothing is committed. */
    long committed(String group, String topic, int partition) throws Exception {
        var found = await(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
                .get(new TopicPartition(topic, partition));
        return found == null ? -1 : found.offset();
    }

    void commit(String group, String topic, int partition, long offset) throws Exception {
        var wanted = Map.of(new TopicPartition(topic, partition), new OffsetAndMetadata(offset));
        await(admin.alterConsumerGroupOffsets(group, wanted).all());
    }

    void deleteCommitted(String group, String topic, int partition) throws Exception {
        await(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, partition))).all());
    }

    /** The partition's new start. */
    long deleteRecords(String topic, int partition, long before) throws Exception {
        var place = new TopicPartition(topic, partition);
        var deleted = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(before)));
        return await(deleted.lowWatermarks().get(place)).lowWatermark();
    }

    long listOffset(String topic, int partition, long at, IsolationLevel level) throws Exception {
        var place = new TopicPartition(topic, partition);
        OffsetSpec spec = at == LATEST ? OffsetSpec.latest()
                : at == EARLIEST ? OffsetSpec.earliest() : OffsetSpec.forTimestamp(at);
        return await(admin.listOffsets(Map.of(place, spec), new ListOffsetsOptions(level)).all())
                .get(place).offset();
    }

    long listOffset(String topic, int partition, long at) throws Exception {
        return listOffset(topic, partition, at, IsolationLevel.READ_UNCOMMITTED);
    }

    /** The Kafka error in an exception, or nothing. */
    static Integer code(Throwable thrown) {
        Throwable error = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
        if (error instanceof org.apache.kafka.clients.consumer.OffsetOutOfRangeException) {
            // The consumer's own error of this name.
            return (int) Errors.OFFSET_OUT_OF_RANGE.code();
        }
        Errors known = Errors.forException(error);
        return known == Errors.UNKNOWN_SERVER_ERROR ? null : (int) known.code();
    }

    static <T> T await(Future<T> future) throws Exception {
        return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }
}
