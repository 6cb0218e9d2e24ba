package scenarios;

import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Waiting. */
final class Ground {
    static final int PATIENCE_SECONDS = 60;
    static final long LATEST = -1;
    static final long EARLIEST = -2;

    private Ground() {}

    /** Waits for a condition that nothing tells of. */
    static void eventually(String what, Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!holds.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within " + PATIENCE_SECONDS + " s: " + what);
            }
            Thread.sleep(20);
        }
    }

    /** Makes a topic and waits until the client sees it. */
    static void create(Client client, String topic, int partitions, Map<String, String> configs) throws Exception {
        client.createTopic(topic, partitions, 1, configs);
        eventually("the topic is there", () -> client.partitions(topic) == partitions);
    }

    static void create(Client client, String topic, int partitions) throws Exception {
        create(client, topic, partitions, Map.of());
    }
}
