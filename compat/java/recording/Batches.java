package recording;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Crc32C;

/**
 * Record batches in scripts: {@code {values: [a, b]}} with, where wanted, {@code keys}, {@code codec},
 * {@code producerId}, {@code epoch}, {@code sequence}, {@code transactional}, {@code control} (COMMIT or
 * ABORT), {@code timestamp} (by default now), {@code copies} (of the values), {@code bytes} (of one value
 * without content), and {@code set: {offset-in-the-batch: byte}} with {@code crc: true} to mend its check.
 */
final class Batches {
    private static final int CRC_AT = 17;
    private static final int ATTRIBUTES_AT = 21;
    private static final int MAX_BYTES = 32 << 20;

    private Batches() {}

    static MemoryRecords build(JsonNode said) {
        JsonNode all = said.isArray() ? said : JsonNodeFactory.instance.arrayNode().add(said);
        ByteBuffer together = ByteBuffer.allocate(MAX_BYTES);
        for (JsonNode one : all) {
            together.put(batch(one));
        }
        together.flip();
        return MemoryRecords.readableRecords(together);
    }

    private static ByteBuffer batch(JsonNode said) {
        long producer = said.path("producerId").asLong(RecordBatch.NO_PRODUCER_ID);
        short epoch = (short) said.path("epoch").asInt(RecordBatch.NO_PRODUCER_EPOCH);
        ByteBuffer bytes;
        if (said.has("control")) {
            var type = ControlRecordType.valueOf(said.get("control").asText());
            bytes = MemoryRecords.withEndTransactionMarker(producer, epoch, new EndTransactionMarker(type, 0)).buffer();
        } else {
            var codec = CompressionType.forName(said.path("codec").asText("none"));
            var builder = MemoryRecords.builder(ByteBuffer.allocate(1024), RecordBatch.MAGIC_VALUE_V2,
                    Compression.of(codec).build(), TimestampType.CREATE_TIME, 0, 0, producer, epoch,
                    said.path("sequence").asInt(RecordBatch.NO_SEQUENCE), said.path("transactional").asBoolean(), -1);
            long timestamp = said.path("timestamp").asLong(System.currentTimeMillis());
            for (int copy = 0; copy < said.path("copies").asInt(1); copy++) {
                for (int at = 0; at < said.path("values").size(); at++) {
                    builder.append(timestamp, text(said.path("keys").get(at)), text(said.path("values").get(at)));
                }
            }
            if (said.has("bytes")) {
                builder.append(timestamp, text(said.path("keys").get(0)), new byte[said.get("bytes").asInt()]);
            }
            bytes = builder.build().buffer();
        }
        for (var set : said.path("set").properties()) {
            bytes.put(Integer.parseInt(set.getKey()), (byte) set.getValue().asInt());
        }
        if (said.path("crc").asBoolean()) {
            long crc = Crc32C.compute(bytes, ATTRIBUTES_AT, bytes.limit() - ATTRIBUTES_AT);
            bytes.putInt(CRC_AT, (int) crc);
        }
        return bytes;
    }

    private static byte[] text(JsonNode said) {
        return said == null || said.isNull() ? null : said.asText().getBytes(StandardCharsets.UTF_8);
    }

    /** What a fetch brought, batch by batch; a batch that is cut off is left out, as clients do. */
    static ArrayNode shown(byte[] bytes) {
        ArrayNode batches = JsonNodeFactory.instance.arrayNode();
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
            ObjectNode shown = batches.addObject();
            shown.put("base", batch.baseOffset()).put("last", batch.lastOffset());
            shown.put("leaderEpoch", batch.partitionLeaderEpoch());
            if (batch.compressionType() != CompressionType.NONE) {
                shown.put("codec", batch.compressionType().name);
            }
            if (batch.hasProducerId()) {
                shown.put("producerId", batch.producerId()).put("epoch", batch.producerEpoch());
                shown.put("sequence", batch.baseSequence()).put("transactional", batch.isTransactional());
            }
            ArrayNode records = shown.putArray("records");
            for (Record record : batch) {
                records.add(batch.isControlBatch()
                        ? "control " + ControlRecordType.parse(record.key())
                        : text(record.key()) + "=" + text(record.value()));
            }
        }
        return batches;
    }

    private static String text(ByteBuffer bytes) {
        return bytes == null ? "null" : StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
    }
}
