package recording;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.apache.kafka.common.protocol.Errors;

/**
 * What differs from run to run, by stable names: an id becomes {@code $member1} when it is first seen, and
 * the script may say {@code $member1} from then on. Times and texts become {@code …}. Lists that have no
 * order are sorted.
 */
final class Symbols {
    /** A symbol that no answer has given a value. */
    static final class Unknown extends RuntimeException {
        private Unknown(String name) {
            super(name);
        }
    }

    private static final Map<String, String> NAMED = Map.of(
            "memberId", "member", "leader", "member", "topicId", "topic", "producerId", "producer",
            "sessionId", "session", "clusterId", "cluster");
    private static final Set<String> ORDERED = Set.of(
            "records", "synonyms", "abortedTransactions", "coordinators");
    private static final Set<String> NOTHING =
            Set.of("memberId ", "leader ", "topicId AAAAAAAAAAAAAAAAAAAAAA", "producerId -1", "sessionId 0", "clusterId ");
    private static final String HIDDEN = "…";

    private final Map<String, JsonNode> values = new HashMap<>();
    private final Map<String, String> names = new HashMap<>();
    private final Map<String, Integer> counts = new HashMap<>();
    private final Set<String> hidden = new HashSet<>(List.of(
            "batchIndexErrorMessage", "statusMessage", "port", "documentation", "logAppendTimeMs"));

    void mask(List<String> fields) {
        hidden.addAll(fields);
    }

    /** The names of all errors in an answer. */
    static List<String> errors(JsonNode answer) {
        List<String> errors = new ArrayList<>();
        if (answer.isObject()) {
            answer.properties().forEach(each -> {
                if (each.getKey().endsWith("rrorCode")) {
                    errors.add(Errors.forCode((short) each.getValue().asInt()).name());
                }
            });
        }
        answer.forEach(each -> errors.addAll(errors(each)));
        return errors;
    }

    /** The same with every {@code $name} as the value it stands for. */
    JsonNode resolve(JsonNode said) {
        return resolve("", said);
    }

    private JsonNode resolve(String field, JsonNode said) {
        if (said.isTextual() && said.asText().startsWith("$")) {
            JsonNode known = values.get(said.asText());
            if (known == null) {
                throw new Unknown(said.asText());
            }
            return known;
        }
        if (said.isObject()) {
            ObjectNode all = JsonNodeFactory.instance.objectNode();
            said.properties().forEach(each -> all.set(each.getKey(), resolve(each.getKey(), each.getValue())));
            return all;
        }
        if (said.isArray()) {
            ArrayNode all = JsonNodeFactory.instance.arrayNode();
            said.forEach(each -> all.add(resolve(field, each)));
            return all;
        }
        // What the script itself named keeps its name.
        if (NAMED.containsKey(field)) {
            names.put(NAMED.get(field) + " " + said.asText(), said.asText());
        }
        return said;
    }

    JsonNode masked(JsonNode answer) {
        JsonNode named = named("", sorted("", plain("", answer), Symbols::withoutIds));
        return sorted("", named, Symbols::text);
    }

    /** Errors by name, bytes as text, and without what is always different. */
    private JsonNode plain(String field, JsonNode node) {
        if (node.isObject()) {
            ObjectNode all = JsonNodeFactory.instance.objectNode();
            node.properties().forEach(each -> {
                boolean unthrottled = each.getKey().equals("throttleTimeMs") && each.getValue().asInt() == 0;
                // Texts are each broker's own.
                if (!unthrottled && !each.getKey().equals("errorMessage")) {
                    all.set(each.getKey(), plain(each.getKey(), each.getValue()));
                }
            });
            return all;
        }
        if (node.isArray()) {
            ArrayNode all = JsonNodeFactory.instance.arrayNode();
            node.forEach(each -> all.add(plain(field, each)));
            return all;
        }
        if (node.isBinary()) {
            byte[] bytes = binary(node);
            return field.equals("records") ? Batches.shown(bytes) : new TextNode(text(bytes));
        }
        if (field.endsWith("rrorCode")) {
            return new TextNode(Errors.forCode((short) node.asInt()).name());
        }
        boolean none = node.isNull() || node.asText().isEmpty() || node.asText().equals("-1");
        return hidden.contains(field) && !none ? new TextNode(HIDDEN) : node;
    }

    private static byte[] binary(JsonNode node) {
        try {
            return node.binaryValue();
        } catch (java.io.IOException wrong) {
            throw new IllegalStateException(wrong);
        }
    }

    private static String text(byte[] bytes) {
        for (byte each : bytes) {
            if (each < ' ' || each > '~') {
                return "0x" + HexFormat.of().formatHex(bytes);
            }
        }
        return new String(bytes, StandardCharsets.US_ASCII);
    }

    private static JsonNode sorted(String field, JsonNode node, Function<JsonNode, String> by) {
        if (node.isObject()) {
            ObjectNode all = JsonNodeFactory.instance.objectNode();
            node.properties().forEach(each -> all.set(each.getKey(), sorted(each.getKey(), each.getValue(), by)));
            return all;
        }
        if (node.isArray()) {
            List<JsonNode> each = new ArrayList<>();
            node.forEach(one -> each.add(sorted("", one, by)));
            if (!ORDERED.contains(field)) {
                each.sort(Comparator.comparing(by));
            }
            return JsonNodeFactory.instance.arrayNode().addAll(each);
        }
        return node;
    }

    private static String withoutIds(JsonNode node) {
        return sortKey(node, NAMED.keySet());
    }

    private static String text(JsonNode node) {
        return sortKey(node, Set.of());
    }

    private static String sortKey(JsonNode node, Set<String> without) {
        if (node.isObject()) {
            var text = new StringBuilder();
            node.properties().forEach(each -> {
                if (!without.contains(each.getKey())) {
                    text.append(each.getKey()).append(sortKey(each.getValue(), without));
                }
            });
            return text.toString();
        }
        return node.isNumber() ? String.format("%020d", node.asLong()) : node.toString();
    }

    private JsonNode named(String field, JsonNode node) {
        if (node.isObject()) {
            ObjectNode all = JsonNodeFactory.instance.objectNode();
            // A refusal's ids are nobody's.
            boolean refusal = !node.path("errorCode").asText("NONE").equals("NONE");
            node.properties().forEach(each -> all.set(
                    each.getKey(),
                    refusal && each.getValue().isNumber() ? each.getValue() : named(each.getKey(), each.getValue())));
            return all;
        }
        if (node.isArray()) {
            ArrayNode all = JsonNodeFactory.instance.arrayNode();
            node.forEach(each -> all.add(named(field, each)));
            return all;
        }
        String kind = NAMED.get(field);
        if (kind == null || node.isNull() || NOTHING.contains(field + " " + node.asText())) {
            return node;
        }
        String name = names.computeIfAbsent(kind + " " + node.asText(), key -> {
            String fresh = "$" + kind + counts.merge(kind, 1, Integer::sum);
            values.put(fresh, node);
            return fresh;
        });
        return new TextNode(name);
    }
}
