import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.Permission;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache's command-line tools one after the other, as the starts of a Java machine for each cost more than all they do.
 *
 * A request on standard input is the class, its arguments and what it reads: a count and so many strings, and one more. The
 * answer on standard output is the exit code, what the tool has printed there and as errors, and how many threads there are.
 */
@SuppressWarnings("removal")
public class Toolbox {
    /** Stands where System.out stands for good, as Scala's Console keeps what it has once seen. Each tool's threads write to its own. */
    static class Output extends OutputStream {
        private final int which;

        Output(int which) {
            this.which = which;
        }

        @Override
        public void write(int b) {
            Run.mine().said[which].write(b);
        }

        @Override
        public void write(byte[] data, int offset, int length) {
            Run.mine().said[which].write(data, offset, length);
        }

        PrintStream stream() {
            return new PrintStream(this, true, StandardCharsets.UTF_8);
        }
    }

    static class Input extends FilterInputStream {
        Input() {
            super(InputStream.nullInputStream());
        }

        void put(byte[] data) {
            in = new ByteArrayInputStream(data);
        }
    }

    /** Some tools end the machine without asking Kafka's class. */
    static class Guard extends SecurityManager {
        @Override
        public void checkExit(int status) {
            Run.mine().exit(status);
        }

        @Override
        public void checkPermission(Permission permission) {
            // Everything else is allowed.
        }

        @Override
        public void checkPermission(Permission permission, Object context) {
            // The same.
        }
    }

    /** One tool's life. It is over when its main() is, or, as with a machine of its own, as soon as any thread says so. */
    static class Run {
        private static volatile Run now;

        /** The threads of a tool, some of which go on when others are run already. */
        private static class Group extends ThreadGroup {
            private final Run run;

            Group(Run run) {
                super("tool");
                this.run = run;
            }
        }

        private final ByteArrayOutputStream[] said = {new ByteArrayOutputStream(), new ByteArrayOutputStream()};
        private final CountDownLatch over = new CountDownLatch(1);
        private final List<Thread> hooks = Collections.synchronizedList(new ArrayList<>());
        private int code;

        static void prepare() {
            Exit.Procedure end = (status, message) -> mine().exit(status);
            Exit.setExitProcedure(end);
            Exit.setHaltProcedure(end);
            System.setSecurityManager(new Guard());
            Exit.setShutdownHookAdder((name, hook) -> mine().hooks.add(new Thread(hook, name)));
        }

        /** Whose thread this is; those of nobody are the latest one's. */
        static Run mine() {
            ThreadGroup group = Thread.currentThread().getThreadGroup();
            while (group != null && !(group instanceof Group)) {
                group = group.getParent();
            }
            return group != null ? ((Group) group).run : now;
        }

        private synchronized void end(int status) {
            if (over.getCount() > 0) {
                code = status;
                over.countDown();
            }
        }

        /** Nothing comes after it, not even a finally. */
        private void exit(int status) {
            end(status);
            while (true) {
                try {
                    Thread.sleep(Long.MAX_VALUE);
                } catch (InterruptedException e) {
                    // There is nothing to go on with.
                }
            }
        }

        private void call(String name, String[] args) {
            try {
                Method main = Class.forName(name).getMethod("main", String[].class);
                main.invoke(null, (Object) args);
                end(0);
            } catch (InvocationTargetException e) {
                System.err.print("Exception in thread \"main\" ");
                e.getCause().printStackTrace();
                end(1);
            } catch (ReflectiveOperationException e) {
                e.printStackTrace();
                end(1);
            }
        }

        int wait(String name, String[] args) throws InterruptedException {
            now = this;
            Thread main = new Thread(new Group(this), () -> call(name, args), "main");
            main.setDaemon(true);
            main.start();
            over.await();
            for (Thread hook : hooks) {
                hook.setDaemon(true);
                hook.start();
                hook.join(TimeUnit.SECONDS.toMillis(20));
            }
            return code;
        }
    }

    static byte[] read(DataInputStream in) throws IOException {
        return in.readNBytes(in.readInt());
    }

    static void write(DataOutputStream out, byte[] data) throws IOException {
        out.writeInt(data.length);
        out.write(data);
    }

    public static void main(String[] none) throws Exception {
        DataInputStream requests = new DataInputStream(System.in);
        DataOutputStream answers = new DataOutputStream(System.out);
        Input in = new Input();
        System.setOut(new Output(0).stream());
        System.setErr(new Output(1).stream());
        System.setIn(in);
        Run.prepare();
        while (true) {
            String[] words;
            try {
                words = new String[requests.readInt()];
            } catch (EOFException e) {
                return;
            }
            for (int i = 0; i < words.length; i++) {
                words[i] = new String(read(requests), StandardCharsets.UTF_8);
            }
            in.put(read(requests));
            String[] args = java.util.Arrays.copyOfRange(words, 1, words.length);
            Run run = new Run();
            answers.writeInt(run.wait(words[0], args));
            for (ByteArrayOutputStream text : run.said) {
                write(answers, text.toByteArray());
            }
            answers.writeInt(Thread.activeCount());
            answers.flush();
        }
    }
}
