"""Transactions: what is committed is seen as a whole, what is not is never seen, whatever breaks."""

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, Apache, Barnabas, java, kcat, wait_until


def transactional(broker, name="x", **settings):
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name,
                                  **{k.replace("_", "."): v for k, v in settings.items()}})
    p.init_transactions(PATIENCE)
    return p


def create(broker, *topics, partitions=1, replicas=1):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.create_topics([NewTopic(t, partitions, replicas) for t in topics]).values():
        done.result(PATIENCE)


def read(broker, topic, level="read_committed"):
    """All that a reader gets to see, until the end."""
    out = kcat(broker, "-C", "-t", topic, "-e", "-o", "beginning", "-X", f"isolation.level={level}", "-q")
    return out.split()


def write(producer, topic, *values, partition=0):
    """Until it is in the log: what is aborted before is not even sent."""
    for v in values:
        producer.produce(topic, v, partition=partition)
    assert producer.flush(PATIENCE) == 0


def end(producer, commit):
    producer.commit_transaction(PATIENCE) if commit else producer.abort_transaction(PATIENCE)


def test_committed_and_aborted(broker):
    create(broker, "t", "u", partitions=3)
    p = transactional(broker)
    for i in range(4):
        p.begin_transaction()
        write(p, "t", f"t{i}a", f"t{i}b", partition=i % 3)
        write(p, "u", f"u{i}", partition=0)
        end(p, commit=i % 2 == 0)
    assert sorted(read(broker, "t")) == ["t0a", "t0b", "t2a", "t2b"]
    assert read(broker, "u") == ["u0", "u2"]
    assert sorted(read(broker, "u", "read_uncommitted")) == ["u0", "u1", "u2", "u3"]
