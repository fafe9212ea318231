"""Clients that we did not write."""

import struct

import confluent_kafka
import kafka
import pytest
from harness import FRANZ, JARS, JARS_4, TOP, Apache, Barnabas, connect, consume, frame, java, jvm, kcat, other, produce, read_frame, run, wait_until, without_noise

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("codec", CODECS)
def test_kcat_gets_back_what_it_sent(broker, codec):
    produce(broker, "t", [f"k{i}:v{i}" for i in range(500)], "-K:", "-z", codec, "-H", "h=x")
    got = consume(broker, "t", fmt="%k %s %h %o\\n")
    assert got == [f"k{i} v{i} h=x {i}" for i in range(500)]


def test_apaches_console_tools(broker):
    java("kafka.tools.ConsoleProducer", "--bootstrap-server", broker.bootstrap, "--topic", "t", stdin="one\ntwo\nthree\n")
    out = java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker.bootstrap, "--topic", "t",
               "--partition", 0, "--offset", "earliest", "--max-messages", 3, "--timeout-ms", 20000)
    assert out.splitlines()[:3] == ["one", "two", "three"]


def test_the_newest_java_clients(broker):
    base = ["--bootstrap-server", broker.bootstrap]
    java("org.apache.kafka.tools.TopicCommand", *base, "--create", "--topic", "t", "--partitions", 3, jars=JARS_4)
    java("org.apache.kafka.tools.ConsoleProducer", *base, "--topic", "t", jars=JARS_4, stdin="".join(f"line {i}\n" for i in range(100)))
    out = java("org.apache.kafka.tools.consumer.ConsoleConsumer", *base, "--topic", "t", "--from-beginning", "--max-messages", 100, "--timeout-ms",
               20000, "--group", "g", jars=JARS_4)
    assert sorted(x for x in out.splitlines() if x.startswith("line")) == sorted(f"line {i}" for i in range(100))
    assert "g" in java("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", *base, "--list", jars=JARS_4).splitlines()
    assert java("org.apache.kafka.tools.GetOffsetShell", *base, "--topic", "t", jars=JARS_4).count("t:") == 3


# Of a group without members, whose assignment would name one.
GROUP_TOOL = [["--list", "--type", "--state"], ["--list", "--type", "consumer"], ["--describe", "--group", "g"],
              ["--describe", "--group", "g", "--members", "--verbose"], ["--describe", "--group", "none"],
              ["--reset-offsets", "--group", "g", "--to-earliest", "--topic", "t", "--dry-run"], ["--delete", "--group", "none"]]


def fatal_error(broker):
    """Of librdkafka, asked for the new group protocol."""
    c = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "new", "group.protocol": "consumer"})
    c.subscribe(["t"])
    message = wait_until(lambda: c.poll(0.1), "an error")
    c.close()
    assert message.error().code() == confluent_kafka.KafkaError._FATAL
    return message.error().str()


def tell_of_new_groups(broker, jars):
    """What clients that know the new group protocol get to see, without the broker's address."""
    base = ["--bootstrap-server", broker.bootstrap]
    told = [without_noise(run([*jvm(jars=jars), TOP / "test" / "system" / "NewGroups.java", broker.bootstrap, "t", "g", "none"])), fatal_error(broker)]
    told += [java("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", *base, *args, jars=jars, check=False) for args in GROUP_TOOL]
    if jars == JARS_4:
        told += [java(f"org.apache.kafka.tools.{tool}", *base, "--list", jars=jars)
                 for tool in ("GroupsCommand", "consumer.group.ShareGroupCommand", "streams.StreamsGroupCommand")]
    return [text.replace(broker.bootstrap, "BROKER") for text in told]


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_the_new_group_protocol_is_refused_as_by_apache(make_broker, jars):
    broker = make_broker(kind=Apache)
    produce(broker, "t", ["a", "b"])
    offsets = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g"})
    offsets.commit(offsets=[confluent_kafka.TopicPartition("t", 0, 1)], asynchronous=False)
    offsets.close()
    theirs = tell_of_new_groups(broker, jars)
    broker.stop()
    broker = other(broker, Barnabas)
    broker.start()
    mine = tell_of_new_groups(broker, jars)
    assert "UnsupportedVersionException" in mine[0] and "state=Empty" in mine[0].replace("groupState", "state"), mine[0]
    assert mine == theirs


def test_franz_go(broker):
    assert run([FRANZ, broker.bootstrap, "t", "g", 1000]) == "1000 records\n"
    assert run([FRANZ, broker.bootstrap, "u", "h", 10]) == "10 records\n"


def test_offsets_of_the_oldest_consumers_are_kept_in_zookeeper(broker, zookeeper):
    produce(broker, "t", ["a", "b", "c"])
    with connect(broker) as sock:
        def ask(key, body):
            sock.sendall(frame(key, 0, body))
            return read_frame(sock)[4:]

        def text(s):
            return struct.pack(">h", len(s)) + s

        topic = struct.pack(">i", 1) + text(b"t")
        commit = ask(8, text(b"old") + topic + struct.pack(">iiq", 1, 0, 2) + text(b"note"))
        assert commit[-2:] == b"\0\0"
        assert zookeeper.get("/consumers/old/offsets/t/0") == b"2"
        ask(8, text(b"old") + topic + struct.pack(">iiq", 1, 0, 3) + text(b""))
        assert zookeeper.get("/consumers/old/offsets/t/0") == b"3"
        fetched = ask(9, text(b"old") + topic + struct.pack(">ii", 1, 0))
        assert struct.unpack(">iq", fetched[-16:-4]) == (0, 3)
        fetched = ask(9, text(b"none") + topic + struct.pack(">ii", 1, 0))
        assert struct.unpack(">iqhh", fetched[-16:]) == (0, -1, 0, 3)


def test_offsets_before_a_time_as_the_oldest_consumers_ask(make_broker):
    broker = make_broker(log_segment_bytes=1 << 20, log_retention_check_interval_ms=3600000)
    for i in range(4):
        produce(broker, "t", ["x" * 1000] * 700)
    with connect(broker) as sock:
        def offsets(time, most):
            sock.sendall(frame(2, 0, struct.pack(">iih", -1, 1, 1) + b"t" + struct.pack(">iiqi", 1, 0, time, most)))
            answer = read_frame(sock)[4 + 4 + 3 + 4 + 4 + 2:]
            return list(struct.unpack(f">{struct.unpack('>i', answer[:4])[0]}q", answer[4:]))

        everything = offsets(-1, 100)
        assert everything[0] == 2800 and everything[-1] == 0 and len(everything) in (4, 5)  # by where batches end
        assert everything == sorted(everything, reverse=True)
        assert offsets(-1, 1) == [2800] and offsets(-2, 100) == [0]
        assert offsets(1000, 100) == []
        assert offsets(2**62, 2) == everything[:2]


def test_apaches_perf_tools(broker):
    out = java("org.apache.kafka.tools.ProducerPerformance", "--topic", "t", "--num-records", 20000, "--record-size", 100, "--throughput", -1,
               "--producer-props", f"bootstrap.servers={broker.bootstrap}")
    assert "20000 records sent" in out


def test_apaches_offset_tool(broker):
    produce(broker, "t", ["a", "b", "c"])
    tool = ("org.apache.kafka.tools.GetOffsetShell", "--bootstrap-server", broker.bootstrap, "--topic", "t", "--time")
    assert java(*tool, -1).strip() == "t:0:3"
    assert java(*tool, -2).strip() == "t:0:0"
    assert java(*tool, -3).strip() in ("t:0:0", "t:0:1", "t:0:2")


def test_api_versions(broker):
    out = java("kafka.admin.BrokerApiVersionsCommand", "--bootstrap-server", broker.bootstrap)
    assert "Produce(0): 0 to 11" in out and "Fetch(1): 0 to 17" in out


@pytest.mark.parametrize("codec", CODECS)
def test_confluent_idempotent_producer(broker, codec):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "compression.type": codec})
    for i in range(1000):
        producer.produce("t", key=str(i), value=f"value {i}", headers={"n": str(i)}, timestamp=1_600_000_000_000 + i)
    assert producer.flush(60) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
    got = []
    while len(got) < 1000:
        messages = consumer.consume(1000, timeout=30)
        assert messages, "no more messages"
        got += [m for m in messages if m.error() is None]
    consumer.close()
    assert [(m.offset(), m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in got] == [
        (i, str(i).encode(), f"value {i}".encode(), [("n", str(i).encode())], 1_600_000_000_000 + i) for i in range(1000)]


@pytest.mark.parametrize("version", [(0, 8, 2), (0, 9), (0, 10), (0, 11), (2, 5)])
def test_kafka_python_of_every_age(broker, version):
    producer = kafka.KafkaProducer(bootstrap_servers=broker.bootstrap, api_version=version, compression_type="gzip")
    for i in range(100):
        producer.send("t", key=b"k%d" % i, value=b"v%d" % i, partition=0)
    producer.flush(60)
    producer.close()
    consumer = kafka.KafkaConsumer(bootstrap_servers=broker.bootstrap, api_version=version, consumer_timeout_ms=20000)
    partition = kafka.TopicPartition("t", 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    got = []
    for message in consumer:
        got.append((message.offset, message.key, message.value))
        if len(got) == 100:
            break
    consumer.close()
    assert got == [(i, b"k%d" % i, b"v%d" % i) for i in range(100)]


def test_a_long_poll_ends_with_the_record(broker):
    kcat(broker, "-L", "-t", "t")
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "fetch.wait.max.ms": 10000})
    consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
    assert consumer.poll(2) is None
    produce(broker, "t", ["at last"])
    assert consumer.poll(30).value() == b"at last"
    consumer.close()
