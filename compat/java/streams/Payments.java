package streams;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/**
 * The work of {@code tidings-bench services} in Kafka Streams: of each order, as JSON, a payment, exactly once. Prints the
 * milliseconds from the moment when Streams runs until all positions are committed; the group's committed positions say when that
 * is, so nobody else reads meanwhile.
 *
 * <p>Arguments: {@code HOST:PORT FOLDER EVENTS}.
 */
public final class Payments {
    private static final int PATIENCE_SECONDS = 300;
    private static final int PARTITIONS = 2;
    private static final int KEYS = 1_000;
    private static final ObjectMapper JSON = new ObjectMapper();

    private Payments() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        long events = Long.parseLong(arguments[2]);
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(
                    new NewTopic("orders", PARTITIONS, (short) 1), new NewTopic("payments", PARTITIONS, (short) 1)))
                    .all().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
            fill(bootstrap, events);
            var runs = new CountDownLatch(1);
            try (var streams = streams(bootstrap, Path.of(arguments[1]))) {
                streams.setStateListener((now, before) -> {
                    if (now == KafkaStreams.State.RUNNING) {
                        runs.countDown();
                    }
                });
                streams.start();
                if (!runs.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                    throw new AssertionError("Streams does not run");
                }
                long begun = System.nanoTime();
                waitFor(admin, events, begun);
                System.out.println(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun));
            }
        }
        System.out.flush();
        // Streams leaves no thread behind, other clients' helpers may.
        Runtime.getRuntime().halt(0);
    }

    private static void fill(String bootstrap, long events) throws Exception {
        var config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("linger.ms", "20");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (long number = 0; number < events; number++) {
                String key = "key-" + number % KEYS;
                String order = "{\"key\":\"" + key + "\",\"number\":" + number + ",\"at\":0}";
                producer.send(new ProducerRecord<>("orders", key, order));
            }
        }
    }

    private static KafkaStreams streams(String bootstrap, Path folder) {
        var builder = new StreamsBuilder();
        builder.<String, String>stream("orders").mapValues(Payments::pay).to("payments");
        var config = new Properties();
        config.putAll(Map.of(
                "bootstrap.servers", bootstrap,
                StreamsConfig.APPLICATION_ID_CONFIG, "payment",
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
                StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName(),
                StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName(),
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2",
                StreamsConfig.STATE_DIR_CONFIG, folder.toString(),
                StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest"));
        return new KafkaStreams(builder.build(), config);
    }

    private static String pay(String order) {
        try {
            var read = JSON.readTree(order);
            ObjectNode payment = JSON.createObjectNode();
            payment.put("key", read.get("key").textValue()).put("number", read.get("number").longValue());
            return JSON.writeValueAsString(payment);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private static void waitFor(Admin admin, long events, long begun) throws Exception {
        long committed = 0;
        while (committed < events) {
            if (System.nanoTime() - begun > TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS)) {
                throw new AssertionError(committed + " committed instead of " + events);
            }
            Thread.sleep(10);
            var offsets = admin.listConsumerGroupOffsets("payment").partitionsToOffsetAndMetadata().get();
            committed = offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        }
    }
}
