"""Settings that change while the broker runs: each one's effect, and that passwords are kept as Apache keeps them."""

import json
import os
import re
import select
import socket
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from harness import Apache, Barnabas, accepts, connect, frame, free_port, java, kcat, preloaded, produce, read_frame, wait_until
from messages import Asker
from test_exporter import jolokia
from test_kafka_configs import ours, theirs
from test_tools import script, topics


def alter(broker, *args):
    """As soon as this returns it is in ZooKeeper; the brokers follow."""
    out = ours("--bootstrap-server", broker.bootstrap, "--alter", *args)
    assert "Completed updating" in out, out


def threads(broker, name):
    tasks = Path(f"/proc/{broker.process.pid}/task")
    return sum((t / "comm").read_text().strip().startswith(name) for t in tasks.iterdir())


# ---- Brokers ----


def test_workers_follow_num_io_threads(broker):
    assert threads(broker, "worker") == 8
    for count in (16, 8, 4, 2):
        alter(broker, "--broker-defaults", "--add-config", f"num.io.threads={count}")
        wait_until(lambda: threads(broker, "worker") == count, f"{count} workers")
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", ["x"])


def test_workers_are_idle_by_their_number(make_broker):
    port = free_port()
    broker = make_broker(num_io_threads=1, **{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})

    def idle():
        """Nanoseconds until now, of one worker, and when."""
        return jolokia(port, "read/kafka.server:type=KafkaRequestHandlerPool,name=RequestHandlerAvgIdlePercent/Count")["value"], time.monotonic()
    for count in 2, 4, 8, 16:
        alter(broker, "--broker-defaults", "--add-config", f"num.io.threads={count}")
        wait_until(lambda count=count: threads(broker, "worker") == count, "the workers")
    changed = idle()[0]
    wait_until(lambda: idle()[0] > changed, "what was counted before")
    before, began = idle()
    wait_until(lambda: idle()[0] > before + 2e9, "seconds to be counted")
    now, ended = idle()
    assert now - before < 2 * (ended - began + 1) * 1e9  # it was sixteen times as much


def test_a_new_topic_is_told_of_with_the_settings_of_now(broker):
    def settings(name):
        tree = {"Topics": [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, "Assignments": [], "Configs": []}], "timeoutMs": 10000}
        answer = asker.get("CreateTopics", 5, {**tree, "validateOnly": True})
        return {c["Name"]: (c["Value"], c["ConfigSource"]) for c in answer["Topics"][0]["Configs"]}["retention.ms"]

    with Asker(broker) as asker:
        assert settings("a") == ("604800000", 5)  # the default
        alter(broker, "--broker-defaults", "--add-config", "log.retention.ms=123456")
        wait_until(lambda: settings("b") == ("123456", 3), "what was set for all brokers")


def test_settings_do_not_wait_for_a_disk_that_hangs(make_broker, zookeeper, tmp_path):
    """Whoever appends has the log, for as long as the disk takes."""
    hangs = tmp_path / "hangs"

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
        return {}
    broker = make_broker(each=with_faults, zookeeper_session_timeout_ms=2000)
    produce(broker, "t", ["before"])
    registered = zookeeper.client.get("/brokers/ids/0")[1].czxid
    hangs.write_text(f"HANG 0 {broker.data}/t-")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("t", b"meanwhile")
    producer.flush(1)

    def change(entity, **config):
        path = f"/config/{entity}"
        zookeeper.client.ensure_path(path)
        zookeeper.client.set(path, json.dumps({"version": 1, "config": config}).encode())
        zookeeper.client.create("/config/changes/config_change_", json.dumps({"version": 2, "entity_path": entity}).encode(), sequence=True)
    change("topics/t", **{"retention.ms": "86400000"})
    change("brokers/<default>", **{"num.io.threads": "16"})
    wait_until(lambda: threads(broker, "worker") == 16, "the control loop to go on")
    assert len(producer) == 1
    hangs.unlink()
    assert producer.flush(60) == 0
    assert zookeeper.client.get("/brokers/ids/0")[1].czxid == registered


def test_what_cannot_be_followed_counts_from_the_next_start(broker):
    alter(broker, "--broker", "0", "--add-config", "num.network.threads=5,num.replica.fetchers=2")
    for key in ("num.network.threads", "num.replica.fetchers"):
        wait_until(lambda: f"{key} was set at run time, which has no effect on this broker before it is started again" in broker.text(), "the warning")
    assert threads(broker, "network") == 3
    broker.stop()
    broker.log.unlink()
    broker.restart()
    assert threads(broker, "network") == 5 and threads(broker, "replication") == 2
    assert "was set at run time" not in broker.text()


def test_what_no_broker_takes_forbids_no_change(broker):
    """Apache's brokers take what they do not know, and keep it in ZooKeeper."""
    broker.zookeeper.client.ensure_path("/config/brokers")
    broker.zookeeper.client.create("/config/brokers/0", b'{"version":1,"config":{"super.users":"User:x","log.cleaner.threads":"many"}}')
    alter(broker, "--entity-type", "brokers", "--entity-name", "0", "--add-config", "log.cleaner.backoff.ms=1234")
    assert json.loads(broker.zookeeper.get("/config/brokers/0"))["config"] == {"log.cleaner.backoff.ms": "1234"}


def test_what_has_no_effect_is_warned_of(broker):
    alter(broker, "--broker", "0", "--add-config", "background.threads=9,my.own.key=1")
    for key in ("background.threads", "my.own.key"):
        wait_until(lambda: re.search(rf"{key} was set at run time, which has no effect on this broker \(", broker.text()), "the warning")


def is_served(sock):
    """An answer to ApiVersions, before the broker closes the connection."""
    try:
        sock.sendall(frame(18, 0))
        return read_frame(sock) is not None
    except OSError:
        return False


def let_in(broker, count):
    """How many of that many connections at once are served."""
    socks = [connect(broker) for _ in range(count)]
    for sock in socks:
        sock.settimeout(0.5)
    served = 0
    for sock in socks:
        try:
            served += is_served(sock)
        except socket.timeout:
            pass
    for sock in socks:
        sock.close()
    return served


def test_limits_on_connections_are_followed(broker):
    """One connection is the controller's to its own broker."""

    def wait_for(served):
        wait_until(lambda: let_in(broker, 8) == served, f"{served} of 8")

    wait_for(8)
    alter(broker, "--broker-defaults", "--add-config", "max.connections.per.ip=4")
    wait_for(3)
    wait_until(lambda: "Completed" in ours("--bootstrap-server", broker.bootstrap, "--alter", "--broker-defaults", "--add-config",
                                           "max.connections.per.ip.overrides=[127.0.0.1:6]"), "room for the tool")
    wait_for(5)
    alter(broker, "--broker-defaults", "--delete-config", "max.connections.per.ip,max.connections.per.ip.overrides")
    wait_for(8)
    for key in ("max.connections", "listener.name.plaintext.max.connections"):
        alter(broker, "--broker-defaults", "--add-config", f"{key}=4")
        wait_for(3)
        wait_until(lambda: "Completed" in ours("--bootstrap-server", broker.bootstrap, "--alter", "--broker-defaults", "--delete-config", key), "room")
        wait_for(8)


def test_a_lower_limit_on_connections_closes_the_longest_unused(broker):
    socks = [connect(broker) for _ in range(8)]
    assert all(is_served(sock) for sock in socks)

    def is_open(sock):
        return not select.select([sock], [], [], 0)[0]  # nothing else is to come than its end

    alter(broker, "--broker-defaults", "--add-config", "max.connections=4")
    wait_until(lambda: sum(is_open(sock) for sock in socks) <= 4, "half of them to go")
    assert not is_open(socks[0])
    assert is_served(socks[-1])
    for sock in socks:
        sock.close()


def seconds_for(broker, count):
    """How long it takes until that many connections, one after the other, were served."""
    start = time.monotonic()
    for _ in range(count):
        with connect(broker) as sock:
            assert is_served(sock)
    return time.monotonic() - start


@pytest.mark.parametrize("key", ["max.connection.creation.rate", "listener.name.plaintext.max.connection.creation.rate"])
def test_the_rate_of_new_connections_is_followed(broker, key):
    alter(broker, "--broker-defaults", "--add-config", f"{key}=10")
    wait_until(lambda: seconds_for(broker, 120) > 1.5, "ten a second, and a hundred at once, as it is ten seconds that are looked at")
    alter(broker, "--broker-defaults", "--delete-config", key)
    wait_until(lambda: seconds_for(broker, 120) < 1.5, "no limit any more")


def test_producers_expire_as_soon_as_they_are_told_to(make_broker):
    broker = make_broker(**{"producer.id.expiration.check.interval.ms": 100})
    topics(broker, "--create", "--topic", "t")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    producer.produce("t", b"x")
    producer.flush(30)

    def newest_snapshot():
        broker.stop()
        out = script("kafka-dump-log", "--files", sorted((broker.data / "t-0").glob("*.snapshot"))[-1])
        broker.restart()
        produce(broker, "t", ["more"])  # only a log that has grown gets another snapshot
        return out

    first = newest_snapshot().splitlines()[1].split()[1]
    alter(broker, "--broker-defaults", "--add-config", "producer.id.expiration.ms=1")
    wait_until(lambda: f"producerId: {first} " not in newest_snapshot(), "the producer is forgotten")


# ---- Topics: what changed counts for what comes next ----


def segments(broker, topic="t"):
    return [f for f in sorted((broker.data / f"{topic}-0").glob("*.log"))]


def dump(broker, *args, topic="t"):
    return script("kafka-dump-log", "--files", ",".join(map(str, segments(broker, topic))), *args)


@pytest.fixture
def topic(broker):
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", ["before"])
    return broker


def change(broker, config, check, what):
    alter(broker, "--topic", "t", "--add-config", config)
    wait_until(check, what)


def after_one_more(broker, check, value="x" * 100, *args):
    """Whether it holds after one more record; the brokers learn of a change a moment after it is stored."""

    def more():
        kcat(broker, "-P", "-t", "t", *args, stdin=value + "\n", check=False)
        return check()

    return more


def test_a_topics_segment_size(topic):
    change(topic, "segment.bytes=500", after_one_more(topic, lambda: len(segments(topic)) >= 3), "small segments")


def test_a_topics_segment_age(topic):
    change(topic, "segment.ms=1", after_one_more(topic, lambda: len(segments(topic)) >= 3), "young segments")


def test_a_topics_index_interval(topic):
    def entries():
        return sum(f.stat().st_size // 8 for f in (topic.data / "t-0").glob("*.index") if f.stat().st_size < 1 << 20)

    change(topic, "index.interval.bytes=0,segment.bytes=1000", after_one_more(topic, lambda: entries() >= 3), "an entry for each batch")


def test_a_topics_preallocation(topic):
    def on_disk(file):
        return file.stat().st_blocks * 512

    change(topic, "preallocate=true,segment.bytes=1000000,segment.ms=1",
           after_one_more(topic, lambda: on_disk(segments(topic)[-1]) >= 1000000), "a segment of the full size")
    wait_until(after_one_more(topic, lambda: all(on_disk(f) < 100000 for f in segments(topic)[:-1])), "closed ones take what they need")
    assert "invalid bytes" not in dump(topic)


def test_a_topics_largest_batch(topic):
    def refused():
        out = kcat(topic, "-P", "-t", "t", stdin="x" * 500 + "\n", check=False)
        return "x" * 500 not in kcat(topic, "-C", "-t", "t", "-o", "-1", "-e", "-q") or out

    change(topic, "max.message.bytes=200", refused, "large ones are refused")
    alter(topic, "--topic", "t", "--delete-config", "max.message.bytes")
    wait_until(lambda: not refused(), "and taken again")


def test_a_topics_codec_and_level(topic):
    change(topic, "compression.type=zstd,compression.zstd.level=1", after_one_more(topic, lambda: "compresscodec: zstd" in dump(topic)), "compression")
    change(topic, "compression.type=uncompressed", after_one_more(topic, lambda: "compresscodec: none" in dump(topic).splitlines()[-1], "x", "-z", "gzip"),
           "none")


def test_a_topics_times(topic):
    change(topic, "message.timestamp.type=LogAppendTime", after_one_more(topic, lambda: "LogAppendTime" in dump(topic)), "append time")


def test_a_topics_flushes(topic):
    """The recovery point goes as far as was flushed; it is written when the broker is asked to, here by a checkpoint of every moment."""
    topic.stop()
    topic.properties.update({"log.flush.offset.checkpoint.interval.ms": "50", "log.initial.task.delay.ms": "50"})
    topic.restart()

    def flushed():
        lines = (topic.data / "recovery-point-offset-checkpoint").read_text().splitlines()
        return any(line.startswith("t 0 ") and int(line.split()[2]) > 2 for line in lines)

    produce(topic, "t", ["a", "b"])
    assert not flushed()
    change(topic, "flush.messages=1", after_one_more(topic, flushed), "flushes")


def test_a_topics_retention(broker):
    broker.stop()
    broker.properties.update({"log.retention.check.interval.ms": "100", "log.initial.task.delay.ms": "100"})
    broker.restart()
    topics(broker, "--create", "--topic", "t", "--config", "segment.bytes=500")
    produce(broker, "t", ["x" * 100] * 3)
    for i in range(20):
        produce(broker, "t", ["x" * 100])
    before = len(segments(broker))
    assert before > 3
    alter(broker, "--topic", "t", "--add-config", "file.delete.delay.ms=1")
    change(broker, "retention.bytes=1000", lambda: len(segments(broker)) < before, "retention by size")
    alter(broker, "--topic", "t", "--add-config", "retention.ms=1")
    wait_until(lambda: len(segments(broker)) == 1, "retention by time")
    wait_until(lambda: not list((broker.data / "t-0").glob("*.deleted")), "files are gone")


# ---- Passwords ----


PASSWORD = "listener.name.secure.ssl.key.password"


def stored(zookeeper):
    return json.loads(zookeeper.get("/config/brokers/0"))["config"].get(PASSWORD)


def shown(broker):
    return [line for line in ours("--bootstrap-server", broker.bootstrap, "--describe", "--broker", "0").splitlines() if PASSWORD in line]


@pytest.mark.parametrize("writer, reader", [(Barnabas, Apache), (Apache, Barnabas), (Barnabas, Barnabas)], ids=["to-apache", "from-apache", "own"])
def test_passwords_of_one_are_read_by_the_other(make_broker, zookeeper, writer, reader):
    secret = {"password.encoder.secret": "the brokers' secret"}
    broker = make_broker(kind=writer, data="data", **secret)
    alter(broker, "--broker", "0", "--add-config", f"{PASSWORD}=secret words")
    wait_until(lambda: shown(broker), "the broker has it")
    assert shown(broker) == [f"  {PASSWORD}=null sensitive=true synonyms={{DYNAMIC_BROKER_CONFIG:{PASSWORD}=null}}"]
    text = stored(zookeeper)
    assert "secret words" not in text and "PBKDF2WithHmacSHA512" in text and "passwordLength:12" in text
    said = ours("--bootstrap-server", broker.bootstrap, "--alter", "--broker", "0", "--add-config", "log.retention.ms=5000000")
    assert f"All sensitive broker config entries must be specified for --alter, missing entries: Set({PASSWORD})" in said
    broker.stop()
    broker = make_broker(kind=reader, data="data", **secret)
    assert len(shown(broker)) == 1 and "could not be decoded" not in broker.text()
    broker.stop()
    if reader is Apache:
        return  # a single one has no controller yet when it wants to write, and gives up
    for secret, readable in (({"password.encoder.secret": "another"}, False),
                             ({"password.encoder.secret": "another", "password.encoder.old.secret": "the brokers' secret"}, True),
                             ({"password.encoder.secret": "another"}, True)):
        broker = make_broker(kind=reader, data="data", **secret)
        assert len(shown(broker)) == readable, secret
        broker.stop()


def test_passwords_without_a_secret_are_refused_as_by_apache(make_broker, ensemble):
    answers = []
    for kind in (Apache, Barnabas):
        broker = make_broker(kind=kind, data=kind.__name__, **{"zookeeper.connect": ensemble.chroot().connect})
        answers.append([ours("--bootstrap-server", broker.bootstrap, "--alter", *of, "--add-config", f"{PASSWORD}=x").splitlines()[-1]
                        for of in (["--broker", "0"], ["--broker-defaults"])])
        broker.stop()
    assert answers[1] == answers[0]
    assert "Password encoder secret not configured" in answers[1][0]


def test_passwords_from_the_tool_are_read_by_both(make_broker, zookeeper):
    make_broker(data="data").stop()
    out = ours("--zookeeper", zookeeper.connect, "--alter", "--broker", "0", "--add-config",
               f"{PASSWORD}=secret words,password.encoder.secret=s,password.encoder.iterations=2000,password.encoder.key.length=256")
    if "is running" in out:  # its session has not ended yet
        wait_until(lambda: zookeeper.children("/brokers/ids") == [], "the session's end")
        out = ours("--zookeeper", zookeeper.connect, "--alter", "--broker", "0", "--add-config",
                   f"{PASSWORD}=secret words,password.encoder.secret=s,password.encoder.iterations=2000,password.encoder.key.length=256")
    assert out.endswith("Completed updating config for entity: brokers '0'.\n"), out
    assert "iterations:2000" in stored(zookeeper) and "secret words" not in stored(zookeeper)
    for kind in (Apache, Barnabas):
        broker = make_broker(kind=kind, data="data", **{"password.encoder.secret": "s"})
        assert len(shown(broker)) == 1
        broker.stop()


# ---- Two brokers, one of each kind ----


def test_each_kind_follows_what_the_other_has_written(make_broker):
    brokers = {kind.__name__: make_broker(kind=kind, data=kind.__name__, **{"broker.id": i}) for i, kind in enumerate((Barnabas, Apache))}
    topics(brokers["Barnabas"], "--create", "--topic", "t", "--partitions", 2)
    for broker in brokers.values():
        wait_until(lambda: 'topic "t" with 2' in kcat(broker, "-L"), "it knows the topic")

    def has(broker, entity, setting):
        return f"  {setting} " in ours("--bootstrap-server", broker.bootstrap, "--describe", *entity)

    for number, (writer, reader) in enumerate((("Barnabas", "Apache"), ("Apache", "Barnabas")), 1):
        for entity, setting in ((["--topic", "t"], f"retention.ms={number}77"), (["--broker-defaults"], f"log.retention.ms={number}88")):
            alter(brokers[writer], *entity, "--add-config", setting)
            for who in (writer, reader):
                wait_until(lambda: has(brokers[who], entity, setting), f"{who} has {setting} of {writer}")
        alter(brokers[writer], "--broker-defaults", "--delete-config", "log.retention.ms")
        wait_until(lambda: not has(brokers[reader], ["--broker-defaults"], f"log.retention.ms={number}88"), "it is gone")
    at_zookeeper = ["--zookeeper", brokers["Apache"].zookeeper.connect]
    topics_out = script("kafka-topics", *at_zookeeper, "--alter", "--topic", "t", "--config", "retention.ms=99")
    assert "Updated config for topic t." in topics_out
    for broker in brokers.values():
        wait_until(lambda: has(broker, ["--topic", "t"], "retention.ms=99"), "what was written without a broker")
