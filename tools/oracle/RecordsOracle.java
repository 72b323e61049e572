import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.message.VotersRecord;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.BufferSupplier;
import org.apache.kafka.common.utils.internals.PrimitiveRef;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

/**
 * Answers questions about error codes and record batches with Kafka's own classes. The command is the first argument;
 * "read" and "validate" take one JSON object or base64 batch per line and answer each with a line of JSON.
 */
public final class RecordsOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final byte MAGIC_V2 = RecordBatch.MAGIC_VALUE_V2;
    private static final long FIRST_TIMESTAMP = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "errors" -> errors();
            case "corpus" -> corpus();
            case "read" -> forEachLine(line -> read(Base64.getDecoder().decode(line)));
            case "validate" -> forEachLine(line -> validate(JSON.readTree(line)));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private interface Answer {
        ObjectNode to(String line) throws Exception;
    }

    private static void forEachLine(Answer answer) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine())
            System.out.println(answer.to(line));
    }

    /** One line per error: code, name, 1 if a client may retry. */
    private static void errors() {
        for (Errors error : Errors.values()) {
            int retriable = error.exception() instanceof RetriableException ? 1 : 0;
            System.out.println(error.code() + "\t" + error.name() + "\t" + retriable);
        }
    }

    /** What Java reads in the bytes: batches and their records, or the class of the exception. */
    private static ObjectNode read(byte[] bytes) {
        ObjectNode out = JSON.createObjectNode();
        try {
            ArrayNode batches = JSON.createArrayNode();
            for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
                batch.ensureValid();
                batches.add(describe(batch));
            }
            out.set("batches", batches);
        } catch (Exception e) {
            out.put("error", e.getClass().getSimpleName());
        }
        return out;
    }

    private static ObjectNode describe(RecordBatch batch) {
        ObjectNode out = JSON.createObjectNode();
        out.put("magic", batch.magic());
        out.put("base_offset", batch.baseOffset());
        out.put("last_offset", batch.lastOffset());
        out.put("size_bytes", batch.sizeInBytes());
        out.put("codec", batch.compressionType().id);
        out.put("timestamp_type", batch.timestampType().id);
        out.put("max_timestamp_ms", batch.maxTimestamp());
        out.put("producer_id", batch.producerId());
        out.put("producer_epoch", batch.producerEpoch());
        out.put("base_sequence", batch.baseSequence());
        out.put("last_sequence", batch.lastSequence());
        out.put("is_transactional", batch.isTransactional());
        out.put("is_control", batch.isControlBatch());
        out.put("leader_epoch", batch.partitionLeaderEpoch());
        ArrayNode records = out.putArray("records");
        for (Record record : batch) {
            ArrayNode fields = records.addArray();
            fields.add(record.offset()).add(record.timestamp()).add(base64(record.key())).add(base64(record.value()));
            ArrayNode headers = fields.addArray();
            for (Header header : record.headers())
                headers.addArray().add(header.key())
                    .add(base64(header.value() == null ? null : ByteBuffer.wrap(header.value())));
        }
        return out;
    }

    /** The bytes in base64; of more than 256, their SHA-256 after a "#". */
    private static String base64(ByteBuffer buffer) {
        if (buffer == null)
            return null;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        if (bytes.length <= 256)
            return Base64.getEncoder().encodeToString(bytes);
        try {
            return "#" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Which error a leader gives a client's batch, by the checks of ProduceRequest and LogValidator. */
    private static ObjectNode validate(JsonNode question) throws Exception {
        ObjectNode out = JSON.createObjectNode();
        try {
            byte[] bytes = Base64.getDecoder().decode(question.get("batch").asText());
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
            ProduceRequest.validateRecords((short) 12, records);
            CompressionType source = records.batches().iterator().next().compressionType();
            long now = question.get("now_ms").asLong();
            LogValidator validator = new LogValidator(records, new TopicPartition("t", 0), fixed(now), source,
                Compression.of(source).build(), question.get("compacted").asBoolean(), MAGIC_V2,
                TimestampType.forName(question.get("timestamp_type").asText()), question.get("before_ms").asLong(),
                question.get("after_ms").asLong(), 5, AppendOrigin.CLIENT, question.get("max_record_bytes").asInt());
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
                PrimitiveRef.ofLong(0), NO_METRICS, BufferSupplier.NO_CACHING);
            out.put("max_timestamp_ms", result.maxTimestampMs());
            out.put("rebuilt", result.messageSizeMaybeChanged());
        } catch (RecordValidationException e) {
            out.put("error", Errors.forException(e.invalidException()).name());
            ArrayNode indexes = out.putArray("indexes");
            e.recordErrors().forEach(error -> indexes.add(error.batchIndex));
        } catch (Exception e) {
            out.put("error", Errors.forException(e).name());
        }
        return out;
    }

    private static Time fixed(long nowMs) {
        return (Time) java.lang.reflect.Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[]{Time.class},
            (proxy, method, arguments) -> method.getName().equals("milliseconds") ? nowMs : 0L);
    }

    private static final LogValidator.MetricsRecorder NO_METRICS = new LogValidator.MetricsRecorder() {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    };

    /** Batches that Java wrote, one JSON object per line: a name, the bytes, and what Java reads in them. */
    private static void corpus() {
        List<Compression> codecs = List.of(Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build());
        for (Compression codec : codecs) {
            String name = codec.type().name;
            print(name + "-mixed", mixed(codec, MAGIC_V2, TimestampType.CREATE_TIME));
            print(name + "-append-time", mixed(codec, MAGIC_V2, TimestampType.LOG_APPEND_TIME));
            print(name + "-large", large(codec, MAGIC_V2));
            print(name + "-idempotent", MemoryRecords.withIdempotentRecords(MAGIC_V2, 9L, codec, 77L, (short) 3,
                Integer.MAX_VALUE - 1, 8, simple()));
            print(name + "-transactional", MemoryRecords.withTransactionalRecords(MAGIC_V2, 10L, codec, 78L, (short) 0,
                0, 9, simple()));
            if (codec.type() == CompressionType.ZSTD)
                continue;
            for (byte magic = 0; magic < MAGIC_V2; magic++) {
                String legacy = name + "-magic-" + magic;
                print(legacy, mixed(codec, magic, magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME));
                print(legacy + "-large", large(codec, magic));
            }
            print(name + "-magic-1-append-time", mixed(codec, (byte) 1, TimestampType.LOG_APPEND_TIME));
        }
        print("gzip-level-9", mixed(Compression.gzip().level(9).build(), MAGIC_V2, TimestampType.CREATE_TIME));
        print("lz4-level-17", large(Compression.lz4().level(17).build(), MAGIC_V2));
        print("zstd-level--5", large(Compression.zstd().level(-5).build(), MAGIC_V2));
        print("zstd-level-22", large(Compression.zstd().level(22).build(), MAGIC_V2));
        control();
    }

    private static void control() {
        for (ControlRecordType type : List.of(ControlRecordType.ABORT, ControlRecordType.COMMIT))
            print("end-txn-" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(40L, FIRST_TIMESTAMP, 6,
                79L, (short) 2, new EndTransactionMarker(type, 12)));
        Uuid directory = new Uuid(1L, 2L);
        print("leader-change", MemoryRecords.withLeaderChangeMessage(41L, FIRST_TIMESTAMP, 6, ByteBuffer.allocate(1024),
            new LeaderChangeMessage().setLeaderId(1)
                .setVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(1)))
                .setGrantingVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(1)))));
        print("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0L, FIRST_TIMESTAMP, 6, ByteBuffer.allocate(1024),
            new SnapshotHeaderRecord().setLastContainedLogTimestamp(FIRST_TIMESTAMP)));
        print("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(9L, FIRST_TIMESTAMP, 6, ByteBuffer.allocate(1024),
            new SnapshotFooterRecord()));
        print("kraft-version", MemoryRecords.withKRaftVersionRecord(1L, FIRST_TIMESTAMP, 6, ByteBuffer.allocate(1024),
            new KRaftVersionRecord().setKRaftVersion((short) 1)));
        VotersRecord.Endpoint endpoint = new VotersRecord.Endpoint().setName("CONTROLLER").setHost("localhost").setPort(9093);
        print("kraft-voters", MemoryRecords.withVotersRecord(2L, FIRST_TIMESTAMP, 6, ByteBuffer.allocate(1024),
            new VotersRecord().setVoters(List.of(new VotersRecord.Voter().setVoterId(1).setVoterDirectoryId(directory)
                .setEndpoints(new VotersRecord.EndpointCollection(List.of(endpoint).iterator()))
                .setKRaftVersionFeature(new VotersRecord.KRaftVersionFeature().setMaxSupportedVersion((short) 1))))));
    }

    private static SimpleRecord[] simple() {
        return new SimpleRecord[]{
            new SimpleRecord(FIRST_TIMESTAMP, "a".getBytes(), "one".getBytes()),
            new SimpleRecord(FIRST_TIMESTAMP + 5, "b".getBytes(), "two".getBytes()),
            new SimpleRecord(FIRST_TIMESTAMP - 70_000, "c".getBytes(), null)};
    }

    private static MemoryRecords mixed(Compression codec, byte magic, TimestampType type) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(64 * 1024), magic, codec, type, 100L,
            FIRST_TIMESTAMP + 1_000, RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE,
            false, 7);
        Header[] none = Record.EMPTY_HEADERS;
        Header[] some = {new RecordHeader("name", "value".getBytes()), new RecordHeader("name", null),
            new RecordHeader("\u00e9\u4e16", new byte[0]), new RecordHeader("", new byte[]{0, -1})};
        builder.append(FIRST_TIMESTAMP, null, ByteBuffer.wrap("no key".getBytes()), none);
        builder.append(FIRST_TIMESTAMP + 1, ByteBuffer.wrap(new byte[0]), null, none);
        builder.append(FIRST_TIMESTAMP - 1_000_000, ByteBuffer.wrap("k".getBytes()), ByteBuffer.wrap(new byte[0]),
            magic < MAGIC_V2 ? none : some);
        byte[] longKey = new byte[200];
        Arrays.fill(longKey, (byte) 'k');
        builder.append(FIRST_TIMESTAMP + 1_000_000_000L, ByteBuffer.wrap(longKey), ByteBuffer.wrap(longKey), none);
        return builder.build();
    }

    /** More than one block of every codec: 40 records of about 3 KiB that compress well. */
    private static MemoryRecords large(Compression codec, byte magic) {
        SimpleRecord[] records = new SimpleRecord[codec.type() == CompressionType.NONE ? 3 : 40];
        for (int i = 0; i < records.length; i++)
            records[i] = new SimpleRecord(FIRST_TIMESTAMP + i, ("key-" + i).getBytes(), ("value " + i + ' ').repeat(320).getBytes());
        return MemoryRecords.withRecords(magic, 500L, codec, magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME,
            records);
    }

    private static void print(String name, MemoryRecords records) {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        ObjectNode out = JSON.createObjectNode();
        out.put("name", name);
        out.put("bytes", Base64.getEncoder().encodeToString(bytes));
        out.setAll(read(bytes));
        System.out.println(out);
    }
}
