package odradek.tests;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Writes the records of a topic in capitals into another one, exactly once, and goes on from its newest checkpoint.
 * Arguments: bootstrap servers, both topics, the consumer group, a TransactionNamingStrategy, a folder for checkpoints.
 */
public final class FlinkUppercase {
    private FlinkUppercase() {
    }

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        Path checkpoints = Path.of(arguments[5]);
        var configuration = new Configuration();
        configuration.setString("taskmanager.memory.network.min", "16mb");
        configuration.setString("taskmanager.memory.network.max", "16mb");
        configuration.setString("taskmanager.memory.managed.size", "16mb");
        configuration.setString("execution.checkpointing.interval", "200ms");
        configuration.setString("execution.checkpointing.dir", checkpoints.toUri().toString());
        configuration.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        newest(checkpoints).ifPresent(
            path -> configuration.setString("execution.state-recovery.path", path.toUri().toString()));

        var source = KafkaSource.<String>builder()
            .setBootstrapServers(bootstrap)
            .setTopics(arguments[1])
            .setGroupId(arguments[3])
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("isolation.level", "read_committed")
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .build();
        var sink = KafkaSink.<String>builder()
            .setBootstrapServers(bootstrap)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(arguments[3] + "-sink")
            .setTransactionNamingStrategy(TransactionNamingStrategy.valueOf(arguments[4]))
            .setProperty("transaction.timeout.ms", "60000")
            .setRecordSerializer(
                KafkaRecordSerializationSchema.<String>builder()
                    .setTopic(arguments[2])
                    .setValueSerializationSchema(new SimpleStringSchema())
                    .build())
            .build();

        var environment = StreamExecutionEnvironment.createLocalEnvironment(2, configuration);
        environment
            .fromSource(source, WatermarkStrategy.noWatermarks(), "source").uid("source")
            .map(String::toUpperCase).uid("capitals")
            .sinkTo(sink).uid("sink");
        environment.execute("capitals");
    }

    /** The newest checkpoint that was completed, of whichever job. */
    private static Optional<Path> newest(Path checkpoints) throws Exception {
        if (!Files.exists(checkpoints)) {
            return Optional.empty();
        }
        try (var files = Files.walk(checkpoints)) {
            return files
                .filter(path -> path.endsWith("_metadata"))
                .max(Comparator.comparingLong(path -> path.toFile().lastModified()))
                .map(Path::getParent);
        }
    }
}
