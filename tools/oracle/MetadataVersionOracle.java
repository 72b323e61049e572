import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.IntPredicate;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.RegisterBrokerRecord;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.controller.PartitionChangeBuilder;
import org.apache.kafka.image.writer.ImageWriterOptions;
import org.apache.kafka.metadata.BrokerRegistration;
import org.apache.kafka.metadata.LeaderRecoveryState;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.metadata.PartitionRegistration;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.server.common.MetadataVersion;

/** Prints the records that Kafka writes of the same facts at each metadata.version: level, ELR on, case, hex. */
public class MetadataVersionOracle {
    static final Uuid TOPIC = new Uuid(1, 2);
    static final Uuid MIGRATING = new Uuid(0, 0);

    static Uuid directory(MetadataVersion version, long number) {
        return version.isDirectoryAssignmentSupported() ? new Uuid(7, number) : MIGRATING;
    }

    static PartitionRegistration partition(MetadataVersion version, boolean elr) {
        return new PartitionRegistration.Builder()
            .setReplicas(new int[] {1, 2, 3})
            .setDirectories(new Uuid[] {directory(version, 1), directory(version, 2), directory(version, 3)})
            .setIsr(new int[] {1, 2})
            .setElr(elr ? new int[] {3} : new int[0])
            .setLeader(1)
            .setLeaderRecoveryState(LeaderRecoveryState.RECOVERED)
            .setLeaderEpoch(4)
            .setPartitionEpoch(5)
            .build();
    }

    static PartitionChangeBuilder change(MetadataVersion version, boolean elr, int minIsr, IntPredicate mayLead) {
        PartitionChangeBuilder builder =
            new PartitionChangeBuilder(partition(version, elr), TOPIC, 6, mayLead, version, minIsr, elr);
        builder.setUseLastKnownLeaderInBalancedRecovery(true);
        return builder.setDefaultDirProvider(broker -> directory(version, broker));
    }

    static BrokerRegistration broker(MetadataVersion version) {
        RegisterBrokerRecord record = new RegisterBrokerRecord().setBrokerId(3).setBrokerEpoch(9).setRack("r")
            .setIncarnationId(new Uuid(5, 5)).setFenced(true);
        record.endPoints().add(
            new RegisterBrokerRecord.BrokerEndpoint().setName("PLAINTEXT").setHost("h").setPort(9092));
        record.features().add(new RegisterBrokerRecord.BrokerFeature().setName("metadata.version")
            .setMinSupportedVersion((short) 7).setMaxSupportedVersion((short) 33));
        if (version.isDirectoryAssignmentSupported()) record.setLogDirs(List.of(new Uuid(7, 1), new Uuid(7, 2)));
        if (version.isCordonedLogDirsSupported()) record.setCordonedLogDirs(List.of(new Uuid(7, 2)));
        return BrokerRegistration.fromRecord(record);
    }

    static void print(MetadataVersion version, boolean elr, String name, ApiMessageAndVersion record) {
        MetadataRecordSerde serde = MetadataRecordSerde.INSTANCE;
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(serde.recordSize(record, cache));
        serde.write(record, cache, new ByteBufferAccessor(buffer));
        System.out.println(version.featureLevel() + "\t" + elr + "\t" + name + "\t"
            + HexFormat.of().formatHex(Arrays.copyOf(buffer.array(), buffer.position())));
    }

    public static void main(String[] args) {
        for (MetadataVersion version : MetadataVersion.VERSIONS) {
            if (!version.isProduction()) continue;
            for (boolean elr : version.isElrSupported() ? new boolean[] {false, true} : new boolean[] {false}) {
                ImageWriterOptions options =
                    new ImageWriterOptions.Builder(version).setEligibleLeaderReplicasEnabled(elr).build();
                print(version, elr, "broker", broker(version).toRecord(options));
                print(version, elr, "partition", partition(version, elr).toRecord(TOPIC, 6, options));
                print(version, elr, "shrunk",
                    change(version, elr, 1, id -> true).setTargetIsr(List.of(1)).build().get());
                print(version, elr, "below the minimum",
                    change(version, elr, 2, id -> true).setTargetIsr(List.of(1)).build().get());
                print(version, elr, "grown",
                    change(version, elr, 1, id -> true).setTargetIsr(List.of(1, 2, 3)).build().get());
                print(version, elr, "leader gone",
                    change(version, elr, 1, id -> id != 1).setTargetIsr(List.of(2)).build().get());
                print(version, elr, "all gone",
                    change(version, elr, 2, id -> false).setTargetIsr(List.of()).build().get());
                print(version, elr, "one more replica", change(version, elr, 1, id -> true)
                    .setTargetReplicas(List.of(1, 2, 3, 4)).setTargetAdding(List.of(4)).build().get());
            }
        }
    }
}
