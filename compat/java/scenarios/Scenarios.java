package scenarios;

import static scenarios.Ground.EARLIEST;
import static scenarios.Ground.LATEST;
import static scenarios.Ground.create;
import static scenarios.Ground.eventually;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.IsolationLevel;

/**
 * Apache Kafka's own client against a broker: one line of JSON per scenario.
 *
 * <p>Arguments: {@code NAME HOST:PORT SCENARIO...}, or {@code NAME HOST:PORT restart} and {@code pattern}, which
 * end with {@code ok}. Scenarios run side by side, each with topics and groups of its own. A line is either
 * {@code {"scenario": NAME, "saw": FACTS}} or {@code {"scenario": NAME, "failed": REASON}}; facts have the names
 * and meanings that they have in every language.
 */
public final class Scenarios {
    private static final int EACH = 5;

    private interface Scenario {
        Map<String, Object> play(Client client, String prefix) throws Exception;
    }

    private interface Call {
        void run() throws Exception;
    }

    private static final Map<String, Scenario> ALL = Map.ofEntries(
            Map.entry("codecs", Scenarios::codecs),
            Map.entry("idempotence", Scenarios::idempotence),
            Map.entry("transactions", Scenarios::transactions),
            Map.entry("group", (client, name) -> Sharing.churn(client, name, Protocol.EAGER)),
            Map.entry("cooperative group", (client, name) -> Sharing.churn(client, name, Protocol.COOPERATIVE)),
            Map.entry("consumer protocol", (client, name) -> Sharing.churn(client, name, Protocol.CONSUMER)),
            Map.entry("migration", (client, name) -> Sharing.migration(client, name, Protocol.EAGER)),
            Map.entry("cooperative migration",
                    (client, name) -> Sharing.migration(client, name, Protocol.COOPERATIVE)),
            Map.entry("topics", Scenarios::topics),
            Map.entry("configs", Scenarios::configs),
            Map.entry("groups", Scenarios::groups),
            Map.entry("records", Scenarios::records),
            Map.entry("refusals", Scenarios::refusals));

    public static void main(String[] arguments) throws Exception {
        List<String> all = List.of(arguments);
        var client = new Client(all.get(1));
        List<String> wanted = all.subList(2, all.size());
        if (wanted.equals(List.of("restart"))) {
            restart(client, all.get(0) + ".restart");
            System.out.println("ok");
        } else if (wanted.equals(List.of("pattern"))) {
            pattern(client);
            System.out.println("ok");
        } else {
            List<Thread> threads = new ArrayList<>();
            for (String scenario : wanted) {
                threads.add(new Thread(() -> play(client, all.get(0), scenario)));
            }
            threads.forEach(Thread::start);
            for (Thread thread : threads) {
                thread.join();
            }
        }
        // A scenario that failed may have left its members running.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void play(Client client, String name, String scenario) {
        String prefix = name + "." + scenario.replace(' ', '-') + "." + ProcessHandle.current().pid();
        String said;
        try {
            said = "\"saw\": " + json(ALL.get(scenario).play(client, prefix));
        } catch (Throwable thrown) {
            thrown.printStackTrace();
            said = "\"failed\": " + quoted(thrown.toString());
        }
        System.out.println("{\"scenario\": " + quoted(scenario) + ", " + said + "}");
    }

    private static String json(Map<String, Object> facts) {
        return facts.entrySet().stream().map(fact -> quoted(fact.getKey()) + ": "
                + (fact.getValue() instanceof String text ? quoted(text) : fact.getValue()))
                .collect(Collectors.joining(", ", "{", "}"));
    }

    private static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + "\"";
    }

    /** The Kafka error of a call, 0 when it is granted, or what was thrown if that is no Kafka error. */
    private static Object refusal(Call call) {
        try {
            call.run();
            return 0;
        } catch (Exception thrown) {
            Integer code = Client.code(thrown);
            return code == null ? thrown.toString() : code;
        }
    }

    /** How many records of each tag came, in order: "a5 c5". */
    private static String tags(List<Item> items) {
        Map<String, Integer> counts = new LinkedHashMap<>();
        items.forEach(item -> counts.merge(item.value().split(" ")[0], 1, Integer::sum));
        return counts.entrySet().stream().map(tag -> tag.getKey() + tag.getValue()).collect(Collectors.joining(" "));
    }

    /** How many records were read as they were sent, in the order of their keys. */
    private static int sameByKey(List<Item> sent, List<Item> read) {
        Map<String, List<String>> came = byKey(read);
        int same = 0;
        for (var key : byKey(sent).entrySet()) {
            List<String> there = came.getOrDefault(key.getKey(), List.of());
            for (int n = 0; n < Math.min(key.getValue().size(), there.size()); n++) {
                if (key.getValue().get(n).equals(there.get(n))) {
                    same++;
                }
            }
        }
        return same;
    }

    private static Map<String, List<String>> byKey(List<Item> items) {
        Map<String, List<String>> keys = new TreeMap<>();
        for (Item item : items) {
            keys.computeIfAbsent(item.key(), key -> new ArrayList<>()).add(item.value() + "|" + item.header());
        }
        return keys;
    }

    private static Map<String, Object> codecs(Client client, String prefix) throws Exception {
        int count = 200;
        Map<String, Object> saw = new HashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = prefix + "." + codec;
            create(client, topic, 4);
            List<Item> sent = Item.numbered(codec, count);
            Item last = sent.remove(count - 1);
            sent.add(new Item(last.key(), null, last.header()));
            try (var sender = client.producer(codec)) {
                sender.send(topic, sent);
            }
            saw.put(codec, sameByKey(sent, client.read(topic, 4, count)));
        }
        return saw;
    }

    private static Map<String, Object> idempotence(Client client, String prefix) throws Exception {
        List<Item> sent = Item.numbered("once", 500);
        create(client, prefix, 1);
        try (var sender = client.idempotent()) {
            sender.send(prefix, sent);
        }
        List<Item> read = client.read(prefix, 1, sent.size());
        return Map.of(
                "read", read.size(),
                "in order", read.stream().map(Item::value).toList()
                        .equals(sent.stream().map(Item::value).toList()),
                "latest", client.listOffset(prefix, 0, LATEST));
    }

    private static Map<String, Object> transactions(Client client, String prefix) throws Exception {
        create(client, prefix, 1);
        Map<String, Object> saw = new HashMap<>();
        try (var sender = client.transactional(prefix)) {
            for (String tag : List.of("a", "b", "c")) {
                sender.begin();
                sender.send(prefix, Item.numbered(tag, EACH));
                if (tag.equals("b")) {
                    sender.abort();
                } else {
                    sender.commit();
                }
            }
            saw.put("committed", tags(client.readCommitted(prefix, 1, 2 * EACH)));
            saw.put("uncommitted", tags(client.read(prefix, 1, 3 * EACH)));
            sender.begin();
            sender.send(prefix, Item.numbered("d", EACH));
            saw.put("stable while open", client.listOffset(prefix, 0, LATEST, IsolationLevel.READ_COMMITTED));
            saw.put("latest while open", client.listOffset(prefix, 0, LATEST));
            sender.abort();
            moveOffset(client, prefix, sender, saw);
            fence(client, prefix, sender, saw);
        }
        return saw;
    }

    private static void moveOffset(
            Client client, String topic, Client.Sender sender, Map<String, Object> saw) throws Exception {
        String group = topic + ".group";
        sender.begin();
        sender.sendOffset(group, topic, 3);
        sender.abort();
        saw.put("offset after abort", client.committed(group, topic, 0));
        sender.begin();
        sender.sendOffset(group, topic, 5);
        sender.commit();
        // The coordinator answers before the group has its marker.
        eventually("the offset", () -> client.committed(group, topic, 0) == 5);
        saw.put("offset after commit", client.committed(group, topic, 0));
    }

    private static void fence(
            Client client, String topic, Client.Sender first, Map<String, Object> saw) throws Exception {
        first.begin();
        first.send(topic, Item.numbered("e", 1));
        try (var second = client.transactional(topic)) {
            second.begin();
            second.send(topic, Item.numbered("f", EACH));
            saw.put("fenced", !Integer.valueOf(0).equals(refusal(first::commit)));
            second.commit();
        }
        saw.put("after fencing", tags(client.readCommitted(topic, 1, 3 * EACH)));
    }

    private static Map<String, Object> topics(Client client, String prefix) throws Exception {
        String made = prefix + ".made";
        Map<String, Object> saw = new HashMap<>();
        create(client, made, 3, Map.of("max.message.bytes", "2000000"));
        saw.put("again", refusal(() -> client.createTopic(made, 3, 1, Map.of())));
        saw.put("bad name", refusal(() -> client.createTopic(prefix + "/slash", 3, 1, Map.of())));
        saw.put("three replicas", refusal(() -> client.createTopic(prefix + ".replicas", 3, 3, Map.of())));
        saw.put("bad config",
                refusal(() -> client.createTopic(prefix + ".config", 3, 1, Map.of("no.such.config", "1"))));
        client.growTopic(made, 6);
        saw.put("shrunk", refusal(() -> client.growTopic(made, 2)));
        eventually("six partitions", () -> client.partitions(made) == 6);
        try (var sender = client.producer("none")) {
            sender.send(made, List.of(new Item("k", "v", "").in(5)));
        }
        saw.put("in the new partition", client.read(made, 6, 1).size());
        client.deleteTopic(made);
        eventually("the topic is gone", () -> client.partitions(made) == 0);
        saw.put("deleted again", refusal(() -> client.deleteTopic(made)));
        return saw;
    }

    private static Map<String, Object> configs(Client client, String prefix) throws Exception {
        create(client, prefix, 1, Map.of("max.message.bytes", "2000000"));
        Map<String, Object> saw = new HashMap<>();
        saw.put("created with", client.config(prefix, "max.message.bytes"));
        client.alterConfig(prefix, OpType.SET, "retention.ms", "1000000");
        becomes(client, prefix, saw, "set", "retention.ms", "1000000");
        client.alterConfig(prefix, OpType.APPEND, "cleanup.policy", "compact");
        becomes(client, prefix, saw, "appended", "cleanup.policy", "delete,compact");
        client.alterConfig(prefix, OpType.SUBTRACT, "cleanup.policy", "delete");
        becomes(client, prefix, saw, "subtracted", "cleanup.policy", "compact");
        client.alterConfig(prefix, OpType.DELETE, "retention.ms", "");
        becomes(client, prefix, saw, "unset", "retention.ms", "604800000");
        saw.put("untouched", client.config(prefix, "max.message.bytes"));
        saw.put("unknown", refusal(() -> client.alterConfig(prefix, OpType.SET, "no.such.config", "1")));
        saw.put("bad value", refusal(() -> client.alterConfig(prefix, OpType.SET, "retention.ms", "soon")));
        return saw;
    }

    private static void becomes(
            Client client, String topic, Map<String, Object> saw, String fact, String name, String value)
            throws Exception {
        eventually(fact, () -> client.config(topic, name).equals(value));
        saw.put(fact, client.config(topic, name));
    }

    private static Map<String, Object> groups(Client client, String prefix) throws Exception {
        create(client, prefix, 1);
        try (var sender = client.producer("none")) {
            sender.send(prefix, Item.numbered("read", 10));
        }
        String group = prefix + ".group";
        Map<String, Object> saw = new HashMap<>();
        var shared = new Sharing();
        var member = shared.join(client, group, prefix, Protocol.EAGER);
        eventually("ten records", () -> {
            member.check();
            return shared.distinct() == 10;
        });
        saw.put("listed", client.listGroups().contains(group));
        saw.put("state", client.groupState(group));
        saw.put("members", client.groupMembers(group));
        saw.put("deleted while busy", refusal(() -> client.deleteGroup(group)));
        member.leave();
        saw.put("state after leaving", client.groupState(group));

        saw.put("committed", client.committed(group, prefix, 0));
        client.commit(group, prefix, 0, 4);
        saw.put("altered", client.committed(group, prefix, 0));
        client.deleteCommitted(group, prefix, 0);
        saw.put("offset deleted", client.committed(group, prefix, 0));
        client.deleteGroup(group);
        saw.put("listed after deletion", client.listGroups().contains(group));
        saw.put("deleted again", refusal(() -> client.deleteGroup(group)));
        return saw;
    }

    private static Map<String, Object> records(Client client, String prefix) throws Exception {
        create(client, prefix, 1);
        long start = System.currentTimeMillis() - 100_000;
        try (var sender = client.producer("none")) {
            List<Item> timed = Item.numbered("timed", 10);
            for (int n = 0; n < timed.size(); n++) {
                sender.send(prefix, List.of(timed.get(n).at(start + n * 1000L)));
            }
        }
        Map<String, Object> saw = new HashMap<>();
        saw.put("earliest", client.listOffset(prefix, 0, EARLIEST));
        saw.put("latest", client.listOffset(prefix, 0, LATEST));
        saw.put("at a time", client.listOffset(prefix, 0, start + 3500));
        saw.put("after last", client.listOffset(prefix, 0, start + 1_000_000));
        saw.put("deleted before", client.deleteRecords(prefix, 0, 6));
        saw.put("earliest then", client.listOffset(prefix, 0, EARLIEST));
        saw.put("read then", client.read(prefix, 1, 4).size());
        saw.put("deleted beyond the end", refusal(() -> client.deleteRecords(prefix, 0, 11)));
        return saw;
    }

    private static Map<String, Object> refusals(Client client, String prefix) throws Exception {
        create(client, prefix, 1, Map.of("max.message.bytes", "1000"));
        Map<String, Object> saw = new HashMap<>();
        try (var sender = client.producer("none")) {
            List<Item> large = List.of(new Item("k", "x".repeat(5000), ""));
            saw.put("too large", refusal(() -> sender.send(prefix, large)));
            sender.send(prefix, Item.numbered("small", 1));
        }
        saw.put("read", client.read(prefix, 1, 1).size());
        saw.put("out of range", refusal(() -> client.fetchAt(prefix, 0, 1000)));
        return saw;
    }

    /** Every acknowledged record is there after the broker was killed in the middle. */
    private static void restart(Client client, String topic) throws Exception {
        List<Item> sent = Item.numbered("kept", 2000);
        create(client, topic, 4);
        try (var sender = client.idempotent()) {
            sender.send(topic, sent.subList(0, 1000));
            System.out.println("half");
            String word = new BufferedReader(new InputStreamReader(System.in)).readLine();
            if (!"restarted".equals(word)) {
                throw new AssertionError(word);
            }
            sender.send(topic, sent.subList(1000, sent.size()));
        }
        int same = sameByKey(sent, client.read(topic, 4, sent.size()));
        if (same != sent.size()) {
            throw new AssertionError(same + " of " + sent.size() + " are as they were sent");
        }
    }

    /** The consumer protocol with a regular expression, which the broker resolves as topics come. */
    private static void pattern(Client client) throws Exception {
        List<Item> read = new ArrayList<>();
        try (var sender = client.producer("none");
                var consumer = client.consumer(Map.of("group.id", "matching", "group.protocol", "consumer"))) {
            consumer.subscribe(new SubscriptionPattern("pattern-.*"));
            for (String topic : List.of("pattern-a", "pattern-b")) {
                create(client, topic, 4);
                sender.send(topic, Item.numbered(topic, 100));
                int before = read.size();
                eventually(topic, () -> {
                    consumer.poll(Duration.ofMillis(100)).forEach(record ->
                            read.add(new Item(record.key(), record.value(), "")));
                    return read.size() == before + 100;
                });
                consumer.commitSync();
                long committed = 0;
                for (int partition = 0; partition < 4; partition++) {
                    committed += Math.max(0, client.committed("matching", topic, partition));
                }
                if (committed != 100) {
                    throw new AssertionError(committed + " committed of " + topic);
                }
            }
        }
    }
}
