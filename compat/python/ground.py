"""What the scenarios and the clients both stand on: records, and waiting."""

import time
from dataclasses import dataclass

PATIENCE_SECONDS = 60
LATEST, EARLIEST = -1, -2


class NotOffered(Exception):
    """The client has no call for it."""


@dataclass(frozen=True)
class Record:
    """What must come back as it was sent; no value is a tombstone, no partition goes by key."""

    key: str
    value: str | None
    header: str = ""
    partition: int | None = None
    timestamp: int | None = None


def numbered(tag, count):
    return [Record(f"k{n % 7}", f"{tag} {n}", f"h{n // 50}") for n in range(count)]


def eventually(what, holds):
    """Waits for a condition that nothing tells of."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.02)


def create(client, topic, partitions, configs=None):
    """Makes a topic and waits until the client sees it."""
    client.create_topic(topic, partitions, 1, configs or {})
    eventually("the topic is there", lambda: client.partitions(topic) == partitions)
