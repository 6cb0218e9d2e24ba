"""kafka-python against a broker: one scenario per run, `ok` as the last line.

Usage: kafka_python_scenarios.py SCENARIO BOOTSTRAP
"""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import TopicAlreadyExistsError

PATIENCE_SECONDS = 60
RECORDS = 2000
KEYS = 16


def records(tag, count=RECORDS):
    return [(f"k{n % KEYS}".encode(), f"{tag} {n}".encode()) for n in range(count)]


def by_key(pairs):
    values = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return values


def consumer(bootstrap, **settings):
    return KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, **settings
    )


def poll_until(done, *consumers):
    """Polls all consumers in turn until done(pairs read so far)."""
    read = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done(read):
        assert time.monotonic() < deadline, f"not done with {len(read)} records"
        for one in consumers:
            for batch in one.poll(timeout_ms=100).values():
                read.extend((record.key, record.value) for record in batch)
    return read


def send_all(producer, topic, pairs):
    futures = [producer.send(topic, key=key, value=value) for key, value in pairs]
    producer.flush(timeout=PATIENCE_SECONDS)
    for future in futures:
        future.get(timeout=PATIENCE_SECONDS)


def produce_consume(bootstrap):
    for codec in (None, "gzip"):
        topic = f"kp-{codec}"
        sent = records(topic)
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec)
        send_all(producer, topic, sent)
        place = producer.send(topic, key=b"h", value=b"v", headers=[("a", b"1")], timestamp_ms=1234).get()
        producer.close()

        reader = consumer(bootstrap, group_id=None)
        reader.subscribe([topic])
        read = poll_until(lambda read: len(read) > RECORDS, reader)
        assert by_key(read) == by_key(sent + [(b"h", b"v")]), codec

        partition = TopicPartition(topic, place.partition)
        reader.seek(partition, place.offset)
        record = reader.poll(timeout_ms=PATIENCE_SECONDS * 1000)[partition][0]
        assert record.headers == [("a", b"1")] and record.timestamp == 1234, record
        assert reader.end_offsets([partition]) == {partition: place.offset + 1}
        assert reader.beginning_offsets([partition]) == {partition: 0}
        found = reader.offsets_for_times({partition: 1235})[partition]
        assert found.offset == 0, found
        reader.close()


def rebalance(bootstrap):
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    send_all(producer, "kp-shared", records("first", 100))

    first = consumer(bootstrap, group_id="pair")
    first.subscribe(["kp-shared"])
    read = poll_until(lambda read: len(read) == 100, first)
    assert len(first.assignment()) == 4, first.assignment()
    first.commit()

    second = consumer(bootstrap, group_id="pair")
    second.subscribe(["kp-shared"])
    shares = lambda _: (len(first.assignment()), len(second.assignment())) == (2, 2)
    read += poll_until(shares, first, second)
    assert not first.assignment() & second.assignment()
    assert len(read) == 100, "a rebalance repeats nothing that was committed"

    first.close()
    poll_until(lambda _: len(second.assignment()) == 4, second)
    send_all(producer, "kp-shared", records("second", 100))
    read += poll_until(lambda read: len(read) == 100, second)
    assert by_key(read) == by_key(records("first", 100) + records("second", 100))
    second.close()


def admin(bootstrap):
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    topic = NewTopic("kp-made", num_partitions=3, replication_factor=1,
                     topic_configs={"max.message.bytes": "2000000"})
    client.create_topics([topic])
    try:
        client.create_topics([topic])
        raise AssertionError("made twice")
    except TopicAlreadyExistsError:
        pass
    described = client.describe_topics(["kp-made"])
    assert len(described[0]["partitions"]) == 3, described
    asked = [ConfigResource(ConfigResourceType.TOPIC, "kp-made")]
    assert "2000000" in str(client.describe_configs(asked)), client.describe_configs(asked)

    reader = consumer(bootstrap, group_id="seen")
    reader.subscribe(["kp-made"])
    poll_until(lambda _: len(reader.assignment()) == 3, reader)
    assert "seen" in str(client.list_groups())
    group = client.describe_groups(["seen"])
    assert "Stable" in str(group), group
    reader.close()

    client.delete_topics(["kp-made"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "kp-made" in str(client.list_topics()):
        assert time.monotonic() < deadline, "the topic is still there"
    client.close()


def restart(bootstrap):
    sent = records("kept")
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    send_all(producer, "kp-kept", sent[: RECORDS // 2])
    print("half", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    send_all(producer, "kp-kept", sent[RECORDS // 2 :])

    reader = consumer(bootstrap, group_id="after")
    reader.subscribe(["kp-kept"])
    read = poll_until(lambda read: len(read) >= RECORDS, reader)
    assert by_key(read) == by_key(sent)
    reader.close()


SCENARIOS = {
    "produce-consume": produce_consume,
    "rebalance": rebalance,
    "admin": admin,
    "restart": restart,
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](sys.argv[2])
    print("ok")
