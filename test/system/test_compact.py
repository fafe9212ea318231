"""Log compaction: what stays of the same bytes with Apache's cleaner and with ours; and a broker that compacts while it serves."""

import re
import shutil

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from harness import Apache, Barnabas, consume, java, wait_until

pytestmark = pytest.mark.long
CLEANER = {"log.cleaner.backoff.ms": 200, "log.cleaner.min.cleanable.ratio": 0.01, "log.cleaner.delete.retention.ms": 3000,
           "log.segment.bytes": 20000, "log.index.interval.bytes": 500, "log.cleanup.policy": "compact", "log.initial.task.delay.ms": 300}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def delivered(error, message):
    assert error is None, error


def write(broker, topic, number, count, keys, codec="none", **settings):
    """Values of few keys, each tenth a tombstone; none without a key, which compacted topics refuse."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 20, "compression.type": codec,
                                         "batch.num.messages": 17, **settings})
    for i in range(count):
        producer.produce(topic, None if i % 10 == 9 else f"{number}-{i}-" + "x" * (i * 7 % 50), f"k{i * i * 31 % keys}", partition=0, on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(60) == 0


def write_transactions(broker, topic, number, count):
    """Two at a time, with the keys of both in the same segments, every third one aborted."""
    producers = []
    for name in "ab":
        producers.append(confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"{topic}-{name}"}))
        producers[-1].init_transactions(60)
    for i in range(count):
        for p in producers:
            p.begin_transaction()
        for j in range(12):
            for which, p in enumerate(producers):
                p.produce(topic, f"{number}-{i}-{j}-" + "y" * 40, f"k{(i * 5 + j) % 40}" if which else f"p{i * 12 + j}", partition=0)
                p.flush(60)
        for which, p in enumerate(producers):
            p.abort_transaction(60) if (i + which) % 3 == 0 else p.commit_transaction(60)


def write_all(broker, number):
    for codec in CODECS:
        write(broker, codec, number, 3000, 300, codec)
    write(broker, "idempotent", number, 3000, 300, **{"enable.idempotence": True})
    write(broker, "idempotent", number, 300, 20, **{"enable.idempotence": True})
    write(broker, "idempotent", number, 1500, 1500)
    write(broker, "unique", number, 1000, 10**9)
    write_transactions(broker, "transactions", number, 12)
    write(broker, "transactions", number, 600, 40)


TOPICS = [*CODECS, "idempotent", "unique", "transactions"]


def bases(data, topic):
    return sorted(int(p.stem) for p in (data / f"{topic}-0").glob("*.log"))


def checkpoint(data):
    path = data / "cleaner-offset-checkpoint"
    lines = path.read_text().splitlines()[2:] if path.exists() else []
    return {topic: int(offset) for topic, partition, offset in (line.split() for line in lines) if partition == "0"}


def is_compacted(data):
    return all(checkpoint(data).get(topic, -1) == bases(data, topic)[-1] for topic in TOPICS)


def dump(data):
    """The batches and records of each topic, without what depends on the compressor or the time of the pass."""
    files = [data / f"{topic}-0" / f"{base:020}.log" for topic in TOPICS for base in bases(data, topic)]
    out = java("kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log", "--files", ",".join(map(str, files)))
    assert "isvalid: false" not in out
    out = re.sub(r"deleteHorizonMs: OptionalLong\[\d+\]", "deleteHorizonMs: set", out)
    out = re.sub(r" (position|size|crc): \d+", "", out)
    found = {topic: [] for topic in TOPICS}
    for line in out.splitlines():
        if line.startswith("Dumping"):
            topic = line.split("/")[-2][:-2]
        elif line.startswith(("baseOffset", "Log starting", "|")):
            found[topic].append(line)
    return found


def aborted(data):
    return {p.name: p.read_bytes() for p in (data / "transactions-0").glob("*.txnindex")}


def compact_with(make_broker, kind, data):
    broker = make_broker(kind=kind, data=data.name, **CLEANER)
    wait_until(lambda: is_compacted(data), f"{kind.__name__} compacts {checkpoint(data)}\n{broker.text()[-3000:]}", 120)
    broker.stop()
    return dump(data)


def test_the_same_stays_as_with_apaches_cleaner(make_broker, tmp_path):
    data, other = tmp_path / "data", tmp_path / "other"
    seen = ""
    for number in range(4):
        writer = make_broker(kind=Apache, data="data", log_cleaner_enable="false", **CLEANER)
        write_all(writer, number)
        writer.stop()
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(data, other)
        before = dump(data)
        theirs = compact_with(make_broker, Apache, data)
        ours = compact_with(make_broker, Barnabas, other)
        for topic in TOPICS:
            assert ours[topic] == theirs[topic]
            assert bases(other, topic) == bases(data, topic)
            if topic != "unique":
                assert len(ours[topic]) < len(before[topic])
        assert aborted(other) == aborted(data)
        assert checkpoint(other) == checkpoint(data)
        seen += "\n".join(ours["transactions"] + ours["idempotent"])
        if number % 2 == 0: # each goes on with what the other has left
            shutil.rmtree(data)
            other.rename(data)
    for form in (r"isControl: true deleteHorizonMs: set", r"isControl: true deleteHorizonMs: OptionalLong.empty", r"count: 0 .* producerId: \d",
                 r"isControl: false deleteHorizonMs: set"):
        assert re.search(form, seen), form
    assert aborted(data)


def last_values(broker, topic):
    found = {}
    for line in consume(broker, topic, "-Z", fmt="%k %s\\n"):
        key, value = line.split(" ", 1)
        found[key] = value
    return {k: v for k, v in found.items() if v != "NULL"}


def test_a_busy_broker_compacts(make_broker):
    broker = make_broker(**CLEANER)
    expected = {}
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 1,
                                         "batch.num.messages": 50})
    for i in range(30000):
        key, value = f"k{i % 97}", None if i % 97 < 7 and i > 20000 else str(i)
        producer.produce("t", value, key, partition=0, on_delivery=delivered)
        producer.poll(0)
        expected[key] = value
        if i % 5000 == 4999:
            producer.flush(60)
            assert last_values(broker, "t") == {k: v for k, v in expected.items() if v is not None}
    producer.flush(60)
    expected = {k: v for k, v in expected.items() if v is not None}
    wait_until(lambda: len(consume(broker, "t")) < 3000, "little is left")
    assert last_values(broker, "t") == expected
    broker.kill()
    broker.restart()
    assert last_values(broker, "t") == expected
    producer.produce("t", "last", "k50", partition=0)
    producer.flush(60)
    assert last_values(broker, "t") == {**expected, "k50": "last"}


def test_what_was_compacted_is_still_there_after_a_kill_and_without_checkpoints(make_broker):
    """Also of a topic that is compacted no longer."""
    broker = make_broker(**{**CLEANER, "log.cleanup.policy": "delete", "log.retention.ms": -1})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1, config={"cleanup.policy": "compact"})])["t"].result(60)
    for number in range(3):
        write(broker, "t", number, 3000, 300)
    wait_until(lambda: checkpoint(broker.data).get("t", -1) == bases(broker.data, "t")[-1], "all is compacted")
    expected = last_values(broker, "t")
    for policy in ("compact", "delete"):
        topic = ConfigResource(ConfigResource.Type.TOPIC, "t", incremental_configs=[ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)])
        admin.incremental_alter_configs([topic])[topic].result(60)
        before = bases(broker.data, "t")
        broker.kill()
        for name in ("recovery-point-offset-checkpoint", "cleaner-offset-checkpoint"):
            (broker.data / name).unlink(missing_ok=True)
        broker.restart()
        assert last_values(broker, "t") == expected
        if policy == "delete":
            assert bases(broker.data, "t") == before


def test_committed_offsets_are_compacted(make_broker):
    broker = make_broker(offsets_topic_num_partitions=1, offsets_topic_segment_bytes=20000, **CLEANER)
    write(broker, "t", 0, 100, 10)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    for i in range(1, 1000):
        consumer.commit(offsets=[confluent_kafka.TopicPartition("t", 0, i % 100)], asynchronous=False)
    folder = broker.data / "__consumer_offsets-0"
    size = lambda: sum(p.stat().st_size for p in folder.glob("*.log"))  # noqa: E731
    wait_until(lambda: size() < 30000, "the offsets are compacted")
    broker.kill()
    broker.restart()
    assert consumer.committed([confluent_kafka.TopicPartition("t", 0)], 60)[0].offset == 99
    consumer.close()
