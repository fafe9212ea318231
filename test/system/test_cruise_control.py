"""What Cruise Control's metrics reporter would write to its topic, where metric.reporters names it."""

import struct

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from harness import wait_until

REPORTER = "com.linkedin.kafka.cruisecontrol.metricsreporter.CruiseControlMetricsReporter"
TOPIC = "__CruiseControlMetrics"
SIZE, CPU, ALL_BYTES_IN, BYTES_IN, MESSAGES_IN, PRODUCE_RATE = 4, 5, 0, 2, 15, 16
OF_TOPICS, OF_PARTITIONS = {2, 3, *range(11, 16)}, {4}
OF_NOBODY = {11, 12}  # what replication moves is counted of all topics together, by Apache's broker as well


def decode(value):
    """(type, time, broker, topic or None, partition or None, number)"""
    kind, version, what, time, broker = struct.unpack_from(">bbbqi", value)
    assert version == 0 and kind == (1 if what in OF_TOPICS else 2 if what in OF_PARTITIONS else 0)
    at, topic, partition = 15, None, None
    if kind > 0:
        (n,) = struct.unpack_from(">i", value, at)
        topic, at = value[at + 4:at + 4 + n].decode(), at + 4 + n
    if kind == 2:
        (partition,) = struct.unpack_from(">i", value, at)
        at += 4
    (number,) = struct.unpack_from(">d", value, at)
    assert at + 8 == len(value)
    return what, time, broker, topic, partition, number


@pytest.fixture
def reported(make_broker):
    def make(**more):
        brokers = [make_broker(data=f"data-{i}", **{
            "broker.id": i, "metric.reporters": REPORTER, "cruise.control.metrics.reporter.metrics.reporting.interval.ms": 500,
            "cruise.control.metrics.reporter.batch.size": 2000, **more}) for i in range(2)]
        admin = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
        admin.create_topics([NewTopic("a.b", 2, replica_assignment=[[0, 1], [1, 0]])])["a.b"].result()
        return brokers, admin
    return make


def read(broker, until):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "sampler", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    found = []

    def more():
        for m in consumer.consume(500, 1):
            if m.error() is None:
                record = decode(m.value())
                assert m.key().decode() == (record[3] if record[0] in OF_TOPICS else str(record[2])) and m.timestamp()[1] == record[1]
                found.append((m.partition(), m.key(), record))
        return until(found)
    wait_until(more, "records of both brokers")
    consumer.close()
    return found


def test_metrics_for_cruise_control(reported):
    brokers, admin = reported(**{"cruise.control.metrics.topic.auto.create": "true", "cruise.control.metrics.topic.num.partitions": 3,
                                 "cruise.control.metrics.topic.replication.factor": 2, "cruise.control.metrics.topic.retention.ms": 3600000})
    producer = confluent_kafka.Producer({"bootstrap.servers": brokers[0].bootstrap})
    for i in range(100):
        producer.produce("a.b", b"x" * 100, partition=i % 2)
    assert producer.flush(30) == 0
    sizes = {(b, p): sum(f.stat().st_size for f in (brokers[b].data / f"a.b-{p}").glob("*.log")) for b in range(2) for p in range(2)}

    def told(found):
        """All that is known of both, the sizes as they are now, and averages that have moved, which they do every five seconds."""
        last = {(what, broker, topic, partition): number for _, _, (what, _, broker, topic, partition, number) in found}
        types = {(what, broker) for what, broker, *_ in last}
        moved = all(last.get((what, b, topic, None), 0) > 0 for b in range(2)
                    for what, topic in ((ALL_BYTES_IN, None), (BYTES_IN, "a_b"), (MESSAGES_IN, "a_b"), (PRODUCE_RATE, None)))
        return moved and {(b, p): last.get((SIZE, b, "a_b", p)) for b, p in sizes} == sizes and \
            all((what, b) in types for b in range(2) for what in set(range(63)) - OF_NOBODY)
    found = read(brokers[0], told)
    assert {len({partition for partition, key, _ in found if key == k}) for k in {key for _, key, _ in found}} == {1}
    assert all(0 <= number <= 1 for _, _, (what, *_, number) in found if what == CPU)
    topic = admin.list_topics(TOPIC).topics[TOPIC]
    assert len(topic.partitions) == 3 and all(len(p.replicas) == 2 for p in topic.partitions.values())


def test_the_topic_comes_as_for_any_producer(reported):
    brokers, _ = reported()
    read(brokers[0], lambda found: {record[2] for _, _, record in found} == {0, 1})


def test_a_broker_stops_while_nobody_takes_its_metrics(reported):
    """Without the topic, and with one whose leader is gone."""
    brokers, admin = reported(**{"auto.create.topics.enable": "false"})
    wait_until(lambda: "There is no topic __CruiseControlMetrics yet" in brokers[0].text(), "the warning")
    admin.create_topics([NewTopic(TOPIC, 1, replica_assignment=[[1]])])[TOPIC].result()
    read(brokers[1], lambda found: {record[2] for _, _, record in found} == {0, 1})
    brokers[1].stop()
    wait_until(lambda: "Metrics for Cruise Control cannot be written to __CruiseControlMetrics-0" in brokers[0].text(), "the warning")
    brokers[0].stop()
