"""Many partitions at once, with a controller that dies in the middle: in the end every broker has each of them once, and all are in sync.
Many topics on one broker, which come, go, and are there after it and ZooKeeper were down. More partitions than descriptors.

`SIZE` says how many; the suite takes a size that shows what goes wrong between orders, `test/run.sh soak` ten thousand partitions and
twice as many topics.
"""

import os
import re

import confluent_kafka
from harness import BUILD, Barnabas, run, wait_until
from messages import Asker
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_controller import controller
from test_zookeeper import own_ensemble, owner, start  # noqa: F401 (two fixtures)

SIZE = int(os.environ.get("SIZE", "600"))
PATIENCE = 60 + SIZE // 10
TOPIC = "wide"


def ask(broker, api, version, tree):
    with Asker(broker, PATIENCE) as asker:
        return asker.get(api, version, tree)


def is_whole(broker):
    topic = ask(broker, "Metadata", 9, {"Topics": [{"Name": TOPIC}]})["Topics"][0]
    return len(topic["Partitions"]) == SIZE and all(p["LeaderId"] >= 0 and len(p["IsrNodes"]) == 3 for p in topic["Partitions"])


def has_begun(chroot):
    node = chroot.client.exists(f"/brokers/topics/{TOPIC}/partitions")
    return node is not None and node.numChildren > SIZE // 20


def test_partitions_that_are_made_while_the_controller_dies(make_cluster, zookeeper):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, controller_socket_timeout_ms=2000)
    tool = [BUILD / "barnabas-tool", "kafka-topics", "--zookeeper", zookeeper.connect]
    run([*tool, "--create", "--topic", TOPIC, "--partitions", SIZE, "--replication-factor", 3])
    wait_until(lambda: has_begun(zookeeper), "the first partitions", PATIENCE)
    dead = controller(brokers, zookeeper)
    dead.kill()
    dead.start()
    for broker in brokers:
        wait_until(lambda broker=broker: is_whole(broker), "all partitions in sync", PATIENCE)
    for broker in brokers:
        logs = [p for d in ask(broker, "DescribeLogDirs", 2, {"Topics": None})["Results"] for t in d["Topics"] if t["Name"] == TOPIC for p in t["Partitions"]]
        assert sorted(p["PartitionIndex"] for p in logs) == list(range(SIZE))
        assert not any(p["IsFutureKey"] for p in logs)
        assert sum(d.name.startswith(f"{TOPIC}-") for d in broker.data.iterdir()) == SIZE


TOPICS = 2 * SIZE
AT_ONCE = 500


def change_all(asker, api, version, field, things):
    """In requests of some each. What is in the answers."""
    found = []
    for i in range(0, len(things), AT_ONCE):
        answer = asker.get(api, version, {field: things[i:i + AT_ONCE], "timeoutMs" if api == "CreateTopics" else "TimeoutMs": PATIENCE * 1000})
        found += answer["Topics" if api == "CreateTopics" else "Responses"]
    assert {x["ErrorCode"] for x in found} == {0}


def led(broker):
    """Names of topics that have their leader."""
    topics = ask(broker, "Metadata", 9, {"Topics": None})["Topics"]
    return {t["Name"] for t in topics if t["ErrorCode"] == 0 and [p["LeaderId"] for p in t["Partitions"]] == [0]}


def longest_turn(broker):
    return max([0, *map(int, re.findall(r"A turn of the loop \S+ took (\d+) ms", broker.text()))])


def test_topics_by_the_thousand(start, own_ensemble):  # noqa: F811
    """The paths that are watched make more than a server takes in one request, at size."""
    broker = start(**{"zookeeper.session.timeout.ms": "20000"})
    names = {f"topic-{i:05d}-{'x' * 100}" for i in range(TOPICS)}
    gone = {name for i, name in enumerate(sorted(names)) if i % 10 == 0}
    with Asker(broker, PATIENCE) as asker:
        change_all(asker, "CreateTopics", 5, "Topics", [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1} for name in sorted(names)])
        wait_until(lambda: led(broker) == names, "all of them", PATIENCE)  # by another loop than the one that has answered
        change_all(asker, "DeleteTopics", 5, "TopicNames", sorted(gone))
    wait_until(lambda: led(broker) == names - gone, "a tenth to be gone", PATIENCE)
    broker.stop()
    broker.restart()
    wait_until(lambda: led(broker) == names - gone, "all of them after a restart", PATIENCE)
    session = owner(broker)
    own_ensemble.stop()
    own_ensemble.start()
    with Asker(broker, PATIENCE) as asker:
        change_all(asker, "CreateTopics", 5, "Topics", [{"Name": "after", "NumPartitions": 1, "ReplicationFactor": 1}])
        change_all(asker, "DeleteTopics", 5, "TopicNames", [max(names)])
    assert owner(broker) == session
    wait_until(lambda: led(broker) == names - gone - {max(names)} | {"after"}, "the topics after ZooKeeper was away", PATIENCE)
    assert longest_turn(broker) < 1000


class Starved(Barnabas):
    """Has half as many descriptors as there are partitions, and keeps half of these for files of logs."""

    def spawn(self, command, env=None):
        super().spawn(["prlimit", f"--nofile={SIZE // 2}:{SIZE // 2}", *command], env)


def write_to_all(broker, text):
    """A record to each partition. Where no file can be opened at the moment, the client tries again."""
    failed = []
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0, "message.timeout.ms": PATIENCE * 1000})
    for i in range(SIZE):
        producer.produce(TOPIC, f"{text} {i}", partition=i, on_delivery=lambda error, _: error and failed.append(error))
        producer.poll(0)
    producer.flush(PATIENCE)
    assert not failed


def read_all(broker, count):
    """So many records, by partition."""
    found = {i: [] for i in range(SIZE)}
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "x", "enable.auto.commit": False})
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, i, 0) for i in range(SIZE)])
    for _ in range(count):
        message = consumer.poll(PATIENCE)
        assert message is not None and message.error() is None, message and message.error()
        found[message.partition()].append(message.value().decode())
    consumer.close()
    return found


def test_partitions_without_a_descriptor_for_each(make_broker):
    broker = make_broker(kind=Starved)
    run([BUILD / "barnabas-tool", "kafka-topics", "--bootstrap-server", broker.bootstrap, "--create", "--topic", TOPIC, "--partitions", SIZE])
    written = []
    for text, leave in (("first", broker.stop), ("second", broker.kill), ("third", None)):
        write_to_all(broker, text)
        written.append(text)
        assert read_all(broker, SIZE * len(written)) == {i: [f"{w} {i}" for w in written] for i in range(SIZE)}
        if leave:
            leave()
            broker.start()
