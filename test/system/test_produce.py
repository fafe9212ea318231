"""Produce requests that arrive together: appended together, and each answered for itself, in order; and those that wait for a disk."""

import struct

import pytest
from batches import make_batch, make_record
from harness import connect, consume, kcat, preloaded, produce, read_frame
from messages import read_response, write_request
from test_tools import topics

PRODUCE, METADATA, VERSION = 0, 3, 7
CORRUPT, OUT_OF_ORDER = 2, 45
CONNECTIONS, REQUESTS = 12, 24  # of each connection, all of them sent before any answer is read
PARTITIONS = 3


def framed(request):
    return struct.pack(">i", len(request)) + request


def produce_request(correlation, partition, batch, acks=1, topic="t"):
    part = {"Index": partition, "Records": batch}
    tree = {"TransactionalId": None, "Acks": acks, "TimeoutMs": 10000, "TopicData": [{"Name": topic, "PartitionData": [part]}]}
    return framed(write_request(PRODUCE, VERSION, tree, correlation))


def metadata(correlation):
    return framed(write_request(METADATA, 1, {"Topics": []}, correlation))


def value(connection, n):
    return f"{connection}-{n}".encode()


@pytest.fixture
def with_topic(make_broker):
    broker = make_broker(num_network_threads=2)
    topics(broker, "--create", "--topic", "t", "--partitions", str(PARTITIONS))
    return broker


def test_each_is_answered_for_itself_and_in_order(with_topic):
    """A damaged batch, one that was there already, one that comes too early, and one that is not answered, among good ones."""
    damaged, silent, asks = 5, 9, 13
    connections = [connect(with_topic) for _ in range(CONNECTIONS)]
    for c, sock in enumerate(connections):
        out = b""
        for n in range(REQUESTS):
            batch = make_batch([make_record(value=value(c, n))])
            if n == asks:
                out += metadata(n)
            else:
                out += produce_request(n, n % PARTITIONS, batch[:-1] + b"x" if n == damaged else batch, 0 if n == silent else -1 if n % 2 else 1)
        sock.sendall(out)
    for c, sock in enumerate(connections):
        ends = [-1] * PARTITIONS
        for n in range(REQUESTS):
            if n == silent:
                continue
            frame = read_frame(sock)
            if n == asks:
                assert struct.unpack(">i", frame[:4])[0] == n
                continue
            correlation, answer = read_response(PRODUCE, VERSION, frame)
            part = answer["Responses"][0]["PartitionResponses"][0]
            assert (correlation, part["Index"]) == (n, n % PARTITIONS)
            assert part["ErrorCode"] == (CORRUPT if n == damaged else 0)
            if n != damaged:
                assert part["BaseOffset"] > ends[n % PARTITIONS]
                ends[n % PARTITIONS] = part["BaseOffset"]
        sock.close()
    found = [line.split("-") for line in consume(with_topic, "t")]
    assert len(found) == CONNECTIONS * (REQUESTS - 2)
    for c in range(CONNECTIONS):
        for p in range(PARTITIONS):
            mine = [int(n) for connection, n in found if int(connection) == c and int(n) % PARTITIONS == p]
            assert mine == [n for n in range(REQUESTS) if n % PARTITIONS == p and n not in (damaged, asks)]


def test_what_a_producer_repeats_or_leaves_out_is_seen_among_them(with_topic):
    def batch(sequence):
        return make_batch([make_record(value=str(sequence).encode())], producer=7000, epoch=0, sequence=sequence)

    sequences = [0, 1, 1, 3, 2, 3, 0]
    sock = connect(with_topic)
    sock.sendall(b"".join(produce_request(n, 0, batch(sequence)) for n, sequence in enumerate(sequences)))
    answers = [read_response(PRODUCE, VERSION, read_frame(sock))[1]["Responses"][0]["PartitionResponses"][0] for _ in sequences]
    assert [(a["ErrorCode"], a["BaseOffset"]) for a in answers] == [(0, 0), (0, 1), (0, 1), (OUT_OF_ORDER, -1), (0, 2), (0, 3), (0, 0)]
    assert consume(with_topic, "t") == ["0", "1", "2", "3"]
    sock.close()


def test_who_hangs_up_takes_nobody_along(with_topic):
    """Half of them send, and close before they are answered: what was whole may be there, and the others are answered."""
    connections = [connect(with_topic) for _ in range(CONNECTIONS)]
    for c, sock in enumerate(connections):
        sock.sendall(b"".join(produce_request(n, n % PARTITIONS, make_batch([make_record(value=value(c, n))])) for n in range(REQUESTS)))
        if c % 2:
            sock.close()
    for c, sock in enumerate(connections[::2]):
        for n in range(REQUESTS):
            correlation, answer = read_response(PRODUCE, VERSION, read_frame(sock))
            assert (correlation, answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]) == (n, 0)
        sock.close()
    found = consume(with_topic, "t")
    assert len(found) == len(set(found))
    assert {f"{c}-{n}" for c in range(0, CONNECTIONS, 2) for n in range(REQUESTS)} <= set(found)


@pytest.fixture
def on_bad_disk(make_broker, tmp_path):
    """A broker of one loop, with a topic `slow` that is to be made and one `quick`; and the file that says what is wrong with the disk."""
    hangs = tmp_path / "hangs"

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
        return {}
    broker = make_broker(each=with_faults, num_network_threads=1, num_io_threads=1)
    topics(broker, "--create", "--topic", "quick")
    produce(broker, "quick", ["before"])
    return broker, hangs


SLOW = make_batch([make_record(value=b"x" * 600)])


def to_slow(*numbers):
    return b"".join(produce_request(n, 0, SLOW, topic="slow") for n in numbers)


def answers_of_slow(sock, *numbers):
    for n in numbers:
        correlation, answer = read_response(PRODUCE, VERSION, read_frame(sock))
        part = answer["Responses"][0]["PartitionResponses"][0]
        assert (correlation, part["ErrorCode"], part["BaseOffset"]) == (n, 0, n)


def test_a_full_segment_holds_up_nobody_who_wants_something_else(on_bad_disk):
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "segment.bytes=1000")
    with connect(broker) as sock:
        sock.sendall(to_slow(0))
        answers_of_slow(sock, 0)
        hangs.write_text(f"HANG 0 {broker.data}/slow-")
        sock.sendall(to_slow(1, 2, 3))
        for n in range(10):
            produce(broker, "quick", [str(n)])
        assert "quick" in kcat(broker, "-L")
        hangs.unlink()
        answers_of_slow(sock, 1, 2, 3)
    assert consume(broker, "quick") == ["before", *map(str, range(10))]
    assert consume(broker, "slow") == ["x" * 600] * 4


def test_a_sync_holds_up_nobody(on_bad_disk):
    """Not even who writes to the same partition, or reads it: what is not synced yet is not to be seen."""
    broker, hangs = on_bad_disk
    topics(broker, "--create", "--topic", "slow", "--config", "flush.messages=1")
    with connect(broker) as sock, connect(broker) as another:
        sock.sendall(to_slow(0))
        answers_of_slow(sock, 0)
        hangs.write_text(f"HANG_SYNC 0 {broker.data}/slow-")
        sock.sendall(to_slow(1))
        produce(broker, "quick", ["0"])
        another.sendall(to_slow(2))
        sock.sendall(to_slow(3))
        for n in range(1, 10):
            produce(broker, "quick", [str(n)])
        assert consume(broker, "slow") == ["x" * 600]
        hangs.unlink()
        seen = [read_response(PRODUCE, VERSION, read_frame(s))[1]["Responses"][0]["PartitionResponses"][0] for s in (sock, sock, another)]
        assert sorted((p["ErrorCode"], p["BaseOffset"]) for p in seen) == [(0, 1), (0, 2), (0, 3)]
    assert consume(broker, "quick") == ["before", *map(str, range(10))]
    assert consume(broker, "slow") == ["x" * 600] * 4
