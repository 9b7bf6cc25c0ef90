import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Does what it is told, line by line, and tells how it went; see actor.py. */
public class Actor {
    private static FileChannel channel;
    private static FileChannel second;
    private static FileLock lock;

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            // Whichever thread of this process waits.
            System.out.println("+ - 0");
            String told;
            try {
                told = run(line.substring(2));
            } catch (Exception e) {
                told = e.getClass().getSimpleName();
                if (e instanceof java.io.IOException && e.getMessage() != null) {
                    told += ": " + e.getMessage();
                }
            }
            System.out.println("= - " + told);
            System.out.flush();
        }
    }

    private static String run(String command) throws Exception {
        switch (command) {
            case "open" -> channel = open();
            case "open second" -> second = open();
            case "lock" -> lock = channel.lock();
            case "lock shared" -> lock = channel.lock(0, Long.MAX_VALUE, true);
            case "tryLock" -> lock = channel.tryLock();
            case "tryLock shared" -> lock = channel.tryLock(0, Long.MAX_VALUE, true);
            case "tryLock first ten" -> lock = channel.tryLock(0, 10, false);
            case "tryLock next ten" -> lock = channel.tryLock(10, 10, false);
            case "tryLock second" -> lock = second.tryLock();
            case "release" -> lock.release();
            case "close" -> channel.close();
            case "close second" -> second.close();
            case "valid" -> {
                return String.valueOf(lock.isValid());
            }
            default -> throw new IllegalArgumentException(command);
        }
        return lock == null && command.startsWith("tryLock") ? "null" : "ok";
    }

    private static FileChannel open() throws Exception {
        return FileChannel.open(Path.of("board"), StandardOpenOption.CREATE,
                StandardOpenOption.READ, StandardOpenOption.WRITE);
    }
}
