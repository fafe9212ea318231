"""Apache Kafka 3.9.1 and barnabas on one machine, one at a time, in turns; medians and ratios as a table and as JSON."""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "system"))
import harness  # noqa: E402

LOAD = harness.BUILD / "test" / "bench" / "load"
GIGA = 10**9
JVM = ("-server -Xmx1G -Xms1G -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 "
       "-XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true").split()


class Apache(harness.Apache):
    """With the flags of Kafka's own kafka-server-start.sh."""

    def launch(self):
        self.spawn(["java", *JVM, "-cp", f"{harness.JARS}/*", "kafka.Kafka", self.write_config()])


KINDS = {"apache": Apache, "barnabas": harness.Barnabas}


def cpu_seconds(pid):
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def resident_mb(pid):
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def load(*args, **kw):
    done = subprocess.run([str(LOAD), *map(str, args)], capture_output=True, text=True, timeout=600, **kw)
    if done.returncode != 0:
        raise RuntimeError(f"load {args}: {done.stderr}")
    return json.loads(done.stdout)


def serves_metadata(port):
    """Whether a Metadata request is answered with a controller: what a client needs to begin."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(harness.frame(3, 1, b"\0\0\0\0"))
            answer = harness.read_frame(s)
    except OSError:
        return False
    return answer is not None and len(answer) > 20 and answer[-8:-4] == b"\0\0\0\0"


def evict(folder):
    """Drops a folder's files from the page cache."""
    os.sync()
    for path in Path(folder).rglob("*.log"):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def fill_memory(folder):
    """
    Fills free memory with page cache that can be given up at once. A virtual machine pays for the first touch of each
    page of its memory, many times what a broker costs; on a machine that has been up for a while, as brokers are,
    there are no such pages.
    """
    path = Path(folder) / "ballast"
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with open(path, "wb") as f:
        f.truncate(size)
    with open(path, "rb", buffering=0) as f:
        block = bytearray(4 << 20)
        while f.readinto(block) and free_mb() > 500:
            pass


def free_mb():
    return int(next(x for x in open("/proc/meminfo") if x.startswith("MemFree")).split()[1]) / 1024


class Run:
    """One broker of one kind in one round."""

    def __init__(self, bench, kind):
        self.bench, self.kind = bench, kind
        self.folder = Path(tempfile.mkdtemp(dir=bench.folder, prefix=kind))
        self.broker = KINDS[kind](bench.zookeeper.chroot(), self.folder / "data", self.folder / "log", {})
        for key in ("group.initial.rebalance.delay.ms", "offsets.topic.num.partitions"):
            self.broker.properties.pop(key)

    def note(self, metric, value, unit):
        self.bench.note(metric, self.kind, value, unit)

    @property
    def pid(self):
        return self.broker.process.pid

    def start(self):
        begun = time.monotonic()
        self.broker.launch()
        while not serves_metadata(self.broker.port):
            if not self.broker.is_running() or time.monotonic() - begun > 60:
                raise RuntimeError(self.broker.text()[-2000:])
            time.sleep(0.0005)
        return time.monotonic() - begun

    def topic(self, name, partitions=1, **configs):
        config = [x for k, v in configs.items() for x in ("--config", f"{k.replace('_', '.')}={v}")]
        harness.run([TOP / "bin" / "kafka-topics.sh", "--bootstrap-server", self.broker.bootstrap, "--create", "--topic", name,
                     "--partitions", partitions, "--replication-factor", 1, *config])
        harness.wait_until(lambda: "Leader: none" not in self.describe(name), "leaders")

    def describe(self, name):
        out = harness.run([TOP / "bin" / "kafka-topics.sh", "--bootstrap-server", self.broker.bootstrap, "--describe", "--topic", name], check=False)
        return out if "PartitionCount" in out else "Leader: none"

    def measured(self, *args):
        before = cpu_seconds(self.pid)
        result = load(*args)
        return (cpu_seconds(self.pid) - before) / (result["bytes"] / GIGA), result["bytes"] / GIGA / result["seconds"]

    # ---- What is measured ----

    def starts(self):
        for _ in range(2):
            self.note("start to first Metadata", self.start() * 1000, "ms")
            time.sleep(2)
            self.note("memory, idle", resident_mb(self.pid), "MB")
            self.broker.stop()
        self.start()

    def throughput(self):
        address = ["127.0.0.1", self.broker.port]
        size = self.bench.options.gigabytes * GIGA
        self.topic("warm", 4)
        load("produce", *address, "warm", 4, size // 4, 1000, 16384, "none", 1)
        load("consume", *address, "warm", 4, size // 4, 1 << 20)
        for record in (100, 1000):
            for batch in (16384, 1000000):
                for codec in ("none", "lz4"):
                    name = f"{record} B records, {batch // 1000} KB batches, {codec}"
                    topic = f"t{record}-{batch}-{codec}"
                    self.topic(topic, 4)
                    cpu, rate = self.measured("produce", *address, topic, 4, size, record, batch, codec, 1)
                    self.note(f"produce: CPU per GB, {name}", cpu, "s")
                    self.note(f"produce: rate, {name}", rate, "GB/s")
                    cpu, rate = self.measured("consume", *address, topic, 4, size, 1 << 20)
                    self.note(f"consume: CPU per GB, {name}", cpu, "s")
                    self.note(f"consume: rate, {name}", rate, "GB/s")
        self.note("memory, after load", resident_mb(self.pid), "MB")

    def latency(self):
        self.topic("latency-warm")
        load("latency", "127.0.0.1", self.broker.port, "latency-warm", 1000, 3, 1000, 1)
        self.topic("latency")
        result = load("latency", "127.0.0.1", self.broker.port, "latency", 1000, self.bench.options.seconds, 1000, 1)
        for what, name in (("acked_us", "produce to acknowledgement"), ("seen_us", "produce to consumer")):
            for p in ("p50", "p99", "p999"):
                self.note(f"latency, {name}, {p}", result[what][p] / 1000, "ms")

    def cold_reader(self):
        address = ["127.0.0.1", self.broker.port]
        size = 2 * self.bench.options.gigabytes * GIGA
        self.topic("cold", 4)
        load("produce", *address, "cold", 4, size, 1000, 16384, "none", 1)
        os.sync()  # or the writing out of all that would slow down the first measurement
        self.topic("live-alone")
        alone = load("latency", *address, "live-alone", 1000, self.bench.options.seconds, 1000, 1)["acked_us"]["p99"]
        evict(self.broker.data)
        self.topic("live-beside")
        reader = subprocess.Popen([str(LOAD), "consume", *map(str, address), "cold", "4", str(size), str(1 << 20)], stdout=subprocess.PIPE, text=True)
        beside = load("latency", *address, "live-beside", 1000, self.bench.options.seconds, 1000, 1)["acked_us"]["p99"]
        figures = json.loads(reader.communicate()[0])
        self.note("cold reader: producer's p99 without", alone / 1000, "ms")
        self.note("cold reader: producer's p99 with", beside / 1000, "ms")
        self.note("cold reader: rate", figures["bytes"] / GIGA / figures["seconds"], "GB/s")

    def connections(self):
        idle = subprocess.Popen([str(LOAD), "idle", "127.0.0.1", str(self.broker.port), "5000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        idle.stdout.readline()
        time.sleep(1)
        self.note("memory, with 5,000 idle connections", resident_mb(self.pid), "MB")
        idle.communicate()

    def partitions(self):
        self.broker.stop()
        shutil.rmtree(self.broker.data)
        self.broker.zookeeper = self.bench.zookeeper.chroot()
        self.broker.properties["zookeeper.connect"] = self.broker.zookeeper.connect
        self.start()
        begun = time.monotonic()
        self.topic("many", 2000)
        self.note("create 2,000 partitions", time.monotonic() - begun, "s")
        load("produce", "127.0.0.1", self.broker.port, "many", 64, 64 * 16384 * 4, 1000, 16384, "none", 1)
        self.note("memory, with 2,000 partitions", resident_mb(self.pid), "MB")
        self.broker.stop()
        self.note("start to first Metadata, 2,000 partitions", self.start() * 1000, "ms")

    def scripts(self):
        """Both sets of tools, against this broker."""
        at = ["--bootstrap-server", self.broker.bootstrap]
        self.topic("script")
        harness.run([TOP / "bin" / "kafka-console-producer.sh", *at, "--topic", "script"], stdin="one\n")
        consume = ["--topic", "script", "--partition", "0", "--offset", "earliest", "--max-messages", "1"]
        todo = [("kafka-topics --list", "kafka-topics", "org.apache.kafka.tools.TopicCommand", [*at, "--list"], None),
                ("kafka-topics --describe", "kafka-topics", "org.apache.kafka.tools.TopicCommand", [*at, "--describe"], None),
                ("kafka-console-producer", "kafka-console-producer", "kafka.tools.ConsoleProducer", [*at, "--topic", "script"], "one\n"),
                ("kafka-console-consumer", "kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer", [*at, *consume], None),
                ("kafka-get-offsets", "kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell", at, None),
                ("kafka-broker-api-versions", "kafka-broker-api-versions", "kafka.admin.BrokerApiVersionsCommand", at, None)]
        for label, ours, theirs, args, stdin in todo:
            for kind, command in (("barnabas", [TOP / "bin" / f"{ours}.sh"]), ("apache", ["java", "-Xmx256M", "-cp", f"{harness.JARS}/*", theirs])):
                begun = time.monotonic()
                harness.run([*command, *args], stdin=stdin)
                self.bench.note(f"script: {label}", kind, (time.monotonic() - begun) * 1000, "ms")

    def run(self, parts):
        fill_memory(self.bench.folder)
        try:
            self.start()
            for part in parts:
                if part == "starts":
                    self.broker.stop()
                if part != "scripts" or self.kind == "barnabas":
                    print(f"   {self.kind}: {part}", flush=True)
                    getattr(self, part)()
        finally:
            self.broker.stop()
            shutil.rmtree(self.folder)


PARTS = ["starts", "throughput", "latency", "cold_reader", "connections", "scripts", "partitions"]


class Bench:
    def __init__(self, options):
        self.options, self.values, self.units = options, {}, {}
        self.folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="barnabas-bench-"))
        self.zookeeper = harness.ZooKeeper(self.folder)

    def note(self, metric, kind, value, unit):
        self.values.setdefault(metric, {"apache": [], "barnabas": []})[kind].append(value)
        self.units[metric] = unit

    def run(self):
        self.zookeeper.start()
        try:
            for n in range(self.options.rounds):
                for kind in ("apache", "barnabas") if n % 2 == 0 else ("barnabas", "apache"):
                    print(f"-- round {n + 1} of {self.options.rounds}: {kind}", flush=True)
                    Run(self, kind).run(self.options.parts.split(","))
        finally:
            self.zookeeper.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def rows(self):
        for metric, values in self.values.items():
            if not values["apache"] or not values["barnabas"]:
                continue
            a, b = statistics.median(values["apache"]), statistics.median(values["barnabas"])
            yield {"metric": metric, "unit": self.units[metric], "apache": a, "barnabas": b, "ratio": b / a if a else None,
                   "all": values}

    def table(self):
        lines = ["| | Apache 3.9.1 | barnabas | ratio |", "|---|---:|---:|---:|"]
        for r in self.rows():
            ratio = r["ratio"]
            shown = f"1/{1 / ratio:.1f}" if ratio and ratio < 1 else f"{ratio:.2f}"
            lines.append(f"| {r['metric']} | {r['apache']:.3g} {r['unit']} | {r['barnabas']:.3g} {r['unit']} | {shown} |")
        return "\n".join(lines)


def machine():
    model = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
    memory = int(next(x for x in open("/proc/meminfo") if x.startswith("MemTotal")).split()[1]) // 2**20
    return f"{os.cpu_count()} CPUs ({model}), {memory} GB of memory, Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=int, default=1, help="data of each throughput measurement")
    parser.add_argument("--seconds", type=int, default=10, help="length of each latency measurement")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure: %(default)s")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the brokers' data lies meanwhile")
    parser.add_argument("--json", help="write all values to this file")
    options = parser.parse_args()
    bench = Bench(options)
    bench.run()
    print(f"\n{time.strftime('%Y-%m-%d')}, {machine()}; medians of {options.rounds} rounds\n\n{bench.table()}")
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rows": list(bench.rows())}, indent=1))


main()
