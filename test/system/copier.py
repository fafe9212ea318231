"""Copies without end, as a member of a group, in transactions: copier.py BOOTSTRAP TOPIC COPY GROUP TRANSACTIONAL-ID"""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BATCH, PATIENCE = 300, 30
# After so many seconds a new life begins: librdkafka does not ask again for offsets that a coordinator on its way has refused.
SILENCE = 10


class Life:
    """Goes on from what is committed, until something goes wrong."""

    def __init__(self, bootstrap, topic, copy, group, transactional_id):
        self.copy_topic, self.moved, self.heard = copy, False, time.monotonic()
        common = {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 500, "log_level": 0}
        self.producer = Producer({**common, "transactional.id": transactional_id, "linger.ms": 2, "transaction.timeout.ms": 20000})
        self.producer.init_transactions(PATIENCE)
        self.consumer = Consumer({**common, "group.id": group, "isolation.level": "read_committed", "auto.offset.reset": "earliest",
                                  "enable.auto.commit": False, "session.timeout.ms": 6000})
        self.consumer.subscribe([topic], on_revoke=self.on_revoke)

    def on_revoke(self, consumer, partitions):
        self.moved = True

    def go_back(self):
        """What was read while partitions changed hands may be another member's by now."""
        self.moved = False
        if mine := self.consumer.assignment():
            self.consumer.assign(self.consumer.committed(mine, PATIENCE))

    def copy_batch(self):
        batch = [m for m in self.consumer.consume(BATCH, 0.2) if not m.error()]
        if self.moved:
            return self.go_back()
        if not batch:
            return
        self.heard = time.monotonic()
        self.producer.begin_transaction()
        for m in batch:
            self.producer.produce(self.copy_topic, m.value(), partition=m.partition())
        ends = [TopicPartition(m.topic(), m.partition(), m.offset() + 1) for m in batch]
        self.producer.send_offsets_to_transaction(ends, self.consumer.consumer_group_metadata(), PATIENCE)
        self.producer.commit_transaction(PATIENCE)

    def end(self):
        self.consumer.close()


def main():
    while True:
        life = None
        try:
            life = Life(*sys.argv[1:])
            while time.monotonic() - life.heard < SILENCE:
                life.copy_batch()
        except KafkaException as e:
            print(repr(e), file=sys.stderr, flush=True)
        if life is not None:
            life.end()  # what was begun is ended by the next life's epoch


main()
