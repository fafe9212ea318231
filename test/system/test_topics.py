"""Topics: by request, by ZooKeeper, and what Apache's TopicCommand makes of it."""

import json
import struct

from harness import connect, consume, frame, java, kcat, produce, read_frame, wait_until

TOPIC_COMMAND = "org.apache.kafka.tools.TopicCommand"


def topics(broker, *args, **kw):
    return java(TOPIC_COMMAND, "--bootstrap-server", broker.bootstrap, *args, **kw)


def test_apaches_tool_creates_describes_grows_and_deletes(broker, zookeeper):
    assert "Created topic t1" in topics(broker, "--create", "--topic", "t1", "--partitions", 3, "--config", "retention.ms=3600000")
    node = json.loads(zookeeper.get("/brokers/topics/t1"))
    assert node["partitions"] == {"0": [0], "1": [0], "2": [0]} and node["version"] == 3 and len(node["topic_id"]) == 22
    assert json.loads(zookeeper.get("/config/topics/t1")) == {"version": 1, "config": {"retention.ms": "3600000"}}
    state = json.loads(zookeeper.get("/brokers/topics/t1/partitions/2/state"))
    assert state == {"controller_epoch": 1, "leader": 0, "version": 1, "leader_epoch": 0, "isr": [0]}
    out = topics(broker, "--describe", "--topic", "t1")
    assert "PartitionCount: 3" in out and "retention.ms=3600000" in out and node["topic_id"] in out
    topics(broker, "--alter", "--topic", "t1", "--partitions", 5)
    assert "PartitionCount: 5" in topics(broker, "--describe", "--topic", "t1")
    assert "already exists" in topics(broker, "--create", "--topic", "t1", check=False)
    topics(broker, "--delete", "--topic", "t1")
    assert topics(broker, "--list").strip() == ""
    wait_until(lambda: not zookeeper.client.exists("/brokers/topics/t1"), "the znode to go")
    assert not zookeeper.client.exists("/config/topics/t1")
    assert zookeeper.children("/admin/delete_topics") == []


def test_refusals_are_kafkas(broker):
    out = topics(broker, "--create", "--topic", "x", "--replication-factor", 99, check=False)
    assert "Replication factor: 99 larger than available brokers: 1." in out
    assert "collides" in topics(broker, "--create", "--topic", "a.b", check=False) + topics(broker, "--create", "--topic", "a_b", check=False)
    assert "retention.ms" in topics(broker, "--create", "--topic", "y", "--config", "retention.ms=abc", check=False)


def text(data):
    return struct.pack(">h", len(data)) + data


def ask_for(broker, requests, validate_only, create=True):
    """CreateTopics or CreatePartitions, of {topic: partitions}. Returns {topic: error}."""
    body = struct.pack(">i", len(requests))
    for name, partitions in requests.items():
        body += text(name) + (struct.pack(">ihii", partitions, 1, 0, 0) if create else struct.pack(">ii", partitions, -1))
    with connect(broker) as s:
        s.sendall(frame(19 if create else 37, 4 if create else 1, body + struct.pack(">iB", 5000, validate_only)))
        answer, errors, at = read_frame(s), {}, 12
    for _ in requests:
        size = struct.unpack_from(">h", answer, at)[0]
        error, message = struct.unpack_from(">hh", answer, at + 2 + size)
        errors[answer[at + 2:at + 2 + size]] = error
        at += 2 + size + 4 + max(message, 0)
    return errors


INVALID_PARTITIONS, POLICY_VIOLATION = 37, 44


def test_what_would_fit_nowhere_is_refused_before_it_is_made(broker):
    most = 2**31 - 1
    for create in (True, False):
        if not create:
            assert ask_for(broker, {b"t": 1}, False) == {b"t": 0}
        for partitions in (most, 200000, 2**27):
            for validate_only in (True, False):
                assert ask_for(broker, {b"t": partitions}, validate_only, create) == {b"t": INVALID_PARTITIONS}
    assert ask_for(broker, {b"t": -2**31}, True, create=False) == {b"t": INVALID_PARTITIONS}
    many = ask_for(broker, {b"m%d" % i: 80000 for i in range(50)}, True)
    assert list(many.values()) == [0] * 12 + [POLICY_VIOLATION] * 38


def test_a_topic_written_to_zookeeper_is_served(broker, zookeeper):
    zookeeper.client.create("/config/topics/old", b'{"version":1,"config":{}}')
    zookeeper.client.create("/brokers/topics/old", b'{"version":1,"partitions":{"0":[0],"1":[0]}}')
    wait_until(lambda: "old" in kcat(broker, "-L"), "the topic in the metadata")
    wait_until(lambda: "topic_id" in json.loads(zookeeper.get("/brokers/topics/old")), "its id")
    produce(broker, "old", ["a", "b"])
    assert sorted(consume(broker, "old")) == ["a", "b"]
    zookeeper.client.set("/brokers/topics/old", zookeeper.get("/brokers/topics/old").replace(b'"1":[0]', b'"1":[0],"2":[0]'))
    wait_until(lambda: "partition 2, leader 0" in kcat(broker, "-L", "-t", "old"), "the third partition")
    zookeeper.client.create("/admin/delete_topics/old")
    wait_until(lambda: not zookeeper.client.exists("/brokers/topics/old"), "the deletion")


def test_nodes_that_are_in_the_way_or_missing(broker, zookeeper):
    """What a controller leaves that died in the middle of a creation, or of a deletion."""
    for path in ("partitions", "partitions/3", "partitions/5", "partitions/5/state"):
        state = {"controller_epoch": 1, "leader": 0, "version": 1, "leader_epoch": 0, "isr": [0]} if path.endswith("state") else None
        zookeeper.client.create(f"/brokers/topics/half/{path}", state and json.dumps(state).encode() or b"", makepath=True)
    node = {"version": 1, "partitions": {str(p): [0] for p in range(20)}}
    zookeeper.client.set("/brokers/topics/half", json.dumps(node).encode())
    wait_until(lambda: "PartitionCount: 20" in topics(broker, "--describe", "--topic", "half", check=False), "the topic")
    wait_until(lambda: "Leader: none" not in topics(broker, "--describe", "--topic", "half"), "its leaders")
    for p in range(20):
        assert json.loads(zookeeper.get(f"/brokers/topics/half/partitions/{p}/state"))["leader"] == 0
    zookeeper.client.delete("/brokers/topics/half/partitions/7/state")
    zookeeper.client.delete("/brokers/topics/half/partitions/12", recursive=True)
    topics(broker, "--delete", "--topic", "half")
    wait_until(lambda: not zookeeper.client.exists("/brokers/topics/half"), "the znode to go")
    assert zookeeper.children("/admin/delete_topics") == []


def test_asking_creates_when_it_may(make_broker):
    yes = make_broker()
    produce(yes, "wished", ["x"])
    assert consume(yes, "wished") == ["x"]
    yes.stop()
    no = make_broker(data="other", auto_create_topics_enable="false")
    assert "Unknown topic" in kcat(no, "-L", "-t", "nothing")


def test_topics_survive_a_restart(broker):
    produce(broker, "kept", ["1", "2"])
    broker.stop()
    broker.restart()
    assert consume(broker, "kept") == ["1", "2"]
