package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** A Kafka in memory, and its controls. It ends with this process, whatever happens to it. */
public final class Odradek implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient http = HttpClient.newHttpClient();
    private final Process process;
    private final String controls;
    private final String bootstrapServers;

    public Odradek() throws IOException {
        String command = Optional.ofNullable(System.getenv("ODRADEK")).orElse("odradek");
        process = new ProcessBuilder(
                        command, "serve", "--in-memory", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
                        "--set", "group.initial.rebalance.delay.ms=0", "--stop-with-stdin", "--log-level", "error")
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        BufferedReader output = process.inputReader();
        controls = lastWord(output.readLine());
        bootstrapServers = lastWord(output.readLine());
    }

    private static String lastWord(String line) {
        if (line == null) {
            throw new IllegalStateException("odradek did not start; what it said is above");
        }
        return line.substring(line.lastIndexOf(' ') + 1);
    }

    public String bootstrapServers() {
        return bootstrapServers;
    }

    /** Empty it: topics, groups, faults and the clock are as at the beginning. */
    public void reset() throws Exception {
        send("POST", "/reset", null);
    }

    public JsonNode get(String path) throws Exception {
        return send("GET", path, null);
    }

    public JsonNode post(String path, Map<String, ?> body) throws Exception {
        return send("POST", path, body);
    }

    private JsonNode send(String method, String path, Map<String, ?> body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(controls + path));
        if (body == null) {
            request.method(method, BodyPublishers.noBody());
        } else {
            request.header("Content-Type", "application/json")
                    .method(method, BodyPublishers.ofString(JSON.writeValueAsString(body)));
        }
        var response = http.send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() >= 300) {
            throw new AssertionError(method + " " + path + ": " + response.body());
        }
        return JSON.readTree(response.body());
    }

    @Override
    public void close() throws Exception {
        process.getOutputStream().close(); // which has it stop
        if (!process.waitFor(30, TimeUnit.SECONDS)) {
            process.destroyForcibly();
        }
    }
}
