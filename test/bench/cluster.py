"""Clusters of three brokers, Apache Kafka 3.9.1 and barnabas in turns: replicated load, and how soon a cluster is itself again."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import measure
from measure import GIGA, TOP, cpu_seconds, end_load, harness, load, resident_mb, start_load

PROBE = measure.LOAD.with_name("probe")
IDS = (1, 2, 3)
CONNECTIONS = 4  # of producers to each broker: Apache serves one request of a connection at a time
IDLE_SECONDS = 10
PATIENCE = 300  # seconds: Apache takes a while to come back with thousands of partitions
PROPERTIES = {
    "default.replication.factor": 3,
    "offsets.topic.replication.factor": 3,
    "min.insync.replicas": 2,
    "zookeeper.session.timeout.ms": 6000,
    "auto.create.topics.enable": "false",
    "auto.leader.rebalance.enable": "false",  # leaders move only when a measurement moves them
}


class Cluster:
    """Brokers 1, 2 and 3 of one kind, with fresh data; all is gone at the end of the `with`."""

    def __init__(self, bench, kind):
        self.folder = Path(tempfile.mkdtemp(dir=bench.folder, prefix=kind))
        self.zookeeper = bench.zookeeper.chroot()
        self.brokers = {n: self.make_broker(kind, n) for n in IDS}

    def make_broker(self, kind, n):
        return measure.KINDS[kind](self.zookeeper, self.folder / f"data-{n}", self.folder / f"log-{n}", {**PROPERTIES, "broker.id": n})

    def __enter__(self):
        try:
            for broker in self.brokers.values():
                broker.launch()
            self.wait(lambda: all(self.is_complete(b) for b in self.brokers.values()), "three brokers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for broker in self.brokers.values():
            broker.kill()
        self.zookeeper.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self, condition, what):
        for broker in self.brokers.values():
            assert broker.is_running(), f"a broker has ended:\n{broker.text()[-2000:]}"
        harness.wait_until(condition, what, PATIENCE)

    @staticmethod
    def is_complete(broker):
        out = harness.kcat(broker, "-L", check=False)
        return out.count("  broker ") == len(IDS) and "(controller)" in out

    def controller(self):
        return json.loads(self.zookeeper.get("/controller"))["brokerid"]

    def other_than(self, *ids):
        return next(n for n in IDS if n not in ids)

    def address(self, n):
        return "127.0.0.1", self.brokers[n].port

    def cpu_seconds(self):
        return sum(cpu_seconds(b.process.pid) for b in self.brokers.values())

    def resident_mb(self):
        return sum(resident_mb(b.process.pid) for b in self.brokers.values())

    # ---- Topics ----

    def tool(self, name, *args):
        """One of our tools, asking all brokers; it may fail, as some have timeouts that Apache's brokers exceed."""
        servers = ",".join(b.bootstrap for b in self.brokers.values() if b.is_running())
        return subprocess.run([str(TOP / "bin" / name), "--bootstrap-server", servers, *map(str, args)], capture_output=True, text=True,
                              timeout=PATIENCE, env={**os.environ, "BARNABAS_BUILD": str(harness.BUILD)})

    def create(self, topic, replicas):
        """
        A topic with those replicas of each partition; the first is the leader. All have led, followed and served a producer then: a new
        topic is called in sync before any broker knows of it, so that a record in each partition is what shows it.
        """
        assignment = ",".join(":".join(map(str, r)) for r in replicas)
        self.tool("kafka-topics.sh", "--create", "--topic", topic, "--replica-assignment", assignment)
        self.wait(lambda: all(self.knows(n, topic) for n in IDS), f"{topic} in everybody's metadata")
        probe = Probe(self.address(IDS[0]), topic, -1)
        assert probe.watched == len(replicas), f"{topic} has {probe.watched} partitions"
        probe.result()

    def create_anywhere(self, topic, partitions):
        """A topic whose replicas are where the broker places them. All have led, followed and served a producer then."""
        self.tool("kafka-topics.sh", "--create", "--topic", topic, "--partitions", partitions, "--replication-factor", len(IDS))
        for n in IDS:
            self.in_sync(n, topic, partitions, len(IDS))
        probe = Probe(self.address(IDS[0]), topic, -1)
        assert probe.watched == partitions, f"{topic} has {probe.watched} partitions"
        probe.result()

    def knows(self, n, topic):
        out = harness.kcat(self.brokers[n], "-L", "-t", topic, check=False)
        return " partitions:" in out and "Broker:" not in out


    def wait_in_sync(self, topic):
        def in_sync():
            done = self.tool("kafka-topics.sh", "--describe", "--topic", topic, "--under-replicated-partitions")
            return done.returncode == 0 and not done.stdout.strip()

        self.wait(in_sync, f"{topic} in sync")

    def elect_preferred(self, topic, partitions):
        """The first replica of each partition leads it again."""
        self.tool("kafka-leader-election.sh", "--election-type", "preferred", "--all-topic-partitions")

        def are_preferred():
            lines = self.tool("kafka-topics.sh", "--describe", "--topic", topic).stdout.splitlines()
            rows = [dict(x.split(": ", 1) for x in line.strip().split("\t") if ": " in x) for line in lines if line.startswith("\t")]
            return len(rows) == partitions and all(r["Leader"] == r["Replicas"].split(",")[0] for r in rows)

        self.wait(are_preferred, f"preferred leaders of {topic}")

    # ---- Losses ----

    def lose(self, n, topic, partitions):
        """
        Kills a broker that leads so many partitions. Returns seconds, from when ZooKeeper has ended its session: to when those have other
        leaders, and to when they are writable.
        """
        led, written, led_before = self.lose_any(n, topic)
        assert led_before == partitions, f"broker {n} led {led_before} partitions of {topic}"
        return led, written

    def lose_any(self, n, topic):
        """The same, however many it leads; and how many that is."""
        probe = Probe(self.address(self.other_than(n)), topic, n)
        end = Change(self.zookeeper.client, f"/brokers/ids/{n}", there=True)
        self.brokers[n].kill()
        led, written = probe.result()
        gone = end.moment()
        return led - gone, written - gone, probe.watched

    def shut_down(self, n):
        """SIGTERM; the seconds until the process has ended."""
        process = self.brokers[n].process
        fd = os.pidfd_open(process.pid)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ended, _, _ = select.select([fd], [], [], PATIENCE)
        taken = time.monotonic() - begun
        os.close(fd)
        assert ended, f"broker {n} does not stop:\n{self.brokers[n].text()[-2000:]}"
        process.wait()
        return taken

    def in_sync(self, n, topic, partitions, count):
        """When broker n's Metadata had all of the partitions with so many in sync, in seconds of time.monotonic()."""
        out = harness.run([PROBE, *self.address(n), topic, "sync", partitions, count], timeout=PATIENCE)
        return json.loads(out)["sync_us"] / 1e6

    def return_of(self, n, topic, partitions):
        """Starts a broker again that was killed. Returns seconds, from when it has registered to when all are in sync."""
        self.in_sync(self.other_than(n), topic, partitions, len(IDS) - 1)
        back = Change(self.zookeeper.client, f"/brokers/ids/{n}", there=False)
        self.brokers[n].launch()
        return self.in_sync(self.other_than(n), topic, partitions, len(IDS)) - back.moment()

    def bring_back(self, n, topic):
        self.brokers[n].launch()
        self.wait(lambda: self.is_complete(self.brokers[n]), f"broker {n}")
        self.wait_in_sync(topic)


class Probe:
    """A client that writes to what a broker leads as soon as somebody else does. Ready, and waiting, once it is made."""

    def __init__(self, address, topic, gone):
        command = [str(x) for x in (PROBE, *address, topic, gone)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.communicate()[1])
        self.watched = json.loads(line)["watched"]

    def result(self):
        """Seconds of time.monotonic(): when all had leaders, and when all were written."""
        out, err = self.process.communicate()  # it gives up by itself
        if self.process.returncode != 0:
            raise RuntimeError(err)
        result = json.loads(out)
        return result["led_us"] / 1e6, result["written_us"] / 1e6


class Change:
    """Notes when a znode comes or ends. A broker that is killed is gone for the others when ZooKeeper ends its session, and not before."""

    def __init__(self, client, path, there):
        self.path, self.at, self.happened = path, None, threading.Event()
        assert bool(client.exists(path, watch=self.on_change)) == there, f"{path} is {'not ' if there else ''}there"

    def on_change(self, _):
        self.at = time.monotonic()
        self.happened.set()

    def moment(self):
        assert self.happened.wait(PATIENCE), f"nothing has happened to {self.path}"
        return self.at


class Run(measure.Run):
    """Each part has a cluster of its own."""

    def measure(self, part):
        with Cluster(self.bench, self.kind) as cluster:
            part(cluster)

    def produce(self, cluster, name, size, *how):
        """
        Each broker leads four partitions and is written to over four connections, all at once, until that many bytes are written.
        Returns CPU seconds of the brokers per GB, and GB per second.
        """
        for n in IDS:
            cluster.create(f"{name}-{n}", self.rotated(n, 4))
        share = int(size / len(IDS) / CONNECTIONS)
        cpu, begun = cluster.cpu_seconds(), time.monotonic()
        loads = [start_load("produce", *cluster.address(n), f"{name}-{n}", 4, share, *how, -1) for n in IDS for _ in range(CONNECTIONS)]
        written = sum(end_load(x)["bytes"] for x in loads) / GIGA
        return (cluster.cpu_seconds() - cpu) / written, written / (time.monotonic() - begun)

    def warm_up(self, cluster):
        """Requests, not bytes, are what Java's compiler counts before it begins in earnest."""
        self.produce(cluster, "warm", self.options.warm_up * len(IDS) * 1000, 1000, 1, "none")

    @staticmethod
    def rotated(leader, partitions):
        """All led by one broker; who takes over if it goes is the one and the other of the rest in turns."""
        a, b = (n for n in IDS if n != leader)
        return [(leader, a, b) if p % 2 == 0 else (leader, b, a) for p in range(partitions)]

    @staticmethod
    def idle(cluster):
        """CPU time per second while nobody asks for anything, once what follows from the topics' making is over."""
        time.sleep(IDLE_SECONDS)
        cpu = cluster.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        return (cluster.cpu_seconds() - cpu) * 1000 / IDLE_SECONDS

    # ---- What is measured ----

    def throughput(self, cluster):
        self.note("memory of three brokers, idle", cluster.resident_mb(), "MB")
        self.warm_up(cluster)
        for record, batch, codec in ((1000, 16384, "none"), (1000, 16384, "lz4"), (1000, 100000, "none"), (100, 16384, "none")):
            name = f"{record} B records, {batch // 1000} KB batches, {codec}"
            cpu, rate = self.produce(cluster, f"t{record}-{batch}-{codec}", self.options.gigabytes * GIGA, record, batch, codec)
            self.note(f"produce, acks=all: CPU of three brokers per GB, {name}", cpu, "s")
            self.note(f"produce, acks=all: rate, {name}", rate, "GB/s")
        self.note("memory of three brokers, after load", cluster.resident_mb(), "MB")

    def latency(self, cluster):
        self.warm_up(cluster)
        for topic, seconds in (("calm", 3), ("latency", self.options.seconds)):
            cluster.create(topic, self.rotated(IDS[0], 1))
            result = load("latency", *cluster.address(IDS[0]), topic, self.options.rate, seconds, 1000, -1)
        for what, name in (("acked_us", "produce to acknowledgement"), ("seen_us", "produce to consumer")):
            for p in ("p50", "p99", "p999"):
                self.note(f"latency, acks=all, {self.options.rate}/s, {name}, {p}", result[what][p] / 1000, "ms")

    def failover(self, cluster):
        count = self.options.leaders
        victim = cluster.other_than(cluster.controller())
        cluster.create("failover", self.rotated(victim, count))
        led, written = cluster.lose(victim, "failover", count)
        what = f"kill -9 of the leader of {count:,} partitions: session's end to"
        self.note(f"{what} new leaders in Metadata", led * 1000, "ms")
        self.note(f"{what} all writable, acks=all", written * 1000, "ms")

    def controller(self, cluster):
        third = self.options.partitions // len(IDS)
        count = third * len(IDS)
        cluster.create("many", [IDS[p % 3:] + IDS[:p % 3] for p in range(count)])
        self.note(f"CPU of three brokers, idle, {count:,} partitions", self.idle(cluster), "ms/s")
        controller = cluster.controller()
        leaving = cluster.other_than(controller)
        taken = cluster.shut_down(leaving)
        self.note(f"controlled shutdown, leader of {third:,} of {count:,} partitions: SIGTERM to exit", taken * 1000, "ms")
        cluster.bring_back(leaving, "many")
        cluster.elect_preferred("many", count)
        led, written = cluster.lose(controller, "many", third)
        what = f"kill -9 of the controller, {count:,} partitions: session's end to"
        self.note(f"{what} new leaders of its {third:,} in Metadata", led * 1000, "ms")
        self.note(f"{what} its {third:,} writable, acks=all", written * 1000, "ms")


PARTS = ["throughput", "latency", "failover", "controller"]


def arguments():
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--gigabytes", type=float, default=1, help="data of each throughput measurement")
    parser.add_argument("--rate", type=int, default=200, help="records per second of the latency measurement")
    parser.add_argument("--warm-up", type=int, default=20000, help="requests to each broker before load is measured")
    parser.add_argument("--leaders", type=int, default=600, help="partitions that the broker leads that is killed")
    parser.add_argument("--partitions", type=int, default=2000, help="partitions when the controller is killed")
    return parser


if __name__ == "__main__":
    measure.main(arguments(), Run)
