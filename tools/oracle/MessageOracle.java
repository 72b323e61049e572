// Apache Kafka's own codec as a filter, to compare another one with.
//
// Every line of standard input is: direction TAB class name TAB version TAB payload, where the direction is
//   "e": the payload is a message's JSON; the answer is its bytes in hex;
//   "d": the payload is bytes in hex; the answer is JSON TAB the bytes that Kafka writes for what it has read.
// Every line is answered by one line: "ok" TAB answer, or "error" TAB what was thrown.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public final class MessageOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();
    private static final Map<String, Codec> CODECS = new HashMap<>();

    private static final class Codec {
        final Class<?> message;
        final Method read;
        final Method write;

        Codec(String name) throws ReflectiveOperationException {
            message = Class.forName(name);
            Class<?> converter = Class.forName(name + "JsonConverter");
            read = converter.getMethod("read", JsonNode.class, short.class);
            write = converter.getMethod("write", message, short.class);
        }
    }

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = "ok\t" + answer(line.split("\t", 4));
            } catch (InvocationTargetException e) {
                answer = "error\t" + oneLine(e.getCause());
            } catch (Exception e) {
                answer = "error\t" + oneLine(e);
            }
            out.write(answer);
            out.newLine();
        }
        out.flush();
    }

    private static String oneLine(Throwable thrown) {
        return thrown.toString().replaceAll("\\s+", " ");
    }

    private static String answer(String[] question) throws Exception {
        Codec codec = CODECS.get(question[1]);
        if (codec == null) {
            codec = new Codec(question[1]);
            CODECS.put(question[1], codec);
        }
        short version = Short.parseShort(question[2]);
        if (question[0].equals("e")) {
            var message = (Message) codec.read.invoke(null, JSON.readTree(question[3]), version);
            return HEX.formatHex(encode(message, version));
        }
        var message = (Message) codec.message.getConstructor().newInstance();
        ByteBuffer bytes = ByteBuffer.wrap(HEX.parseHex(question.length > 3 ? question[3] : ""));
        message.read(new ByteBufferAccessor(bytes), version);
        if (bytes.hasRemaining()) {
            throw new IllegalStateException(bytes.remaining() + " bytes left");
        }
        byte[] again = encode(message, version);
        return JSON.writeValueAsString(codec.write.invoke(null, message, version)) + "\t" + HEX.formatHex(again);
    }

    private static byte[] encode(Message message, short version) {
        var cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("size and write disagree");
        }
        return buffer.array();
    }
}
