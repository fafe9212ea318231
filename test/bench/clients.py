"""
Very many clients of one broker, Apache Kafka 3.9.1 and barnabas in turns: connections, members of a group, groups, producer ids.
"""

import json
import resource
import subprocess
import time
from contextlib import contextmanager

import measure
from measure import cpu_seconds, harness, load, resident_mb
from partitions import proportional_kb

SWARM = measure.LOAD.with_name("swarm")
TOPIC = "t"
RESERVED_FILES = 0.15  # of a broker's descriptors, for all that is no client's connection
PERIOD = 30  # seconds, in which each connection asks for something
SETTINGS = {"group_initial_rebalance_delay_ms": 0, "message_max_bytes": 50 << 20}  # a group is stored in one record
RATE = 500  # records a second of the producer that is looked at


class Swarm:
    """The program of that name: a line for each phase, and none begins before it is told to."""

    def __init__(self, what, broker, *args):
        command = [str(x) for x in (SWARM, what, "127.0.0.1", broker.port, *args)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def result(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args}: {self.process.stderr.read()}")
        return json.loads(line)

    def next(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.result()


class Run(measure.Run):
    """Each part has a broker of its own."""

    def measure(self, part):
        with measure.fresh_broker(self.bench, self.kind, **SETTINGS) as broker:
            part(broker)

    @contextmanager
    def cpu(self, broker, what, unit="ms", scale=1000):
        before = cpu_seconds(broker.process.pid)
        yield
        self.note(what, (cpu_seconds(broker.process.pid) - before) * scale, unit)

    def latency(self, broker, what):
        acked = load("latency", "127.0.0.1", broker.port, TOPIC, RATE, self.options.seconds, 100, 1)["acked_us"]
        for p in "p99", "max":
            self.note(f"produce to acknowledgement {what}, {p}", acked[p] / 1000, "ms")

    # ---- What is measured ----

    def connections(self, broker):
        n = most_connections(self.options.connections)
        what = f"beside {n:,} connections"
        measure.create_topic(broker, TOPIC)
        load("latency", "127.0.0.1", broker.port, TOPIC, RATE, self.options.seconds, 100, 1)
        self.latency(broker, "alone")
        before = proportional_kb(broker.process.pid)
        with Swarm("hold", broker, n, self.options.pace, PERIOD) as swarm:
            opened = swarm.result()
            self.note(f"{n:,} connections, {self.options.pace:,} a second: served after, p99", opened["p99_us"] / 1000, "ms")
            self.note(f"memory of each of {n:,} connections", (proportional_kb(broker.process.pid) - before) / n, "KB")
            with self.cpu(broker, f"CPU of a second {what}, with a request in {PERIOD} s each", "ms", 1000 / self.options.seconds):
                time.sleep(self.options.seconds)
            self.latency(broker, what)
        with self.cpu(broker, f"CPU until {n:,} connections are gone"):
            time.sleep(2)

    def storm(self, broker):
        n = most_connections(self.options.storm)
        measure.create_topic(broker, TOPIC)
        load("latency", "127.0.0.1", broker.port, TOPIC, RATE, self.options.seconds, 100, 1)
        latency = measure.start_load("latency", "127.0.0.1", broker.port, TOPIC, RATE, self.options.seconds, 100, 1)
        with self.cpu(broker, f"CPU of a storm of {n:,} connections, and {self.options.seconds} s of a producer"):
            with Swarm("hold", broker, n, 0, PERIOD) as swarm:
                opened = swarm.result()
                acked = measure.end_load(latency)["acked_us"]
        self.note(f"a storm of {n:,} connections: all served", opened["seconds"], "s")
        self.note(f"a storm of {n:,} connections: turned away, to come again", opened["turned_away"], "")
        for p in "p99", "max":
            self.note(f"a storm of {n:,} connections: each served after, {p}", opened[f"{p}_us"] / 1000, "ms")
            self.note(f"produce to acknowledgement in a storm of {n:,} connections, {p}", acked[p] / 1000, "ms")

    def members(self, broker):
        n = most_connections(self.options.members)
        with Swarm("group", broker, "warm-up", min(n, 100), 100, 1) as swarm:
            swarm.result()
            swarm.next()
        with Swarm("group", broker, "g", n, self.options.metadata, self.options.seconds) as swarm:
            with self.cpu(broker, f"{n:,} members join a group: CPU"):
                self.note(f"{n:,} members join a group", swarm.result()["us"] / 1000, "ms")
            with self.cpu(broker, f"one of {n:,} members leaves, all join again: CPU"):
                self.note(f"one of {n:,} members leaves, all join again", swarm.next()["us"] / 1000, "ms")
            before = cpu_seconds(broker.process.pid)
            beaten = swarm.next()
            used = cpu_seconds(broker.process.pid) - before
            self.note(f"heartbeats of {n - 1:,} members: CPU of each", used / beaten["heartbeats"] * 1e6, "us")
            self.note(f"heartbeats of {n - 1:,} members: the latest answer", beaten["max_us"] / 1000, "ms")

    def groups(self, broker):
        n = self.options.groups
        fill = ["fill", "127.0.0.1", broker.port, TOPIC, 1]
        groups = measure.LOAD.with_name("groups")
        measure.create_topic(broker, TOPIC)
        with Swarm("group", broker, "warm-up", 1, 100, 1) as swarm:  # for which the topic of offsets is made
            swarm.result()
        before = proportional_kb(broker.process.pid)
        self.note(f"time to make {n:,} groups", load(*fill, n, program=groups)["seconds"], "s")
        self.note(f"memory of each of {n:,} groups", (proportional_kb(broker.process.pid) - before) / n, "KB")
        broker.stop()
        begun = time.monotonic()
        broker.launch()
        with Swarm("served", broker, TOPIC, n, max(n // 500, 1)) as swarm:
            self.note(f"start, until {n:,} groups are served", swarm.result()["served_us"] / 1e6 - begun, "s")
        self.note(f"start with {n:,} groups: CPU", cpu_seconds(broker.process.pid), "s")
        self.note(f"memory after a start with {n:,} groups", resident_mb(broker.process.pid), "MB")

    def producers(self, broker):
        """Each segment that becomes full, of about a second, has a snapshot of all ids."""
        n = self.options.producers
        measure.create_topic(broker, TOPIC)
        load("latency", "127.0.0.1", broker.port, TOPIC, RATE, self.options.seconds, 100, 1)
        before = proportional_kb(broker.process.pid)
        load("producers", "127.0.0.1", broker.port, TOPIC, 1, n, program=measure.LOAD.with_name("groups"))
        self.note(f"memory of each of {n:,} producer ids", (proportional_kb(broker.process.pid) - before) * 1024 / n, "B")
        measure.tool("kafka-configs.sh", broker, "--alter", "--entity-type", "topics", "--entity-name", TOPIC,
                     "--add-config", f"segment.bytes={200 * RATE}")
        with self.cpu(broker, f"CPU of a second with {n:,} producer ids, a segment each second", "ms", 1000 / self.options.seconds):
            self.latency(broker, f"with {n:,} producer ids, a segment each second")


def most_connections(wanted):
    """What a broker can have: a process may only have so many descriptors."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, int(files * (1 - RESERVED_FILES)))


PARTS = ["connections", "storm", "members", "groups", "producers"]


def arguments():
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--connections", type=int, default=5000, help="that are held; no more than ulimit -Hn allows")
    parser.add_argument("--pace", type=int, default=2000, help="how many of them come in a second")
    parser.add_argument("--storm", type=int, default=5000, help="connections that come as fast as they can")
    parser.add_argument("--members", type=int, default=1000, help="of one group")
    parser.add_argument("--metadata", type=int, default=100, help="bytes that each of them has")
    parser.add_argument("--groups", type=int, default=2000, help="of one member each, with an offset")
    parser.add_argument("--producers", type=int, default=100000, help="ids in one partition")
    return parser


if __name__ == "__main__":
    measure.main(arguments(), Run)
