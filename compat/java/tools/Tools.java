package tools;

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command-line tools, all in this machine, as a transcript says, and writes down what they
 * print.
 *
 * <p>Arguments: {@code TRANSCRIPT HOST:PORT FOLDER PLAYED}. compat/recordings/README.md has the form.
 */
public final class Tools {
    private static final Map<String, String> CLASSES = Map.ofEntries(
            Map.entry("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
            Map.entry("kafka-configs", "kafka.admin.ConfigCommand"),
            Map.entry("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
            Map.entry("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
            Map.entry("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
            Map.entry("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
            Map.entry("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
            Map.entry("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
            Map.entry("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
            Map.entry("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
            Map.entry("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
            Map.entry("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
            Map.entry("kafka-acls", "org.apache.kafka.tools.AclCommand"),
            Map.entry("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
            Map.entry("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
            Map.entry("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
            Map.entry("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
            Map.entry("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
            Map.entry("admin", "tools.AdminCalls"),
            Map.entry("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
            Map.entry("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
            Map.entry("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"));
    private static final Pattern TIMESTAMP = Pattern.compile("\"timestamp\":\\d+");

    /** They say how it went while their machine ends. */
    private static final Set<String> IN_A_MACHINE_OF_THEIR_OWN =
            Set.of("kafka-verifiable-producer", "kafka-verifiable-consumer");
    private static final int RUNNING = -1;
    private static int exitCode = RUNNING;

    private record Mask(Pattern pattern, String by) {}

    /** A tool wants to end the machine: it ends alone, and what it says of this is not heard. */
    private static final class Ended extends RuntimeException {}

    private static void end(int code) {
        if (exitCode == RUNNING) {
            exitCode = code;
            System.setOut(new PrintStream(OutputStream.nullOutputStream()));
            System.setErr(new PrintStream(OutputStream.nullOutputStream()));
        }
        throw new Ended();
    }

    private final String address;
    private final Path folder;
    private final List<Mask> masks = new ArrayList<>();
    private boolean sorted;

    private Tools(String address, Path folder) {
        this.address = address;
        this.folder = folder;
        masks.add(new Mask(Pattern.compile(Pattern.quote(address)), "HOST:PORT"));
        masks.add(new Mask(Pattern.compile(Pattern.quote(folder.toString())), "FOLDER"));
        
        masks.add(new Mask(TIMESTAMP, "\"timestamp\":TIME"));
    }

    public static void main(String[] arguments) throws Exception {
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        var tools = new Tools(arguments[1], Path.of(arguments[2]));
        var played = new StringBuilder();
        PrintStream errors = System.err;
        int code = 0;
        try {
            tools.transcript(Files.readAllLines(Path.of(arguments[0])), played);
        } catch (Throwable wrong) {
            wrong.printStackTrace(errors);
            code = 1;
        }
        Files.writeString(Path.of(arguments[3]), played);
        // Some tools leave threads behind.
        Runtime.getRuntime().halt(code);
    }

    private void transcript(List<String> lines, StringBuilder played) throws Exception {
        boolean ours = false;
        for (String line : lines) {
            if (line.startsWith("  ")) {
                // What was printed before is printed anew; what ours prints instead stays.
                if (ours) {
                    played.append(line).append('\n');
                }
                continue;
            }
            ours = line.startsWith("=");
            played.append(line).append('\n');
            if (line.startsWith("$ ")) {
                run(line.substring(2), played);
            } else if (line.startsWith("mask ")) {
                String[] said = line.substring("mask ".length()).split(" => ?", 2);
                masks.add(new Mask(Pattern.compile(said[0]), said[1]));
            } else if (line.startsWith("file ")) {
                String[] said = line.split(" ", 3);
                Files.writeString(folder.resolve(said[1]), said[2]);
            } else if (!line.isEmpty() && !line.startsWith("#") && !line.startsWith("!") && !line.startsWith("=")) {
                throw new IllegalArgumentException(line);
            }
        }
    }

    private void run(String command, StringBuilder played) throws Exception {
        sorted = command.endsWith(" | sort");
        String words = sorted ? command.substring(0, command.length() - " | sort".length()) : command;
        List<String> all = new ArrayList<>(List.of(
                words.replace("HOST:PORT", address).replace("FOLDER", folder.toString()).split(" ")));
        String name = all.remove(0);
        if (all.stream().noneMatch(word -> word.startsWith("--bootstrap") || word.startsWith("bootstrap.servers"))) {
            all.add("--bootstrap-server");
            all.add(address);
        }
        if (!CLASSES.containsKey(name)) {
            throw new IllegalArgumentException("no tool is called " + name);
        }
        var printed = new ByteArrayOutputStream();
        var stream = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(stream);
        System.setErr(stream);
        int code = IN_A_MACHINE_OF_THEIR_OWN.contains(name)
                ? start(CLASSES.get(name), all, printed)
                : call(CLASSES.get(name), all.toArray(String[]::new), stream);
        stream.flush();
        List<String> shown = new ArrayList<>();
        for (String line : printed.toString(StandardCharsets.UTF_8).split("\n")) {
            // Where in Kafka's classes something was thrown is not what is compared.
            if (!line.isBlank() && !line.startsWith("\tat ") && !line.startsWith("\t...")) {
                shown.add("  " + masked(line).stripTrailing());
            }
        }
        if (sorted) {
            shown.sort(null);
        }
        shown.forEach(line -> played.append(line).append('\n'));
        if (code != 0) {
            played.append("  exit ").append(code).append('\n');
        }
    }

    private static int call(String tool, String[] arguments, PrintStream errors) throws Exception {
        exitCode = RUNNING;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (exitCode == RUNNING) {
                errors.println(thrown.getCause());
                exitCode = 1;
            }
        }
        return Math.max(exitCode, 0);
    }

    private static int start(String tool, List<String> arguments, OutputStream printed) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                System.getProperty("java.home") + "/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-cp", System.getProperty("java.class.path"), tool));
        command.addAll(arguments);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getInputStream().transferTo(printed);
        return process.waitFor();
    }

    private String masked(String line) {
        String masked = line;
        for (Mask mask : masks) {
            Matcher matcher = mask.pattern().matcher(masked);
            masked = matcher.replaceAll(mask.by());
        }
        return masked;
    }
}
