package odradek.tests;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Executes one command per line of standard input and answers each with one line on standard output. */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String bootstrap;
    private final Map<Integer, KafkaConsumer<byte[], byte[]>> consumers = new HashMap<>();
    private final Transactions transactions;

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.transactions = new Transactions(bootstrap);
    }

    public static void main(String[] arguments) throws Exception {
        Driver driver = new Driver(arguments[0]);
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer;
            try {
                answer = driver.execute(JSON.readTree(line));
            } catch (Exception failed) {
                answer = JSON.createObjectNode().put("exception", failed.toString());
            } catch (LinkageError missing) {
                answer = JSON.createObjectNode().put("missing", missing.toString());
            }
            out.println(JSON.writeValueAsString(answer));
        }
    }

    private ObjectNode execute(JsonNode command) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        if (command.get("op").asText().startsWith("txn.")) {
            transactions.execute(command, answer);
            return answer;
        }
        KafkaConsumer<byte[], byte[]> consumer = consumers.get(command.path("id").asInt(-1));
        switch (command.get("op").asText()) {
            case "produce" -> answer.set("acks", produce(command));
            case "subscribe" -> {
                List<String> topics = new ArrayList<>();
                command.get("topics").forEach(topic -> topics.add(topic.asText()));
                if (topics.get(0).startsWith("^")) {
                    open(command).subscribe(new SubscriptionPattern(topics.get(0)));
                } else {
                    open(command).subscribe(topics);
                }
            }
            case "assign" -> assign(open(command), command.get("partitions"));
            case "poll" -> {
                ArrayNode records = answer.putArray("records");
                consumer.poll(Duration.ofMillis(command.get("timeout_ms").asLong()))
                    .forEach(record -> records.add(describe(record)));
            }
            case "assignment" -> {
                ArrayNode places = answer.putArray("partitions");
                consumer.assignment().forEach(place -> places.addArray().add(place.topic()).add(place.partition()));
            }
            case "commit" -> {
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                command.get("offsets").forEach(entry -> offsets.put(
                    new TopicPartition(entry.get(0).asText(), entry.get(1).asInt()),
                    new OffsetAndMetadata(entry.get(2).asLong())));
                consumer.commitSync(offsets);
            }
            case "committed" -> {
                OffsetAndMetadata found = consumer.committed(Set.of(place(command))).get(place(command));
                answer.put("offset", found == null ? null : found.offset());
            }
            case "offsets" -> answer.put("offset", offset(place(command), command.get("timestamp_ms").asLong()));
            case "close" -> consumers.remove(command.get("id").asInt()).close();
            default -> throw new IllegalArgumentException("unknown op " + command.get("op"));
        }
        return answer;
    }

    private ArrayNode produce(JsonNode command) throws InterruptedException {
        JsonNode settings = command.get("settings");
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("acks", settings.get("acks").asText());
        config.put("enable.idempotence", settings.get("idempotent").asBoolean());
        config.put("compression.type", settings.get("compression").asText());
        config.put("max.request.size", settings.get("max_request_bytes").asInt());
        config.put("linger.ms", settings.get("linger_ms").asInt());
        config.put("request.timeout.ms", 15000);
        config.put("delivery.timeout.ms", 30000);
        ArrayNode acks = JSON.createArrayNode();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode record : command.get("records")) {
                sent.add(producer.send(record(command.get("topic").asText(), record)));
            }
            producer.flush();
            for (Future<RecordMetadata> future : sent) {
                acks.add(ack(future));
            }
        }
        return acks;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode node) {
        List<Header> headers = new ArrayList<>();
        node.get("headers").forEach(header -> headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1)))));
        Integer partition = node.get("partition").isNull() ? null : node.get("partition").asInt();
        Long timestamp = node.get("timestamp_ms").isNull() ? null : node.get("timestamp_ms").asLong();
        return new ProducerRecord<>(topic, partition, timestamp, bytes(node.get("key")), bytes(node.get("value")), headers);
    }

    private static ObjectNode ack(Future<RecordMetadata> future) throws InterruptedException {
        ObjectNode ack = JSON.createObjectNode();
        try {
            RecordMetadata place = future.get();
            ack.put("partition", place.partition()).put("offset", place.hasOffset() ? place.offset() : -1);
            ack.put("timestamp_ms", place.timestamp()).put("error", "");
        } catch (ExecutionException failed) {
            ack.put("partition", -1).put("offset", -1).put("timestamp_ms", -1);
            ack.put("error", Errors.forException(failed.getCause()).name());
        }
        return ack;
    }

    private KafkaConsumer<byte[], byte[]> open(JsonNode command) {
        JsonNode settings = command.get("settings");
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", settings.get("reset").asText());
        config.put("isolation.level", settings.get("isolation").asText());
        config.put("fetch.max.bytes", settings.get("fetch_max_bytes").asInt());
        config.put("max.partition.fetch.bytes", settings.get("partition_max_bytes").asInt());
        if (settings.get("protocol").asText().equals("consumer")) {
            config.put("group.protocol", "consumer");
            config.put("group.remote.assignor", settings.get("assignor").asText());
        } else {
            config.put("session.timeout.ms", settings.get("session_timeout_ms").asInt());
            config.put("heartbeat.interval.ms", Math.min(500, settings.get("session_timeout_ms").asInt() / 3));
            config.put("partition.assignment.strategy", switch (settings.get("assignor").asText()) {
                case "roundrobin" -> "org.apache.kafka.clients.consumer.RoundRobinAssignor";
                case "sticky" -> "org.apache.kafka.clients.consumer.StickyAssignor";
                default -> "org.apache.kafka.clients.consumer.RangeAssignor";
            });
        }
        if (!settings.get("group").isNull()) {
            config.put("group.id", settings.get("group").asText());
        }
        if (!settings.get("instance_id").isNull()) {
            config.put("group.instance.id", settings.get("instance_id").asText());
        }
        var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumers.put(command.get("id").asInt(), consumer);
        return consumer;
    }

    private static void assign(KafkaConsumer<byte[], byte[]> consumer, JsonNode partitions) {
        List<TopicPartition> places = new ArrayList<>();
        partitions.forEach(entry -> places.add(new TopicPartition(entry.get(0).asText(), entry.get(1).asInt())));
        consumer.assign(places);
        for (int i = 0; i < places.size(); i++) {
            long offset = partitions.get(i).get(2).asLong();
            if (offset == -1) {
                consumer.seekToEnd(List.of(places.get(i)));
            } else if (offset == -2) {
                consumer.seekToBeginning(List.of(places.get(i)));
            } else {
                consumer.seek(places.get(i), offset);
            }
        }
    }

    private Long offset(TopicPartition place, long timestamp) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            if (timestamp == -1) {
                return consumer.endOffsets(List.of(place)).get(place);
            }
            if (timestamp == -2) {
                return consumer.beginningOffsets(List.of(place)).get(place);
            }
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(place, timestamp)).get(place);
            return found == null ? null : found.offset();
        }
    }

    private static TopicPartition place(JsonNode command) {
        return new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
    }

    private static ObjectNode describe(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = JSON.createObjectNode();
        node.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset());
        node.put("timestamp_ms", record.timestamp()).put("key", text(record.key())).put("value", text(record.value()));
        ArrayNode headers = node.putArray("headers");
        record.headers().forEach(header -> headers.addArray().add(header.key()).add(text(header.value())));
        return node;
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
