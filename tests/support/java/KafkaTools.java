import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main classes of Kafka's tools one after the other in one process. A line of standard input is a class and its
 * arguments, tab-separated; the answer is a line with the exit code, and standard output and error in base64.
 */
public class KafkaTools {
    static class Exited extends Error {
        final int code;

        Exited(int code) {
            this.code = code;
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        Exit.setExitProcedure((code, message) -> {
            throw new Exited(code);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw new Exited(code);
        });
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        while ((line = commands.readLine()) != null) {
            String[] words = line.split("\t", -1);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            int code = run(words[0], Arrays.copyOfRange(words, 1, words.length));
            System.out.flush();
            System.err.flush();
            Base64.Encoder base64 = Base64.getEncoder();
            answers.println(code + "\t" + base64.encodeToString(out.toByteArray()) + "\t"
                + base64.encodeToString(err.toByteArray()));
            answers.flush();
        }
    }

    private static int run(String main, String[] arguments) throws Exception {
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException ended) {
            if (ended.getCause() instanceof Exited exited) {
                return exited.code;
            }
            ended.getCause().printStackTrace();
            return 1;
        }
    }
}
