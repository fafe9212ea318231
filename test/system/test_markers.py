"""WriteTxnMarkers by hand, on disks that hang: who waits, who does not, and what is told whom when nobody waits any more."""

from harness import consume, kcat, produce, wait_until
from test_produce import on_bad_disk  # noqa: F401 (a fixture)
from test_tools import topics
from transaction_frames import Connection, make_batch

NONE, UNKNOWN, UNKNOWN_PARTITION, FENCED = 0, -1, 3, 52
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
    assert errors(one.receive()) == [*((200 + n, NONE) for n in range(MARKERS)), (-1, UNKNOWN), (300, NONE), (300, UNKNOWN_PARTITION), (300, NONE)]
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
    assert errors(with_markers.receive()) == [(100, NONE), (100, FENCED), (100, NONE)]
    assert with_records.receive()["topics"][0]["partitions"][0]["error"] == NONE
    assert consume(broker, "slow") == ["v"]
    with_markers.close(), with_records.close()


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
