"""A data directory with all that a broker writes, which goes from one kind of broker to the other and back."""

import re
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, Apache, Barnabas, consume, kcat, other, produce, wait_until
from test_dump_log import compare, files_of

CODECS = ["none", "gzip", "snappy", "lz4"]
OLD_FORMATS = {"0.9.0": 0, "0.10.0": 1}
OLD = {"inter.broker.protocol.version": "2.8"}
EXACT = [*CODECS, "zstd", "appended", "transactions", "shortened", "idempotent"]
TOPICS = [*EXACT, "compacted", "both", "open"]
pytestmark = pytest.mark.long
PARTITIONS = 2
SMALL = ["-X", "batch.size=2000"]


def settings(folder):
    return {"log.dirs": f"{folder}/disk-0,{folder}/disk-1", "log.segment.bytes": 20000, "log.index.interval.bytes": 500,
            "log.cleaner.backoff.ms": 200, "log.cleaner.min.cleanable.ratio": 0.01, "log.initial.task.delay.ms": 300,
            "transaction.max.timeout.ms": 3600000, "log.flush.start.offset.checkpoint.interval.ms": 100, "offsets.topic.num.partitions": 3, "transaction.state.log.num.partitions": 3}


def ask(broker, what, *args):
    """One of AdminClient's calls; its answers."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    return {of: done.result(PATIENCE) for of, done in getattr(client, what)(*args).items()}


def directories(broker):
    return [Path(d) for d in broker.properties["log.dirs"].split(",")]


def create_all(broker):
    of = {"appended": {"message.timestamp.type": "LogAppendTime"}, "compacted": {"cleanup.policy": "compact"},
          "both": {"cleanup.policy": "compact,delete"}}
    ask(broker, "create_topics", [NewTopic(t, PARTITIONS, 1, config=of.get(t, {})) for t in TOPICS])


def write_plain(broker, stage):
    """What even the oldest format can have."""
    for topic in [*CODECS, "appended", "compacted", "both"]:
        for partition in range(PARTITIONS):
            lines = [f"k{i * 7 % 40}:{stage} {i} {'x' * (i % 50)}" for i in range(300)]
            produce(broker, topic, lines, "-K:", "-p", partition, "-z", topic if topic in CODECS else "gzip", *SMALL)


def transactional(broker, name):
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name, "transaction.timeout.ms": 3600000})
    p.init_transactions(PATIENCE)
    p.list_topics(timeout=PATIENCE)
    return p


def write_transaction(producer, stage, topic, outcome):
    producer.begin_transaction()
    for i in range(30):
        producer.produce(topic, f"{stage} {outcome} {i}", f"k{i}", partition=i % PARTITIONS, headers={"stage": stage.encode(), "none": None})
    assert producer.flush(PATIENCE) == 0
    if outcome == "commit":
        offsets = [TopicPartition("none", 0, 10 + len(stage))]
        member = confluent_kafka.Consumer({"bootstrap.servers": "localhost:1", "group.id": "in-transaction"})
        producer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), PATIENCE)
    if outcome != "open":
        producer.commit_transaction(PATIENCE) if outcome == "commit" else producer.abort_transaction(PATIENCE)


def write_new(broker, stage):
    write_plain(broker, stage)
    produce(broker, "zstd", [f"{stage} {i}" for i in range(500)], "-z", "zstd", "-H", "h=x", "-p", 0, *SMALL)
    produce(broker, "shortened", [f"{stage} {i} {'y' * 100}" for i in range(500)], "-p", 1, *SMALL)
    produce(broker, "idempotent", [f"{stage} {i}" for i in range(500)], "-p", 0, "-X", "enable.idempotence=true", *SMALL)
    start = 301 + 2 * len(broker.others)  # in the midst of a batch
    ask(broker, "delete_records", [TopicPartition("shortened", 1, start)])
    wait_until(lambda: any(f"shortened 1 {start}" in (d / "log-start-offset-checkpoint").read_text() for d in directories(broker)), "it to be on disk")
    commit = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "plain"})
    commit.commit(offsets=[TopicPartition("gzip", p, len(stage), metadata=stage) for p in range(PARTITIONS)], asynchronous=False)
    commit.close()  # and there are coordinators: librdkafka may wait for ever where a transaction's offsets are what makes them
    for name in ("a", "b"):
        p = transactional(broker, name)
        for outcome in ("commit", "abort", "commit", "abort"):
            write_transaction(p, stage, "transactions", outcome)
    write_transaction(transactional(broker, "left-open"), stage, "open", "open")
    produce(broker, "open", [f"{stage} behind"], "-p", 0)


def read(broker, topic, level):
    return sorted(consume(broker, topic, "-X", f"isolation.level={level}", "-X", "check.crcs=true", fmt="%p [%k] %o %T %h %s\\n"))


def committed(broker, group):
    found = ask(broker, "list_consumer_group_offsets", [ConsumerGroupTopicPartitions(group)])[group]
    return sorted((p.topic, p.partition, p.offset, p.metadata) for p in found.topic_partitions)


def contents(broker):
    """All that clients get to see; of compacted topics what never goes, the last of each key."""
    found = {(topic, level): read(broker, topic, level) for topic in TOPICS
             for level in ("read_uncommitted", "read_committed") if level == "read_uncommitted" or topic in ("transactions", "open")}
    for topic in ("compacted", "both"):
        last = {}
        for line in found[topic, "read_uncommitted"]:
            partition, key, offset, *_ = line.split()
            last[partition, key] = max(last.get((partition, key), (-1, "")), (int(offset), line))
        found[topic, "read_uncommitted"] = last
    return found, [committed(broker, g) for g in ("plain", "in-transaction")]


def logs(broker, topic):
    return [f for d in directories(broker) for folder in sorted(d.glob(f"{topic}-[0-9]*")) for f in files_of(folder)]


def dump(broker, topic, *args):
    """What both tools say of its files."""
    return "\n".join(compare(logs(broker, topic), *args)[1])


def swap(broker, kind, how):
    """The other kind takes the directories over, and shows what the first one had."""
    before = contents(broker)
    broker.kill() if how == "kill" else broker.stop()
    wait_until(lambda: not broker.zookeeper.client.exists("/brokers/ids/0"), "its session to end")
    new = other(broker, kind)
    new.start()
    wait_until(lambda: kcat(new, "-L").count("partition ") >= len(TOPICS) * PARTITIONS, "it knows the topics")
    after = contents(new)
    for key, lines in before[0].items():
        assert after[0][key] == lines, key
    assert after[1] == before[1]
    return new


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_everything_is_taken_over_and_given_back(make_broker, tmp_path, how):
    broker = make_broker(kind=Apache, **settings(tmp_path), **OLD, **{"log.message.format.version": "0.9.0"})
    create_all(broker)
    for version in OLD_FORMATS:
        broker.stop()
        broker.properties["log.message.format.version"] = version
        broker.start()
        write_plain(broker, f"format {version}")
    broker.stop()
    for key in (*OLD, "log.message.format.version"):
        del broker.properties[key]
    broker.start()
    write_new(broker, "apache")
    for kind, stage in ((Barnabas, "barnabas"), (Apache, "apache again"), (Barnabas, "barnabas again")):
        broker = swap(broker, kind, how)
        write_new(broker, stage)
    found, offsets = contents(broker)
    broker.stop()
    for topic in TOPICS:
        text = dump(broker, topic, "--deep-iteration", "--print-data-log")
        if topic in CODECS:
            assert {int(m) for m in re.findall(r"magic: (\d)", text)} == {0, 1, 2}
            assert len(found[topic, "read_uncommitted"]) == PARTITIONS * 300 * (len(OLD_FORMATS) + 4)
    assert len(found["transactions", "read_committed"]) == len(found["transactions", "read_uncommitted"]) / 2 == 30 * 4 * 4
    assert found["open", "read_committed"][0].endswith("apache behind") and len(found["open", "read_committed"]) == 3
    assert min(int(line.split()[2]) for line in found["shortened", "read_uncommitted"]) == 301 + 2 * 4
    last = "barnabas again"
    assert offsets == [[("gzip", p, len(last), last) for p in range(PARTITIONS)], [("none", 0, 10 + len(last), None)]]
    assert all(" ERROR " not in b.text() for b in broker.others if isinstance(b, Barnabas))
