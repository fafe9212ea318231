"""Three brokers: replication, failover, what was acknowledged."""

import json
import logging
import signal

import confluent_kafka
import pytest
from harness import Apache, Barnabas, java, kcat, produce, run, wait_until, TOP, BUILD

TOPICS = TOP / "bin" / "kafka-topics.sh"


@pytest.fixture
def make_cluster(make_broker):
    """Brokers 1, 2, ... of the given kinds, in one cluster."""

    def make(*kinds, each=lambda broker: {}, **properties):
        settings = {"default.replication.factor": len(kinds), "offsets.topic.replication.factor": len(kinds), "min.insync.replicas": 2,
                    "replica.lag.time.max.ms": 5000, "zookeeper.session.timeout.ms": 6000 if Apache in kinds else 3000,
                    "controlled.shutdown.retry.backoff.ms": 500, **properties}
        brokers = []
        for i, kind in enumerate(kinds, 1):
            brokers.append(make_broker(kind=kind, data=f"data-{i}", each=each, **{"broker.id": i, **settings}))
        wait_until(lambda: kcat(brokers[0], "-L").count("  broker ") == len(kinds), "all brokers")
        return brokers

    return make


def bootstrap(brokers):
    return ",".join(b.bootstrap for b in brokers)


def topics(brokers, *args, zookeeper=False, check=True):
    where = ["--zookeeper", brokers[0].zookeeper.connect] if zookeeper else ["--bootstrap-server", bootstrap(brokers)]
    return run([TOPICS, *where, *args], check=check, env={"BARNABAS_BUILD": str(BUILD)})


def describe(brokers, topic):
    """{partition: (leader or None, replicas, isr)}"""
    out = topics(brokers, "--describe", "--topic", topic, check=False)
    found = {}
    for line in out.splitlines():
        if not line.startswith("\t"):
            continue
        fields = dict(part.split(": ", 1) for part in line.strip().split("\t") if ": " in part)
        leader = None if fields["Leader"] == "none" else int(fields["Leader"])
        found[int(fields["Partition"])] = (leader, [int(x) for x in fields["Replicas"].split(",")], sorted(int(x) for x in fields["Isr"].split(",") if x))
    return found


def create(brokers, topic, partitions=1, factor=3, patient=None, **configs):
    config = [x for k, v in configs.items() for x in ("--config", f"{k.replace('_', '.')}={v}")]
    if patient is not None:  # many partitions on a busy machine
        patient.write_text("request.timeout.ms=150000\ndefault.api.timeout.ms=150000\n")
        config += ["--command-config", patient]
    topics(brokers, "--create", "--topic", topic, "--partitions", partitions, "--replication-factor", factor, *config)
    wait_until(lambda: in_sync(brokers, topic, factor), "all in sync")


def in_sync(brokers, topic, count):
    parts = describe(brokers, topic)
    return parts and all(leader is not None and len(isr) == count for leader, _, isr in parts.values())


class Acknowledged:
    """A producer that remembers what was acknowledged."""

    def __init__(self, brokers, topic):
        self.producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap(brokers), "acks": "all", "enable.idempotence": True,
                                                  "message.timeout.ms": 60000, "linger.ms": 1})
        self.topic, self.records, self.failed = topic, {}, []

    def send(self, n, partitions=None):
        """To partitions as the client likes, or to each of so many in its turn."""
        for i in range(n):
            value = f"{self.topic}-{len(self.records)}-{i}"
            self.producer.produce(self.topic, value, on_delivery=self.note, **({"partition": i % partitions} if partitions else {}))
        self.producer.poll(0)

    def note(self, err, message):
        if err:
            self.failed.append(err)
        else:
            self.records[message.partition(), message.offset()] = message.value()

    def flush(self):
        assert self.producer.flush(60) == 0
        assert not self.failed


def read_all(brokers, topic, partitions):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap(brokers), "group.id": "check", "enable.auto.commit": False,
                                         "fetch.wait.max.ms": 10, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in range(partitions)])
    found, ended = {}, set()
    while len(ended) < partitions:
        m = consumer.poll(30)
        assert m is not None
        if m.error():
            assert m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended.add(m.partition())
        else:
            found[m.partition(), m.offset()] = m.value()
    consumer.close()
    return found


def test_followers_have_what_the_leader_has(make_cluster):
    brokers = make_cluster(Barnabas, Barnabas, Barnabas)
    create(brokers, "t", 3)
    sent = Acknowledged(brokers, "t")
    sent.send(1000)
    sent.flush()
    for b in brokers:
        b.stop()
    for p in range(3):
        logs = [(b.data / f"t-{p}" / "00000000000000000000.log").read_bytes() for b in brokers]
        assert logs[0] == logs[1] == logs[2]


def test_a_follower_without_epochs_comes_back(make_cluster):
    """With data of old formats, say, and a high watermark that is behind the end of its log."""
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1})
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1:2")
    wait_until(lambda: in_sync(brokers, "t", 2), "both in sync")
    for i in range(3):
        produce(brokers[0], "t", [f"{i}a", f"{i}b"])
    brokers[1].stop()
    (brokers[1].data / "t-0" / "leader-epoch-checkpoint").write_text("0\n0\n")
    (brokers[1].data / "replication-offset-checkpoint").write_text("0\n1\nt 0 2\n")
    wait_until(lambda: describe(brokers[:1], "t") == {0: (1, [1, 2], [1])}, "the other to be out of sync")
    brokers[1].restart()
    wait_until(lambda: in_sync(brokers, "t", 2), "both in sync again")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_leader_goes_and_nothing_is_lost(make_cluster, how):
    brokers = make_cluster(Barnabas, Barnabas, Barnabas)
    create(brokers, "t", 3)
    sent = Acknowledged(brokers, "t")
    for b in brokers:
        sent.send(200)
        b.stop(how)
        sent.send(200)
        sent.flush()
        b.restart()
        wait_until(lambda: in_sync(brokers, "t", 3), "all in sync again")
    found = read_all(brokers, "t", 3)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_too_few_in_sync_are_refused(make_cluster):
    brokers = make_cluster(Barnabas, Barnabas, Barnabas)
    create(brokers, "t", 1)
    leader = describe(brokers, "t")[0][0]
    others = [b for b in brokers if int(b.properties["broker.id"]) != leader]
    for b in others:
        b.kill()
    alive = [b for b in brokers if b not in others]
    # The controller may have gone before it told the leader of the topic.
    wait_until(lambda: describe(alive, "t").get(0, (None, [], []))[2] == [leader], "the ISR is the leader alone")
    producer = confluent_kafka.Producer({"bootstrap.servers": alive[0].bootstrap, "acks": "all", "message.timeout.ms": 3000})
    errors = []
    producer.produce("t", "x", on_delivery=lambda err, m: errors.append(err))
    producer.flush(30)
    assert errors and errors[0] is not None
    for b in others:
        b.restart()
    wait_until(lambda: in_sync(brokers, "t", 3), "all in sync again")


@pytest.mark.parametrize("kinds", [(Apache, Barnabas, Barnabas), (Barnabas, Apache, Apache)], ids=["apache-controls", "barnabas-controls"])
def test_a_mixed_cluster_replicates_both_ways(make_cluster, kinds):
    brokers = make_cluster(*kinds)
    create(brokers, "t", 6)
    sent = Acknowledged(brokers, "t")
    sent.send(3000)
    sent.flush()
    assert {leader for leader, _, _ in describe(brokers, "t").values()} == {1, 2, 3}
    found = read_all(brokers, "t", 6)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_a_consumer_reads_from_the_replica_in_its_rack(make_cluster):
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, each=lambda b: {"broker.rack": f"rack-{b.properties['broker.id']}"},
                           **{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"})
    create(brokers, "t", 1)
    leader = describe(brokers, "t")[0][0]
    sent = Acknowledged(brokers, "t")
    sent.send(100)
    sent.flush()
    near = next(b for b in brokers if int(b.properties["broker.id"]) != leader)
    lines = []
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap(brokers), "group.id": "g", "client.rack": near.properties["broker.rack"],
                                         "auto.offset.reset": "earliest", "debug": "fetch"}, logger=logger_into(lines))
    consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
    assert [m.value() for m in consumer.consume(100, 30)] == [sent.records[0, i] for i in range(100)]
    sent.send(100)
    sent.flush()
    assert len(consumer.consume(100, 30)) == 100
    consumer.close()
    fetched = [line for line in lines if "Topic t [0] in state active at offset" in line or "Fetch topic t [0]" in line]
    assert fetched and f"/{near.properties['broker.id']}" in fetched[-1], "\n".join(lines[-30:])


def logger_into(lines):
    class Collect(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger = logging.Logger("client")
    logger.addHandler(Collect())
    return logger


def delete_records(brokers, path, *wanted):
    """Apache's tool, whose lines come in any order."""
    path.write_text(json.dumps({"version": 1, "partitions": [{"topic": t, "partition": p, "offset": o} for t, p, o in wanted]}))
    out = java("org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", bootstrap(brokers), "--offset-json-file", path)
    return sorted(line for line in out.splitlines() if line.startswith("partition: "))


@pytest.mark.parametrize("kind", [Apache, Barnabas])
@pytest.mark.long
def test_records_are_deleted_everywhere(make_cluster, tmp_path, kind):
    brokers = make_cluster(kind, kind, **{"min.insync.replicas": 1, "file.delete.delay.ms": 0})
    create(brokers, "t", 2, 2)
    create(brokers, "compacted", 1, 2, cleanup_policy="compact")
    sent = Acknowledged(brokers, "t")
    sent.send(200, 2)
    sent.flush()
    assert delete_records(brokers, tmp_path / "some", ("t", 0, 30), ("t", 1, -1), ("compacted", 0, 1)) == [
        "partition: compacted-0\terror: org.apache.kafka.common.errors.PolicyViolationException: Request parameters do not satisfy the configured "
        "policy.",
        "partition: t-0\tlow_watermark: 30",
        "partition: t-1\tlow_watermark: 100"]
    assert delete_records(brokers, tmp_path / "more", ("t", 0, 20), ("t", 1, 101)) == [
        "partition: t-0\tlow_watermark: 30",
        "partition: t-1\terror: org.apache.kafka.common.errors.OffsetOutOfRangeException: The requested offset is not within the range of offsets "
        "maintained by the server."]
    left = {place for place in sent.records if place >= (0, 30) and place[0] == 0}
    for b in brokers:
        b.stop()
    for b in brokers:
        b.start()
    wait_until(lambda: in_sync(brokers, "t", 2), "all in sync again")
    assert set(read_all(brokers, "t", 2)) == left
    brokers[0].stop()
    assert set(read_all(brokers[1:], "t", 2)) == left


MANY = 2000


@pytest.mark.long
def test_two_thousand_partitions(make_cluster, tmp_path):
    """Each of three brokers has a replica of all; they are written, one broker dies, comes back, and all is in sync and there."""
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, **{"log.index.size.max.bytes": 4096})
    create(brokers, "many", MANY, patient=tmp_path / "client.properties", min_insync_replicas=2)
    sent = Acknowledged(brokers, "many")
    sent.send(3 * MANY, MANY)
    sent.flush()
    brokers[0].kill()
    wait_until(lambda: all(leader in (2, 3) for leader, _, _ in describe(brokers[1:], "many").values()), "new leaders", 120)
    sent.send(3 * MANY, MANY)
    sent.flush()
    brokers[0].restart()
    wait_until(lambda: in_sync(brokers, "many", 3), "all in sync", 120)
    found = read_all(brokers, "many", MANY)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_a_follower_knows_of_aborted_transactions_what_its_leader_knows(make_cluster):
    brokers = apache, ours = make_cluster(Apache, Barnabas, **{
        "transaction.state.log.num.partitions": 1, "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
        "min.insync.replicas": 1, "log.segment.bytes": 3000})
    topics(brokers, "--create", "--topic", "__transaction_state", "--replica-assignment", "1", "--config", "cleanup.policy=compact")
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1:2")
    wait_until(lambda: in_sync(brokers, "t", 2), "both in sync")
    ours.stop() # as it does not coordinate transactions, no client is to ask it
    producers = []
    for name in "abc":
        producers.append(confluent_kafka.Producer({"bootstrap.servers": apache.bootstrap, "transactional.id": name}))
        producers[-1].init_transactions(60)
    for i in range(12):
        for p in producers:
            p.begin_transaction()
        for p in producers:
            p.produce("t", "x" * 100, partition=0)
            p.flush(60)
        for k, p in enumerate(producers):
            p.abort_transaction(60) if (i + k) % 3 else p.commit_transaction(60)
    ours.restart()
    wait_until(lambda: in_sync(brokers, "t", 2), "both in sync again")
    ours.stop()
    apache.stop()
    theirs, copied = ({f.name: f.read_bytes() for f in sorted((b.data / "t-0").glob("*.txnindex")) if f.stat().st_size > 0} for b in brokers)
    assert len(theirs) > 1
    assert copied == theirs
