import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** Answers questions about error codes and record batches with Kafka's own classes. */
public final class RecordsOracle {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "errors" -> errors();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** One line per error: code, name, 1 if a client may retry. */
    private static void errors() {
        for (Errors error : Errors.values()) {
            int retriable = error.exception() instanceof RetriableException ? 1 : 0;
            System.out.println(error.code() + "\t" + error.name() + "\t" + retriable);
        }
    }
}
