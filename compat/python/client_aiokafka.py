"""aiokafka, on an event loop in a thread of its own."""

import asyncio
import threading

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, for_code

from ground import EARLIEST, LATEST, PATIENCE_SECONDS, NotOffered, Record

encoded = lambda text: None if text is None else text.encode()
decoded = lambda data: None if data is None else data.decode()


class Loop:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


class Sender:
    def __init__(self, loop, producer):
        self.loop = loop
        self.producer = producer

    def send(self, topic, records):
        self.loop.run(self._send(topic, records))

    async def _send(self, topic, records):
        sent = [
            await self.producer.send(
                topic, key=encoded(record.key), value=encoded(record.value),
                headers=[("h", record.header.encode())], partition=record.partition,
                timestamp_ms=record.timestamp,
            )
            for record in records
        ]
        await asyncio.wait_for(asyncio.gather(*sent), PATIENCE_SECONDS)

    def begin(self):
        self.loop.run(self.producer.begin_transaction())

    def commit(self):
        self.loop.run(self.producer.commit_transaction())

    def abort(self):
        self.loop.run(self.producer.abort_transaction())

    def send_offset(self, group, topic, offset):
        place = {TopicPartition(topic, 0): offset}
        self.loop.run(self.producer.send_offsets_to_transaction(place, group))

    def close(self):
        self.loop.run(self.producer.stop())


class Listener(ConsumerRebalanceListener):
    def __init__(self, consumer, hears):
        self.consumer = consumer
        self.hears = hears

    async def on_partitions_assigned(self, assigned):
        self.hears.assigned([place.partition for place in assigned])

    async def on_partitions_revoked(self, revoked):
        # What was read is committed before it may belong to somebody else.
        if revoked:
            await self.consumer.commit()
        self.hears.revoked([place.partition for place in revoked])


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.loop = Loop()

    def asked(self, call):
        """What an administrator's call answers."""

        async def ask():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                return await call(admin)
            finally:
                await admin.close()

        return self.loop.run(ask())

    def producer(self, codec="none", idempotent=False, transactional_id=None):
        async def start():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.bootstrap, acks="all",
                compression_type=None if codec == "none" else codec,
                enable_idempotence=idempotent or transactional_id is not None,
                transactional_id=transactional_id, max_batch_size=1000 if idempotent else 16384,
            )
            await producer.start()
            return producer

        return Sender(self.loop, self.loop.run(start()))

    def consumer(self, group=None, **settings):
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False,
            **{"auto_offset_reset": "earliest", **settings},
        )

    def read(self, topic, partitions, count, committed=False):
        return self.loop.run(self._read(topic, partitions, count, committed))

    async def _read(self, topic, partitions, count, committed):
        level = "read_committed" if committed else "read_uncommitted"
        consumer = self.consumer(isolation_level=level)
        await consumer.start()
        consumer.assign([TopicPartition(topic, n) for n in range(partitions)])
        read = []
        while len(read) < count:
            one = await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)
            header = dict(one.headers).get("h", b"").decode()
            read.append(Record(decoded(one.key), decoded(one.value), header, one.partition))
        await consumer.stop()
        return read

    def fetch_at(self, topic, partition, offset):
        async def fetch():
            consumer = self.consumer(auto_offset_reset="none")
            await consumer.start()
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek(place, offset)
            try:
                await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)
            finally:
                await consumer.stop()

        self.loop.run(fetch())

    def member(self, group, topic, protocol, hears):
        if protocol != "eager":
            raise NotOffered
        self.loop.run(self._member(group, topic, hears))

    async def _member(self, group, topic, hears):
        consumer = self.consumer(
            group, partition_assignment_strategy=[RangePartitionAssignor],
            heartbeat_interval_ms=200, session_timeout_ms=10000, fetch_max_wait_ms=100,
        )
        listener = Listener(consumer, hears)
        await consumer.start()
        consumer.subscribe([topic], listener=listener)
        while not hears.leaving.is_set():
            for batch in (await consumer.getmany(timeout_ms=50)).values():
                for one in batch:
                    hears.saw(one.partition, decoded(one.value))
        await listener.on_partitions_revoked(consumer.assignment())
        await consumer.stop()

    def create_topic(self, name, partitions, replicas, configs):
        topic = NewTopic(name, partitions, replicas, topic_configs=configs)
        check(self.asked(lambda admin: admin.create_topics([topic])).topic_errors)

    def grow_topic(self, name, partitions):
        wanted = {name: NewPartitions(partitions)}
        check(self.asked(lambda admin: admin.create_partitions(wanted)).topic_errors)

    def delete_topic(self, name):
        check(self.asked(lambda admin: admin.delete_topics([name])).topic_error_codes)

    def partitions(self, topic):
        # All of them: to ask for one that is not there makes it.
        described = self.asked(lambda admin: admin.describe_topics())
        return sum(len(one["partitions"]) for one in described if one["topic"] == topic)

    def config(self, topic, name):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        answers = self.asked(lambda admin: admin.describe_configs([resource]))
        code, _, _, _, entries = answers[0].resources[0]
        check([(topic, code)])
        return next(entry[1] for entry in entries if entry[0] == name)

    def alter_config(self, topic, operation, name, value):
        raise NotOffered

    def list_groups(self):
        return [group[0] for group in self.asked(lambda admin: admin.list_consumer_groups())]

    def describe_group(self, group):
        answers = self.asked(lambda admin: admin.describe_consumer_groups([group]))
        code, _, state, _, _, members, *_ = answers[0].groups[0]
        check([(group, code)])
        return state, len(members)

    def delete_group(self, group):
        raise NotOffered

    def committed(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        listed = lambda admin: admin.list_consumer_group_offsets(group, partitions=[place])
        return self.asked(listed)[place].offset

    def commit(self, group, topic, partition, offset):
        raise NotOffered

    def delete_committed(self, group, topic, partition):
        raise NotOffered

    def delete_records(self, topic, partition, before):
        place = TopicPartition(topic, partition)
        wanted = {place: RecordsToDelete(before)}
        return self.asked(lambda admin: admin.delete_records(wanted))[place]

    def list_offset(self, topic, partition, at, committed=False):
        place = TopicPartition(topic, partition)
        level = "read_committed" if committed else "read_uncommitted"

        async def find():
            consumer = self.consumer(isolation_level=level)
            await consumer.start()
            try:
                if at == LATEST:
                    return (await consumer.end_offsets([place]))[place]
                if at == EARLIEST:
                    return (await consumer.beginning_offsets([place]))[place]
                found = (await consumer.offsets_for_times({place: at}))[place]
                return -1 if found is None else found.offset
            finally:
                await consumer.stop()

        return self.loop.run(find())

    def code(self, error):
        return getattr(error, "errno", None) if isinstance(error, KafkaError) else None


def check(answers):
    """Raises the error that an answer holds: a name, then a code."""
    for name, code, *_ in answers:
        if code != 0:
            raise for_code(code)(name)


connect = Client
