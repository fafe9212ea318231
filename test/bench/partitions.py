"""
Many partitions, Apache Kafka 3.9.1 and barnabas in turns: one topic with thousands of them, thousands of topics with one each, and
thousands that three brokers have replicas of, of which brokers are killed and come back. And what it takes to tell Prometheus of them all,
of barnabas alone.
"""

import json
import os
import re
import socket
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import cluster
import measure
from confluent_kafka.admin import AdminClient, NewTopic
from measure import cpu_seconds, harness, load
from storage import TOPIC, timed_start

CROWD = measure.LOAD.with_name("crowd")
PATIENCE = 600  # seconds that any step may take
ROUNDS = 20


def proportional_kb(pid):
    """Memory that goes with the process: what it shares with others counts in parts."""
    return int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])


def threads_cpu_seconds(pid, name):
    """Of those threads whose names begin so."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(name):
            found += int((task / "schedstat").read_text().split()[0])
    return found / 1e9


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def serving(broker, partitions):
    """Waits until all partitions are served; when that was, in seconds of the monotonic clock."""
    command = [str(x) for x in (measure.LOAD.with_name("serving"), "127.0.0.1", broker.port, TOPIC, partitions)]
    return json.loads(harness.run(command, timeout=PATIENCE))["served_us"] / 1e6


def crowd(what, broker, *args):
    return json.loads(harness.run([CROWD, what, "127.0.0.1", broker.port, *args], timeout=PATIENCE))


def folders(broker, topic):
    """Those that are the topic's yet, and not renamed to be deleted."""
    return [d for d in os.listdir(broker.data) if d.startswith(topic) and not d.endswith("-delete")]


def scrape(port, dialect):
    """How many bytes were told. What comes is not looked at, which takes Python as long as the broker."""
    told, room = 0, bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        s.sendall(f"GET /metrics/{dialect} HTTP/1.0\r\n\r\n".encode())
        while n := s.recv_into(room):
            told += n
    return told


@contextmanager
def scraped_meanwhile(port):
    """As by a Prometheus that asks more often than any would."""
    over = threading.Event()

    def scrape_on():
        while not over.wait(1):
            scrape(port, "metrics")

    scraper = threading.Thread(target=scrape_on)
    scraper.start()
    try:
        yield
    finally:
        over.set()
        scraper.join()


class Run(measure.Run):
    def measure(self, part):
        if part == self.replicated:
            with cluster.Cluster(self.bench, self.kind) as brokers:
                part(brokers)
        else:
            self.measure_alone(part)

    def measure_alone(self, part):
        """What a broker leaves stays until the end: file systems look long for inodes where many have just been deleted."""
        folder = Path(tempfile.mkdtemp(dir=self.bench.folder, prefix=self.kind))
        http = harness.free_port()
        broker = measure.make_broker(self.kind, self.bench.zookeeper.chroot(), folder, {"zookeeper.session.timeout.ms": "30000"})
        if part == self.scraped:
            broker.properties["barnabas.http.listeners"] = f"METRICS://127.0.0.1:{http}"
            broker.http = http
        try:
            broker.start()
            part(broker)
        finally:
            broker.kill()
            broker.zookeeper.close()

    @contextmanager
    def step(self, broker, what):
        """Its time, and the CPU of broker and ZooKeeper meanwhile."""
        pids = [broker.process.pid, self.bench.zookeeper.process.pid]
        begun, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        yield
        taken = time.monotonic() - begun
        self.note(what, taken, "s")
        for name, pid, then in zip(("broker", "ZooKeeper"), pids, before):
            self.note(f"{what}: CPU of {name}", cpu_seconds(pid) - then, "s")

    def count(self, broker, base_kb, things, what):
        pid = broker.process.pid
        self.note(f"memory for each of {what}", (proportional_kb(pid) - base_kb) / things, "KB")
        self.note(f"descriptors, {what}", descriptors(pid), "")

    def restart(self, broker, what, partitions):
        begun = time.monotonic()
        broker.stop()
        self.note(f"stop, {what}", time.monotonic() - begun, "s")
        taken = timed_start(broker, partitions, 0)
        self.note(f"start, {what}", taken, "s")
        self.note(f"start, {what}: CPU", cpu_seconds(broker.process.pid), "s")

    # ---- What is measured ----

    def one_topic(self, broker):
        n = self.options.partitions or 10000
        what = f"{n:,} partitions of a topic"
        base_kb = proportional_kb(broker.process.pid)
        with self.step(broker, f"create {what}"):
            measure.tool("kafka-topics.sh", broker, "--create", "--topic", TOPIC, "--partitions", n, "--replication-factor", 1)
            serving(broker, n)
        self.count(broker, base_kb, n, what)
        self.note(f"fetch from {what}, without a session", crowd("fetch", broker, TOPIC, n, ROUNDS)["median_us"] / 1000, "ms")
        self.restart(broker, what, n)
        self.count(broker, base_kb, n, f"{what}, after a start")
        with self.step(broker, f"delete {what}"):
            measure.tool("kafka-topics.sh", broker, "--delete", "--topic", TOPIC)
            node = f"/brokers/topics/{TOPIC}"
            harness.wait_until(lambda: not folders(broker, f"{TOPIC}-") and not broker.zookeeper.client.exists(node), f"{TOPIC} gone", PATIENCE)

    def many_topics(self, broker):
        n = self.options.topics
        what = f"{n:,} topics"
        base_kb = proportional_kb(broker.process.pid)
        with self.step(broker, f"create {what}, 500 in a request"):
            crowd("topics", broker, 0, n)
        self.count(broker, base_kb, n, what)
        one_more = sorted(crowd("topics", broker, n + i, 1)["sum_us"] for i in range(ROUNDS))
        self.note(f"create one more than {what}", one_more[ROUNDS // 2] / 1000, "ms")
        self.note(f"Metadata of {what}", crowd("metadata", broker, ROUNDS)["median_us"] / 1000, "ms")

    def scraped(self, broker):
        """By the threads that answer, whatever else the machine does."""
        if self.kind != "barnabas":
            return
        topics, each = self.options.scraped_topics, 40
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for first in range(0, topics, 50):
            made = admin.create_topics([NewTopic(f"{TOPIC}-{i}", each, 1) for i in range(first, min(first + 50, topics))], request_timeout=PATIENCE)
            for done in made.values():
                done.result(PATIENCE)
        harness.wait_until(lambda: len(folders(broker, f"{TOPIC}-")) == topics * each, "all logs", PATIENCE)
        for dialect in "metrics", "native", "strimzi", "confluent", "raw", "exporter":
            taken, cpu, size = [], [], 0
            for _ in range(ROUNDS):
                begun, before = time.monotonic(), threads_cpu_seconds(broker.process.pid, "http")
                size = scrape(broker.http, dialect)
                taken.append(time.monotonic() - begun)
                cpu.append(threads_cpu_seconds(broker.process.pid, "http") - before)
            what = f"scrape {topics * each:,} partitions, /metrics/{dialect}"
            self.note(what, statistics.median(taken) * 1000, "ms")
            self.note(f"{what}: CPU", statistics.median(cpu) * 1000, "ms")
            self.note(f"{what}: size", size / 1e6, "MB")
        os.sync()  # so many logs have just been made
        load("latency", "127.0.0.1", broker.port, f"{TOPIC}-0", 500, self.options.seconds, 1000, 1)
        for how in "alone", "beside a scrape each second":
            with scraped_meanwhile(broker.http) if how != "alone" else nullcontext():
                acked = load("latency", "127.0.0.1", broker.port, f"{TOPIC}-0", 500, self.options.seconds, 1000, 1)["acked_us"]
            for share in "p99", "p999":
                self.note(f"producer's {share} among {topics * each:,} partitions, {how}", acked[share] / 1000, "ms")

    def replicated(self, brokers):
        """A broker that is not the controller goes and comes back, then the controller does."""
        n = self.options.partitions or 3000
        what = f"{n:,} partitions x {len(cluster.IDS)} replicas"
        begun = time.monotonic()
        brokers.create_anywhere(TOPIC, n)
        self.note(f"create {what}, until all are written", time.monotonic() - begun, "s")
        controller = brokers.controller()
        for role, victim in (("a broker", brokers.other_than(controller)), ("the controller", controller)):
            others = [b.process.pid for i, b in brokers.brokers.items() if i != victim]
            before = [cpu_seconds(pid) for pid in others]
            led, written, led_before = brokers.lose_any(victim, TOPIC)
            losing = f"kill -9 of {role}, {what}: session's end to"
            self.note(f"{losing} new leaders in Metadata", led, "s")
            self.note(f"{losing} all that it led written, acks=all", written, "s")
            self.note(f"partitions led by {role}", led_before, "")
            self.note(f"{role} is back, {what}: registration to full ISRs in Metadata", brokers.return_of(victim, TOPIC, n), "s")
            self.note(f"CPU of the other two meanwhile, {what}, {role}", sum(map(cpu_seconds, others)) - sum(before), "s")


PARTS = ["one_topic", "many_topics", "scraped", "replicated"]


def arguments():
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--partitions", type=int, help="of the one topic (10000), and of the replicated one (3000)")
    parser.add_argument("--topics", type=int, default=10000, help="with one partition each; Apache has a file open for each")
    parser.add_argument("--scraped-topics", type=int, default=500, help="with 40 partitions each")
    return parser


if __name__ == "__main__":
    measure.main(arguments(), Run)
