"""Kafka's port while that of HTTP is abused: what is done to the one is nobody's trouble at the other."""

import socket
import urllib.error
from functools import partial

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, Meanwhile, free_port, most_memory, wait_until
from test_exporter import status

RECORDS = 20_000
MOST_MEMORY = 300 << 20
SLOW = 3 * [50 * ["silent", "slow"]]  # what each thread holds
PATHS = "/metrics", "/", "/jolokia/read/kafka.*:*"
UNFINISHED = b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 10_000


class Abuse(Meanwhile):
    """Connections that say nothing, or a byte at a time, and those that ask and do not read. Who is closed comes again."""

    def __init__(self, port):
        self.port, self.faults = port, []
        self.came, self.asked, self.bytes = 0, dict.fromkeys(PATHS, 0), 0
        work = [(self.be_slow, x) for x in SLOW] + [(self.be_deaf, path) for path in PATHS for _ in "12"]
        super().__init__(*(partial(self.do, *x) for x in work))

    def do(self, what, argument):
        try:
            what(argument)
        except Exception as fault:
            self.faults.append(fault)

    def call(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", self.port))
        sock.setblocking(False)
        self.came += 1
        return sock

    def be_slow(self, kinds):
        held = [None] * len(kinds)
        while not self.over.is_set():
            for i, kind in enumerate(kinds):
                try:
                    held[i] = held[i] or (self.call(), iter(UNFINISHED))
                    sock, text = held[i]
                    if kind == "slow":
                        self.bytes += sock.send(bytes([next(text)]))
                    assert sock.recv(1) != b""
                except BlockingIOError:
                    pass  # it is still there
                except (OSError, AssertionError, StopIteration):
                    held[i] = held[i] and held[i][0].close()
            self.over.wait(0.1)
        for sock, _ in filter(None, held):
            sock.close()

    def be_deaf(self, path):
        request, held = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), []
        while not self.over.is_set():
            try:
                held.append(self.call())
                for _ in range(20):
                    held[-1].sendall(request)
                    self.asked[path] += 1
            except OSError:
                pass
            if len(held) > 10:
                held.pop(0).close()
            self.over.wait(0.02)
        for sock in held:
            sock.close()


def is_alive(port):
    """Who has come, and not asked yet, is as those who are slow: it may have to go when very many come, and asks again, as probes do."""
    for _ in range(3):
        try:
            return status(port, "livez") == 200
        except (ConnectionError, urllib.error.URLError):
            pass
    return False


def carry(broker):
    """Records through the broker, in order. Yields now and then."""
    faults = []
    common = {"bootstrap.servers": broker.bootstrap, "error_cb": faults.append}
    producer = confluent_kafka.Producer({**common, "linger.ms": 5, "acks": "all"})
    consumer = confluent_kafka.Consumer({**common, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    seen = []
    for i in range(RECORDS):
        producer.produce("t", str(i).encode(), on_delivery=lambda error, _: error and faults.append(error))
        if i % 1000 == 0:
            producer.poll(0)
            seen += consumer.consume(1000, 0.01)
            yield
    assert producer.flush(PATIENCE) == 0
    while len(seen) < RECORDS and (more := consumer.consume(1000, PATIENCE)):
        seen += more
        yield
    consumer.commit(asynchronous=False)
    consumer.close()
    assert faults == [] and [m.error() for m in seen if m.error()] == []
    assert [int(m.value()) for m in seen] == list(range(RECORDS))


def test_records_are_carried_while_the_http_port_is_abused(make_broker):
    port = free_port()
    broker = make_broker(start=False, **{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})
    broker.env["ASAN_OPTIONS"] = "abort_on_error=0:verify_asan_link_order=0:quarantine_size_mb=16"  # or most of its memory is what it has given back
    broker.start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for made in admin.create_topics([NewTopic("t", 1, 1), NewTopic("wide", 100, 1)]).values():
        made.result()
    with Abuse(port) as abuse:
        wait_until(lambda: abuse.came > 1000 and abuse.bytes > 1000 and all(n > 100 for n in abuse.asked.values()), "the abuse")
        came = abuse.came
        for _ in carry(broker):
            assert is_alive(port)
        assert abuse.came > came and abuse.faults == [] and all(t.is_alive() for t in abuse.threads)
        assert most_memory(broker.process.pid) < MOST_MEMORY
        assert broker.stop() == 0
    assert abuse.faults == []
