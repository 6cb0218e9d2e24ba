package scenarios;

import java.util.Map;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;

/** The ways in which a group shares its partitions. */
enum Protocol {
    EAGER(classic(RangeAssignor.class)),
    COOPERATIVE(classic(CooperativeStickyAssignor.class)),
    CONSUMER(Map.of("group.protocol", "consumer"));

    final Map<String, String> settings;

    Protocol(Map<String, String> settings) {
        this.settings = settings;
    }

    private static Map<String, String> classic(Class<?> assignor) {
        return Map.of(
                "partition.assignment.strategy", assignor.getName(),
                "heartbeat.interval.ms", "200", "session.timeout.ms", "10000");
    }
}
