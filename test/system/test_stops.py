"""What stands still for a while, as a process that is stopped, a machine that is suspended or a disk: nobody pays for that who goes on."""

import signal
import time
from pathlib import Path

import pytest
from frames import Out
from group_frames import Connection
from harness import preloaded, wait_until
from test_tools import topics
from transaction_frames import Connection as TransactionConnection

NONE, MEMBER_ID_REQUIRED = 0, 79
GROUPS, SESSION_MS, ROUNDS = 40, 1000, 4


@pytest.fixture
def broker(make_broker):
    return make_broker(group_min_session_timeout_ms=SESSION_MS, num_network_threads=3, zookeeper_session_timeout_ms=60000, offsets_topic_num_partitions=4,
                       transaction_abort_timed_out_transaction_cleanup_interval_ms=SESSION_MS)


class stopped:
    """Stands still within, and then for a while."""

    def __init__(self, broker, ms):
        self.broker, self.ms = broker, ms

    def __enter__(self):
        self.broker.process.send_signal(signal.SIGSTOP)
        wait_until(self.all_stand, "all threads to stand still")

    def all_stand(self):
        return all(t.read_text().rpartition(")")[2].split()[0] == "T" for t in Path(f"/proc/{self.broker.process.pid}/task").glob("*/stat"))

    def __exit__(self, *why):
        try:
            time.sleep(self.ms / 1000)
        finally:
            self.broker.process.send_signal(signal.SIGCONT)


def have_coordinator(broker, kind):
    c = TransactionConnection(broker)
    wait_until(lambda: c.ask("find_coordinator", 1, Out(False).text("x").raw("b", kind))["error"] == NONE, "a coordinator")
    c.close()


class Member:
    """Of a group of its own."""

    def __init__(self, broker, n, **settings):
        self.group, self.c, self.settings = f"group-{n}", Connection(broker), settings
        first = wait_until(lambda: next((a for a in [self.c.join(self.group, **settings)] if a["error"] == MEMBER_ID_REQUIRED), None), "an id")
        self.id = first["id"]
        self.c.send_join(self.group, self.id, **settings)

    def take_part(self):
        joined = self.c.receive()
        assert joined["error"] == NONE
        self.generation = joined["generation"]
        assert self.c.sync(self.group, self.id, self.generation)["error"] == NONE

    def send_heartbeat(self):
        self.c.send("heartbeat", 4, Out(True).text(self.group).raw("i", self.generation).text(self.id).text(None).tags())


def test_a_heartbeat_that_has_come_keeps_a_member(broker):
    have_coordinator(broker, 0)
    members = [Member(broker, n, session=SESSION_MS) for n in range(GROUPS)]
    for m in members:
        m.take_part()
    for _ in range(ROUNDS):
        with stopped(broker, SESSION_MS + 300):
            for m in members:
                m.send_heartbeat()
        assert [m.c.receive()["error"] for m in members] == [NONE] * GROUPS
    assert "has failed, removing it" not in broker.text()
    for m in members:
        m.c.close()


def test_the_end_of_a_transaction_that_has_come_counts(broker):
    have_coordinator(broker, 1)
    connections = [TransactionConnection(broker) for _ in range(GROUPS)]
    producers = []
    for n, c in enumerate(connections):
        started = wait_until(lambda: next((a for a in [c.init(f"x-{n}", SESSION_MS)] if a["error"] == NONE), None), "a producer")
        producers.append((f"x-{n}", started["producer"], started["epoch"]))
    for c, p in zip(connections, producers):
        wait_until(lambda: c.add_offsets(*p, "g")["error"] == NONE, "the beginning")
    with stopped(broker, 2 * SESSION_MS):
        for c, p in zip(connections, producers):
            c.send("end", 4, Out(True).text(p[0]).raw("qhb", *p[1:], True).tags())
    assert [c.receive()["error"] for c in connections] == [NONE] * GROUPS
    for c in connections:
        c.close()


# ---- A disk, as the segment of a group's partition is full ----


COMMITS = 2  # of which a segment takes no third


def test_a_full_segment_of_one_group_holds_up_no_other(make_broker, tmp_path):
    hangs = tmp_path / "hangs"

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
        return {}
    broker = make_broker(each=with_faults, offsets_topic_num_partitions=2, offsets_topic_segment_bytes=2000, offset_metadata_max_bytes=600)
    topics(broker, "--create", "--topic", "t")
    have_coordinator(broker, 0)
    full, other = Connection(broker), Connection(broker)
    partitions = {"a": 1, "b": 0}  # by the hash of their names

    def commit(c, group, **how):
        return c.commit(group, {"t": {0: 1}}, **how)["topics"][0]["partitions"][0]["error"]
    for group in partitions:
        wait_until(lambda group=group: commit(other, group) == NONE, "a commit")
    for _ in range(COMMITS):
        assert commit(full, "a", metadata="x" * 600) == NONE
    hangs.write_text(f"HANG 0 {broker.data}/__consumer_offsets-{partitions['a']}")
    full.send_commit("a", {"t": {0: 2}}, metadata="x" * 600)
    for _ in range(5):
        assert commit(other, "b") == NONE
        assert other.fetch("a", {"t": [0]})["topics"][0]["partitions"][0]["offset"] == 1
    hangs.unlink()
    assert full.receive()["topics"][0]["partitions"][0]["error"] == NONE
    full.close(), other.close()
