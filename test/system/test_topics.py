"""Topics: by request, by ZooKeeper, and what Apache's TopicCommand makes of it."""

import json

from harness import consume, java, kcat, produce, wait_until

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
