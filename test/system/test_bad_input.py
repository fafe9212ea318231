"""Whatever comes in: that one connection pays for it, all others go on."""

import os
import select
import socket
import struct
import time

import pytest
from harness import PATIENCE, connect, consume, frame, free_port, kcat, produce, read_frame, wait_until

API_VERSIONS = 18


def ask_versions(sock, version=0):
    sock.sendall(frame(API_VERSIONS, version))
    return read_frame(sock)


@pytest.mark.parametrize("bytes_", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    struct.pack(">i", -1) + b"x",
    struct.pack(">i", 2**31 - 1) + b"x",
    struct.pack(">i", 3) + b"abc",
    frame(9999, 0),
    frame(1, 18),
    frame(55, 0),
    frame(0, 9, b"\xff" * 50),
    frame(3, 1, struct.pack(">i", 2**30)),
    os.urandom(4000),
], ids=["http", "negative", "huge", "short", "unknown-api", "unknown-version", "not-advertised", "garbage-body", "huge-array", "random"])
def test_only_that_connection_is_closed(broker, bytes_):
    with connect(broker) as good, connect(broker) as bad:
        assert ask_versions(good)
        bad.sendall(bytes_)
        bad.settimeout(5)
        try:
            assert read_frame(bad) is None
        except TimeoutError:
            pass  # the random bytes may promise more than they have: the connection waits
        assert ask_versions(good)
    produce(broker, "t", ["still here"])
    assert consume(broker, "t") == ["still here"]


def test_bad_connections_do_not_fill_the_log(broker):
    begun = time.monotonic()
    for _ in range(400):
        with connect(broker) as sock:
            sock.sendall(struct.pack(">i", -1))
            assert read_frame(sock) is None
    allowed = 10 * (time.monotonic() - begun + 2)
    lines = broker.text().count("Closing connection from")
    assert 0 < lines <= allowed


def test_an_unknown_version_of_api_versions_is_answered(broker):
    with connect(broker) as sock:
        answer = ask_versions(sock, 99)
        correlation, error, count, key, low, high = struct.unpack(">ihihhh", answer)
        assert (correlation, error, count, key, low, high) == (7, 35, 1, API_VERSIONS, 0, 4)


def test_answers_come_in_the_order_of_requests(broker):
    with connect(broker) as sock:
        sock.sendall(b"".join(frame(API_VERSIONS, 0, correlation=i) for i in range(200)))
        rest = b""
        for i in range(200):
            while len(rest) < 4 or len(rest) < 4 + struct.unpack(">i", rest[:4])[0]:
                rest += sock.recv(65536)
            size = struct.unpack(">i", rest[:4])[0]
            assert struct.unpack(">i", rest[4:8])[0] == i
            rest = rest[4 + size:]


def test_a_request_may_come_byte_by_byte(broker):
    with connect(broker) as sock:
        for byte in frame(API_VERSIONS, 0):
            sock.sendall(bytes([byte]))
        assert read_frame(sock)


def test_connections_that_break_off_are_forgotten(broker):
    for cut in range(1, 30):
        with connect(broker) as sock:
            sock.sendall(frame(API_VERSIONS, 0)[:cut])
    assert "1 brokers" in kcat(broker, "-L")


def test_many_idle_connections(broker):
    idle = [connect(broker) for _ in range(500)]
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]
    for sock in idle:
        sock.close()


@pytest.mark.parametrize("limit", [{"max.connections.per.ip": 20}, {"max.connections.per.ip.overrides": "127.0.0.1:20,127.0.0.2:1"},
                                   {"max.connections.per.ip": 1, "max.connections.per.ip.overrides": "localhost:20"}])
def test_a_limit_per_address(make_broker, limit):
    broker = make_broker(**limit)
    socks = [connect(broker) for _ in range(30)]
    alive = 0
    for sock in socks:
        try:
            alive += ask_versions(sock) is not None
        except (ConnectionError, OSError):
            pass
    for sock in socks:  # only now, as each makes a place for one that is not accepted yet
        sock.close()
    assert 10 < alive <= 20
    assert "Rejected connection from 127.0.0.1, address already has the configured maximum of 20 connections" in broker.text()
    produce(broker, "t", ["x"])


def take_all_places(broker):
    """Connections, of which the last one waits for a place."""
    held = []
    while True:  # the controller has a connection, too, and those who looked whether it is up may still have
        held.append(connect(broker))
        held[-1].settimeout(0.5)
        try:
            assert ask_versions(held[-1])
        except TimeoutError:
            return held


def test_connections_above_the_limit_wait_for_a_place(make_broker):
    broker = make_broker(max_connections=10)
    held = take_all_places(broker)
    assert len(held) <= 11
    late = held.pop()
    held.pop().close()
    late.settimeout(30)
    assert read_frame(late)
    for sock in [late, *held]:
        sock.close()


def test_other_brokers_are_let_in_above_the_limit(make_broker):
    """Who did nothing for the longest time makes room, one for one."""
    inner = free_port()
    broker = make_broker(each=lambda b: {"listeners": f"CLIENTS://127.0.0.1:{b.port},BROKERS://127.0.0.1:{inner}", "inter.broker.listener.name": "BROKERS",
                                         "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT", "max.connections": 10})
    held = take_all_places(broker)
    late = held.pop()
    for sock in held[:2]:  # not idle for as long as the others
        assert ask_versions(sock)
    others = [socket.create_connection(("127.0.0.1", inner), PATIENCE) for _ in range(3)]
    for sock in others:
        sock.settimeout(PATIENCE)
        assert ask_versions(sock)
    gone = lambda: select.select(held, [], [], 0)[0]
    wait_until(lambda: len(gone()) >= 3, "room for three")
    assert all(sock.recv(1) == b"" for sock in gone())
    stay = [sock for sock in held if sock not in gone()]
    assert len(stay) == len(held) - 3 and stay[:2] == held[:2]
    for sock in stay:
        assert ask_versions(sock)
    for sock in [late, *held, *others]:
        sock.close()


def test_requests_of_bounded_size_in_all(make_broker):
    broker = make_broker(socket_request_max_bytes=1100000, queued_max_request_bytes=1100000)
    produce(broker, "t", ["x" * 1000] * 3000)
    assert len(consume(broker, "t")) == 3000


def test_idle_connections_are_closed(make_broker):
    broker = make_broker(connections_max_idle_ms=1500)
    with connect(broker) as sock:
        assert ask_versions(sock)
        assert read_frame(sock) is None


def test_frames_that_are_begun_count_among_the_requests(make_broker):
    """By what they say they are: else many that are nearly there would take any memory. They may end; others wait."""
    broker = make_broker(queued_max_request_bytes=1000000, socket_request_max_bytes=1000000)
    begun, other, late = connect(broker), connect(broker), connect(broker)
    rest = frame(API_VERSIONS, 0, bytes(600000))
    begun.sendall(rest[:300000])
    other.sendall(frame(API_VERSIONS, 0, bytes(600000))[:5000])
    with connect(broker) as sock:  # when this one waits, the two before have come
        def waits():
            sock.settimeout(1)
            try:
                return ask_versions(sock) is None
            except TimeoutError:
                return True
        wait_until(waits, "no room")
        late.sendall(frame(API_VERSIONS, 0) * 3)
        late.settimeout(1)
        with pytest.raises(TimeoutError):
            late.recv(1)
        begun.settimeout(PATIENCE)
        begun.sendall(rest[300000:])
        assert read_frame(begun) is not None
        sock.settimeout(PATIENCE)
        assert read_frame(sock) is not None
    late.settimeout(PATIENCE)
    for _ in range(3):
        assert read_frame(late) is not None
    other.close()  # with its bytes, or there would be no room for this
    many = [connect(broker) for _ in range(3)]
    for sock in many:
        sock.sendall(frame(API_VERSIONS, 0, bytes(600000))[:5000])
        sock.close()
    produce(broker, "t", ["x" * 1000] * 3000)
    begun.close()
    late.close()
