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


class Group:
    """A group through which records flow while members come and go."""

    partitions, batch = 4, 40

    def __init__(self, client, name):
        self.client = client
        self.name = name
        create(client, name, self.partitions)
        self.producer = client.producer()
        self.shared = Sharing()
        self.sent = 0

    def flow(self):
        records = enumerate(numbered(f"batch{self.sent}", self.batch))
        self.producer.send(
            self.name, [replace(one, partition=n % self.partitions) for n, one in records]
        )
        self.sent += self.batch

    def join(self, protocol):
        self.flow()
        return self.shared.join(self.client, self.name, self.name, protocol)

    def settled(self, *members):
        def every_partition_has_an_owner():
            shares = self.shared.shares(members)
            alive = all(member.alive() for member in members)
            return alive and sum(shares) == self.partitions and min(shares) > 0

        eventually("each member owns some partitions", every_partition_has_an_owner)
        self.flow()

    def end(self, last):
        """The last member reads what is left, and leaves."""
        shared = self.shared
        eventually("every record", lambda: last.alive() and shared.distinct() == self.sent)
        last.leave()
        self.producer.close()
        return {
            "read": shared.distinct(),
            "read twice": sum(times - 1 for times in shared.read.values()),
            "two owners": shared.overlaps,
            "owners at a time": shared.together,
        }


def churn(protocol):
    """A scenario in which members join and leave while records flow."""

    def scenario(client, prefix):
        group = Group(client, prefix)
        first = group.join(protocol)
        group.settled(first)
        second = group.join(protocol)
        group.settled(first, second)
        third = group.join(protocol)
        group.settled(first, second, third)
        first.leave()
        group.settled(second, third)
        second.leave()
        group.settled(third)
        return group.end(third)

    return scenario


def migration(classic):
    """A scenario in which a classic group becomes one of KIP-848, goes back, and is moved for good."""

    def scenario(client, prefix):
        group, types = Group(client, prefix), []
        first = group.join(classic)
        group.settled(first)
        second = group.join(classic)
        group.settled(first, second)
        types.append(client.group_type(prefix))
        third = group.join("consumer")
        group.settled(first, second, third)
        types.append(client.group_type(prefix))
        third.leave()
        group.settled(first, second)
        types.append(client.group_type(prefix))
        fourth = group.join("consumer")
        group.settled(first, second, fourth)
        first.leave()
        group.settled(second, fourth)
        second.leave()
        group.settled(fourth)
        types.append(client.group_type(prefix))
        return {**group.end(fourth), "types": " ".join(types)}

    return scenario
