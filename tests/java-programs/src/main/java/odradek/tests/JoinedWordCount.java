package odradek.tests;

import java.io.FileInputStream;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/**
 * Joins the records of two topics that have the same key and are at most a minute apart, and counts the words of what
 * comes out. Arguments: a file of StreamsConfig properties, the left and the right topic, where the joined lines go,
 * where each word's count goes whenever it changes.
 */
public final class JoinedWordCount {
    private static final Duration APART = Duration.ofMinutes(1);
    private static final Duration GRACE = Duration.ofDays(1);

    private JoinedWordCount() {
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (var file = new FileInputStream(arguments[0])) {
            properties.load(file);
        }
        var strings = Serdes.String();
        var builder = new StreamsBuilder();
        KStream<String, String> left = builder.stream(arguments[1], Consumed.with(strings, strings));
        KStream<String, String> right = builder.stream(arguments[2], Consumed.with(strings, strings));
        KStream<String, String> joined = left.join(
            right,
            (one, other) -> one + " " + other,
            JoinWindows.ofTimeDifferenceAndGrace(APART, GRACE),
            StreamJoined.with(strings, strings, strings));
        joined.to(arguments[3], Produced.with(strings, strings));
        joined
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(strings, strings))
            .count(Materialized.with(strings, Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(arguments[4], Produced.with(strings, strings));

        var streams = new KafkaStreams(builder.build(), properties);
        var closed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(failed -> {
            failed.printStackTrace();
            closed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        closed.await();
        System.exit(1);
    }
}
