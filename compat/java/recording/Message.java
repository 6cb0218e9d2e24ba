package recording;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.record.BaseRecords;

/** Fills one of Kafka's message classes from a script: what is not said keeps its default. */
final class Message {
    private Message() {}

    static void fill(Object message, JsonNode body) throws Exception {
        for (Map.Entry<String, JsonNode> said : body.properties()) {
            Field field = field(message, said.getKey());
            field.setAccessible(true);
            field.set(message, value(field, said.getValue()));
        }
    }

    private static Field field(Object message, String name) {
        try {
            Field field = message.getClass().getDeclaredField(name);
            if (!Modifier.isStatic(field.getModifiers())) {
                return field;
            }
        } catch (NoSuchFieldException unknown) {
            // Said below.
        }
        throw new IllegalArgumentException(message.getClass().getSimpleName() + " has no field " + name);
    }

    private static Object value(Field field, JsonNode said) throws Exception {
        Class<?> type = field.getType();
        if (said.isNull()) {
            return null;
        }
        if (Collection.class.isAssignableFrom(type)) {
            Class<?> element = type == List.class
                    ? (Class<?>) raw(((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0])
                    : (Class<?>) ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            @SuppressWarnings("unchecked")
            Collection<Object> all = type == List.class
                    ? new ArrayList<>()
                    : (Collection<Object>) type.getConstructor().newInstance();
            for (JsonNode each : said) {
                all.add(single(element, each));
            }
            return all;
        }
        return single(type, said);
    }

    private static Object raw(Object type) {
        return type instanceof ParameterizedType parameterized ? parameterized.getRawType() : type;
    }

    private static Object single(Class<?> type, JsonNode said) throws Exception {
        if (type == boolean.class) {
            return said.asBoolean();
        }
        if (type == byte.class || type == Byte.class) {
            return (byte) said.asInt();
        }
        if (type == short.class || type == Short.class) {
            return (short) said.asInt();
        }
        if (type == int.class || type == Integer.class) {
            return said.asInt();
        }
        if (type == long.class || type == Long.class) {
            return said.asLong();
        }
        if (type == double.class) {
            return said.asDouble();
        }
        if (type == String.class) {
            return said.asText();
        }
        if (type == Uuid.class) {
            return Uuid.fromString(said.asText());
        }
        if (type == byte[].class) {
            return bytes(said);
        }
        if (type == ByteBuffer.class) {
            return ByteBuffer.wrap(bytes(said));
        }
        if (BaseRecords.class.isAssignableFrom(type)) {
            return Batches.build(said);
        }
        Object nested = type.getDeclaredConstructor().newInstance();
        fill(nested, said);
        return nested;
    }

    /** Text, {@code {hex: …}}, or what a consumer says in a group: {@code {subscribes: [t]}}, {@code {assigned: {t: [0]}}}. */
    private static byte[] bytes(JsonNode said) {
        if (said.has("hex")) {
            return HexFormat.of().parseHex(said.get("hex").asText());
        }
        if (said.has("subscribes")) {
            List<String> topics = new ArrayList<>();
            said.get("subscribes").forEach(topic -> topics.add(topic.asText()));
            return taken(ConsumerProtocol.serializeSubscription(new Subscription(topics)));
        }
        if (said.has("assigned")) {
            List<TopicPartition> partitions = new ArrayList<>();
            said.get("assigned").properties().forEach(topic -> topic.getValue().forEach(
                    partition -> partitions.add(new TopicPartition(topic.getKey(), partition.asInt()))));
            return taken(ConsumerProtocol.serializeAssignment(new Assignment(partitions)));
        }
        return said.asText().getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] taken(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }
}
