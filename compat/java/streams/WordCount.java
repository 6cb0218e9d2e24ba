package streams;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * A word count of Kafka Streams, exactly once: through a repartition topic into a store with a changelog. It is
 * closed in the middle and a second instance with an empty folder goes on; whoever started this may restart the
 * broker after the line {@code half}. Then every word's counts are
 * 1, 2, 3 … without a gap or a repetition. {@code ok} is the last line.
 *
 * <p>Arguments: {@code HOST:PORT FOLDER}.
 */
public final class WordCount {
    private static final int PATIENCE_SECONDS = 120;
    private static final String[] WORDS = {"log", "batch", "offset", "epoch", "topic", "commit", "abort"};
    private static final int LINES = 600;
    private static final int PARTITIONS = 3;

    private final String bootstrap;
    private final Path folder;
    private final Map<String, Long> expected = new TreeMap<>();
    private int lines;

    private WordCount(String bootstrap, Path folder) {
        this.bootstrap = bootstrap;
        this.folder = folder;
    }

    public static void main(String[] arguments) throws Exception {
        new WordCount(arguments[0], Path.of(arguments[1])).run();
        System.out.println("ok");
        // Streams leaves no thread behind, other clients' helpers may.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private void run() throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(
                    new NewTopic("lines", PARTITIONS, (short) 1), new NewTopic("counts", PARTITIONS, (short) 1)))
                    .all().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
            write();
            try (var first = start("first")) {
                long half = expected.values().stream().mapToLong(Long::longValue).sum() / 2;
                readUntil(half, false);
                System.out.println("half");
                write();
            }
            try (var second = start("second")) {
                write();
                check(readUntil(expected.values().stream().mapToLong(Long::longValue).sum(), true));
            }
            checkTopics(admin);
        }
    }

    private void write() {
        try (var producer = new KafkaProducer<>(
                with(Map.of("enable.idempotence", "true")), new StringSerializer(), new StringSerializer())) {
            for (int line = 0; line < LINES; line++, lines++) {
                var text = new StringBuilder();
                for (int word = 0; word <= lines % 3; word++) {
                    String next = WORDS[(lines * 5 + word * 3) % WORDS.length];
                    text.append(next).append(' ');
                    expected.merge(next, 1L, Long::sum);
                }
                producer.send(new ProducerRecord<>("lines", "line " + lines, text.toString()));
            }
        }
    }

    private KafkaStreams start(String instance) throws Exception {
        var builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
                .flatMapValues(line -> List.of(line.trim().split(" ")))
                .groupBy((line, word) -> word, Grouped.with("by-word", Serdes.String(), Serdes.String()))
                .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counted"))
                        .withCachingDisabled())
                .toStream()
                .to("counts", Produced.with(Serdes.String(), Serdes.Long()));
        Properties config = with(Map.of(
                StreamsConfig.APPLICATION_ID_CONFIG, "word-count",
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
                StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName(),
                StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName(),
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2",
                StreamsConfig.STATE_DIR_CONFIG, folder.resolve(instance).toString(),
                StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest",
                // The first one does not say that it leaves.
                StreamsConfig.consumerPrefix("session.timeout.ms"), "6000",
                StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "1500"));
        var streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(thrown -> {
            thrown.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                    .SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    /** What is committed of the counts, at least so many; when it must be all, nothing may follow. */
    private List<ConsumerRecord<String, Long>> readUntil(long wanted, boolean all) {
        List<ConsumerRecord<String, Long>> read = new ArrayList<>();
        List<TopicPartition> partitions = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            partitions.add(new TopicPartition("counts", partition));
        }
        Deserializer<Long> numbers = new LongDeserializer();
        try (var consumer = new KafkaConsumer<>(
                with(Map.of("isolation.level", "read_committed")), new StringDeserializer(), numbers)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
            while (read.size() < wanted) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError(read.size() + " counts instead of " + wanted);
                }
                consumer.poll(Duration.ofMillis(100)).forEach(read::add);
            }
            if (all) {
                Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
                while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                    consumer.poll(Duration.ofMillis(100)).forEach(read::add);
                }
            }
        }
        return read;
    }

    private void check(List<ConsumerRecord<String, Long>> read) {
        Map<String, Long> last = new HashMap<>();
        for (var record : read) {
            long before = last.getOrDefault(record.key(), 0L);
            if (record.value() != before + 1) {
                throw new AssertionError(record.key() + ": " + record.value() + " after " + before);
            }
            last.put(record.key(), record.value());
        }
        if (!new TreeMap<>(last).equals(expected)) {
            throw new AssertionError("counted " + last + ", expected " + expected);
        }
    }

    /** The topics in between are as Streams wants them. */
    private static void checkTopics(Admin admin) throws Exception {
        var changelog = new ConfigResource(ConfigResource.Type.TOPIC, "word-count-counted-changelog");
        var repartition = new ConfigResource(ConfigResource.Type.TOPIC, "word-count-by-word-repartition");
        var configs = admin.describeConfigs(List.of(changelog, repartition)).all().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        same(configs.get(changelog).get("cleanup.policy").value(), "compact");
        same(configs.get(repartition).get("cleanup.policy").value(), "delete");
        same(configs.get(repartition).get("segment.bytes").value(), "52428800");
        same(configs.get(repartition).get("retention.ms").value(), "-1");
    }

    private static void same(String found, String wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError("found " + found + ", expected " + wanted);
        }
    }

    private Properties with(Map<String, String> settings) {
        var all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.putAll(settings);
        return all;
    }
}
