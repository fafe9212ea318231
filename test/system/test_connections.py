"""Many connections, slow ones, and those that take without giving: memory stays bounded, others go on."""

import gzip
import re
import resource
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
import harness
from batches import make_batch, make_record
from harness import BUILD, TOP, connect, consume, frame, free_port, kcat, memory, produce, read_frame, run, wait_until

API_VERSIONS, PRODUCE, FETCH = 18, 0, 1
MEGA = 1 << 20


def answers(sock):
    sock.sendall(frame(API_VERSIONS, 0))
    return read_frame(sock) is not None


# ---- Many ----


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11000:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (11000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_idle_connections(many_files, broker):
    before = memory(broker.process.pid)
    idle = [connect(broker) for _ in range(10000)]
    assert answers(idle[0]) and answers(idle[-1])
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]
    assert memory(broker.process.pid) - before < 10000 * 16 * 1024
    for sock in idle:
        sock.close()
    produce(broker, "t", ["y"])
    assert consume(broker, "t") == ["x", "y"]


def test_a_storm_of_connections(broker):
    def storm():
        for i in range(500):
            with connect(broker) as sock:
                if i % 3 == 0:
                    sock.sendall(frame(API_VERSIONS, 0)[: i % 30])
                elif i % 3 == 1:
                    assert answers(sock)

    threads = [threading.Thread(target=storm) for _ in range(6)]
    for thread in threads:
        thread.start()
    for i in range(10):
        produce(broker, "t", [str(i)])
    for thread in threads:
        thread.join()
    assert consume(broker, "t") == [str(i) for i in range(10)]


# ---- Slow ----


def test_one_who_never_reads_costs_little(broker):
    produce(broker, "t", ["x" * 1000] * 5000)
    before = memory(broker.process.pid)
    fetch = struct.pack(">iiiib", -1, 0, 0, 50 * MEGA, 0) + struct.pack(">ih", 1, 1) + b"t" + struct.pack(">iiqi", 1, 0, 0, MEGA)
    with connect(broker) as sock:
        sock.settimeout(1)
        try:
            for i in range(100000):
                sock.sendall(frame(FETCH, 4, fetch, correlation=i))
        except TimeoutError:
            pass
        else:
            pytest.fail("the broker read 100,000 requests whose answers nobody takes")
        assert memory(broker.process.pid) - before < 64 * MEGA
        produce(broker, "u", ["still here"])
        assert consume(broker, "u") == ["still here"]


def test_half_a_request_is_not_waited_for_for_ever(make_broker):
    broker = make_broker(connections_max_idle_ms=1500)
    with connect(broker) as sock:
        sock.sendall(struct.pack(">i", 50 * MEGA) + b"some of it")
        assert read_frame(sock) is None


def test_a_promise_of_much_takes_no_memory_yet(broker):
    """Lengths are believed up to socket.request.max.bytes, but memory is only touched as bytes come."""
    before = memory(broker.process.pid)
    socks = [connect(broker) for _ in range(50)]
    for sock in socks:
        sock.sendall(struct.pack(">i", 100 * MEGA) + b"x" * 100)
    assert "1 brokers" in kcat(broker, "-L")
    assert memory(broker.process.pid) - before < 100 * MEGA
    for sock in socks:
        sock.close()


def test_few_requests_at_a_time(make_broker):
    """queued.max.requests holds back reading; nobody loses an answer."""
    broker = make_broker(queued_max_requests=1, num_network_threads=2)
    socks = [connect(broker) for _ in range(50)]
    for sock in socks:
        sock.sendall(b"".join(frame(API_VERSIONS, 0, correlation=i) for i in range(20)))
    for sock in socks:
        data = b""
        seen = 0
        while seen < 20:
            data += sock.recv(65536)
            while len(data) >= 4 and len(data) >= 4 + struct.unpack(">i", data[:4])[0]:
                assert struct.unpack(">i", data[4:8])[0] == seen
                seen += 1
                data = data[4 + struct.unpack(">i", data[:4])[0]:]
        sock.close()


# ---- Poisoned records ----


def batch(records, count=1, codec=0, crc=None):
    return make_batch(attributes=codec, last_delta=count - 1, count=count, first_time=0, crc=crc, body=records)


def send_batch(sock, data):
    """Produces to partition 0 of t; returns the error code, or None if the connection was closed."""
    body = struct.pack(">hhi", -1, 1, 10000) + struct.pack(">ih", 1, 1) + b"t" + struct.pack(">iii", 1, 0, len(data)) + data
    sock.sendall(frame(PRODUCE, 3, body))
    answer = read_frame(sock)
    return None if answer is None else struct.unpack(">h", answer[4 + 4 + 3 + 4 + 4:][:2])[0]


def test_a_wrong_crc_is_refused(broker):
    produce(broker, "t", ["before"])
    with connect(broker) as sock:
        assert send_batch(sock, batch(make_record(value=b"x"), crc=1)) == 2
        assert send_batch(sock, batch(make_record(value=b"good"))) == 0
    assert consume(broker, "t") == ["before", "good"]


def test_a_batch_that_lies_about_its_records_is_refused(broker):
    produce(broker, "t", ["before"])
    with connect(broker) as sock:
        for data in (batch(make_record(value=b"x"), count=2), batch(make_record(value=b"x")[:-1]), batch(make_record(value=b"x") + b"more"), batch(b"", count=0),
                     batch(b"\x01\x02\x03", codec=1), batch(b"garbage", codec=4), batch(make_record(value=b"x"), codec=7)):
            assert send_batch(sock, data) in (2, 42, 74, 76, 87), data
        assert send_batch(sock, batch(make_record(value=b"good"))) == 0
    assert consume(broker, "t") == ["before", "good"]


def test_a_decompression_bomb_does_not_go_off(broker, zookeeper):
    """A batch that unfolds to 900 MB is small on the wire and on disk: Kafka takes it. What has to unfold it refuses."""
    bomb = batch(gzip.compress(make_record(value=bytes(900 * MEGA)), 9), codec=1)
    assert len(bomb) < MEGA
    produce(broker, "t", ["before"])
    before = memory(broker.process.pid)
    with connect(broker) as sock:
        assert send_batch(sock, bomb) == 0
        assert memory(broker.process.pid) - before < 150 * MEGA
        run([TOP / "bin" / "kafka-topics.sh", "--zookeeper", zookeeper.connect, "--alter", "--topic", "t", "--config", "compression.type=zstd"],
            env={"BARNABAS_BUILD": str(BUILD)})
        wait_until(lambda: send_batch(sock, bomb) != 0, "the topic's own compression")
        assert memory(broker.process.pid) - before < 150 * MEGA
        assert send_batch(sock, batch(make_record(value=b"good"))) == 0
    assert consume(broker, "t", "-o", "-1") == ["good"]


# ---- Listeners ----


def test_several_listeners_and_ipv6(make_broker, zookeeper):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6")
    inner, outer = free_port(), free_port()
    broker = start_with_listeners(make_broker, inner, outer)
    out = subprocess.run(["kcat", "-b", f"[::1]:{inner}", "-L"], capture_output=True, text=True, check=True).stdout
    assert f"broker 0 at ::1:{inner}" in out or f"broker 0 at [::1]:{inner}" in out
    assert f"broker 0 at localhost:{outer}" in kcat(broker, "-L")
    endpoints = zookeeper.get("/brokers/ids/0").decode()
    assert f"INNER://[::1]:{inner}" in endpoints and f"OUTER://localhost:{outer}" in endpoints
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]


def start_with_listeners(make_broker, inner, outer):
    """kcat of the harness uses the port of the outer one."""
    original = harness.free_port
    try:
        harness.free_port = lambda: outer
        return make_broker(listeners=f"INNER://[::1]:{inner},OUTER://127.0.0.1:{outer}",
                           **{"listener.security.protocol.map": "INNER:PLAINTEXT,OUTER:PLAINTEXT", "inter.broker.listener.name": "INNER",
                              "advertised.listeners": f"INNER://[::1]:{inner},OUTER://localhost:{outer}"})
    finally:
        harness.free_port = original


# ---- Zero copy ----


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_a_fetch_reads_no_records_into_the_broker(broker, tmp_path):
    produce(broker, "t", ["x" * 1000] * 10000)
    trace = tmp_path / "trace"
    calls = "read,readv,pread64,preadv,preadv2,sendfile,mmap"
    strace = subprocess.Popen(["strace", "-f", "-y", "-e", f"trace={calls}", "-p", str(broker.process.pid), "-o", trace], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: strace.poll() is not None or b"attached" in strace.stderr.readline(), "strace")
        if strace.poll() is not None:
            pytest.skip("strace may not attach here")
        assert len(consume(broker, "t")) == 10000
    finally:
        strace.terminate()
        strace.wait()
    sent = read = 0
    for line in trace.read_text(errors="replace").splitlines():
        if not re.search(r"/t-0/\d+\.log", line) or not (done := re.search(r"= (\d+)$", line)):
            continue
        if "sendfile" in line:
            sent += int(done.group(1))
        else:
            read += int(done.group(1))
    assert sent > 10 * 1000 * 1000, sent
    assert read < sent / 1000, (read, sent)
