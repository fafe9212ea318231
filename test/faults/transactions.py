"""Workers that read, write and commit in transactions, and what must come of it."""

import random
import time
from collections import Counter, defaultdict

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from workload import Worker, generation_and_member


# After so many seconds a new consumer is made: the old one can lose sight of a partition when it is told to seek while librdkafka asks
# about the epoch of its offset.
SILENCE = 15


class Transactions:
    """Names of transactions by what became of them, as far as their workers know; of others only that they are whole."""

    def __init__(self):
        self.committed, self.aborted = set(), set()
        self.troubles = Counter()


class Lost(Exception):
    """This life of a worker is over; the next one has to find out where to go on."""


class Copier(Worker):
    """Copies a topic in a group, each batch in a transaction together with its offsets.

    The copy of a record is in the same partition. Its value says which transaction it is of, how many records that has,
    and the record's offset. Now and then a transaction is aborted, or left alone for the next life to end it.
    """

    def __init__(self, *args, copies, transactions):
        super().__init__(*args)
        self.copies, self.transactions = copies, transactions
        self.life, self.count, self.zombie, self.astray = 0, 0, None, False
        self.random = random.Random(self.name)

    def subscribe(self):
        self.heard = time.monotonic()
        consumer = Consumer({**self.client, "group.id": "copiers", "enable.auto.commit": False,
                             "isolation.level": "read_committed", "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
                             "reconnect.backoff.max.ms": 500, "log_level": 0})
        consumer.subscribe([self.topic], on_assign=self.on_assign, on_revoke=self.on_revoke)
        return consumer

    def work(self):
        consumer, producer = self.subscribe(), None
        while not self.stopping.is_set():
            if time.monotonic() - self.heard > SILENCE:
                consumer.close()
                consumer = self.subscribe()
            try:
                producer = producer or self.open()
                if self.astray:
                    self.go_back(consumer)
                self.copy(consumer, producer)
            except (Lost, KafkaException) as e:
                self.transactions.troubles[str(e)] += 1
                producer, self.astray = None, True
        consumer.close()

    def on_assign(self, consumer, partitions):
        """The generation of the records that will come; a later one would not be theirs."""
        self.moved, self.metadata = True, consumer.consumer_group_metadata()
        self.generation, _ = generation_and_member(consumer)

    def on_revoke(self, consumer, partitions):
        self.moved = True

    def go_back(self, consumer):
        """To what is committed, where what was read after that is not."""
        for tp in consumer.committed(consumer.assignment(), 30):
            if tp.error is not None:
                raise Lost(str(tp.error))
            consumer.seek(TopicPartition(tp.topic, tp.partition, max(tp.offset, 0)))
        self.astray = False

    def open(self):
        """A producer of a new epoch: another life."""
        self.life += 1
        producer = Producer({**self.client, "transactional.id": self.name, "transaction.timeout.ms": 20000,
                             "linger.ms": 2, "socket.timeout.ms": 10000, "reconnect.backoff.max.ms": 500, "log_level": 0})
        self.insist(producer.init_transactions)
        if self.zombie:
            self.check_zombie(*self.zombie)
            self.zombie = None
        return producer

    def check_zombie(self, producer, name):
        try:
            producer.commit_transaction(30)
            self.history.complain(f"{name} was committed after the next life of its id had begun")
        except KafkaException:
            self.transactions.aborted.add(name)

    def insist(self, call):
        """Again and again while there is hope; who stops meanwhile gets some time, too."""
        for _ in range(20):
            try:
                return call(10)
            except KafkaException as e:
                if not e.args[0].retriable():
                    raise
        raise Lost("no answer for long")

    def copy(self, consumer, producer):
        self.moved = False
        batch = [m for m in consumer.consume(self.random.choice([5, 30, 400]), 0.2) if not m.error()]
        if not batch:
            return
        self.heard = time.monotonic()
        if self.moved or self.generation < 0:
            self.astray = True
            return
        self.count += 1
        name = f"{self.name}.{self.life}.{self.count}"
        producer.begin_transaction()
        try:
            for m in batch:
                producer.produce(self.copies, f"{name} {len(batch)} {m.offset()}", partition=m.partition())
            self.end(producer, name, [TopicPartition(self.topic, p, last + 1) for p, last in {m.partition(): m.offset() for m in batch}.items()])
        except KafkaException as e:
            if not e.args[0].txn_requires_abort():
                raise
            self.transactions.troubles[str(e)] += 1
            self.abort(producer, name)

    def end(self, producer, name, offsets):
        chance = self.random.random()
        if chance < 0.5:  # what waits for a while, too
            producer.flush(10)
        if chance < 0.08:
            self.abort(producer, name)
            return
        self.insist(lambda patience: producer.send_offsets_to_transaction(offsets, self.metadata, patience))
        if chance < 0.1:
            self.zombie = producer, name
            raise Lost("of its own will")
        self.insist(producer.commit_transaction)
        self.transactions.committed.add(name)

    def abort(self, producer, name):
        """A record that may have been written and is given up by the abort leaves its sequence number to the next one in librdkafka.

        Brokers then take that for the same record, and acknowledge what they do not write; unless the epoch is another one.
        """
        unanswered = producer.flush(0)
        self.insist(producer.abort_transaction)
        self.transactions.aborted.add(name)
        self.astray = True
        if unanswered:
            raise Lost("aborted with records under way")


def check_copies(copies, facts, transactions):
    """All that is wrong: each fact is there once, in order; a transaction is there as a whole, or not at all."""
    wrong, sources, sizes, found = [], defaultdict(list), {}, Counter()
    for (partition, _), value in sorted(copies.items()):
        name, size, source = value.split()
        sources[partition].append(int(source))
        sizes[name] = int(size)
        found[name] += 1
    wrong += [f"{found[name]} records of {size} of the transaction {name}" for name, size in sizes.items() if found[name] != size]
    wrong += [f"the transaction {name} was aborted, and is there" for name in sorted(transactions.aborted & set(sizes))]
    wrong += [f"the transaction {name} was committed, and is not there" for name in sorted(transactions.committed - set(sizes))]
    expected = defaultdict(list)
    for partition, offset in sorted(facts):
        expected[partition].append(offset)
    for p, offsets in expected.items():
        if sources[p] != offsets:
            at = next((i for i, (a, b) in enumerate(zip(sources[p], offsets)) if a != b), min(len(sources[p]), len(offsets)))
            wrong.append(f"copies of partition {p}: {sources[p][at:at + 3]} where {offsets[at:at + 3]} are due, {at} are right")
    return wrong
