"""What the members of one group own and read, as they see it, and how they come and go."""

import threading
from collections import Counter, defaultdict
from dataclasses import replace

from ground import create, eventually, numbered


class Sharing:
    def __init__(self):
        self.lock = threading.Lock()
        self.owners = {}
        self.owned = defaultdict(set)
        self.read = Counter()
        self.overlaps = 0
        self.together = 0

    def join(self, client, group, topic, protocol):
        return Member(self, lambda member: client.member(group, topic, protocol, member))

    def distinct(self):
        with self.lock:
            return len(self.read)

    def shares(self, members):
        with self.lock:
            return [len(self.owned[member]) for member in members]


class Member:
    """Consumes in a thread of its own until it is told to leave."""

    def __init__(self, shared, consume):
        self.shared = shared
        self.leaving = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self._run, args=(consume,))
        self.thread.start()

    def _run(self, consume):
        try:
            consume(self)
        except BaseException as failure:
            self.failure = failure

    def alive(self):
        if self.failure is not None:
            raise self.failure
        return True

    def leave(self):
        """Returns when the member is out of the group."""
        self.leaving.set()
        self.thread.join()
        self.alive()

    def assigned(self, partitions):
        shared = self.shared
        with shared.lock:
            for partition in partitions:
                if shared.owners.get(partition, self) is not self:
                    shared.overlaps += 1
                shared.owners[partition] = self
                shared.owned[self].add(partition)
            shared.together = max(shared.together, sum(map(bool, shared.owned.values())))

    def revoked(self, partitions):
        shared = self.shared
        with shared.lock:
            for partition in partitions:
                if shared.owners.get(partition) is self:
                    del shared.owners[partition]
                shared.owned[self].discard(partition)

    def saw(self, partition, value):
        shared = self.shared
        with shared.lock:
            if shared.owners.get(partition) is not self:
                shared.overlaps += 1
            shared.read[value] += 1


def churn(protocol):
    """A scenario in which members join and leave while records flow."""
    partitions, batch = 4, 40

    def scenario(client, prefix):
        create(client, prefix, partitions)
        producer = client.producer()
        shared = Sharing()
        sent = 0

        def flow():
            nonlocal sent
            records = numbered(f"batch{sent}", batch)
            producer.send(
                prefix, [replace(one, partition=n % partitions) for n, one in enumerate(records)]
            )
            sent += batch

        def settled(*members):
            def every_partition_has_an_owner():
                shares = shared.shares(members)
                alive = all(member.alive() for member in members)
                return alive and sum(shares) == partitions and min(shares) > 0

            eventually("each member owns some partitions", every_partition_has_an_owner)
            flow()

        def join():
            flow()
            return shared.join(client, prefix, prefix, protocol)

        first = join()
        settled(first)
        second = join()
        settled(first, second)
        third = join()
        settled(first, second, third)
        first.leave()
        settled(second, third)
        second.leave()
        settled(third)
        eventually("every record", lambda: third.alive() and shared.distinct() == sent)
        third.leave()
        producer.close()
        return {
            "read": shared.distinct(),
            "read twice": sum(times - 1 for times in shared.read.values()),
            "two owners": shared.overlaps,
            "owners at a time": shared.together,
        }

    return scenario
