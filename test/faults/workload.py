"""Producers and consumers that write down what they were promised and what they saw."""

import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition


class History:
    """Filled by all threads of the workload; judged by checker.py."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = {}  # (partition, offset): value
        self.failed = []  # (value, error): perhaps written, perhaps not
        self.seen = {}  # (partition, offset): value, by whoever read it first
        self.wrong = []  # what contradicts itself already

    def acknowledge(self, partition, offset, value):
        with self.lock:
            if offset is None or offset < 0:
                # librdkafka takes the refusal of a sequence that lies before one it knows of for a success. No broker has
                # acknowledged this record: where its first batch was refused for want of replicas and the second was not, it is lost.
                self.failed.append((value, "no offset"))
                return
            old = self.acknowledged.setdefault((partition, offset), value)
            if old != value:
                self.wrong.append(f"offset {offset} of partition {partition} was acknowledged for {old} and for {value}")

    def see(self, partition, offset, value):
        with self.lock:
            old = self.seen.setdefault((partition, offset), value)
            if old != value:
                self.wrong.append(f"offset {offset} of partition {partition} was read as {old} and as {value}")

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)


class Worker(threading.Thread):
    """`client`: where it goes and as whom, in the terms of librdkafka."""

    def __init__(self, history, client, topic, partitions, name):
        super().__init__(name=name, daemon=True)
        self.history, self.client, self.topic, self.partitions = history, client, topic, partitions
        self.stopping = threading.Event()

    def run(self):
        try:
            self.work()
        except Exception as e:  # noqa: BLE001 (a worker that dies is a finding)
            self.history.complain(f"{self.name}: {e!r}")

    def finish(self, patience=120):
        self.stopping.set()
        self.join(patience)
        if self.is_alive():
            self.history.complain(f"{self.name} does not end")


class Writer(Worker):
    """Values are writer.life.partition.number; the numbers of a life and a partition ascend by one."""

    def __init__(self, *args, pace=0.004):
        super().__init__(*args)
        self.pace, self.life, self.broken = pace, 0, False

    def producer(self):
        self.life += 1
        self.broken = False
        return Producer({**self.client, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                         "message.timeout.ms": 90000, "request.timeout.ms": 10000, "socket.timeout.ms": 10000,
                         "reconnect.backoff.max.ms": 500, "error_cb": self.on_error, "log_level": 0})

    def on_error(self, error):
        self.broken |= error.code() == KafkaError._FATAL

    def on_delivery(self, error, message):
        value = message.value().decode()
        if error is None:
            self.history.acknowledge(message.partition(), message.offset(), value)
        else:
            with self.history.lock:
                self.history.failed.append((value, str(error)))
            self.broken = True

    def work(self):
        while not self.stopping.is_set():
            producer, numbers = self.producer(), [0] * self.partitions
            while not self.stopping.is_set() and not self.broken:
                for p in range(self.partitions):
                    try:
                        producer.produce(self.topic, f"{self.name}.{self.life}.{p}.{numbers[p]}", partition=p, on_delivery=self.on_delivery)
                        numbers[p] += 1
                    except BufferError:
                        pass
                    except confluent_kafka.KafkaException:
                        self.broken = True
                producer.poll(0)
                self.stopping.wait(self.pace)
            producer.flush(100)


class Reader(Worker):
    """Reads all partitions from the beginning, for itself; what transactions wrote when they are committed."""

    def work(self):
        consumer = Consumer({**self.client, "group.id": self.name, "enable.auto.commit": False,
                             "isolation.level": "read_committed", "auto.offset.reset": "error", "reconnect.backoff.max.ms": 500,
                             "log_level": 0})
        consumer.assign([TopicPartition(self.topic, p, 0) for p in range(self.partitions)])
        expected = [0] * self.partitions
        while not self.stopping.is_set():
            sought = set()  # what comes of these in the same breath is from before
            for m in consumer.consume(500, 0.2):
                p = m.partition()
                if m.error():
                    sought |= self.take_error(consumer, m, expected)
                if m.error() or p in sought:
                    continue
                if m.offset() < expected[p]:
                    self.history.complain(f"{self.name} got offset {m.offset()} of partition {p} after {expected[p] - 1}")
                expected[p] = m.offset() + 1
                self.history.see(p, m.offset(), m.value().decode())
        consumer.close()

    def take_error(self, consumer, m, expected):
        """The partitions that begin anew where they stood."""
        if m.error().code() != KafkaError._AUTO_OFFSET_RESET:
            return set()
        if "truncation" not in str(m.error()):
            self.history.complain(f"{self.name} was sent back: {m.error()}")
        # librdkafka can take the late answer to an earlier validation for that to a later one, and sees a truncation that is
        # none. Whether there was one, the records themselves tell in the end.
        try:
            consumer.seek(TopicPartition(self.topic, m.partition(), expected[m.partition()]))
            return {m.partition()}
        except confluent_kafka.KafkaException:  # it has given the partition up
            consumer.assign([TopicPartition(self.topic, p, offset) for p, offset in enumerate(expected)])
            return set(range(self.partitions))


class Group:
    """What the members of a group were promised, and what they were given."""

    def __init__(self, name, history, partitions):
        self.name, self.history = name, history
        self.committed = {}  # partition: the highest offset whose commit was answered
        self.delivered = [bytearray() for _ in range(partitions)]  # by offset: whether a member was given the record
        self.owners = {}  # (generation, partition): the member that it was assigned to

    def deliver(self, partition, offset):
        with self.history.lock:
            there = self.delivered[partition]
            there.extend(bytes(max(0, offset + 1 - len(there))))
            there[offset] = 1

    def own(self, generation, partitions, member):
        with self.history.lock:
            taken = [(p, self.owners[generation, p]) for p in partitions if self.owners.setdefault((generation, p), member) != member]
        for p, owner in taken:
            self.history.complain(f"generation {generation} of {self.name} gave partition {p} to {owner} and to {member}")

    def is_given(self, partition, offset):
        return offset < len(self.delivered[partition]) and self.delivered[partition][offset] == 1


def generation_and_member(consumer):
    """As the consumer would say in a commit; librdkafka has them in a form of its own."""
    data = consumer.consumer_group_metadata()
    assert data.startswith(b"CGMDv2:"), data
    return int.from_bytes(data[7:11], sys.byteorder, signed=True), data[11:].split(b"\0")[1].decode()


class Member(Worker):
    """Consumes in a group and commits; whatever was committed must never go back."""

    def __init__(self, *args, group=None):
        super().__init__(*args)
        self.group = group or Group("members", self.history, self.partitions)

    def work(self):
        consumer = Consumer({**self.client, "group.id": self.group.name, "enable.auto.commit": False,
                             "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "reconnect.backoff.max.ms": 500,
                             "log_level": 0})
        consumer.subscribe([self.topic], on_assign=self.on_assign)
        while not self.stopping.is_set():
            for m in consumer.consume(500, 0.2):
                if not m.error():
                    self.history.see(m.partition(), m.offset(), m.value().decode())
                    self.group.deliver(m.partition(), m.offset())
            self.commit(consumer)
        consumer.close()

    def on_assign(self, consumer, partitions):
        generation, member = generation_and_member(consumer)
        if generation >= 0:  # else it has lost them already
            self.group.own(generation, [tp.partition for tp in partitions], member)
        with self.history.lock:
            known = dict(self.group.committed)
        try:
            found = consumer.committed(partitions, timeout=30)
        except confluent_kafka.KafkaException:
            return
        for tp in found:
            if tp.error is None and max(tp.offset, 0) < known.get(tp.partition, 0):
                self.history.complain(f"the group's offset of partition {tp.partition} went back from {known[tp.partition]} to {tp.offset}")

    def commit(self, consumer):
        try:
            done = consumer.commit(asynchronous=False) or []
        except confluent_kafka.KafkaException:
            return  # nothing to commit, or it did not work: not promised
        with self.history.lock:
            for tp in done:
                if tp.error is None and tp.offset > self.group.committed.get(tp.partition, 0):
                    self.group.committed[tp.partition] = tp.offset


def are_done(client, topic, group, ends):
    """Whether the group has committed all there is: {partition: end}."""
    consumer = Consumer({**client, "group.id": group, "log_level": 0})
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in ends], timeout=10)
    except confluent_kafka.KafkaException:
        return False
    finally:
        consumer.close()
    return all(tp.error is None and tp.offset == ends[tp.partition] for tp in found)


def read_all(client, topic, partitions, patience=120):
    """{(partition, offset): value} of everything that is there now, and committed if it is of a transaction."""
    consumer = Consumer({**client, "group.id": "final", "enable.partition.eof": True, "auto.offset.reset": "error",
                         "isolation.level": "read_committed", "log_level": 0})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found, ended, end = {}, set(), time.monotonic() + patience
    while len(ended) < partitions:
        assert time.monotonic() < end, f"cannot read all partitions, only {sorted(ended)}"
        for m in consumer.consume(1000, 1):
            if m.error() and m.error().code() == KafkaError._PARTITION_EOF:
                ended.add(m.partition())
            elif not m.error():
                found[m.partition(), m.offset()] = m.value().decode()
    consumer.close()
    return found
