import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's own client against a broker: one scenario per run, {@code ok} as the last line. */
public final class Compat {
    private static final int PATIENCE_SECONDS = 60;
    private static final int RECORDS = 2000;
    private static final int KEYS = 16;

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[1];
        switch (arguments[0]) {
            case "produce-consume" -> produceConsume(bootstrap);
            case "rebalance" -> rebalance(bootstrap);
            case "pattern" -> pattern(bootstrap);
            case "admin" -> admin(bootstrap);
            case "restart" -> restart(bootstrap);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.println("ok");
    }

    private static void produceConsume(String bootstrap) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = "java-" + codec;
            List<ProducerRecord<String, String>> sent = records(topic, codec, 0, RECORDS);
            RecordMetadata place;
            try (var producer = producer(bootstrap, Map.of("compression.type", codec))) {
                sendAll(producer, sent);
                var extra = new ProducerRecord<>(topic, null, 1234L, "h", (String) null);
                extra.headers().add("a", "1".getBytes(StandardCharsets.UTF_8));
                place = producer.send(extra).get(PATIENCE_SECONDS, TimeUnit.SECONDS);
                sent.add(extra);
            }
            try (var consumer = consumer(bootstrap, "readers-" + codec)) {
                consumer.subscribe(List.of(topic));
                List<ConsumerRecord<String, String>> read = new ArrayList<>();
                pollUntil(() -> read.size() > RECORDS, read, consumer);
                same(byKeyRead(read), byKeySent(sent));
                ConsumerRecord<String, String> extra =
                        read.stream().filter(record -> "h".equals(record.key())).findFirst().orElseThrow();
                same(extra.value(), null);
                same(extra.timestamp(), 1234L);
                same(new String(extra.headers().lastHeader("a").value(), StandardCharsets.UTF_8), "1");
                var partition = new TopicPartition(topic, place.partition());
                same(consumer.endOffsets(List.of(partition)).get(partition), place.offset() + 1);
                same(consumer.offsetsForTimes(Map.of(partition, 1L)).get(partition).offset(), 0L);
            }
        }
    }

    private static void rebalance(String bootstrap) throws Exception {
        String topic = "java-shared";
        List<ConsumerRecord<String, String>> read = new ArrayList<>();
        List<ProducerRecord<String, String>> sent = records(topic, "first", 0, 100);
        try (var producer = producer(bootstrap, Map.of());
                var first = consumer(bootstrap, "pair");
                var second = consumer(bootstrap, "pair")) {
            sendAll(producer, sent);
            first.subscribe(List.of(topic));
            pollUntil(() -> read.size() == 100, read, first);
            first.commitSync();

            second.subscribe(List.of(topic));
            pollUntil(() -> first.assignment().size() == 2 && second.assignment().size() == 2,
                    read, first, second);
            Set<TopicPartition> both = new HashSet<>(first.assignment());
            both.addAll(second.assignment());
            same(both.size(), 4);
            same(read.size(), 100);

            first.close();
            pollUntil(() -> second.assignment().size() == 4, read, second);
            List<ProducerRecord<String, String>> more = records(topic, "second", 0, 100);
            sendAll(producer, more);
            pollUntil(() -> read.size() == 200, read, second);
            sent.addAll(more);
            same(byKeyRead(read), byKeySent(sent));
        }
    }

    /** The consumer protocol with a regular expression, which the broker resolves. */
    private static void pattern(String bootstrap) throws Exception {
        List<ProducerRecord<String, String>> sent = records("java-pattern-a", "first", 0, 100);
        List<ConsumerRecord<String, String>> read = new ArrayList<>();
        try (var producer = producer(bootstrap, Map.of());
                var consumer = consumer(bootstrap, "matching", Map.of(
                        "group.protocol", "consumer", "metadata.max.age.ms", "1000"))) {
            sendAll(producer, sent);
            consumer.subscribe(new SubscriptionPattern("java-pattern-.*"));
            pollUntil(() -> read.size() == 100, read, consumer);
            consumer.commitSync();
            same(consumer.committed(consumer.assignment()).values().stream()
                    .filter(Objects::nonNull).mapToLong(OffsetAndMetadata::offset).sum(), 100L);

            List<ProducerRecord<String, String>> more = records("java-pattern-b", "second", 0, 100);
            sendAll(producer, more);
            pollUntil(() -> read.size() == 200, read, consumer);
            sent.addAll(more);
            same(byKeyRead(read), byKeySent(sent));
        }
    }

    private static void admin(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var topic = new NewTopic("java-made", 3, (short) 1).configs(Map.of("max.message.bytes", "2000000"));
            await(admin.createTopics(List.of(topic)).all());
            try {
                await(admin.createTopics(List.of(topic)).all());
                throw new AssertionError("made twice");
            } catch (ExecutionException refused) {
                same(refused.getCause().getClass(), TopicExistsException.class);
            }
            same(await(admin.describeTopics(List.of("java-made")).allTopicNames())
                    .get("java-made").partitions().size(), 3);
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, "java-made");
            same(await(admin.describeConfigs(List.of(resource)).all())
                    .get(resource).get("max.message.bytes").value(), "2000000");

            var cluster = admin.describeCluster();
            same(await(cluster.nodes()).stream().map(node -> node.host() + ":" + node.port()).toList(),
                    List.of(bootstrap));
            if (await(cluster.clusterId()).isEmpty()) {
                throw new AssertionError("no cluster id");
            }
            var partition = new TopicPartition("java-made", 0);
            same(await(admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all())
                    .get(partition).offset(), 0L);

            try (var consumer = consumer(bootstrap, "seen")) {
                consumer.subscribe(List.of("java-made"));
                pollUntil(() -> consumer.assignment().size() == 3, new ArrayList<>(), consumer);
                same(await(admin.listGroups().all()).stream().map(group -> group.groupId()).toList(),
                        List.of("seen"));
                var group = await(admin.describeConsumerGroups(List.of("seen")).all()).get("seen");
                same(group.members().size(), 1);
                same(group.groupState().toString(), "Stable");
            }

            await(admin.deleteTopics(List.of("java-made")).all());
            long deadline = deadline();
            while (await(admin.listTopics().names()).contains("java-made")) {
                within(deadline, "the topic is still there");
            }
        }
    }

    private static void restart(String bootstrap) throws Exception {
        String topic = "java-kept";
        List<ProducerRecord<String, String>> sent = records(topic, "kept", 0, RECORDS);
        try (var producer = producer(bootstrap, Map.of("reconnect.backoff.max.ms", "500"));
                var consumer = consumer(bootstrap, "after")) {
            sendAll(producer, sent.subList(0, RECORDS / 2));
            System.out.println("half");
            String word = new BufferedReader(new InputStreamReader(System.in)).readLine();
            same(word, "restarted");
            sendAll(producer, sent.subList(RECORDS / 2, RECORDS));
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> read = new ArrayList<>();
            pollUntil(() -> read.size() >= RECORDS, read, consumer);
            same(byKeyRead(read), byKeySent(sent));
        }
    }

    private static KafkaProducer<String, String> producer(String bootstrap, Map<String, String> settings) {
        var all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("linger.ms", "5");
        all.putAll(settings);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(String bootstrap, String group) {
        return consumer(bootstrap, group, Map.of());
    }

    private static KafkaConsumer<String, String> consumer(
            String bootstrap, String group, Map<String, String> settings) {
        var all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("group.id", group);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", "false");
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    private static List<ProducerRecord<String, String>> records(String topic, String tag, int from, int to) {
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        for (int n = from; n < to; n++) {
            records.add(new ProducerRecord<>(topic, "k" + n % KEYS, tag + " " + n));
        }
        return records;
    }

    private static void sendAll(
            KafkaProducer<String, String> producer, List<ProducerRecord<String, String>> records)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var record : records) {
            sent.add(producer.send(record));
        }
        producer.flush();
        for (var future : sent) {
            future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        }
    }

    /** Polls all consumers in turn, adding to {@code read}, until it is done. */
    @SafeVarargs
    private static void pollUntil(
            BooleanSupplier done,
            List<ConsumerRecord<String, String>> read,
            KafkaConsumer<String, String>... consumers) {
        long deadline = deadline();
        while (!done.getAsBoolean()) {
            within(deadline, "not done with " + read.size() + " records");
            for (var consumer : consumers) {
                consumer.poll(Duration.ofMillis(100)).forEach(read::add);
            }
        }
    }

    private static Map<String, List<String>> byKeyRead(List<ConsumerRecord<String, String>> records) {
        Map<String, List<String>> values = new TreeMap<>();
        for (var record : records) {
            values.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value());
        }
        return values;
    }

    private static Map<String, List<String>> byKeySent(List<ProducerRecord<String, String>> records) {
        Map<String, List<String>> values = new TreeMap<>();
        for (var record : records) {
            values.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value());
        }
        return values;
    }

    private static <T> T await(Future<T> future) throws Exception {
        return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    private static long deadline() {
        return System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
    }

    private static void within(long deadline, String otherwise) {
        if (System.nanoTime() > deadline) {
            throw new AssertionError(otherwise);
        }
    }

    private static void same(Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }
}
