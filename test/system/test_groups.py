"""Consumer groups: membership, rebalances, commits, and what a restart must keep."""

import json
import signal
import threading
import time

import confluent_kafka
import confluent_kafka.admin
import pytest
from harness import JARS, JARS_4, PATIENCE, Process, java, jvm, kcat, produce, wait_until
from messages import Asker

GROUP_COMMAND = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


def consumer(broker, group="g", **settings):
    return confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                                     "enable.auto.commit": False, **{k.replace("_", "."): v for k, v in settings.items()}})


def read(c, count):
    got, end = [], time.monotonic() + PATIENCE
    while len(got) < count and time.monotonic() < end:
        message = c.poll(1)
        if message is not None and message.error() is None:
            got.append(message.value().decode())
    assert len(got) == count, f"{len(got)} of {count}"
    return got


def test_a_group_reads_and_goes_on_where_it_stopped(broker):
    produce(broker, "t", ["a", "b", "c"])
    c = consumer(broker)
    c.subscribe(["t"])
    assert read(c, 3) == ["a", "b", "c"]
    c.commit(asynchronous=False)
    c.close()
    produce(broker, "t", ["d"])
    c = consumer(broker)
    c.subscribe(["t"])
    assert read(c, 1) == ["d"]
    c.close()


def test_commits_survive_a_kill(broker):
    produce(broker, "t", ["a", "b", "c"])
    c = consumer(broker)
    c.subscribe(["t"])
    read(c, 3)
    c.commit(asynchronous=False)
    broker.kill()
    broker.restart()
    c.close()
    c = consumer(broker)
    wait_until(lambda: c.committed([confluent_kafka.TopicPartition("t", 0)], timeout=10)[0].offset == 3, "the committed offset")
    c.close()


def test_commits_outlive_the_topics_node(broker, zookeeper):
    """It may have been removed by mistake: coordinators are not told that the topic is gone."""
    produce(broker, "t", ["a", "b", "c"])
    c = consumer(broker)
    c.subscribe(["t"])
    read(c, 3)
    c.commit(asynchronous=False)
    c.close()
    node = zookeeper.get("/brokers/topics/t")
    state = zookeeper.get("/brokers/topics/t/partitions/0/state")
    zookeeper.client.delete("/brokers/topics/t", recursive=True)
    wait_until(lambda: "Topic t has vanished from ZooKeeper" in broker.text(), "the controller to notice")
    produce(broker, "u", ["x"])  # and it has told what it has to tell
    broker.stop()
    zookeeper.client.create("/brokers/topics/t/partitions/0/state", state, makepath=True)
    zookeeper.client.set("/brokers/topics/t", node)
    broker.start()
    produce(broker, "t", ["d"])
    c = consumer(broker)
    c.subscribe(["t"])
    assert read(c, 1) == ["d"]
    c.close()


def test_two_members_share_the_partitions(broker):
    kcat(broker, "-L")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic("t", 4, 1)])["t"].result(PATIENCE)
    first, second = consumer(broker, session_timeout_ms=10000), consumer(broker, session_timeout_ms=10000)
    first.subscribe(["t"])
    wait_until(lambda: first.poll(0.2) or len(first.assignment()) == 4, "all partitions with one member")
    second.subscribe(["t"])

    def shared():
        first.poll(0.1)
        second.poll(0.1)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2
    wait_until(shared, "two partitions each")
    assert {p.partition for p in first.assignment() + second.assignment()} == {0, 1, 2, 3}
    second.close()
    wait_until(lambda: first.poll(0.1) or len(first.assignment()) == 4, "all partitions back")
    first.close()


def test_cooperative_rebalance(broker):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic("t", 4, 1)])["t"].result(PATIENCE)
    both = [consumer(broker, partition_assignment_strategy="cooperative-sticky") for _ in range(2)]
    for c in both:
        c.subscribe(["t"])

    def shared():
        for c in both:
            c.poll(0.1)
        return sorted(len(c.assignment()) for c in both) == [2, 2]
    wait_until(shared, "two partitions each")
    for c in both:
        c.close()


def test_a_member_that_dies_is_replaced(make_broker):
    broker = make_broker(group_min_session_timeout_ms=1000)
    produce(broker, "t", ["a"])
    dead = consumer(broker, session_timeout_ms=2000, heartbeat_interval_ms=500, max_poll_interval_ms=3000)
    dead.subscribe(["t"])
    read(dead, 1)  # and is never heard of again, as its poll interval is over
    alive = consumer(broker, session_timeout_ms=2000, heartbeat_interval_ms=500)
    alive.subscribe(["t"])
    wait_until(lambda: alive.poll(0.2) or len(alive.assignment()) == 1, "the partition")
    alive.close()
    closer = threading.Thread(target=dead.close)
    closer.start()
    closer.join(PATIENCE)


def test_static_members_keep_their_place(broker):
    produce(broker, "t", ["a", "b"])
    c = consumer(broker, group_instance_id="one")
    c.subscribe(["t"])
    read(c, 2)
    c.commit(asynchronous=False)
    c.close()  # does not leave the group
    produce(broker, "t", ["c"])
    c = consumer(broker, group_instance_id="one")
    c.subscribe(["t"])
    assert read(c, 1) == ["c"]
    c.close()


def test_apaches_console_consumer_in_a_group(broker):
    produce(broker, "t", [str(i) for i in range(50)])
    args = ("--bootstrap-server", broker.bootstrap, "--topic", "t", "--group", "g", "--timeout-ms", 20000)
    out = java("org.apache.kafka.tools.consumer.ConsoleConsumer", *args, "--from-beginning", "--max-messages", 50)
    assert "Processed a total of 50 messages" in out
    produce(broker, "t", ["more"])
    assert "more" in java("org.apache.kafka.tools.consumer.ConsoleConsumer", *args, "--max-messages", 1)


def test_apaches_group_tool(broker):
    produce(broker, "t", ["a", "b", "c"])
    c = consumer(broker)
    c.subscribe(["t"])
    read(c, 3)
    c.commit(asynchronous=False)
    tool = (GROUP_COMMAND, "--bootstrap-server", broker.bootstrap)
    assert java(*tool, "--list").strip() == "g"
    assert "Stable" in java(*tool, "--describe", "--group", "g", "--state")
    assert "rdkafka" in java(*tool, "--describe", "--group", "g", "--members")
    c.close()
    described = java(*tool, "--describe", "--group", "g")
    assert any(line.split()[:6] == ["g", "t", "0", "3", "3", "0"] for line in described.splitlines()), described
    assert "successful" in java(*tool, "--delete", "--group", "g")
    assert java(*tool, "--list").strip() == ""


def test_who_looks_at_the_log_sees_why_there_are_no_coordinators(make_broker):
    broker = make_broker(offsets_topic_replication_factor=3)
    with Asker(broker) as asker:
        assert asker.get("FindCoordinator", 3, {"Key": "g", "KeyType": 0})["ErrorCode"] == 15  # COORDINATOR_NOT_AVAILABLE
    wait_until(lambda: "__consumer_offsets, which coordinators need, cannot be made: " in broker.text(), "a line")
    assert "(offsets.topic.replication.factor=3)" in broker.text()


def test_our_groups_are_read_by_apache_and_back(make_broker):
    from harness import Apache
    ours = make_broker()
    produce(ours, "t", ["a", "b", "c"])
    c = consumer(ours)
    c.subscribe(["t"])
    read(c, 2)
    c.commit(asynchronous=False)
    c.close()
    ours.stop()
    apache = make_broker(kind=Apache)
    c = consumer(apache)
    c.subscribe(["t"])
    assert read(c, 1) == ["c"]
    c.commit(asynchronous=False)
    c.close()
    produce(apache, "t", ["d"])
    apache.stop()
    ours.restart()
    c = consumer(ours)
    c.subscribe(["t"])
    assert read(c, 1) == ["d"]
    c.close()


# ---- Java members ----


class Member(Process):
    """Apache's VerifiableConsumer, which tells what happens to it in lines of JSON."""

    def __init__(self, log, broker, jars, *args):
        super().__init__(log)
        self.spawn([*jvm(jars=jars), "org.apache.kafka.tools.VerifiableConsumer", "--bootstrap-server", broker.bootstrap, "--topic", "t",
                    "--group-id", "g", "--session-timeout", 30000, "--reset-policy", "earliest", *args])

    def events(self, name):
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [e for e in lines if e["name"] == name]

    def partitions(self):
        held = set()
        for e in (json.loads(x) for x in self.text().splitlines() if x.startswith("{") and x.endswith("}")):
            these = {p["partition"] for p in e.get("partitions", ()) if "partition" in p}
            if e["name"] == "partitions_assigned":
                held |= these
            elif e["name"] in ("partitions_revoked", "partitions_lost"):
                held -= these
        return held

    def read(self):
        return sum(e["count"] for e in self.events("records_consumed"))


@pytest.fixture
def members(tmp_path):
    made = []

    def make(broker, jars, *args):
        made.append(Member(tmp_path / f"member-{len(made)}.log", broker, jars, *args))
        return made[-1]

    yield make
    for m in made:
        m.stop(signal.SIGKILL)


def create(broker, topic, partitions):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(topic, partitions, 1)])[topic].result(PATIENCE)


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
@pytest.mark.parametrize("assignor", ["RangeAssignor", "CooperativeStickyAssignor"])
def test_a_java_member_that_comes_back_disturbs_nobody(broker, members, jars, assignor):
    create(broker, "t", 4)
    strategy = ("--assignment-strategy", f"org.apache.kafka.clients.consumer.{assignor}")
    one, two = (members(broker, jars, "--group-instance-id", name, *strategy) for name in ("one", "two"))
    wait_until(lambda: len(one.partitions()) == len(two.partitions()) == 2, "two partitions each")
    before, told = two.partitions(), len(one.events("partitions_assigned")) + len(one.events("partitions_revoked"))
    two.stop(signal.SIGKILL)
    again = members(broker, jars, "--group-instance-id", "two", *strategy)
    wait_until(lambda: again.partitions() == before, "the same partitions")
    produce(broker, "t", [f"{i}:{i}" for i in range(100)], "-K", ":")
    wait_until(lambda: one.read() + again.read() == 100, f"all records\n{one.text()[-1000:]}{again.text()[-1000:]}")
    assert len(one.events("partitions_assigned")) + len(one.events("partitions_revoked")) == told


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_java_members_come_and_go(broker, members, jars):
    create(broker, "t", 6)
    strategy = ("--assignment-strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")
    all_of_them = [members(broker, jars, *strategy) for _ in range(3)]
    wait_until(lambda: [len(m.partitions()) for m in all_of_them] == [2, 2, 2], "two partitions each")
    broker.kill()
    broker.restart()
    produce(broker, "t", [f"{i}:{i}" for i in range(300)], "-K", ":")
    wait_until(lambda: sum(m.read() for m in all_of_them) == 300, "all records, once")
    all_of_them[0].stop()  # leaves
    wait_until(lambda: sorted(len(m.partitions()) for m in all_of_them[1:]) == [3, 3], "three partitions each")
