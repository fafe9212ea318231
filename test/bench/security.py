"""
What protection costs, Apache Kafka 3.9.1, barnabas, and OpenSSL with the kernel alone (the floor), in turns: encrypted bytes, handshakes and
idle connections, a question to the ACLs, and, for barnabas alone, what quotas add to a request in instructions.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import measure
from certificates import Authority
from measure import GIGA, cpu_seconds, end_load, harness, load, resident_mb, start_load

# ---- Permissions ----

LITERAL, PREFIXED, TOPIC, ALL, READ, WRITE, DENY, ALLOW = 3, 4, 2, 2, 3, 4, 2, 3
ELSEWHERE, CROWDED = "10.0.0.9", "crowded"


def named(kind, i):
    """Apache's class looks at all prefixes with the same first letter: names have all letters."""
    return f"{chr(ord('a') + i % 26)}-{kind}-{i}"


def acls(count):
    """
    Six in ten allow a user to read a topic, two in ten all that begins with a name; a tenth are a single topic's, and a tenth deny what others
    allow from a host.
    """
    tenth = count // 10
    yield from (("add", TOPIC, LITERAL, named("topic", i), f"User:u{i}", "*", READ, ALLOW) for i in range(6 * tenth))
    yield from (("add", TOPIC, PREFIXED, named("team", i) + ".", f"User:u{i}", "*", ALL, ALLOW) for i in range(2 * tenth))
    yield from (("add", TOPIC, LITERAL, CROWDED, f"User:u{i}", "*", READ, ALLOW) for i in range(tenth))
    yield from (("add", TOPIC, LITERAL, named("topic", i), f"User:u{i}", ELSEWHERE, READ, DENY) for i in range(tenth))


# By what is asked, how many of a hundred are allowed, and the questions: the i-th user's, its host, the operation and the topic.
QUESTIONS = {
    "allowed by its topic's list": (100, lambda i: (f"User:u{i}", "10.0.0.1", READ, named("topic", i))),
    "allowed by a prefix": (100, lambda i: (f"User:u{i}", "10.0.0.1", WRITE, named("team", i) + ".orders")),
    "allowed by a list of a tenth of all": (100, lambda i: (f"User:u{i}", "10.0.0.1", READ, CROWDED)),
    "denied from a host": (0, lambda i: (f"User:u{i}", ELSEWHERE, READ, named("topic", i))),
    "of another user's topic": (0, lambda i: (f"User:u{i}", "10.0.0.1", READ, named("topic", i + 1))),
    "of a topic without a list": (0, lambda i: (f"User:u{i}", "10.0.0.1", READ, named("other", i))),
}


def questions(make, count):
    """A hundred of them, about ACLs from all over the lists."""
    for i in range(0, count // 10, max(count // 1000, 1)):
        who, host, operation, topic = make(i)
        yield "keep", who, host, operation, TOPIC, topic


# ---- Quotas ----

QUOTAS = ["producer_byte_rate", "request_percentage"]  # those that a produce request meets


class Counted(harness.Barnabas):
    """Its instructions are counted. It is some fifty times as slow as it should be."""

    def launch(self):
        out = self.log.with_name("callgrind.out")
        self.spawn(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", harness.BUILD / "barnabas", self.write_config()])

    def counted(self):
        """Since it was asked last: all, and those of quotas."""
        folder = self.log.parent
        before = set(folder.glob("callgrind.out.*"))
        harness.run(["callgrind_control", "-d", self.process.pid])
        (made,) = set(folder.glob("callgrind.out.*")) - before
        told = harness.run(["callgrind_annotate", "--auto=no", "--inclusive=yes", "--threshold=100", made])
        # A function stands there with its program; without, for what of it is another file's, and counted again.
        counts = re.findall(r"^ *([0-9,]+) \(.*(PROGRAM TOTALS|quotas\.c:quotas_(?:limit|charge) \[)", told, re.M)
        sums = {"all": 0, "quotas": 0}
        for n, name in counts:
            sums["all" if name == "PROGRAM TOTALS" else "quotas"] += int(n.replace(",", ""))
        return sums


class Bench(measure.Bench):
    kinds = ["apache", "barnabas", "floor"]


class Run(measure.Run):
    """Each part has a broker of its own, with a listener for TLS beside the plain one; those that have none, or another one, run alone."""

    def measure(self, part):
        if self.kind == "floor" and part.__name__ not in FLOOR:
            return
        if part.__name__ in ALONE:
            part()
        else:
            self.measure_encrypted(part)

    def measure_encrypted(self, part):
        authority = Authority(self.bench.folder)
        keys = authority.issue("broker")
        self.port = harness.free_port()
        os.environ["BENCH_TLS"] = str(authority.certificate)
        try:
            with measure.fresh_broker(self.bench, self.kind, self.listeners, ssl_keystore_type="PEM", ssl_keystore_location=keys) as broker:
                if self.kind == "floor":
                    self.port = broker.port
                part(broker)
        finally:
            del os.environ["BENCH_TLS"]

    def listeners(self, broker):
        both = f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:{self.port}"
        return {"listeners": both, "advertised.listeners": both}

    def measured(self, broker, what, *args):
        cpu = cpu_seconds(broker.process.pid)
        result = load(what, "localhost", self.port, *args)
        return (cpu_seconds(broker.process.pid) - cpu) / (result["bytes"] / GIGA), result["bytes"] / GIGA / result["seconds"]

    # ---- What is measured ----

    def throughput(self, broker):
        size = int(self.options.gigabytes * GIGA)
        measure.create_topic(broker, "warm", 4)
        self.measured(broker, "produce", "warm", 4, size // 2, 1000, 16384, "none", 1)
        self.measured(broker, "consume", "warm", 4, size // 2, 1 << 20)
        for batch in (16384, 1000000):
            topic, name = f"t{batch}", f"{batch // 1000} KB batches"
            measure.create_topic(broker, topic, 4)
            cpu, rate = self.measured(broker, "produce", topic, 4, size, 1000, batch, "none", 1)
            self.note(f"TLS, produce: CPU per GB, {name}", cpu, "s")
            self.note(f"TLS, produce: rate, {name}", rate, "GB/s")
            cpu, rate = self.measured(broker, "consume", topic, 4, size, 1 << 20)
            self.note(f"TLS, consume: CPU per GB, {name}", cpu, "s")
            self.note(f"TLS, consume: rate, {name}", rate, "GB/s")

    def crowd(self, broker):
        """What a request costs beyond the first of each connection, which has its handshake."""
        crowd, requests = self.options.crowd, int(self.options.requests)

        def ask(count):
            cpu = cpu_seconds(broker.process.pid)
            result = load("crowd", "localhost", self.port, "crowd", 4, count, 100, 1000, "none", 1, crowd, 1)
            return cpu_seconds(broker.process.pid) - cpu, result["seconds"]

        measure.create_topic(broker, "crowd", 4)
        ask(crowd + requests)
        (first_cpu, first_seconds), (cpu, seconds) = ask(crowd), ask(crowd + requests)
        what = f"TLS, {crowd:,} producers of 1 KB batches"
        self.note(f"{what}: CPU of a request", (cpu - first_cpu) / requests * 1e6, "us")
        self.note(f"{what}: requests", requests / (seconds - first_seconds), "/s")

    def connections(self, broker):
        count = self.options.connections
        self.hold(broker, count // 10)  # for what the first ones need
        before = resident_mb(broker.process.pid)
        self.note(f"TLS: memory of an idle connection, of {count:,}", (self.hold(broker, count) - before) * 1024 / count, "KB")

    def hold(self, broker, count):
        """So many connections at once; the broker's memory then."""
        idle = subprocess.Popen([str(measure.LOAD), "idle", "localhost", str(self.port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        idle.stdout.readline()
        used = resident_mb(broker.process.pid)
        idle.communicate()
        return used

    def handshakes(self, broker):
        rate, seconds = self.options.handshakes, self.options.seconds
        end_load(self.comers(100, 10))
        cpu = cpu_seconds(broker.process.pid)
        come = end_load(self.comers(rate, seconds))
        self.note(f"TLS: CPU of a handshake, {rate} a second", (cpu_seconds(broker.process.pid) - cpu) / come["connections"] * 1e6, "us")
        self.note(f"TLS: handshakes a second, of {rate}", come["connections"] / come["seconds"], "")
        if self.kind != "floor":
            self.producers(broker, rate, seconds)

    def producers(self, broker, rate, seconds):
        alone = self.producer(broker, "alone")
        comers = self.comers(rate, seconds + 5)
        beside = self.producer(broker, "beside")
        comers.kill()
        self.note("producer's p99, alone", alone / 1000, "ms")
        self.note(f"producer's p99, beside {rate} handshakes a second", beside / 1000, "ms")

    def comers(self, rate, seconds):
        """A handshake costs who comes as much as the broker; as it is not another machine's here, it is of no more priority than the broker's."""
        return start_load("-n", 15, measure.LOAD, "comers", "localhost", self.port, rate, seconds, program="nice")

    def producer(self, broker, topic):
        """On the plain listener; the p99 of what is acknowledged."""
        measure.create_topic(broker, topic)
        tls = os.environ.pop("BENCH_TLS")
        try:
            return load("latency", "127.0.0.1", broker.port, topic, 500, self.options.seconds, 1000, 1)["acked_us"]["p99"]
        finally:
            os.environ["BENCH_TLS"] = tls

    def acls(self):
        """How long a question takes, by a program of the broker's own files, and by the class that Apache's broker asks."""
        count, seconds = self.options.acls, min(self.options.seconds, 3)
        given = [("begin", "", 0), *acls(count)]
        for allowed, ask in [*QUESTIONS.values()] * 2:  # once for a Java machine to get to know them
            given += [*questions(ask, count), ("time", seconds)]
        text = "".join("\t".join(map(str, line)) + "\n" for line in given)
        said = harness.run(self.authorizer(), text, timeout=600).splitlines()[len(QUESTIONS):]
        for (what, (allowed, ask)), line in zip(QUESTIONS.items(), said, strict=True):
            ns, yes = line.split()
            assert int(yes) * 100 == allowed * len(list(questions(ask, count))), f"{what}: {line}"
            self.note(f"a question to {count:,} ACLs, {what}", float(ns), "ns")

    def authorizer(self):
        if self.kind == "barnabas":
            return [harness.BUILD / "test" / "acls" / "verdicts"]
        classes = harness.javac(measure.TOP / "test" / "system" / "AclVerdicts.java", harness.JARS, self.bench.folder / "classes")
        return ["java", *measure.JVM, *harness.log4j("WARN"), "-cp", f"{harness.JARS}/*:{classes}", "AclVerdicts"]

    def quotas(self):
        """Of instructions, as those of the same requests are the same again; of Apache's broker nobody counts them."""
        if self.kind != "barnabas":
            return
        folder = Path(tempfile.mkdtemp(dir=self.bench.folder, prefix="counted"))
        broker = Counted(self.bench.zookeeper.chroot(), folder / "data", folder / "log", {"num.network.threads": 1})
        try:
            broker.start()
            measure.create_topic(broker, "counted")
            self.compare_quotas(broker)
        finally:
            broker.kill()
            broker.zookeeper.close()

    def compare_quotas(self, broker):
        whole, used = self.instructions(broker)
        self.note("instructions of a produce request of 1 KB", whole, "")
        self.note("of these, of quotas where there are none", used / whole * 100, "%")
        for quota in QUOTAS:
            self.alter_quotas(broker, "--add-config", f"{quota}=1e9")
            self.note(f"with {quota} far above it", self.instructions(broker)[1] / whole * 100, "%")
            self.alter_quotas(broker, "--delete-config", quota)

    def alter_quotas(self, broker, *change):
        measure.tool("kafka-configs.sh", broker, "--alter", "--entity-type", "clients", "--entity-default", *change)

    def instructions(self, broker):
        """Of a request: all, and those of quotas."""
        requests = self.options.counted
        for _ in "warm", "measured":
            broker.counted()
            load("crowd", "127.0.0.1", broker.port, "counted", 1, requests, 1000, 1000, "none", 1, 1, 1)
            counts = broker.counted()
        return counts["all"] / requests, counts["quotas"] / requests


PARTS = ["throughput", "crowd", "connections", "handshakes", "acls", "quotas"]
ALONE = ["acls", "quotas"]
FLOOR = ["throughput", "crowd", "handshakes"]  # what OpenSSL and the kernel can do without a broker


if __name__ == "__main__":
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--gigabytes", type=float, default=1, help="data of each throughput measurement")
    parser.add_argument("--crowd", type=int, default=2000, help="producers of small batches at once")
    parser.add_argument("--requests", type=float, default=200000, help="of all of them")
    parser.add_argument("--connections", type=int, default=1000, help="idle ones")
    parser.add_argument("--handshakes", type=int, default=1000, help="a second")
    parser.add_argument("--acls", type=int, default=10000, help="in the lists that are asked")
    parser.add_argument("--counted", type=int, default=2000, help="requests whose instructions are counted")
    measure.main(parser, Run, Bench)
