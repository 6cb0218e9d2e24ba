"""confluent-kafka: librdkafka as Python sees it."""

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from ground import EARLIEST, LATEST, PATIENCE_SECONDS, NotOffered, Record


class Sender:
    def __init__(self, settings):
        self.producer = Producer(settings)
        if "transactional.id" in settings:
            self.producer.init_transactions(PATIENCE_SECONDS)

    def send(self, topic, records):
        failed = []
        report = lambda error, _: failed.append(error) if error else None
        for record in records:
            place = {} if record.partition is None else {"partition": record.partition}
            self.producer.produce(
                topic, key=record.key, value=record.value, headers={"h": record.header},
                timestamp=record.timestamp or 0, on_delivery=report, **place,
            )
        assert self.producer.flush(PATIENCE_SECONDS) == 0, "not everything was delivered"
        if failed:
            raise KafkaException(failed[0])

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction(PATIENCE_SECONDS)

    def abort(self):
        self.producer.abort_transaction(PATIENCE_SECONDS)

    def send_offset(self, group, topic, offset):
        consumer = Consumer({**self.bootstrap, "group.id": group})
        metadata = consumer.consumer_group_metadata()
        place = [TopicPartition(topic, 0, offset)]
        self.producer.send_offsets_to_transaction(place, metadata, PATIENCE_SECONDS)
        consumer.close()

    def close(self):
        pass


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.bootstrap)

    def producer(self, codec="none", idempotent=False, transactional_id=None):
        settings = {
            **self.bootstrap, "compression.type": codec, "enable.idempotence": idempotent,
            "partitioner": "murmur2", "linger.ms": 0,
        }
        if idempotent:
            settings["batch.num.messages"] = 10
        if transactional_id is not None:
            settings.update({"transactional.id": transactional_id, "enable.idempotence": True})
        sender = Sender(settings)
        sender.bootstrap = self.bootstrap
        return sender

    def consumer(self, group, **settings):
        return Consumer({
            **self.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, **settings,
        })

    def read(self, topic, partitions, count, committed=False):
        level = "read_committed" if committed else "read_uncommitted"
        consumer = self.consumer("unused", **{"isolation.level": level})
        consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        read = []
        while len(read) < count:
            messages = consumer.consume(count, PATIENCE_SECONDS)
            assert messages, f"{len(read)} of {count} records came"
            read.extend(self.record(message) for message in messages)
        consumer.close()
        return read

    def record(self, message):
        if message.error():
            raise KafkaException(message.error())
        text = lambda value: None if value is None else value.decode()
        header = dict(message.headers() or []).get("h", b"").decode()
        return Record(text(message.key()), text(message.value()), header, message.partition())

    def fetch_at(self, topic, partition, offset):
        consumer = self.consumer("unused", **{"auto.offset.reset": "error"})
        consumer.assign([TopicPartition(topic, partition, offset)])
        message = consumer.poll(PATIENCE_SECONDS)
        consumer.close()
        if "Broker: Offset out of range" in message.error().str():
            # What the broker said is only in the text of the client's own error.
            raise KafkaException(KafkaError(KafkaError.OFFSET_OUT_OF_RANGE))
        self.record(message)

    def member(self, group, topic, protocol, hears):
        if protocol == "consumer":
            settings = {"group.protocol": "consumer"}
        else:
            strategy = {"eager": "range", "cooperative": "cooperative-sticky"}[protocol]
            settings = {
                "partition.assignment.strategy": strategy,
                "heartbeat.interval.ms": 200, "session.timeout.ms": 10000,
            }
        consumer = self.consumer(group, **settings)
        numbers = lambda places: [place.partition for place in places]

        def revoked(consumer, places):
            # What was read is committed before it may belong to somebody else.
            self.commit_positions(consumer)
            hears.revoked(numbers(places))

        consumer.subscribe(
            [topic], on_assign=lambda _, places: hears.assigned(numbers(places)), on_revoke=revoked
        )
        while not hears.leaving.is_set():
            for message in consumer.consume(100, 0.05):
                hears.saw(message.partition(), self.record(message).value)
        consumer.close()

    def commit_positions(self, consumer):
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as nothing_read:
            if nothing_read.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def create_topic(self, name, partitions, replicas, configs):
        topic = NewTopic(name, partitions, replicas, config=configs)
        self.admin.create_topics([topic])[name].result(PATIENCE_SECONDS)

    def grow_topic(self, name, partitions):
        grown = self.admin.create_partitions([NewPartitions(name, partitions)])
        grown[name].result(PATIENCE_SECONDS)

    def delete_topic(self, name):
        self.admin.delete_topics([name])[name].result(PATIENCE_SECONDS)

    def partitions(self, topic):
        listed = self.admin.list_topics(timeout=PATIENCE_SECONDS).topics
        return len(listed[topic].partitions) if topic in listed else 0

    def config(self, topic, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        described = self.admin.describe_configs([resource])[resource].result(PATIENCE_SECONDS)
        return described[name].value

    def alter_config(self, topic, operation, name, value):
        entry = ConfigEntry(
            name, value, incremental_operation=AlterConfigOpType[operation]
        )
        resource = ConfigResource(
            ConfigResource.Type.TOPIC, topic, incremental_configs=[entry]
        )
        self.admin.incremental_alter_configs([resource])[resource].result(PATIENCE_SECONDS)

    def list_groups(self):
        listed = self.admin.list_consumer_groups().result(PATIENCE_SECONDS)
        return [group.group_id for group in listed.valid]

    def group_type(self, group):
        listed = self.admin.list_consumer_groups().result(PATIENCE_SECONDS)
        return next(one.type.name.title() for one in listed.valid if one.group_id == group)

    def describe_group(self, group):
        described = self.admin.describe_consumer_groups([group])[group].result(PATIENCE_SECONDS)
        return described.state.name.title(), len(described.members)

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(PATIENCE_SECONDS)

    def committed(self, group, topic, partition):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        found = self.admin.list_consumer_group_offsets([asked])[group].result(PATIENCE_SECONDS)
        offset = found.topic_partitions[0].offset
        return -1 if offset < 0 else offset

    def commit(self, group, topic, partition, offset):
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        self.admin.alter_consumer_group_offsets([wanted])[group].result(PATIENCE_SECONDS)

    def delete_committed(self, group, topic, partition):
        raise NotOffered

    def delete_records(self, topic, partition, before):
        place = TopicPartition(topic, partition, before)
        return self.admin.delete_records([place])[place].result(PATIENCE_SECONDS).low_watermark

    def list_offset(self, topic, partition, at, committed=False):
        spec = {LATEST: OffsetSpec.latest, EARLIEST: OffsetSpec.earliest}.get(
            at, lambda: OffsetSpec.for_timestamp(at)
        )()
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        place = TopicPartition(topic, partition)
        found = self.admin.list_offsets({place: spec}, isolation_level=level)
        return found[place].result(PATIENCE_SECONDS).offset

    def code(self, error):
        return error.args[0].code() if isinstance(error, KafkaException) else None


connect = Client
