package odradek.tests;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The driver's commands about transactions, named `txn.*`: producers by their number, and administration. */
final class Transactions {
    private final String bootstrap;
    private final Map<Integer, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private final Map<Integer, List<Future<RecordMetadata>>> sent = new HashMap<>();

    Transactions(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    /** Puts Kafka's name of the error into the answer, "" if there was none. */
    void execute(JsonNode command, ObjectNode answer) throws Exception {
        int id = command.path("id").asInt(-1);
        try {
            switch (command.get("op").asText()) {
                case "txn.open" -> open(id, command);
                case "txn.begin" -> producers.get(id).beginTransaction();
                case "txn.send" -> send(id, command);
                case "txn.flush" -> {
                    producers.get(id).flush();
                    for (Future<RecordMetadata> future : sent.remove(id)) {
                        future.get();
                    }
                }
                case "txn.offsets" -> producers.get(id).sendOffsetsToTransaction(
                    Map.of(place(command), new OffsetAndMetadata(command.get("offset").asLong())),
                    new ConsumerGroupMetadata(command.get("group").asText()));
                case "txn.commit" -> producers.get(id).commitTransaction();
                case "txn.abort" -> producers.get(id).abortTransaction();
                case "txn.close" -> producers.remove(id).close(Duration.ofSeconds(5));
                case "txn.list" -> list(command, answer.putArray("listed"));
                case "txn.describe" -> describe(command.get("transactional_id").asText(), answer);
                case "txn.producers" -> producers(place(command), answer.putArray("producers"));
                case "txn.abort_hanging" -> abortHanging(command);
                case "txn.fence" -> fence(command.get("transactional_id").asText());
                default -> throw new IllegalArgumentException("unknown op " + command.get("op"));
            }
            answer.put("error", "");
        } catch (ExecutionException failed) {
            answer.put("error", Errors.forException(failed.getCause()).name());
        } catch (org.apache.kafka.common.KafkaException failed) {
            answer.put("error", name(failed));
        }
    }

    private static String name(Throwable failed) {
        for (Throwable cause = failed; cause != null; cause = cause.getCause()) {
            Errors error = Errors.forException(cause);
            if (error != Errors.UNKNOWN_SERVER_ERROR) {
                return error.name();
            }
        }
        return failed.toString();
    }

    private void open(int id, JsonNode command) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("transactional.id", command.get("transactional_id").asText());
        config.put("transaction.timeout.ms", command.get("timeout_ms").asInt());
        config.put("max.block.ms", 30000);
        config.put("linger.ms", 0);
        var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        producers.put(id, producer);
        producer.initTransactions();
    }

    private void send(int id, JsonNode command) {
        byte[] value = command.get("value").asText().getBytes(StandardCharsets.UTF_8);
        var record = new ProducerRecord<byte[], byte[]>(
            command.get("topic").asText(), command.get("partition").asInt(), null, value);
        sent.computeIfAbsent(id, ignored -> new ArrayList<>()).add(producers.get(id).send(record));
    }

    private Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private void list(JsonNode command, ArrayNode listed) throws Exception {
        var options = new ListTransactionsOptions();
        if (command.hasNonNull("pattern")) {
            options.filterOnTransactionalIdPattern(command.get("pattern").asText());
        }
        if (command.hasNonNull("duration_ms")) {
            options.filterOnDuration(command.get("duration_ms").asLong());
        }
        try (Admin admin = admin()) {
            admin.listTransactions(options).all().get().forEach(found ->
                listed.addArray().add(found.transactionalId()).add(found.state().toString()));
        }
    }

    private void describe(String transactionalId, ObjectNode answer) throws Exception {
        try (Admin admin = admin()) {
            TransactionDescription found =
                admin.describeTransactions(List.of(transactionalId)).description(transactionalId).get();
            answer.put("state", found.state().toString()).put("coordinator", found.coordinatorId());
            answer.put("producer_id", found.producerId()).put("producer_epoch", found.producerEpoch());
            answer.put("partitions", found.topicPartitions().size());
        }
    }

    private void producers(TopicPartition place, ArrayNode producers) throws Exception {
        try (Admin admin = admin()) {
            for (ProducerState state : admin.describeProducers(List.of(place)).partitionResult(place).get()
                .activeProducers()) {
                ObjectNode entry = producers.addObject();
                entry.put("producer_id", state.producerId()).put("producer_epoch", state.producerEpoch());
                entry.put("coordinator_epoch", state.coordinatorEpoch().orElse(-1));
                entry.put("start_offset", state.currentTransactionStartOffset().orElse(-1));
            }
        }
    }

    private void abortHanging(JsonNode command) throws Exception {
        var spec = new AbortTransactionSpec(place(command), command.get("producer_id").asLong(),
            (short) command.get("producer_epoch").asInt(), command.get("coordinator_epoch").asInt());
        try (Admin admin = admin()) {
            admin.abortTransaction(spec).all().get();
        }
    }

    private void fence(String transactionalId) throws Exception {
        try (Admin admin = admin()) {
            admin.fenceProducers(List.of(transactionalId)).all().get();
        }
    }

    private static TopicPartition place(JsonNode command) {
        return new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
    }
}
