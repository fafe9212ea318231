"""Files: crashes survived, and Apache's broker and tools on the same directory."""

import os

import confluent_kafka
import pytest
from harness import Apache, consume, java, kcat, produce, wait_until

FMT = "%p %o %T %k %s %h\\n"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def test_what_was_acknowledged_survives_a_kill(broker):
    acknowledged = []
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0})
    for i in range(2000):
        producer.produce("t", value=str(i), on_delivery=lambda error, m: acknowledged.append(m.value()) if error is None else None)
        producer.poll(0)
    producer.flush(60)
    assert len(acknowledged) == 2000
    broker.kill()
    broker.restart()
    assert [line.encode() for line in consume(broker, "t")] == acknowledged


def test_a_torn_tail_is_cut(broker):
    produce(broker, "t", ["a", "b"])
    produce(broker, "t", ["c"])
    broker.kill()
    segment = broker.data / "t-0" / "00000000000000000000.log"
    with open(segment, "ab") as f:
        f.write(b"\0" * 40)
    broker.restart()
    assert consume(broker, "t") == ["a", "b", "c"]
    produce(broker, "t", ["d"])
    assert consume(broker, "t") == ["a", "b", "c", "d"]


def test_indexes_come_back(broker):
    produce(broker, "t", [str(i) for i in range(5000)], "-X", "batch.num.messages=10")
    broker.stop()
    folder = broker.data / "t-0"
    (folder / "00000000000000000000.index").unlink()
    (folder / "00000000000000000000.timeindex").write_bytes(b"xyz")
    broker.restart()
    assert consume(broker, "t") == [str(i) for i in range(5000)]
    assert kcat(broker, "-q", "-C", "-t", "t", "-o", "4321", "-c", "1").strip() == "4321"


@pytest.mark.parametrize("rule", [{"log.retention.bytes": 60000}, {"log.retention.ms": 2000}])
def test_segments_roll_and_retention_lets_go(make_broker, rule):
    broker = make_broker(log_segment_bytes=20000, log_retention_check_interval_ms=300, log_initial_task_delay_ms=300,
                         log_segment_delete_delay_ms=100, **rule)
    for i in range(20):
        produce(broker, "t", [f"{i:03}" + "x" * 997 for _ in range(10)])

    def first():
        return min(int(p.stem) for p in (broker.data / "t-0").glob("*.log"))

    if "log.retention.bytes" in rule:
        wait_until(lambda: first() >= 100, "the first segments are deleted")
        assert sum(p.stat().st_size for p in (broker.data / "t-0").glob("*.log")) >= 60000
        wait_until(lambda: len(consume(broker, "t")) == 200 - first(), "what is read to be what is there")  # it goes on meanwhile
    else:
        wait_until(lambda: first() == 200, "all that is old is deleted")
    wait_until(lambda: not list((broker.data / "t-0").glob("*.deleted")), "the files, too")
    start = first()
    broker.stop()
    broker.restart()
    assert first() >= start
    produce(broker, "t", ["last"])
    assert consume(broker, "t")[-1] == "last"


def test_apaches_dump_reads_our_segments(broker):
    for codec in CODECS:
        lines = [f"k{i}:v{i}" for i in range(199)] + ["k:" + os.urandom(5000).hex(), "k:v199"]
        produce(broker, codec, lines, "-K:", "-z", codec, "-X", "batch.num.messages=1")
    broker.stop()
    for codec in CODECS:
        log = next((broker.data / f"{codec}-0").glob("*.log"))
        out = java("kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log", "--files", log)
        assert "payload: v199" in out and "isvalid: false" not in out
        out = java("kafka.tools.DumpLogSegments", "--index-sanity-check", "--files", log.with_suffix(".index"))
        assert "passed sanity check" in out


def test_apaches_broker_takes_over_and_gives_back(make_broker):
    ours = make_broker()
    for codec in CODECS:
        produce(ours, codec, [f"k{i}:v{i}" for i in range(100)], "-K:", "-z", codec, "-H", "h=x")
    before = {codec: consume(ours, codec, fmt=FMT) for codec in CODECS}
    assert ours.stop() == 0
    apache = make_broker(kind=Apache)
    wait_until(lambda: all(f'topic "{codec}"' in kcat(apache, "-L") for codec in CODECS), "it knows the topics")
    assert {codec: consume(apache, codec, fmt=FMT) for codec in CODECS} == before
    for codec in CODECS:
        produce(apache, codec, [f"k{i}:v{i}" for i in range(100, 150)], "-K:", "-z", codec, "-H", "h=x")
    after = {codec: consume(apache, codec, fmt=FMT) for codec in CODECS}
    apache.stop()
    ours.restart()
    assert {codec: consume(ours, codec, fmt=FMT) for codec in CODECS} == after
    assert all(len(lines) == 150 for lines in after.values())


def test_apaches_crash_is_recovered(make_broker):
    apache = make_broker(kind=Apache)
    produce(apache, "t", [str(i) for i in range(1000)])
    apache.kill()
    ours = make_broker()
    assert consume(ours, "t") == [str(i) for i in range(1000)]


def test_aborted_transactions_stay_hidden(make_broker):
    """Apache's broker has written them; ours gives read_committed consumers the same records."""
    apache = make_broker(kind=Apache)
    producer = confluent_kafka.Producer({"bootstrap.servers": apache.bootstrap, "transactional.id": "x"})
    producer.init_transactions(60)
    for i in range(6):
        producer.begin_transaction()
        producer.produce("t", value=f"{'aborted' if i % 2 else 'committed'} {i}", partition=0)
        producer.flush(60)
        producer.abort_transaction(60) if i % 2 else producer.commit_transaction(60)

    def read(broker, level):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "isolation.level": level,
                                             "enable.partition.eof": True, "enable.auto.commit": False})
        consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
        got = []
        while True:
            message = consumer.poll(30)
            assert message is not None
            if message.error() is not None:
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                consumer.close()
                return got
            got.append((message.offset(), message.value().decode()))
    wanted = [read(apache, "read_committed"), read(apache, "read_uncommitted")]
    assert len(wanted[0]) == 3 and len(wanted[1]) == 6
    apache.stop()
    ours = make_broker()
    assert [read(ours, "read_committed"), read(ours, "read_uncommitted")] == wanted
