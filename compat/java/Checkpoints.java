// Reads Apache Kafka's checkpoint files with Apache Kafka's own readers: a line for each entry.
// Usage: java -cp JARS Checkpoints.java FILE...

import java.io.File;
import java.util.TreeMap;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;

public class Checkpoints {
    public static void main(String[] arguments) throws Exception {
        var failures = new LogDirFailureChannel(1);
        for (var name : arguments) {
            var file = new File(name);
            System.out.println("file " + name);
            if (file.getName().equals("partition.metadata")) {
                System.out.println(new PartitionMetadataFile(file, failures).read().topicId());
            } else if (file.getName().startsWith("leader-epoch-checkpoint")) {
                for (var entry : new LeaderEpochCheckpointFile(file, failures).read()) {
                    System.out.println(entry.epoch() + " " + entry.startOffset());
                }
            } else {
                var offsets = new TreeMap<String, Long>();
                new OffsetCheckpointFile(file, failures).read()
                    .forEach((partition, offset) -> offsets.put(partition.toString(), offset));
                offsets.forEach((partition, offset) -> System.out.println(partition + " " + offset));
            }
        }
    }
}
