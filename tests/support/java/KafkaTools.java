import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main classes of Kafka's tools one after the other in one process. A line of standard input is a class and its
 * arguments, tab-separated; the answer is a line with the exit code, and standard output and error in base64.
 */
public class KafkaTools {
    /** Set once the tool has ended: by its return, by an exception, or by what would have ended its process. */
    private static CompletableFuture<Integer> ended;

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        Exit.setExitProcedure((code, message) -> exit(code));
        Exit.setHaltProcedure((code, message) -> exit(code));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Base64.Encoder base64 = Base64.getEncoder();
        String line;
        while ((line = commands.readLine()) != null) {
            String[] words = line.split("\t", -1);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            ended = new CompletableFuture<>();
            Thread tool = new Thread(() -> run(words[0], Arrays.copyOfRange(words, 1, words.length)));
            tool.setDaemon(true);
            tool.start();
            int code = ended.get();
            answers.println(code + "\t" + base64.encodeToString(out.toByteArray()) + "\t"
                + base64.encodeToString(err.toByteArray()));
            answers.flush();
        }
    }

    private static void run(String main, String[] arguments) {
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
            ended.complete(0);
        } catch (InvocationTargetException failed) {
            failed.getCause().printStackTrace();
            ended.complete(1);
        } catch (ReflectiveOperationException unknown) {
            unknown.printStackTrace();
            ended.complete(2);
        }
    }

    /** Nothing of the tool goes on behind its exit, not even what would have been done about an exception. */
    private static void exit(int code) {
        ended.complete(code);
        while (true) {
            LockSupport.park();
        }
    }
}
