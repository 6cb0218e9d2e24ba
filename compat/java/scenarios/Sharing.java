package scenarios;

import static scenarios.Ground.create;
import static scenarios.Ground.eventually;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What the members of one group own and read, as they see it, and how they come and go. */
final class Sharing {
    private static final int PARTITIONS = 4;
    private static final int BATCH = 40;

    private final Map<Integer, Member> owners = new HashMap<>();
    private final Map<Member, Set<Integer>> owned = new HashMap<>();
    private final Map<String, Integer> read = new HashMap<>();
    private int overlaps;
    private long together;

    /** Consumes in a thread of its own until it is told to leave. */
    final class Member {
        private final Thread thread;
        private volatile boolean leaving;
        private volatile Throwable failure;

        private Member(Client client, String group, String topic, Protocol protocol) {
            thread = new Thread(() -> {
                try {
                    client.member(group, topic, protocol, this);
                } catch (Throwable thrown) {
                    failure = thrown;
                }
            });
            thread.start();
        }

        boolean leaving() {
            return leaving;
        }

        void check() throws Exception {
            if (failure != null) {
                throw new Exception("a member ended", failure);
            }
        }

        /** Returns when the member is out of the group. */
        void leave() throws Exception {
            leaving = true;
            thread.join();
            check();
        }

        void assigned(Collection<Integer> partitions) {
            synchronized (Sharing.this) {
                for (int partition : partitions) {
                    Member before = owners.put(partition, this);
                    if (before != null && before != this) {
                        overlaps++;
                    }
                    owned.computeIfAbsent(this, member -> new HashSet<>()).add(partition);
                }
                together = Math.max(together, owned.values().stream().filter(all -> !all.isEmpty()).count());
            }
        }

        void revoked(Collection<Integer> partitions) {
            synchronized (Sharing.this) {
                for (int partition : partitions) {
                    owners.remove(partition, this);
                    owned.computeIfAbsent(this, member -> new HashSet<>()).remove(partition);
                }
            }
        }

        void saw(int partition, String value) {
            synchronized (Sharing.this) {
                if (owners.get(partition) != this) {
                    overlaps++;
                }
                read.merge(value, 1, Integer::sum);
            }
        }
    }

    Member join(Client client, String group, String topic, Protocol protocol) {
        return new Member(client, group, topic, protocol);
    }

    synchronized int distinct() {
        return read.size();
    }

    /** Whether these members own all partitions, and each of them some. */
    private synchronized boolean shared(List<Member> members) {
        int sum = 0;
        for (Member member : members) {
            int share = owned.getOrDefault(member, Set.of()).size();
            if (share == 0) {
                return false;
            }
            sum += share;
        }
        return sum == PARTITIONS;
    }

    private synchronized Map<String, Object> facts() {
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("read", read.size());
        facts.put("read twice", read.values().stream().mapToInt(times -> times - 1).sum());
        facts.put("two owners", overlaps);
        facts.put("owners at a time", together);
        return facts;
    }

    /** A group through which records flow while members come and go. */
    private static final class Group {
        private final Client client;
        private final String name;
        private final Sharing sharing = new Sharing();
        private final Client.Sender sender;
        private int sent;

        Group(Client client, String name) throws Exception {
            this.client = client;
            this.name = name;
            create(client, name, PARTITIONS);
            sender = client.producer("none");
        }

        void flow() throws Exception {
            List<Item> items = new ArrayList<>();
            for (Item item : Item.numbered("batch" + sent, BATCH)) {
                items.add(item.in(items.size() % PARTITIONS));
            }
            sender.send(name, items);
            sent += BATCH;
        }

        Member join(Protocol protocol) throws Exception {
            flow();
            return sharing.join(client, name, name, protocol);
        }

        void settled(Member... members) throws Exception {
            eventually("each member owns some partitions", () -> {
                for (Member member : members) {
                    member.check();
                }
                return sharing.shared(List.of(members));
            });
            flow();
        }

        /** The last member reads what is left, and leaves. */
        Map<String, Object> end(Member last) throws Exception {
            eventually("every record", () -> {
                last.check();
                return sharing.distinct() == sent;
            });
            last.leave();
            sender.close();
            return sharing.facts();
        }
    }

    /** Members join and leave while records flow. */
    static Map<String, Object> churn(Client client, String name, Protocol protocol) throws Exception {
        var group = new Group(client, name);
        Member first = group.join(protocol);
        group.settled(first);
        Member second = group.join(protocol);
        group.settled(first, second);
        Member third = group.join(protocol);
        group.settled(first, second, third);
        first.leave();
        group.settled(second, third);
        second.leave();
        group.settled(third);
        return group.end(third);
    }

    /** A classic group becomes one of the consumer protocol, is a classic one again, and is moved for good. */
    static Map<String, Object> migration(Client client, String name, Protocol classic) throws Exception {
        var group = new Group(client, name);
        List<String> types = new ArrayList<>();
        Member first = group.join(classic);
        group.settled(first);
        Member second = group.join(classic);
        group.settled(first, second);
        types.add(client.groupType(name));
        Member third = group.join(Protocol.CONSUMER);
        group.settled(first, second, third);
        types.add(client.groupType(name));
        third.leave();
        group.settled(first, second);
        types.add(client.groupType(name));
        Member fourth = group.join(Protocol.CONSUMER);
        group.settled(first, second, fourth);
        first.leave();
        group.settled(second, fourth);
        second.leave();
        group.settled(fourth);
        types.add(client.groupType(name));
        Map<String, Object> facts = group.end(fourth);
        facts.put("types", String.join(" ", types));
        return facts;
    }
}
