package tools;

import static tools.AdminCalls.get;
import static tools.AdminCalls.until;
import static tools.AdminTopics.FIRST;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListStreamsGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import tools.AdminCalls.Table;

/** Calls about groups and transactions, with members and producers that make them. */
final class AdminGroups {
    private static final List<String> GROUPS = List.of("classic", "modern", "nobody");
    private static final Duration POLL = Duration.ofMillis(50);

    private AdminGroups() {}

    /** Members that are there while a call is made. */
    private static final class Members implements AutoCloseable {
        private final KafkaConsumer<String, String> classic;
        private final KafkaConsumer<String, String> modern;

        Members() throws Exception {
            classic = member("classic", Map.of("group.protocol", "classic", "group.instance.id", "still"));
            modern = member("modern", Map.of("group.protocol", "consumer"));
            until("members have their partitions", () -> {
                classic.poll(POLL);
                modern.poll(POLL);
                return !classic.assignment().isEmpty() && !modern.assignment().isEmpty();
            });
        }

        private static KafkaConsumer<String, String> member(String group, Map<String, String> settings) {
            Map<String, Object> all = new HashMap<>(settings);
            all.put("bootstrap.servers", AdminCalls.bootstrap());
            all.put("group.id", group);
            all.put("client.id", "reader");
            all.put("enable.auto.commit", "false");
            var consumer = new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of("t"));
            return consumer;
        }

        @Override
        public void close() {
            classic.close();
            modern.close();
        }
    }

    static void fill(Table table) {
        groups(table);
        offsets(table);
        others(table);
        transactions(table);
    }

    /** What is told of a group while it has a member. */
    private static AdminCalls.Call busy(AdminCalls.Call call) {
        return admin -> {
            try (var members = new Members()) {
                return AdminCalls.show(call.ask(admin));
            }
        };
    }

    private static String shown(MemberDescription member) {
        return member.clientId() + " " + member.groupInstanceId() + " " + member.assignment().topicPartitions().size()
                + " of " + member.targetAssignment().map(target -> target.topicPartitions().size()) + " epoch "
                + member.memberEpoch() + " upgraded " + member.upgraded();
    }

    private static void groups(Table table) {
        table.add("describeConsumerGroups", "with members", busy(admin -> admin.describeConsumerGroups(GROUPS,
                new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).describedGroups().values()
                .stream().map(one -> one.thenApply(group -> List.of(group.groupId(), group.type(), group.groupState(),
                        group.partitionAssignor(), group.isSimpleConsumerGroup(), group.groupEpoch(),
                        group.targetAssignmentEpoch(), group.authorizedOperations(), group.coordinator().id(),
                        group.members().stream().map(AdminGroups::shown).toList()))).toList()))
                .add("describeConsumerGroups", "without", admin -> admin.describeConsumerGroups(GROUPS)
                        .describedGroups().values().stream().map(one -> one.thenApply(group -> List.of(
                                group.groupId(), group.type(), group.groupState(), group.members().size())))
                        .toList());
        table.add("describeClassicGroups", "with members", busy(admin -> admin.describeClassicGroups(GROUPS)
                .describedGroups().values().stream().map(one -> one.thenApply(group -> List.of(group.groupId(),
                        group.protocol(), group.protocolData(), group.state(),
                        group.members().stream().map(AdminGroups::shown).toList()))).toList()));
        table.add("listGroups", "all, by type, by state, of consumers", busy(admin -> List.of(
                listed(admin, new ListGroupsOptions()),
                listed(admin, new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))),
                listed(admin, new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))),
                listed(admin, ListGroupsOptions.forConsumerGroups()))));
        table.add("listConsumerGroups", "all", admin -> admin.listConsumerGroups().all().thenApply(all -> all.stream()
                .map(one -> one.groupId() + " " + one.groupState() + " " + one.type()).sorted().toList()));
        table.add("removeMembersFromConsumerGroup", "a static member, one that is not there, all", busy(admin -> {
            var named = List.of(new MemberToRemove("still"), new MemberToRemove("gone"));
            var removed = admin.removeMembersFromConsumerGroup("classic",
                    new RemoveMembersFromConsumerGroupOptions(named));
            return List.of(removed.memberResult(new MemberToRemove("still")),
                    removed.memberResult(new MemberToRemove("gone")),
                    admin.removeMembersFromConsumerGroup("modern", new RemoveMembersFromConsumerGroupOptions()).all(),
                    admin.removeMembersFromConsumerGroup("nobody", new RemoveMembersFromConsumerGroupOptions()).all());
        }));
        table.add("deleteConsumerGroups", "with members", busy(admin -> admin.deleteConsumerGroups(GROUPS)
                .deletedGroups()));
        table.add("deleteConsumerGroups", "without", admin -> admin.deleteConsumerGroups(GROUPS).deletedGroups());
    }

    private static KafkaFuture<List<String>> listed(Admin admin, ListGroupsOptions options) {
        return admin.listGroups(options).all().thenApply(all -> all.stream().map(one -> one.groupId() + " "
                + one.type() + " " + one.protocol() + " " + one.groupState()).sorted().toList());
    }

    private static void offsets(Table table) {
        var three = Map.of(FIRST, new OffsetAndMetadata(3, "said"));
        table.add("alterConsumerGroupOffsets", "of groups without members", admin -> List.of(
                admin.alterConsumerGroupOffsets("classic", three).all(),
                admin.alterConsumerGroupOffsets("modern", three).all()))
                .add("alterConsumerGroupOffsets", "of groups with members", busy(admin -> List.of(
                        admin.alterConsumerGroupOffsets("classic", three).all(),
                        admin.alterConsumerGroupOffsets("modern", three).all())));
        table.add("listConsumerGroupOffsets", "of several groups", admin -> {
            var asked = new org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec();
            var found = admin.listConsumerGroupOffsets(Map.of("classic", asked, "modern", asked, "nobody", asked));
            return GROUPS.stream().map(group -> found.partitionsToOffsetAndMetadata(group).thenApply(all ->
                    all.entrySet().stream().map(one -> one.getKey() + " " + one.getValue().offset() + " "
                            + one.getValue().metadata()).toList())).toList();
        });
        table.add("deleteConsumerGroupOffsets", "with members", busy(admin -> List.of(
                        admin.deleteConsumerGroupOffsets("classic", Set.of(FIRST)).all(),
                        admin.deleteConsumerGroupOffsets("modern", Set.of(FIRST)).all())))
                .add("deleteConsumerGroupOffsets", "without", admin -> List.of(
                        admin.deleteConsumerGroupOffsets("classic", Set.of(FIRST)).all(),
                        admin.deleteConsumerGroupOffsets("modern", Set.of(FIRST)).all(),
                        admin.deleteConsumerGroupOffsets("nobody", Set.of(FIRST)).all()));
    }

    /** Groups of Streams and share groups, of which there are none. */
    private static void others(Table table) {
        table.add("describeStreamsGroups", "none", admin -> admin.describeStreamsGroups(List.of("nobody")).all());
        table.add("listStreamsGroupOffsets", "none", admin -> admin.listStreamsGroupOffsets(
                Map.of("nobody", new ListStreamsGroupOffsetsSpec())).all());
        table.add("alterStreamsGroupOffsets", "of a new group", admin -> admin.alterStreamsGroupOffsets("streams",
                Map.of(FIRST, new OffsetAndMetadata(2))).all());
        table.add("deleteStreamsGroupOffsets", "some", admin -> admin.deleteStreamsGroupOffsets("streams",
                Set.of(FIRST)).all());
        table.add("deleteStreamsGroups", "some, none", admin -> admin.deleteStreamsGroups(
                List.of("streams", "nobody")).deletedGroups());
        table.add("describeShareGroups", "none", admin -> admin.describeShareGroups(List.of("nobody")).all());
        table.add("listShareGroupOffsets", "none", admin -> admin.listShareGroupOffsets(
                Map.of("nobody", new ListShareGroupOffsetsSpec())).all());
        table.add("alterShareGroupOffsets", "none", admin -> admin.alterShareGroupOffsets("nobody",
                Map.of(FIRST, 2L)).all());
        table.add("deleteShareGroupOffsets", "none", admin -> admin.deleteShareGroupOffsets("nobody",
                Set.of("t")).all());
        table.add("deleteShareGroups", "none", admin -> admin.deleteShareGroups(List.of("nobody")).deletedGroups());
    }

    /** A producer with a transaction that is open, after one that was committed. */
    private static KafkaProducer<String, String> open(String id) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", AdminCalls.bootstrap(), "transactional.id", id,
                "transaction.timeout.ms", "50000");
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        for (boolean commits : new boolean[] {true, false}) {
            producer.beginTransaction();
            get(producer.send(new ProducerRecord<>("t", 0, "k", "v")));
            if (commits) {
                producer.commitTransaction();
            }
        }
        return producer;
    }

    private static KafkaFuture<String> described(Admin admin, String id) {
        return admin.describeTransactions(List.of(id)).description(id).thenApply(one -> one.state() + " epoch "
                + one.producerEpoch() + " timeout " + one.transactionTimeoutMs() + " " + one.topicPartitions()
                + " started " + one.transactionStartTimeMs().isPresent() + " by " + one.coordinatorId());
    }

    /** How a call ends, and what becomes of the producer whose transaction was open. */
    private static AdminCalls.Call ended(String id, AdminCalls.Call call) {
        return admin -> {
            try (var producer = open(id)) {
                String answer = AdminCalls.show(call.ask(admin));
                until("the transaction has ended",
                        () -> get(admin.describeTransactions(List.of(id)).description(id)).state()
                                != TransactionState.ONGOING);
                String commit;
                try {
                    producer.commitTransaction();
                    commit = "committed";
                } catch (Exception refused) {
                    commit = refused.getClass().getSimpleName();
                }
                return List.of(answer, described(admin, id), commit);
            }
        };
    }

    private static void transactions(Table table) {
        table.add("describeTransactions", "one that is open, and none", admin -> {
            try (var producer = open("described")) {
                return AdminCalls.show(List.of(described(admin, "described"), described(admin, "nobody")));
            }
        });
        table.add("listTransactions", "all, by state, by pattern", admin -> {
            try (var producer = open("listed")) {
                return AdminCalls.show(List.of(
                        listed(admin, new ListTransactionsOptions().filterOnTransactionalIdPattern("listed|none")),
                        listed(admin, new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))),
                        listed(admin, new ListTransactionsOptions().filterOnTransactionalIdPattern("(")),
                        listed(admin, new ListTransactionsOptions().filterOnDuration(3_600_000))));
            }
        });
        table.add("describeProducers", "of a partition and of none", admin -> {
            try (var producer = open("producing")) {
                var asked = admin.describeProducers(List.of(FIRST));
                return AdminCalls.show(asked.partitionResult(FIRST).thenApply(state -> state.activeProducers().stream()
                        .filter(one -> one.currentTransactionStartOffset().isPresent())
                        .map(one -> "epoch " + one.producerEpoch() + " sequence " + one.lastSequence()
                                + " coordinator " + one.coordinatorEpoch().isPresent()).toList()));
            }
        });
        table.add("fenceProducers", "one that is open", ended("fenced",
                admin -> admin.fenceProducers(List.of("fenced")).epochId("fenced")))
                .add("fenceProducers", "a new name", admin -> admin.fenceProducers(List.of("new")).epochId("new"));
        table.add("forceTerminateTransaction", "one that is open", ended("terminated",
                admin -> admin.forceTerminateTransaction("terminated").result()))
                .add("forceTerminateTransaction", "none", admin -> admin.forceTerminateTransaction("nobody").result());
        table.add("abortTransaction", "on its partition", admin -> {
            try (var producer = open("hanging")) {
                var state = get(admin.describeProducers(List.of(FIRST)).partitionResult(FIRST)).activeProducers()
                        .stream().filter(one -> one.currentTransactionStartOffset().isPresent()).findFirst()
                        .orElseThrow();
                return AdminCalls.show(List.of(
                        admin.abortTransaction(new AbortTransactionSpec(FIRST, state.producerId(),
                                (short) state.producerEpoch(), state.coordinatorEpoch().orElse(0))).all(),
                        admin.abortTransaction(new AbortTransactionSpec(FIRST, 99_999, (short) 0, 0)).all()));
            }
        });
    }

    private static KafkaFuture<List<String>> listed(Admin admin, ListTransactionsOptions options) {
        return admin.listTransactions(options).all().thenApply(all -> all.stream()
                .map(one -> one.transactionalId() + " " + one.state()).sorted().toList());
    }
}
