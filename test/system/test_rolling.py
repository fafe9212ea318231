"""Three brokers are restarted one after the other, round after round, while topics come and go: nobody crashes, nothing is lost, nothing needs help.

`ROUNDS` says how often; the suite goes round a few times, `test/run.sh soak` fifty.
"""

import os
import random
import threading

from harness import BUILD, Barnabas, wait_until
from test_cluster import Acknowledged, create, describe, in_sync, make_cluster, read_all, topics  # noqa: F401 (a fixture)

ROUNDS = int(os.environ.get("ROUNDS", "2"))
KEPT, PARTITIONS = "kept", 6


class Comings(threading.Thread):
    """Topics are created and deleted all the time; what is refused because a broker is away comes to no harm."""

    def __init__(self, brokers):
        super().__init__()
        self.brokers, self.over, self.rng, self.there = brokers, threading.Event(), random.Random(7), []

    def run(self):
        number = 0
        while not self.over.is_set():
            if len(self.there) < 5 or self.rng.random() < 0.5:
                number += 1
                self.there.append(f"comes-{number}")
                topics(self.brokers, "--create", "--if-not-exists", "--topic", self.there[-1], "--partitions", "3", "--replication-factor", self.rng.choice("123"), check=False)
            else:
                gone = self.there.pop(self.rng.randrange(len(self.there)))
                topics(self.brokers, "--delete", "--if-exists", "--topic", gone, check=False)

    def stop(self):
        self.over.set()
        self.join()


def test_topics_come_and_go_while_brokers_do(make_cluster, zookeeper):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, controlled_shutdown_max_retries=3)
    create(brokers, KEPT, PARTITIONS)
    sender, comings = Acknowledged(brokers, KEPT), Comings(brokers)
    comings.start()
    try:
        for round_ in range(ROUNDS):
            for broker in brokers:
                sender.send(200, PARTITIONS)
                broker.stop()
                assert broker.process.returncode == 0, f"round {round_}:\n{broker.text()[-3000:]}"
                sender.send(200, PARTITIONS)
                broker.start()
                wait_until(lambda: in_sync(brokers, KEPT, 3), f"all in sync in round {round_}")
    finally:
        comings.stop()
    sender.flush()
    read = read_all(brokers, KEPT, PARTITIONS)
    lost = {at for at, value in sender.records.items() if read.get(at) != value}
    assert not lost, f"{len(lost)} of {len(sender.records)} acknowledged records are lost"
    for topic in zookeeper.children("/brokers/topics"):
        if topic.startswith("comes-") and not zookeeper.client.exists(f"/admin/delete_topics/{topic}"):
            wait_until(lambda topic=topic: all(leader is not None and sorted(replicas) == isr for leader, replicas, isr in describe(brokers, topic).values()), f"{topic} without help")
    wait_until(lambda: zookeeper.children("/admin/delete_topics") == [], "deletions to end")
