package recording;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Plays scripts of raw requests against brokers and writes down what they answer.
 *
 * <p>Arguments: {@code SCRIPT=HOST:PORT=PLAYED} for each script, which are played side by side. The
 * played file is the script with its answers as this broker gave them. compat/recordings/README.md
 * has the form.
 */
public final class Play {
    private static final Pattern CALL =
            Pattern.compile("(\\w+)> (\\w+) (\\d+)(?: again on ([A-Z_,]+))?(?: (.*))?", Pattern.DOTALL);
    private static final Pattern ANSWER = Pattern.compile("(\\w+)<.*", Pattern.DOTALL);
    private static final Pattern PASSED = Pattern.compile("(\\w+)[!=].*", Pattern.DOTALL);
    private static final Predicate<String> ALWAYS = error -> !error.equals("NONE");
    private static final Predicate<String> LOADING =
            Set.of("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")::contains;
    private static final long PATIENCE_MS = 60_000;
    private static final long LOOK_EVERY_MS = 50;

    private final String address;
    private final Map<String, Wire> connections = new HashMap<>();
    private final Symbols symbols = new Symbols();
    private final Set<String> unsent = new HashSet<>();

    private Play(String address) {
        this.address = address;
    }

    public static void main(String[] arguments) throws Exception {
        var pool = Executors.newFixedThreadPool(Math.max(1, arguments.length));
        List<Future<?>> playing = new ArrayList<>();
        for (String argument : arguments) {
            String[] parts = argument.split("=");
            playing.add(pool.submit(() -> {
                String script = Files.readString(Path.of(parts[0]));
                var played = new StringBuilder();
                try {
                    new Play(parts[1]).script(script, parts[0], played);
                } finally {
                    Files.writeString(Path.of(parts[2]), played);
                }
                return null;
            }));
        }
        try {
            for (var each : playing) {
                each.get();
            }
        } finally {
            pool.shutdownNow();
        }
    }

    private void script(String text, String name, StringBuilder played) throws Exception {
        List<String> blocks = blocks(text);
        for (int at = 0; at < blocks.size(); at++) {
            String block = blocks.get(at);
            try {
                block(block, at + 1 < blocks.size() ? blocks.get(at + 1) : "", played);
            } catch (Exception wrong) {
                throw new IllegalStateException(name + ": " + block.strip(), wrong);
            }
        }
        for (var connection : connections.values()) {
            connection.close();
        }
    }

    /** A line with the indented ones below it. */
    private static List<String> blocks(String text) {
        List<String> blocks = new ArrayList<>();
        for (String line : text.split("\n", -1)) {
            if (line.startsWith(" ") && !blocks.isEmpty()) {
                blocks.set(blocks.size() - 1, blocks.get(blocks.size() - 1) + "\n" + line);
            } else {
                blocks.add(line);
            }
        }
        if (blocks.get(blocks.size() - 1).isEmpty()) {
            blocks.remove(blocks.size() - 1);
        }
        return blocks;
    }

    private void block(String block, String next, StringBuilder played) throws Exception {
        Matcher call = CALL.matcher(block);
        Matcher answer = ANSWER.matcher(block);
        if (block.isEmpty() || block.startsWith("#") || PASSED.matcher(block).matches()) {
            played.append(block).append('\n');
        } else if (block.startsWith("wait ")) {
            await(block.substring("wait ".length()).split(" "));
            played.append(block).append('\n');
        } else if (block.startsWith("topic ")) {
            create(block.split(" "));
            played.append(block).append('\n');
        } else if (block.startsWith("mask ")) {
            symbols.mask(Arrays.asList(block.substring("mask ".length()).split(" ")));
            played.append(block).append('\n');
        } else if (call.matches()) {
            send(call, next);
            played.append(block).append('\n');
        } else if (answer.matches()) {
            String who = answer.group(1);
            played.append(who).append("< ").append(read(who)).append('\n');
        } else {
            throw new IllegalArgumentException("neither a call nor an answer");
        }
    }

    private Wire connection(String who) throws Exception {
        Wire there = connections.get(who);
        if (there == null || there.isClosed()) {
            there = new Wire(address);
            connections.put(who, there);
        }
        return there;
    }

    private void send(Matcher call, String next) throws Exception {
        String who = call.group(1);
        JsonNode body;
        try {
            body = symbols.resolve(Text.parse(call.group(5) == null ? "{}" : call.group(5)));
        } catch (Symbols.Unknown unknown) {
            // An earlier answer was another than the script's: what follows from it cannot be asked.
            unsent.add(who);
            return;
        }
        short version = Short.parseShort(call.group(3));
        Wire wire = connection(who);
        wire.send(call.group(2), version, body);
        if (call.group(4) == null) {
            return;
        }
        if (!next.startsWith(who + "<")) {
            throw new IllegalArgumentException("what is sent again is read at once");
        }
        Set<String> transients = Set.of(call.group(4).split(","));
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (wire.peek() != null && Symbols.errors(wire.peek()).stream().anyMatch(transients::contains)) {
            within(deadline);
            wire.receive();
            wire.send(call.group(2), version, body);
        }
    }

    private String read(String who) throws Exception {
        if (unsent.remove(who)) {
            return "not sent";
        }
        var answer = connection(who).receive();
        return answer == null ? "closed" : Text.show(symbols.masked(answer));
    }

    /** {@code topic NAME PARTITIONS CONFIG=VALUE…} makes a topic and waits for it. */
    private void create(String[] said) throws Exception {
        var configs = new StringBuilder();
        for (int at = 3; at < said.length; at++) {
            String[] pair = said[at].split("=");
            configs.append("{name: '").append(pair[0]).append("', value: '").append(pair[1]).append("'},");
        }
        try (var wire = new Wire(address)) {
            wire.send("CreateTopics", (short) 4, Text.parse("{timeoutMs: 10000, topics: [{name: '" + said[1]
                    + "', numPartitions: " + said[2] + ", replicationFactor: 1, configs: [" + configs + "]}]}"));
            List<String> errors = Symbols.errors(wire.receive());
            if (!errors.stream().allMatch("NONE"::equals)) {
                throw new IllegalStateException("the topic is refused: " + errors);
            }
        }
        await(new String[] {"topic", said[1]});
    }

    /** {@code topic NAME}: all its partitions have a leader; {@code group ID} and {@code transaction ID}: their coordinator is there and has loaded. */
    private void await(String[] what) throws Exception {
        String id = "'" + what[1] + "'";
        switch (what[0]) {
            case "topic" -> untilNone("Metadata", 12, "{allowAutoTopicCreation: false, topics: [{name: " + id + "}]}", ALWAYS);
            case "group" -> {
                untilNone("FindCoordinator", 4, "{keyType: 0, coordinatorKeys: [" + id + "]}", ALWAYS);
                untilNone("DescribeGroups", 5, "{groups: [" + id + "]}", LOADING);
            }
            case "transaction" -> {
                untilNone("FindCoordinator", 4, "{keyType: 1, coordinatorKeys: [" + id + "]}", ALWAYS);
                untilNone("DescribeTransactions", 0, "{transactionalIds: [" + id + "]}", LOADING);
            }
            default -> throw new IllegalArgumentException("waits for topic, group or transaction");
        }
    }

    /** Asks until the answer has none of these errors. */
    private void untilNone(String api, int version, String body, Predicate<String> errors) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        try (var wire = new Wire(address)) {
            wire.send(api, (short) version, Text.parse(body));
            while (Symbols.errors(wire.receive()).stream().anyMatch(errors)) {
                within(deadline);
                wire.send(api, (short) version, Text.parse(body));
            }
        }
    }

    private static void within(long deadline) throws Exception {
        if (System.currentTimeMillis() > deadline) {
            throw new AssertionError("it does not come to pass");
        }
        TimeUnit.MILLISECONDS.sleep(LOOK_EVERY_MS);
    }
}
