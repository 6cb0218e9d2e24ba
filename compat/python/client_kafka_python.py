"""kafka-python."""

import re

from kafka import (
    ConsumerRebalanceListener,
    IsolationLevel,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    TopicPartition,
    errors,
)
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from ground import PATIENCE_SECONDS, NotOffered, Record

encoded = lambda text: None if text is None else text.encode()
decoded = lambda data: None if data is None else data.decode()


class Sender:
    def __init__(self, producer, transactional):
        self.producer = producer
        if transactional:
            producer.init_transactions()

    def send(self, topic, records):
        sent = [
            self.producer.send(
                topic, key=encoded(record.key), value=encoded(record.value),
                headers=[("h", record.header.encode())], partition=record.partition,
                timestamp_ms=record.timestamp,
            )
            for record in records
        ]
        self.producer.flush(timeout=PATIENCE_SECONDS)
        for one in sent:
            one.get(timeout=PATIENCE_SECONDS)

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()

    def send_offset(self, group, topic, offset):
        place = {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)}
        nobody = ConsumerGroupMetadata(group)
        self.producer.send_offsets_to_transaction(place, nobody)

    def close(self):
        self.producer.close(timeout=PATIENCE_SECONDS)


class Listener(ConsumerRebalanceListener):
    def __init__(self, hears):
        self.hears = hears

    def on_partitions_assigned(self, assigned):
        self.hears.assigned([place.partition for place in assigned])

    def on_partitions_revoked(self, revoked):
        self.hears.revoked([place.partition for place in revoked])


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    @property
    def admin(self):
        """A client of its own for each call: scenarios run side by side."""
        return KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def producer(self, codec="none", idempotent=False, transactional_id=None):
        codec = None if codec == "none" else codec
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap, compression_type=codec, acks="all",
            enable_idempotence=idempotent or transactional_id is not None,
            transactional_id=transactional_id, batch_size=1000 if idempotent else 16384,
        )
        return Sender(producer, transactional_id is not None)

    def consumer(self, group=None, **settings):
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False,
            **{"auto_offset_reset": "earliest", **settings},
        )

    def read(self, topic, partitions, count, committed=False):
        level = "read_committed" if committed else "read_uncommitted"
        consumer = self.consumer(isolation_level=level)
        consumer.assign([TopicPartition(topic, n) for n in range(partitions)])
        read = []
        while len(read) < count:
            came = consumer.poll(timeout_ms=PATIENCE_SECONDS * 1000)
            assert came, f"{len(read)} of {count} records came"
            read.extend(self.record(one) for batch in came.values() for one in batch)
        consumer.close()
        return read

    def record(self, one):
        header = dict(one.headers).get("h", b"").decode()
        return Record(decoded(one.key), decoded(one.value), header, one.partition)

    def fetch_at(self, topic, partition, offset):
        consumer = self.consumer(auto_offset_reset="none")
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        consumer.seek(place, offset)
        try:
            consumer.poll(timeout_ms=PATIENCE_SECONDS * 1000)
        finally:
            consumer.close()

    def member(self, group, topic, protocol, hears):
        if protocol == "consumer":
            raise NotOffered
        assignor = {"eager": RangePartitionAssignor, "cooperative": CooperativeStickyAssignor}
        consumer = self.consumer(
            group, partition_assignment_strategy=[assignor[protocol]],
            heartbeat_interval_ms=200, session_timeout_ms=10000, metadata_max_age_ms=1000,
        )
        listener = Listener(hears)
        consumer.subscribe([topic], listener=listener)
        while not hears.leaving.is_set():
            # Long enough for a rebalance: the client stays out of its group when a poll that joins
            # is over before it has its assignment.
            came = consumer.poll(timeout_ms=1000)
            for batch in came.values():
                for one in batch:
                    hears.saw(one.partition, decoded(one.value))
            if came:
                # At once: a listener may not commit.
                consumer.commit()
        listener.on_partitions_revoked(consumer.assignment())
        consumer.close()

    def create_topic(self, name, partitions, replicas, configs):
        self.admin.create_topics({
            name: {
                "num_partitions": partitions, "replication_factor": replicas, "configs": configs,
            }
        })

    def grow_topic(self, name, partitions):
        self.admin.create_partitions({name: partitions})

    def delete_topic(self, name):
        self.admin.delete_topics([name])

    def partitions(self, topic):
        described = self.admin.describe_topics([topic])[0]
        return 0 if described["error_code"] == 3 else len(described["partitions"])

    def config(self, topic, name):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        described = self.admin.describe_configs([resource], config_filter="all")
        return described["topic"][topic][name]["value"]

    def alter_config(self, topic, operation, name, value):
        change = {name: (AlterConfigOp[operation], value)}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, change)
        answers = self.admin.alter_configs([resource], raise_on_unknown=False)
        check(answers["topic"], topic)

    def list_groups(self):
        return [group["group_id"] for group in self.admin.list_groups()]

    def describe_group(self, group):
        described = self.admin.describe_groups([group])[group]
        return described["group_state"], len(described["members"])

    def delete_group(self, group):
        check(self.admin.delete_groups([group]), group)

    def committed(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        found = self.admin.list_group_offsets({group: [place]})[group]
        return found[place].offset if place in found else -1

    def commit(self, group, topic, partition, offset):
        place = TopicPartition(topic, partition)
        wanted = {place: OffsetAndMetadata(offset, "", -1)}
        check(self.admin.alter_group_offsets(group, wanted), place)

    def delete_committed(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        check(self.admin.delete_group_offsets(group, [place]), place)

    def delete_records(self, topic, partition, before):
        place = TopicPartition(topic, partition)
        return self.admin.delete_records({place: before})[place]["low_watermark"]

    def list_offset(self, topic, partition, at, committed=False):
        place = TopicPartition(topic, partition)
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        found = self.admin.list_partition_offsets({place: at}, isolation_level=level)
        return found[place].offset

    def code(self, error):
        return getattr(error, "errno", None) if isinstance(error, errors.KafkaError) else None


def check(answers, asked):
    """Raises what an answer says of the one that was asked for.

    An error class, the name of one, or a text that begins with `[Error CODE]`."""
    said = dict(answers)[asked]
    if isinstance(said, str):
        coded = re.match(r"\[Error (\d+)\]", said)
        if coded:
            said = errors.for_code(int(coded[1]))
        else:
            said = errors.NoError if said == "OK" else getattr(errors, said)
    if said is not errors.NoError:
        raise said()


connect = Client
