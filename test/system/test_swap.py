"""A running Apache cluster is swapped to barnabas one broker at a time, and back, and nobody loses anything.

With the oldest and the newest version that README promises; BARNABAS_SWAP_VERSIONS=all does it with all of them, and
BARNABAS_SWAP_VERSIONS=3.4.1,3.6.2 with these.
"""

import json
import os
import sys

import confluent_kafka
import pytest
from harness import Barnabas, apache_of, other, wait_until, TOP
from test_cluster import bootstrap, create, in_sync, make_cluster, topics  # noqa: F401 (a fixture)

sys.path.insert(0, str(TOP / "test" / "faults"))
import checker  # noqa: E402
from workload import Group, History, Member, Reader, Worker, Writer, read_all  # noqa: E402

pytestmark = pytest.mark.long
PARTITIONS, KEYS = 6, 50
# A JVM that starts on a busy machine may be silent for long, and its broker ends when its session has.
UNHURRIED = {"zookeeper.session.timeout.ms": 30000}
PROMISED = ["2.8.2", "3.0.2", "3.2.3", "3.4.1", "3.6.2", "3.8.1", "3.9.2"]


def versions():
    wanted = os.environ.get("BARNABAS_SWAP_VERSIONS", f"{PROMISED[0]},{PROMISED[-1]}")
    return PROMISED if wanted == "all" else wanted.split(",")


class KeyWriter(Worker):
    """Writes values of few keys, and remembers the last one of each that was acknowledged."""

    def work(self):
        self.last, number = {}, 0
        producer = confluent_kafka.Producer({**self.client, "acks": "all", "enable.idempotence": True, "linger.ms": 5})
        while not self.stopping.is_set():
            producer.produce(self.topic, str(number), f"k{number % KEYS}", on_delivery=self.note)
            number += 1
            producer.poll(0.005)
        producer.flush(60)

    def note(self, error, message):
        if error:
            self.history.complain(f"{self.name}: {error}")
        else:
            self.last[message.key().decode()] = message.value().decode()


def last_values(brokers, topic, partitions):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap(brokers), "group.id": "last", "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
    found, ended = {}, 0
    while ended < partitions:
        m = consumer.poll(30)
        assert m is not None
        if m.error():
            ended += 1
        else:
            found[m.key().decode()] = m.value().decode()
    consumer.close()
    return found


def controller_id(brokers):
    return json.loads(brokers[0].zookeeper.get("/controller"))["brokerid"]


def swap(brokers, kind, finish):
    """Each in its turn; the controller is the last one, so that its office changes sides on the way."""
    moves = []
    order = sorted(range(len(brokers)), key=lambda i: int(brokers[i].properties["broker.id"]) == controller_id(brokers))
    for i in order:
        brokers[i].stop()
        brokers[i] = other(brokers[i], kind)
        finish(brokers[i])
        brokers[i].start()
        wait_until(lambda: all(in_sync(brokers, t, 3) for t in ("facts", "latest", "__consumer_offsets")), "all in sync after a swap", 120)
        moves.append(controller_id(brokers))
    return moves


def swap_under_load(brokers, apache, client_of, request):
    """There and back; `client_of`: how a worker comes in, by its name. The brokers of ours."""
    create(brokers, "facts", PARTITIONS, min_insync_replicas=2)
    topics(brokers, "--create", "--topic", "latest", "--partitions", 3, "--replication-factor", 3, "--config", "cleanup.policy=compact",
           "--config", "segment.bytes=100000", "--config", "min.cleanable.dirty.ratio=0.01")
    history = History()
    group = Group("members", history, PARTITIONS)

    def on_facts(kind, name, **more):
        return kind(history, client_of(name), "facts", PARTITIONS, name, **more)

    workers = [on_facts(Writer, "w1"), on_facts(Reader, "r1"), on_facts(Member, "m1", group=group), on_facts(Member, "m2", group=group),
               KeyWriter(history, client_of("k1"), "latest", 3, "k1")]
    for w in workers:
        w.start()
    wait_until(lambda: len(history.seen) > 500 and group.committed, "the load")

    def finish(broker):
        request.addfinalizer(lambda: broker.stop())

    first = controller_id(brokers)
    there = swap(brokers, Barnabas, finish)
    assert there[-1] != first
    ours = list(brokers)
    wait_until(lambda: len(history.seen) > 2000, "more of the load")
    swap(brokers, apache, finish)
    for w in workers:
        w.finish()
    everything = {"bootstrap.servers": bootstrap(brokers)}
    wrong = checker.check(history, read_all(everything, "facts", PARTITIONS))
    assert not wrong, "\n".join(wrong[:20])
    assert not [f for f in history.failed if f[1] != "no offset"]
    assert last_values(brokers, "latest", 3) == workers[-1].last
    assert sum(group.committed.values()) > 1000
    for b in ours:
        b.check_log()
    return ours


@pytest.mark.parametrize("version", versions())
def test_a_cluster_is_swapped_under_load_and_back(make_cluster, request, version):  # noqa: F811
    apache = apache_of(version)
    protocol = version.rsplit(".", 1)[0]
    brokers = make_cluster(apache, apache, apache, **{"inter.broker.protocol.version": protocol, **UNHURRIED})
    swap_under_load(brokers, apache, lambda name: {"bootstrap.servers": bootstrap(brokers)}, request)
