"""Python's clients against a broker: one line of JSON per scenario.

Usage: scenarios.py CLIENT BOOTSTRAP SCENARIO...
       scenarios.py CLIENT BOOTSTRAP restart

Scenarios run side by side, each with topics and groups of its own. A line is either
{"scenario": NAME, "saw": FACTS} or {"scenario": NAME, "failed": REASON}. Every client is seen
through the same calls, so facts have the same names and meanings; a fact that a client has no call
for is not in its line. `restart` speaks with the test that restarts the broker, and ends with `ok`.
"""

import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections import defaultdict
from dataclasses import replace

from ground import EARLIEST, LATEST, NotOffered, Record, create, eventually, numbered
from sharing import Sharing, churn, migration

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def send(client, topic, records, **settings):
    producer = client.producer(**settings)
    producer.send(topic, records)
    producer.close()


def refusal(saw, fact, client, call):
    """Keeps the Kafka error of a call, 0 when it is granted; nothing if there is no such call."""
    try:
        call()
        saw[fact] = 0
    except NotOffered:
        pass
    except Exception as error:
        code = client.code(error)
        saw[fact] = f"{type(error).__name__}: {error}" if code is None else code


def seen(saw, fact, call):
    """Keeps what a call returns, unless the client has no such call."""
    try:
        saw[fact] = call()
    except NotOffered:
        return False
    return True


def tags(records):
    """How many records of each tag came, in order: "a5 c5"."""
    counts = defaultdict(int)
    for record in records:
        counts[record.value.split(" ")[0]] += 1
    return " ".join(f"{tag}{count}" for tag, count in counts.items())


def same_by_key(sent, read):
    """How many records were read as they were sent, in the order of their keys."""

    def by_key(records):
        keys = defaultdict(list)
        for record in records:
            keys[record.key].append((record.value, record.header))
        return keys

    came = by_key(read)
    return sum(a == b for key, all in by_key(sent).items() for a, b in zip(all, came[key]))


def codecs(client, prefix):
    count = 200
    saw = {}
    for codec in CODECS:
        topic = f"{prefix}.{codec}"
        create(client, topic, 4)
        sent = numbered(codec, count)
        sent[-1] = replace(sent[-1], value=None)
        send(client, topic, sent, codec=codec)
        saw[codec] = same_by_key(sent, client.read(topic, 4, count))
    return saw


def idempotence(client, prefix):
    count = 500
    create(client, prefix, 1)
    send(client, prefix, numbered("once", count), idempotent=True)
    read = client.read(prefix, 1, count)
    return {
        "read": len(read),
        "in order": [record.value for record in read] == [f"once {n}" for n in range(count)],
        "latest": client.list_offset(prefix, 0, LATEST),
    }


def transactions(client, prefix):
    create(client, prefix, 1)
    producer = client.producer(transactional_id=prefix)
    for tag in "abc":
        producer.begin()
        producer.send(prefix, numbered(tag, 5))
        producer.abort() if tag == "b" else producer.commit()
    saw = {
        "committed": tags(client.read(prefix, 1, 10, committed=True)),
        "uncommitted": tags(client.read(prefix, 1, 15)),
    }
    producer.begin()
    producer.send(prefix, numbered("d", 5))
    seen(saw, "stable while open", lambda: client.list_offset(prefix, 0, LATEST, committed=True))
    saw["latest while open"] = client.list_offset(prefix, 0, LATEST)
    producer.abort()

    group = f"{prefix}.group"
    producer.begin()
    producer.send_offset(group, prefix, 3)
    producer.abort()
    saw["offset after abort"] = client.committed(group, prefix, 0)
    producer.begin()
    producer.send_offset(group, prefix, 5)
    producer.commit()
    # The coordinator answers before the group has its marker.
    eventually("the offset", lambda: client.committed(group, prefix, 0) == 5)
    saw["offset after commit"] = client.committed(group, prefix, 0)

    producer.begin()
    producer.send(prefix, numbered("e", 1))
    second = client.producer(transactional_id=prefix)
    second.begin()
    second.send(prefix, numbered("f", 5))
    try:
        producer.commit()
        saw["fenced"] = False
    except Exception:
        saw["fenced"] = True
    second.commit()
    saw["after fencing"] = tags(client.read(prefix, 1, 15, committed=True))
    producer.close()
    second.close()
    return saw


def topics(client, prefix):
    made, saw = f"{prefix}.made", {}
    create(client, made, 3, {"max.message.bytes": "2000000"})
    for fact, name, replicas, configs in (
        ("again", made, 1, {}),
        ("bad name", f"{prefix}/slash", 1, {}),
        ("three replicas", f"{prefix}.replicas", 3, {}),
        ("bad config", f"{prefix}.config", 1, {"no.such.config": "1"}),
    ):
        refusal(saw, fact, client, lambda: client.create_topic(name, 3, replicas, configs))
    client.grow_topic(made, 6)
    refusal(saw, "shrunk", client, lambda: client.grow_topic(made, 2))
    eventually("six partitions", lambda: client.partitions(made) == 6)
    send(client, made, [Record("k", "v", partition=5)])
    saw["in the new partition"] = len(client.read(made, 6, 1))
    client.delete_topic(made)
    eventually("the topic is gone", lambda: client.partitions(made) == 0)
    refusal(saw, "deleted again", client, lambda: client.delete_topic(made))
    return saw


def configs(client, prefix):
    create(client, prefix, 1, {"max.message.bytes": "2000000"})
    saw = {"created with": client.config(prefix, "max.message.bytes")}
    try:
        client.alter_config(prefix, "SET", "retention.ms", "1000000")
    except NotOffered:
        return saw

    def becomes(fact, name, value):
        eventually(fact, lambda: client.config(prefix, name) == value)
        saw[fact] = client.config(prefix, name)

    becomes("set", "retention.ms", "1000000")
    client.alter_config(prefix, "APPEND", "cleanup.policy", "compact")
    becomes("appended", "cleanup.policy", "delete,compact")
    client.alter_config(prefix, "SUBTRACT", "cleanup.policy", "delete")
    becomes("subtracted", "cleanup.policy", "compact")
    client.alter_config(prefix, "DELETE", "retention.ms", None)
    becomes("unset", "retention.ms", "604800000")
    saw["untouched"] = client.config(prefix, "max.message.bytes")
    for fact, name, value in (
        ("unknown", "no.such.config", "1"),
        ("bad value", "retention.ms", "soon"),
    ):
        refusal(saw, fact, client, lambda: client.alter_config(prefix, "SET", name, value))
    return saw


def groups(client, prefix):
    create(client, prefix, 1)
    send(client, prefix, numbered("read", 10))
    group, saw = f"{prefix}.group", {}
    shared = Sharing()
    member = shared.join(client, group, prefix, "eager")
    eventually("ten records", lambda: member.alive() and shared.distinct() == 10)
    saw["listed"] = group in client.list_groups()
    saw["state"], saw["members"] = client.describe_group(group)
    refusal(saw, "deleted while busy", client, lambda: client.delete_group(group))
    member.leave()
    saw["state after leaving"], _ = client.describe_group(group)

    saw["committed"] = client.committed(group, prefix, 0)
    if seen(saw, "altered", lambda: client.commit(group, prefix, 0, 4)):
        saw["altered"] = client.committed(group, prefix, 0)
    if seen(saw, "offset deleted", lambda: client.delete_committed(group, prefix, 0)):
        saw["offset deleted"] = client.committed(group, prefix, 0)
    try:
        client.delete_group(group)
        saw["listed after deletion"] = group in client.list_groups()
    except NotOffered:
        pass
    refusal(saw, "deleted again", client, lambda: client.delete_group(group))
    return saw


def records(client, prefix):
    create(client, prefix, 1)
    start = int(time.time() * 1000) - 100_000
    producer = client.producer()
    for n, record in enumerate(numbered("timed", 10)):
        producer.send(prefix, [replace(record, timestamp=start + n * 1000)])
    producer.close()
    saw = {
        "earliest": client.list_offset(prefix, 0, EARLIEST),
        "latest": client.list_offset(prefix, 0, LATEST),
        "at a time": client.list_offset(prefix, 0, start + 3500),
        "after last": client.list_offset(prefix, 0, start + 1_000_000),
    }
    if seen(saw, "deleted before", lambda: client.delete_records(prefix, 0, 6)):
        saw["earliest then"] = client.list_offset(prefix, 0, EARLIEST)
        saw["read then"] = len(client.read(prefix, 1, 4))
    beyond = lambda: client.delete_records(prefix, 0, 11)
    refusal(saw, "deleted beyond the end", client, beyond)
    return saw


def refusals(client, prefix):
    create(client, prefix, 1, {"max.message.bytes": "1000"})
    producer, saw = client.producer(), {}
    large = [Record("k", "x" * 5000)]
    refusal(saw, "too large", client, lambda: producer.send(prefix, large))
    producer.send(prefix, numbered("small", 1))
    producer.close()
    saw["read"] = len(client.read(prefix, 1, 1))
    refusal(saw, "out of range", client, lambda: client.fetch_at(prefix, 0, 1000))
    return saw


def restart(client, prefix):
    """Every acknowledged record is there after the broker was killed in the middle."""
    sent = numbered("kept", 2000)
    create(client, prefix, 4)
    producer = client.producer()
    producer.send(prefix, sent[:1000])
    print("half", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    producer.send(prefix, sent[1000:])
    producer.close()
    assert same_by_key(sent, client.read(prefix, 4, 2000)) == 2000


SCENARIOS = {
    "codecs": codecs,
    "idempotence": idempotence,
    "transactions": transactions,
    "group": churn("eager"),
    "cooperative group": churn("cooperative"),
    "consumer protocol": churn("consumer"),
    "migration": migration("eager"),
    "cooperative migration": migration("cooperative"),
    "topics": topics,
    "configs": configs,
    "groups": groups,
    "records": records,
    "refusals": refusals,
}


def play(client, name, scenario, out):
    prefix = f"{name}.{scenario.replace(' ', '-')}.{os.getpid()}"
    try:
        line = {"scenario": scenario, "saw": SCENARIOS[scenario](client, prefix)}
    except Exception as error:
        traceback.print_exc()
        line = {"scenario": scenario, "failed": f"{type(error).__name__}: {error}"}
    with out:
        print(json.dumps(line), flush=True)


def main():
    name, bootstrap, *wanted = sys.argv[1:]
    module = importlib.import_module("client_" + name.replace("-", "_"))
    client = module.connect(bootstrap)
    if wanted == ["restart"]:
        restart(client, f"{name}.restart")
        print("ok")
        return
    out = threading.Lock()
    threads = [threading.Thread(target=play, args=(client, name, one, out)) for one in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
