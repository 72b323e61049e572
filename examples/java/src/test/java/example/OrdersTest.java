package example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class OrdersTest {
    private static Odradek kafka;

    @BeforeAll
    static void start() throws Exception {
        kafka = new Odradek();
    }

    @AfterAll
    static void stop() throws Exception {
        kafka.close();
    }

    @BeforeEach
    void empty() throws Exception {
        kafka.reset();
    }

    private static KafkaProducer<String, String> producer() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", kafka.bootstrapServers());
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", kafka.bootstrapServers());
        properties.put("group.id", "shop");
        properties.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    @Test
    void aProducerGetsOverAnErrorOfTheBroker() throws Exception {
        kafka.post("/topics", Map.of("name", "orders"));
        kafka.post("/faults", Map.of("fault", "fail", "api", "Produce", "error", "NOT_LEADER_OR_FOLLOWER", "times", 2));
        try (var producer = producer()) {
            assertEquals(0, producer.send(new ProducerRecord<>("orders", "1", "tea")).get().offset());
        }
        assertEquals(3, kafka.get("/requests?api=Produce&wait_for=3").size());
        assertEquals("tea", kafka.get("/topics/orders/records").get(0).get("value").asText());
    }

    @Test
    void recordsAreGoneWhenTheirTimeIsOver() throws Exception {
        kafka.post("/topics", Map.of("name", "orders", "config", Map.of("retention.ms", 3_600_000)));
        try (var producer = producer(); var consumer = consumer()) {
            producer.send(new ProducerRecord<>("orders", "1", "tea")).get();
            kafka.post("/clock/advance", Map.of("hours", 1, "seconds", 1));
            TopicPartition partition = new TopicPartition("orders", 0);
            assertEquals(1, consumer.beginningOffsets(List.of(partition)).get(partition));
        }
    }

    @Test
    void aGroupReadsEverything() throws Exception {
        kafka.post("/topics", Map.of("name", "orders", "partitions", 3));
        var records = List.of(Map.of("key", "1", "value", "tea"), Map.of("key", "2", "value", "biscuits"));
        kafka.post("/topics/orders/records", Map.of("records", records));
        int read = 0;
        try (var consumer = consumer()) {
            consumer.subscribe(List.of("orders"));
            while (read < records.size()) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    read++;
                }
            }
            consumer.commitSync();
        }
        var group = kafka.get("/groups/shop?state=Empty&max_lag=0");
        assertEquals(0, group.get("members").size());
    }
}
