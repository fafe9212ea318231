"""Apache Kafka 3.9.1 and barnabas on one machine, one at a time, in turns; medians and ratios as a table and as JSON."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import measure
from measure import GIGA, TOP, end_load, harness, load, resident_mb, start_load


def evict(folder):
    """Drops a folder's files from the page cache."""
    os.sync()
    for path in Path(folder).rglob("*.log"):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


class Run(measure.Run):
    """One broker of one kind in one round."""

    def __init__(self, bench, kind):
        super().__init__(bench, kind)
        self.folder = Path(tempfile.mkdtemp(dir=bench.folder, prefix=kind))
        self.broker = measure.make_broker(kind, bench.zookeeper.chroot(), self.folder, {})

    @property
    def pid(self):
        return self.broker.process.pid

    def start(self):
        return measure.timed_start(self.broker)

    def topic(self, name, partitions=1, **configs):
        measure.create_topic(self.broker, name, partitions, **configs)

    # ---- What is measured ----

    def starts(self):
        for _ in range(2):
            self.note("start to first Metadata", self.start() * 1000, "ms")
            time.sleep(2)
            self.note("memory, idle", resident_mb(self.pid), "MB")
            self.broker.stop()
        self.start()

    def load(self):
        """What its memory is like afterwards. How fast that goes is throughput.py's."""
        address = ["127.0.0.1", self.broker.port]
        size = int(self.options.gigabytes * GIGA)
        for batch in (16384, 1000000):
            topic = f"load-{batch}"
            self.topic(topic, 4)
            load("produce", *address, topic, 4, size, 1000, batch, "none", 1)
            load("consume", *address, topic, 4, size, 1 << 20)
        self.note("memory, after load", resident_mb(self.pid), "MB")

    def latency(self):
        self.topic("latency-warm")
        load("latency", "127.0.0.1", self.broker.port, "latency-warm", 1000, 3, 1000, 1)
        self.topic("latency")
        result = load("latency", "127.0.0.1", self.broker.port, "latency", 1000, self.options.seconds, 1000, 1)
        for what, name in (("acked_us", "produce to acknowledgement"), ("seen_us", "produce to consumer")):
            for p in ("p50", "p99", "p999"):
                self.note(f"latency, {name}, {p}", result[what][p] / 1000, "ms")

    def cold_reader(self):
        address = ["127.0.0.1", self.broker.port]
        size = int(2 * self.options.gigabytes * GIGA)
        self.topic("cold", 4)
        load("produce", *address, "cold", 4, size, 1000, 16384, "none", 1)
        os.sync()  # or the writing out of all that would slow down the first measurement
        self.topic("live-alone")
        alone = load("latency", *address, "live-alone", 1000, self.options.seconds, 1000, 1)["acked_us"]["p99"]
        evict(self.broker.data)
        self.topic("live-beside")
        reader = start_load("consume", *address, "cold", 4, size, 1 << 20)
        beside = load("latency", *address, "live-beside", 1000, self.options.seconds, 1000, 1)["acked_us"]["p99"]
        figures = end_load(reader)
        self.note("cold reader: producer's p99 without", alone / 1000, "ms")
        self.note("cold reader: producer's p99 with", beside / 1000, "ms")
        self.note("cold reader: rate", figures["bytes"] / GIGA / figures["seconds"], "GB/s")

    def connections(self):
        command = [str(measure.LOAD), "idle", "127.0.0.1", str(self.broker.port), "5000"]
        idle = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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


PARTS = ["starts", "load", "latency", "cold_reader", "connections", "scripts", "partitions"]


if __name__ == "__main__":
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--gigabytes", type=float, default=1, help="data of each load")
    measure.main(parser, Run)
