"""confluent-kafka against a broker: one scenario per run, `ok` as the last line.

Usage: confluent_scenarios.py SCENARIO BOOTSTRAP
"""

import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

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


def producer(bootstrap, **settings):
    return Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, **settings})


def consumer(bootstrap, group, **settings):
    return Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **settings,
    })


def send_all(client, topic, pairs):
    failed = []
    for key, value in pairs:
        client.produce(topic, key=key, value=value,
                       on_delivery=lambda error, _: failed.append(error) if error else None)
    assert client.flush(PATIENCE_SECONDS) == 0, "not everything was delivered"
    assert not failed, failed


def poll_until(done, *consumers):
    """Polls all consumers in turn until done(pairs read so far)."""
    read = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done(read):
        assert time.monotonic() < deadline, f"not done with {len(read)} records"
        for one in consumers:
            message = one.poll(0.1)
            if message is not None and message.error() is None:
                read.append((message.key(), message.value()))
    return read


def produce_consume(bootstrap):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = f"cf-{codec}"
        sent = records(topic)
        send_all(producer(bootstrap, **{"compression.type": codec}), topic, sent)
        reader = consumer(bootstrap, f"readers-{codec}")
        reader.subscribe([topic])
        read = poll_until(lambda read: len(read) == RECORDS, reader)
        assert by_key(read) == by_key(sent), codec
        partition = TopicPartition(topic, 0)
        low, high = reader.get_watermark_offsets(partition, timeout=PATIENCE_SECONDS)
        assert (low, high >= 0) == (0, True), (low, high)
        reader.close()


def rebalance(bootstrap):
    for strategy in ("range", "cooperative-sticky"):
        topic = f"cf-shared-{strategy}"
        group = f"pair-{strategy}"
        settings = {"partition.assignment.strategy": strategy}
        sender = producer(bootstrap)
        send_all(sender, topic, records("first", 100))

        first = consumer(bootstrap, group, **settings)
        first.subscribe([topic])
        read = poll_until(lambda read: len(read) == 100, first)
        first.commit(asynchronous=False)

        second = consumer(bootstrap, group, **settings)
        second.subscribe([topic])
        shares = lambda _: (len(first.assignment()), len(second.assignment())) == (2, 2)
        read += poll_until(shares, first, second)
        assert len(read) == 100, "a rebalance repeats nothing that was committed"

        first.close()
        poll_until(lambda _: len(second.assignment()) == 4, second)
        send_all(sender, topic, records("second", 100))
        read += poll_until(lambda read: len(read) == 100, second)
        assert by_key(read) == by_key(records("first", 100) + records("second", 100)), strategy
        second.close()


def admin(bootstrap):
    client = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic("cf-made", num_partitions=3, replication_factor=1,
                     config={"max.message.bytes": "2000000"})
    client.create_topics([topic])["cf-made"].result(PATIENCE_SECONDS)
    try:
        client.create_topics([topic])["cf-made"].result(PATIENCE_SECONDS)
        raise AssertionError("made twice")
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, refused

    cluster = client.describe_cluster().result(PATIENCE_SECONDS)
    assert [f"{node.host}:{node.port}" for node in cluster.nodes] == [bootstrap], cluster
    assert cluster.cluster_id, cluster
    resource = ConfigResource(ConfigResource.Type.TOPIC, "cf-made")
    configs = client.describe_configs([resource])[resource].result(PATIENCE_SECONDS)
    assert configs["max.message.bytes"].value == "2000000", configs["max.message.bytes"]

    reader = consumer(bootstrap, "seen")
    reader.subscribe(["cf-made"])
    poll_until(lambda _: len(reader.assignment()) == 3, reader)
    groups = client.list_consumer_groups().result(PATIENCE_SECONDS)
    assert [group.group_id for group in groups.valid] == ["seen"], groups.valid
    group = client.describe_consumer_groups(["seen"])["seen"].result(PATIENCE_SECONDS)
    assert len(group.members) == 1 and group.state.name == "STABLE", group
    reader.close()

    client.delete_topics(["cf-made"])["cf-made"].result(PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "cf-made" in client.list_topics(timeout=PATIENCE_SECONDS).topics:
        assert time.monotonic() < deadline, "the topic is still there"


def restart(bootstrap):
    sent = records("kept")
    sender = producer(bootstrap)
    send_all(sender, "cf-kept", sent[: RECORDS // 2])
    print("half", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    send_all(sender, "cf-kept", sent[RECORDS // 2 :])

    reader = consumer(bootstrap, "after")
    reader.subscribe(["cf-kept"])
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
