package tools;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;

/**
 * A call of {@link Admin}, as a tool: {@code METHOD --bootstrap-server HOST:PORT} makes all calls of a method that
 * there are in the tables, and prints each answer or, when it was refused, the name of the exception.
 * {@code produce} writes the records that some of them find, {@code unplayed} lists the methods without a call.
 */
public final class AdminCalls {
    private static final int PATIENCE_SECONDS = 30;

    /** One call; futures in what it returns are waited for. */
    interface Call {
        Object ask(Admin admin) throws Exception;
    }

    /** Calls by the name of their method, each with what it asks, in their order. */
    static final class Table {
        private final Map<String, Map<String, Call>> calls = new LinkedHashMap<>();

        Table add(String method, String asked, Call call) {
            calls.computeIfAbsent(method, name -> new LinkedHashMap<>()).put(asked, call);
            return this;
        }
    }

    private static final Table TABLE = new Table();
    private static String bootstrap;

    /** The broker that is asked. */
    static String bootstrap() {
        return bootstrap;
    }

    static {
        AdminTopics.fill(TABLE);
        AdminGroups.fill(TABLE);
        AdminCluster.fill(TABLE);
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("unplayed")) {
            // Those that open and close it are played all the time.
            Stream.of(Admin.class.getMethods()).map(method -> method.getName()).distinct().sorted()
                    .filter(name -> !TABLE.calls.containsKey(name) && !Set.of("create", "close").contains(name))
                    .forEach(System.out::println);
            return;
        }
        bootstrap = arguments[2];
        if (arguments[0].equals("produce")) {
            AdminTopics.produce(bootstrap);
            return;
        }
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "default.api.timeout.ms", "10000", "request.timeout.ms", "5000");
        try (Admin admin = Admin.create(settings)) {
            TABLE.calls.get(arguments[0]).forEach((asked, call) -> print(asked, call, admin));
        }
    }

    private static void print(String asked, Call call, Admin admin) {
        String answer;
        try {
            answer = show(call.ask(admin));
        } catch (Exception thrown) {
            Throwable why = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            answer = why.getClass().getSimpleName();
        }
        System.out.println(asked + ": " + answer);
    }

    /** The same text in every run: what has no order is sorted, of an exception only its name is said. */
    static String show(Object value) throws Exception {
        if (value == null) {
            return "-";
        } else if (value instanceof Future<?> future) {
            try {
                return show(future.get(PATIENCE_SECONDS, TimeUnit.SECONDS));
            } catch (ExecutionException refused) {
                return show(refused.getCause());
            }
        } else if (value instanceof Throwable thrown) {
            return thrown.getClass().getSimpleName();
        } else if (value instanceof Optional<?> optional) {
            return show(optional.orElse(null));
        } else if (value instanceof Map<?, ?> map) {
            var shown = new TreeMap<String, String>();
            for (var entry : map.entrySet()) {
                shown.put(show(entry.getKey()), show(entry.getValue()));
            }
            return shown.entrySet().stream().map(entry -> entry.getKey() + "=" + entry.getValue())
                    .collect(Collectors.joining(", ", "{", "}"));
        } else if (value instanceof Collection<?> collection) {
            List<String> shown = new ArrayList<>();
            for (Object one : collection) {
                shown.add(show(one));
            }
            return (value instanceof List ? shown : new TreeSet<>(shown)).toString();
        }
        return value.toString();
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    /** Polls until something holds. */
    static void until(String what, java.util.concurrent.Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(PATIENCE_SECONDS).toNanos();
        while (!holds.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not in time: " + what);
            }
            Thread.sleep(20);
        }
    }
}
