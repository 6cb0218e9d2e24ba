package recording;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.lang.reflect.InvocationTargetException;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Queue;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.MemoryRecords;

/** One connection: messages as Kafka's own classes write and read them. */
final class Wire implements AutoCloseable {
    private static final int READ_WITHIN_MS = 60_000;

    private record Sent(ApiMessageType api, short version) {}

    private final Socket socket;
    private final Queue<Sent> sent = new ArrayDeque<>();
    private int correlation;
    private JsonNode peeked;
    private boolean closed;

    Wire(String address) throws Exception {
        int colon = address.lastIndexOf(':');
        socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        socket.setSoTimeout(READ_WITHIN_MS);
        socket.setTcpNoDelay(true);
    }

    private static ApiMessageType api(String name) {
        for (var api : ApiMessageType.values()) {
            if (api.name.equals(name)) {
                return api;
            }
        }
        throw new IllegalArgumentException("no API is called " + name);
    }

    void send(String name, short version, JsonNode body) throws Exception {
        ApiMessageType api = api(name);
        ApiMessage request = api.newRequest();
        Message.fill(request, body);
        var header = new RequestHeaderData()
                .setRequestApiKey(api.apiKey())
                .setRequestApiVersion(version)
                .setCorrelationId(++correlation)
                .setClientId("script");
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header, api.requestHeaderVersion(version)).buffer();
        ByteBuffer rest = MessageUtil.toByteBufferAccessor(request, version).buffer();
        var out = new DataOutputStream(socket.getOutputStream());
        byte[] frame = new byte[4 + head.remaining() + rest.remaining()];
        ByteBuffer.wrap(frame).putInt(frame.length - 4).put(head).put(rest);
        sent.add(new Sent(api, version));
        try {
            out.write(frame);
        } catch (SocketException gone) {
            closed = true;
        }
    }

    /** The next answer without taking it; null when the connection is closed instead. */
    JsonNode peek() throws Exception {
        if (peeked == null) {
            peeked = receive();
        }
        return peeked;
    }

    /** The answer to the oldest call that has none yet; null when the connection is closed instead. */
    JsonNode receive() throws Exception {
        if (peeked != null) {
            JsonNode answer = peeked;
            peeked = null;
            return answer;
        }
        byte[] frame;
        try {
            var in = new DataInputStream(socket.getInputStream());
            frame = new byte[in.readInt()];
            in.readFully(frame);
        } catch (EOFException | SocketException gone) {
            closed = true;
            return null;
        }
        var accessor = new ByteBufferAccessor(ByteBuffer.wrap(frame));
        int number = accessor.buffer().getInt(accessor.buffer().position());
        Sent asked = sent.remove();
        for (int skipped = correlation - sent.size(); skipped < number; skipped++) {
            // A call that has no answer: acks=0.
            asked = sent.remove();
        }
        new ResponseHeaderData().read(accessor, asked.api().responseHeaderVersion(asked.version()));
        ApiMessage response = asked.api().newResponse();
        short version = asked.version();
        if (asked.api() == ApiMessageType.API_VERSIONS && accessor.buffer().getShort(accessor.buffer().position()) == 35) {
            version = 0;
        }
        response.read(accessor, version);
        if (accessor.remaining() > 0) {
            throw new IllegalStateException(accessor.remaining() + " bytes behind the answer");
        }
        return json(response, version);
    }

    private static JsonNode json(ApiMessage message, short version) throws Exception {
        var converter = Class.forName(message.getClass().getName() + "JsonConverter");
        JsonNode json;
        try {
            json = (JsonNode) converter.getMethod("write", message.getClass(), short.class).invoke(null, message, version);
        } catch (InvocationTargetException wrong) {
            throw (Exception) wrong.getCause();
        }
        if (message instanceof FetchResponseData fetched) {
            addRecords(fetched, json);
        }
        return json;
    }

    /** Kafka's converter leaves record batches out. */
    private static void addRecords(FetchResponseData fetched, JsonNode json) {
        for (int topic = 0; topic < fetched.responses().size(); topic++) {
            var partitions = fetched.responses().get(topic).partitions();
            for (int at = 0; at < partitions.size(); at++) {
                ByteBuffer records = ((MemoryRecords) partitions.get(at).records()).buffer();
                byte[] bytes = new byte[records.remaining()];
                records.get(bytes);
                ((ObjectNode) json.get("responses").get(topic).get("partitions").get(at)).put("records", bytes);
            }
        }
    }

    boolean isClosed() {
        return closed;
    }

    @Override
    public void close() throws Exception {
        socket.close();
    }
}
