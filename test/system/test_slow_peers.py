"""One client's slowness is nobody else's: peers that do not read, that read slowly, and more of them than there are descriptors."""

import re
import select
import signal
import socket
import struct
import time
import zlib
from pathlib import Path

import pytest
from batches import make_batch, make_record, sized, varint
from frames import Out
from harness import PATIENCE, Barnabas, connect, consume, frame, java, kcat, produce, read_frame, receive, wait_until
from messages import SCHEMAS, Asker, write_request

API_VERSIONS, FETCH, PRODUCE = 18, 1, 0
GZIP = 1
BIG = 4_000_000


def fetch_all(topic):
    o = Out(False).raw("iiiib", -1, 500, 1, 2**31 - 1, 0)
    o.array([topic], lambda t: o.text(t).array([0], lambda p: o.raw("iqi", p, 0, 2**31 - 1)))
    return frame(FETCH, 4, o.data)


def lazy(broker, topic, asks=True):
    """A peer that asks for much, or will, and has little room for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", broker.port))
    if asks:
        sock.sendall(fetch_all(topic))
    return sock


def is_answered(broker):
    with connect(broker) as sock:
        sock.sendall(frame(API_VERSIONS, 0))
        return read_frame(sock) is not None


def fill(broker):
    produce(broker, "big", ["x" * 500_000] * (BIG // 500_000))


def test_answers_that_nobody_reads_hold_up_nobody(make_broker):
    broker = make_broker(queued_max_requests=20, socket_send_buffer_bytes=16384)
    fill(broker)
    peers = [lazy(broker, "big") for _ in range(60)]
    for sock in peers:
        assert struct.unpack(">i", receive(sock, 4))[0] > BIG  # it has come to sending
    for _ in range(5):
        assert is_answered(broker)
    produce(broker, "t", ["still here"])
    assert consume(broker, "t") == ["still here"]
    for sock in peers:
        sock.close()


def many_records():
    count = 300_000
    return b"".join(make_record(delta) for delta in range(count)), count


def many_headers():
    count = 10_000_000
    body = b"\0\0\0" + sized(None) + sized(b"v") + varint(count) + 2 * count * b"\0"
    return varint(len(body)) + body, 1


def heavy_request(topic, partitions, content):
    """Little to send, and much to look at."""
    records, count = content()
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    batch = make_batch([], attributes=GZIP, last_delta=count - 1, count=count, body=packer.compress(records) + packer.flush())
    o = Out(False).text(None).raw("hi", 1, 30000)
    o.array([topic], lambda t: o.text(t).array(range(partitions), lambda p: o.raw("ii", p, len(batch)).raw(f"{len(batch)}s", batch)))
    return frame(PRODUCE, 7, o.data)


@pytest.mark.parametrize("content", [many_records, many_headers])
def test_records_that_take_long_to_look_at_hold_up_nobody(make_broker, content):
    broker = make_broker(num_network_threads=1, message_max_bytes=10_000_000, num_partitions=10)
    produce(broker, "t", ["one"])
    heavy = connect(broker)
    request = heavy_request("t", 10, content)
    heavy.sendall(request[:-1])
    for _ in range(20):
        assert is_answered(broker)  # by now all but the last byte has been read
    answered = 0
    heavy.sendall(request[-1:])
    while not select.select([heavy], [], [], 0)[0]:
        answered += is_answered(broker)
    assert answered > 2
    answer = read_frame(heavy)
    assert answer is not None and b"\0\x01t" in answer
    heavy.close()
    ends = kcat(broker, "-Q", *[x for p in range(10) for x in ("-t", f"t:{p}:-1")])
    assert sum(map(int, re.findall(r"offset (\d+)", ends))) == 10 * content()[1] + 1


def test_who_does_not_read_is_closed_and_who_reads_slowly_is_not(make_broker):
    broker = make_broker(connections_max_idle_ms=2000, socket_send_buffer_bytes=16384)
    fill(broker)
    deaf, slow = lazy(broker, "big"), lazy(broker, "big")
    size = struct.unpack(">i", receive(slow, 4))[0]
    begun, got = time.monotonic(), 0
    while time.monotonic() - begun < 5:  # longer than one may be idle
        got += len(receive(slow, 1000))
        time.sleep(0.1)  # that is how slow it is
    assert f"{deaf.getsockname()[1]}" in next(line for line in broker.text().splitlines() if "has not read its answer" in line)
    rest = receive(slow, size - got)
    assert rest is not None and got + len(rest) == size
    deaf.close()
    slow.close()


class Limited(Barnabas):
    """With few file descriptors."""

    def spawn(self, command, env=None):
        super().spawn(["prlimit", "--nofile=400:400", *command], env)


def ask_in(broker):
    """A connection, or None if it is refused."""
    sock = connect(broker)
    sock.settimeout(PATIENCE)
    try:
        sock.sendall(frame(API_VERSIONS, 0))
        return None if read_frame(sock) is None else sock
    except ConnectionError:
        return None


def connect_until_refused(broker):
    held = []
    while sock := ask_in(broker):
        held.append(sock)
        assert len(held) < 400
    assert "file descriptors are in use" in broker.text()
    return held


def test_data_and_other_brokers_go_before_clients(make_broker):
    broker = make_broker(kind=Limited, **{"default.replication.factor": 1})
    kcat(broker, "-L")
    held = connect_until_refused(broker)
    o = Out(False)
    o.array(["new"], o.text).raw("b", 1)
    held[0].sendall(frame(3, 4, o.data))  # Metadata, which makes the topic: its log's files find their place
    assert read_frame(held[0]) is not None
    wait_until(lambda: (broker.data / "new-0").is_dir(), "the topic's log")
    for sock in held:
        sock.close()
    produce(broker, "new", ["x"])
    assert consume(broker, "new") == ["x"]
    assert "Cannot accept" not in broker.text()


STORAGE_ERROR = 56


def write(asker, partition, value):
    """A segment takes two of these. Returns the error and the offset."""
    batch = make_batch([make_record(value=value.ljust(400, b"."))])
    answer = asker.get("Produce", 9, {"Acks": -1, "TimeoutMs": 30000, "TopicData": [{"Name": "t", "PartitionData": [{"Index": partition, "Records": batch}]}]})
    found = answer["Responses"][0]["PartitionResponses"][0]
    return found["ErrorCode"], found["BaseOffset"]


def read_numbers(broker):
    lines = consume(broker, "t", fmt="%p %o %s\\n")
    return {tuple(map(int, line.rstrip(".").split())) for line in lines if "after" not in line}


def test_logs_that_find_no_descriptor_lose_nothing(make_broker):
    """And their directory stays: what is refused is taken again when there are some."""
    partitions = 10
    broker = make_broker(kind=Limited, log_segment_bytes=1000)
    taken, refused = set(), set()
    with Asker(broker) as asker:
        asker.get("CreateTopics", 2, {"Topics": [{"Name": "t", "NumPartitions": partitions, "ReplicationFactor": 1}], "timeoutMs": 30000})
        wait_until(lambda: all((broker.data / f"t-{p}").is_dir() for p in range(partitions)), "the logs")
        held = connect_until_refused(broker)
        for number in range(100 * partitions):
            if len(refused) == partitions:
                break
            error, offset = write(asker, number % partitions, b"%d" % number)
            assert error in (0, STORAGE_ERROR)
            if error:
                refused.add(number % partitions)
            else:
                taken.add((number % partitions, offset, number))
        assert len(refused) == partitions
        assert "as many files open as it may" in broker.text()
        for sock in held:
            sock.close()
        for partition in range(partitions):
            wait_until(lambda p=partition: write(asker, p, b"after")[0] == 0, "a partition that takes records again")
    assert "offline" not in broker.text()
    assert read_numbers(broker) == taken
    broker.kill()
    broker.restart()
    assert read_numbers(broker) == taken


def left_open(port):
    """Connections whose peer has gone, which the broker does not know yet."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [x for x in lines if x[3] == "08" and int(x[1].split(":")[1], 16) == port]


def test_who_goes_while_his_request_is_elsewhere_is_not_waited_for(make_broker, zookeeper):
    """A worker has cut the logs when the peer is gone, and a follower that does not come would be waited for."""
    calm = {"zookeeper.session.timeout.ms": 60000, "replica.lag.time.max.ms": 600000}
    first = make_broker(data="first", **calm)
    second = make_broker(data="second", **{**calm, "broker.id": 1})
    java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", first.bootstrap, "--create", "--topic", "t", "--replica-assignment", "0:1")
    produce(first, "t", ["x"] * 10, "-X", "acks=all")
    second.process.send_signal(signal.SIGSTOP)
    try:
        tree = {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}], "TimeoutMs": 600000}
        data = write_request(SCHEMAS["DeleteRecords"].key, 2, tree)
        first.process.send_signal(signal.SIGSTOP)
        for _ in range(200):
            with connect(first) as sock:
                sock.sendall(struct.pack(">i", len(data)) + data)
        first.process.send_signal(signal.SIGCONT)

        def waiting():
            before = first.text().count("State: that is all")
            first.process.send_signal(signal.SIGUSR1)
            wait_until(lambda: first.text().count("State: that is all") > before, "the report")
            return int(re.findall(r"State: requests that wait: .*PurgatorySize DeleteRecords (\d+)", first.text())[-1])

        wait_until(lambda: not left_open(first.port), "all to have gone")
        wait_until(lambda: waiting() == 0, "nobody to be waited for")
    finally:
        second.process.send_signal(signal.SIGCONT)
