package recording;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** Values as scripts have them: flow YAML, at most {@link #WIDTH} columns where that can be. */
final class Text {
    private static final int WIDTH = 100;
    private static final YAMLMapper YAML = new YAMLMapper();
    private static final Pattern PLAIN = Pattern.compile("[A-Za-z_$…][A-Za-z0-9_$.:/=+-]*");
    private static final Pattern TAKEN = Pattern.compile("(?i)null|true|false|yes|no|on|off|y|n");

    private Text() {}

    static JsonNode parse(String text) throws Exception {
        JsonNode node = YAML.readTree(text);
        return node == null ? JsonNodeFactory.instance.objectNode() : node;
    }

    static String show(JsonNode node) {
        return show(node, 2, 3);
    }

    private static String show(JsonNode node, int indent, int used) {
        String line = inline(node);
        if (used + line.length() <= WIDTH || !node.isContainerNode() || node.isEmpty()) {
            return line;
        }
        String gap = "\n" + " ".repeat(indent);
        List<String> parts = new ArrayList<>();
        if (node.isArray()) {
            node.forEach(each -> parts.add(show(each, indent + 2, indent)));
            return "[" + gap + String.join("," + gap, parts) + "]";
        }
        node.properties().forEach(each -> {
            String key = each.getKey() + ": ";
            parts.add(key + show(each.getValue(), indent + 2, indent + key.length()));
        });
        return "{" + gap + String.join("," + gap, parts) + "}";
    }

    private static String inline(JsonNode node) {
        List<String> parts = new ArrayList<>();
        if (node.isArray()) {
            node.forEach(each -> parts.add(inline(each)));
            return "[" + String.join(", ", parts) + "]";
        }
        if (node.isObject()) {
            node.properties().forEach(each -> parts.add(each.getKey() + ": " + inline(each.getValue())));
            return "{" + String.join(", ", parts) + "}";
        }
        if (node.isTextual()) {
            String text = node.asText();
            boolean plain = PLAIN.matcher(text).matches() && !TAKEN.matcher(text).matches() && !text.endsWith(":");
            return plain ? text : node.toString();
        }
        return node.toString();
    }
}
