"""WriteTxnMarkers by hand, on disks that hang: who waits, who does not, and what is told whom when nobody waits any more."""

import random
import signal
import time

import pytest
from frames import Out
from group_frames import Connection as GroupConnection
from harness import Barnabas, consume, kcat, produce, wait_until
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_produce import on_bad_disk  # noqa: F401 (a fixture)
from test_tools import topics
from transaction_frames import Connection, make_batch

NONE, UNKNOWN, UNKNOWN_PARTITION, NOT_LEADER, TIMED_OUT, FENCED, UNSTABLE = 0, -1, 3, 6, 7, 52, 88
OFFSETS = "__consumer_offsets"
MARKERS, FITTING = 8, 5  # of so many not all, of so many all fit into a segment


def markers(first, count=MARKERS):
    return [(first + n, 0, n % 2 == 0, {"slow": [0]}, 0) for n in range(count)]


def errors(answer):
    return [(m["producer"], p["error"]) for m in answer["markers"] for t in m["topics"] for p in t["partitions"]]


def seen_producers(c):
    return sorted(p["producer"] for p in c.describe_producers({"slow": [0]})["topics"][0]["partitions"][0]["producers"])


def test_a_full_segment_holds_up_nobody_but_who_writes_markers_there(on_bad_disk):  # noqa: F811
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "segment.bytes=500")
    one = Connection(broker)
    assert errors(one.write_markers(*markers(100, FITTING))) == [(100 + n, NONE) for n in range(FITTING)]
    hangs.write_text(f"HANG 0 {broker.data}/slow-")
    one.send_markers(*markers(200), (-1, 0, True, {"slow": [0]}, 0), (300, 0, True, {"quick": [0], "slow": [7, 0]}, 0))
    for n in range(5):
        produce(broker, "quick", [str(n)])
    assert "quick" in kcat(broker, "-L")
    hangs.unlink()
    assert errors(one.receive()) == [(-1, UNKNOWN), *((200 + n, NONE) for n in range(MARKERS)), (300, NONE), (300, NONE), (300, UNKNOWN_PARTITION)]
    assert consume(broker, "quick") == ["before", *map(str, range(5))]
    assert seen_producers(one) == [*range(100, 100 + FITTING), *range(200, 200 + MARKERS), 300]
    one.close()


def test_a_sync_of_markers_holds_up_nobody(on_bad_disk):  # noqa: F811
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "flush.messages=1")
    with_markers, with_records = Connection(broker), Connection(broker)
    hangs.write_text(f"HANG_SYNC 0 {broker.data}/slow-")
    with_markers.send_markers((100, 0, True, {"slow": [0]}, 5), (100, 0, True, {"slow": [0]}, 4), (100, 0, False, {"slow": [0]}, 6))
    produce(broker, "quick", ["0"])
    with_records.send_produce("slow", make_batch(-1, -1, -1))
    produce(broker, "quick", ["1"])
    assert consume(broker, "slow") == []
    hangs.unlink()
    assert errors(with_markers.receive()) == [(100, NONE)]
    assert with_records.receive()["topics"][0]["partitions"][0]["error"] == NONE
    assert consume(broker, "slow") == ["v"]
    with_markers.close(), with_records.close()


def test_a_producer_has_one_result(make_broker):
    """With all partitions of its markers: Apache's coordinator takes the last of several for all there is."""
    c = Connection(make_broker())
    topics(c.broker, "--create", "--topic", "t", "--partitions", "3")
    answer = c.write_markers((100, 0, True, {"t": [0, 7]}, 5), (101, 0, True, {"t": [0]}, 5), (100, 0, True, {"t": [1], "u": [0]}, 5),
                             (100, 0, True, {"t": [2, 0]}, 4), (102, 0, True, {}, 5))
    assert [(m["producer"], [(t["topic"], [(p["index"], p["error"]) for p in t["partitions"]]) for t in m["topics"]]) for m in answer["markers"]] == [
        (100, [("t", [(0, NONE), (1, NONE), (2, NONE), (7, UNKNOWN_PARTITION)]), ("u", [(0, UNKNOWN_PARTITION)])]), (101, [("t", [(0, NONE)])])]
    c.close()


def test_who_hangs_up_while_a_disk_hangs_leaves_markers_behind(on_bad_disk):  # noqa: F811
    """All of them: those that were on their way to the disk, and those that waited behind them."""
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "flush.messages=1")
    connections = [Connection(broker) for _ in range(4)]
    hangs.write_text(f"HANG_SYNC 0 {broker.data}/slow-")
    for i, c in enumerate(connections):
        c.send_markers(*markers(100 * (i + 1)))
    produce(broker, "quick", ["0"])
    for c in connections[:3]:
        c.close()
    produce(broker, "quick", ["1"])
    hangs.unlink()
    assert errors(connections[3].receive()) == [(400 + n, NONE) for n in range(MARKERS)]
    expected = sorted(100 * (i + 1) + n for i in range(4) for n in range(MARKERS))
    wait_until(lambda: seen_producers(connections[3]) == expected, "the markers of all")
    connections[3].close()


def test_who_leaves_at_any_moment_takes_nothing_along(on_bad_disk):  # noqa: F811
    """While what they have sent is read, gathered, synced, or waits behind that: markers with records behind them, which are gathered, too."""
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "flush.messages=1")
    moments = random.Random(5)
    rounds = 30
    for r in range(rounds):
        connections = [Connection(broker) for _ in range(6)]
        if r % 3:
            hangs.write_text(f"HANG_SYNC 0 {broker.data}/slow-")
        for i, c in enumerate(connections):
            c.send_markers(*markers(1000 * r + 100 * (i + 1)), (7, 0, True, {"quick": [0], "none": [0]}, 0))
            c.send_produce("slow", make_batch(-1, -1, -1))
        moments.shuffle(connections)
        for c in connections[1:]:
            time.sleep(moments.choice([0, 0, 0.001, 0.01]))
            c.close()
        hangs.unlink(missing_ok=True)
        stays = connections[0]
        assert {e for _, e in errors(stays.receive())} == {NONE, UNKNOWN_PARTITION}
        assert stays.receive()["topics"][0]["partitions"][0]["error"] == NONE
        stays.close()
    assert "quick" in kcat(broker, "-L")


# ---- Markers for the offsets of a group, as long as its partition's follower stands still ----


def offset(c):
    """Of the group g in t-0, where that is certain."""
    part = c.fetch("g", {"t": [0]}, stable=True)["topics"][0]["partitions"][0]
    return part["offset"] if part["error"] == NONE else -part["error"]


@pytest.fixture
def with_offset(make_cluster):  # noqa: F811
    """Connections to the coordinator of g, which has an offset of producer 7000 in an open transaction, and its follower, which stands still."""
    followers = []

    def make(**settings):
        brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1, "offsets.topic.num.partitions": 1, "replica.lag.time.max.ms": 60000,
                                                      "zookeeper.session.timeout.ms": 60000, "transaction.partition.verification.enable": "false", **settings})
        topics(brokers[0], "--create", "--topic", "t")
        asks = Connection(brokers[0])
        found = wait_until(lambda: next((f for f in [asks.ask("find_coordinator", 1, Out(False).text("g").raw("b", 0))] if f["error"] == NONE), None), "g")
        leader, follower = brokers if found["node"] == 1 else brokers[::-1]
        c = Connection(leader)
        wait_until(lambda: c.commit_offsets("x", 7000, 0, "g", {"t": {0: 5}})["topics"][0]["partitions"][0]["error"] == NONE, "the commit")
        follower.process.send_signal(signal.SIGSTOP)
        followers.append(follower)
        return c, GroupConnection(leader), follower
    yield make
    for f in followers:
        f.process.send_signal(signal.SIGCONT)


MARKER = (7000, 0, True, {OFFSETS: [0]}, 3)


def marker_is_there(c):
    """In the log; nobody knows yet whether it stays there."""
    producers = c.describe_producers({OFFSETS: [0]})["topics"][0]["partitions"][0]["producers"]
    return [(p["begins"], p["coordinator_epoch"]) for p in producers] == [(-1, 3)]


def test_the_end_of_a_transaction_reaches_the_group_although_who_said_it_has_gone(with_offset):
    c, group, follower = with_offset()
    leaves = Connection(c.broker)
    leaves.send_markers(MARKER)
    wait_until(lambda: marker_is_there(c), "the marker")
    leaves.close()
    assert offset(group) == -UNSTABLE
    follower.process.send_signal(signal.SIGCONT)
    wait_until(lambda: offset(group) == 5, "the offset")
    c.close(), group.close()


def test_the_end_of_a_transaction_waits_for_no_other_marker(with_offset):
    """In a request that has one that must wait for the follower, of two of which each broker leads one."""
    c, group, follower = with_offset(**{"offsets.topic.replication.factor": 1, "num.partitions": 2})
    c.send_markers(MARKER, (7001, 0, True, {"t": [0, 1]}, 3))
    wait_until(lambda: offset(group) == 5, "the offset")
    follower.process.send_signal(signal.SIGCONT)
    assert sorted(errors(c.receive())) == [(7000, NONE), (7001, NONE), (7001, NOT_LEADER)]
    c.close(), group.close()


def test_a_marker_that_took_too_long_is_told_of_by_the_next(with_offset):
    c, group, follower = with_offset(**{"request.timeout.ms": 1000})
    assert errors(c.write_markers(MARKER)) == [(7000, TIMED_OUT)]
    follower.process.send_signal(signal.SIGCONT)
    wait_until(lambda: errors(c.write_markers(MARKER)) == [(7000, NONE)], "the marker, once more")
    assert offset(group) == 5
    c.close(), group.close()


def test_a_broker_stops_although_markers_wait_whose_sender_has_gone(with_offset):
    c, group, follower = with_offset(**{"request.timeout.ms": 100000, "controlled.shutdown.enable": "false"})
    leaves = Connection(c.broker)
    leaves.send_markers(MARKER)
    wait_until(lambda: marker_is_there(c), "the marker")
    leaves.close()
    c.close(), group.close()
    c.broker.stop()
    assert "Requests are still being served" not in c.broker.text()
