"""What is on the disk, Apache Kafka 3.9.1 and barnabas in turns: starting with it, compacting it, keeping it open."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import measure
from measure import GIGA, cpu_seconds, end_load, harness, load, resident_mb, start_load

SERVING = measure.LOAD.with_name("serving")
TOPIC = "t"
MEGA = 10**6
RECORD = 1000
BATCH = 1070  # bytes of a batch with one record of that size
HELD, LET_GO = "min.cleanable.dirty.ratio=1.0", "min.cleanable.dirty.ratio=0.01"
OTHER_FILES = 2000  # that a broker may have open beside its segments, at the most
CHORES = {"log.cleaner.backoff.ms": 100, "log.retention.check.interval.ms": 1000, "log.initial.task.delay.ms": 500}
AS_MUCH = {"log.cleaner.io.max.bytes.per.second": 50.0 * MEGA}  # or the faster cleaner would do more passes, and so more work


class Fill:
    """
    A broker's data, with what ZooKeeper has to say of it, written once by barnabas and taken over by brokers of either kind in turns: the
    files are the same for both.
    """

    def __init__(self, bench, write, **properties):
        self.folder = Path(tempfile.mkdtemp(dir=bench.folder, prefix="fill"))
        self.broker = measure.make_broker("barnabas", bench.zookeeper.chroot(), self.folder, {})
        self.properties = {k.replace("_", "."): str(v) for k, v in properties.items()}
        with self.taken_over("barnabas", self.properties) as broker:
            broker.start()
            self.records = write(broker)
            broker.stop()

    @contextmanager
    def taken_over(self, kind, properties=None, data=None):
        """A broker of that kind with the data, or with a copy of it; not yet started. Killed at the end of the `with`."""
        broker = harness.other(self.broker, measure.KINDS[kind])
        broker.properties = {**self.broker.properties, "log.dirs": data or self.broker.data, **(properties or {})}
        broker.data = data or self.broker.data
        broker.log.unlink(missing_ok=True)
        try:
            yield broker
        finally:
            broker.kill()
            self.wait_for_end_of_session()

    def wait_for_end_of_session(self):
        """Until then nobody else can have the id of a broker that was killed."""
        zookeeper = self.broker.zookeeper
        harness.wait_until(lambda: not zookeeper.client.exists("/brokers/ids/0"), "the end of a killed broker's session")
        zookeeper.close()

    @contextmanager
    def copy(self):
        folder = self.folder / "copy"
        subprocess.run(["cp", "-a", "--reflink=auto", self.broker.data, folder], check=True)
        os.sync()  # or the writing out of it would go on beside what is measured
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def forget_flushes(data):
    """As if nothing had ever been flushed: all is looked through when the broker starts."""
    for path in (data / "recovery-point-offset-checkpoint", data / ".kafka_cleanshutdown", *data.glob("*/*.snapshot")):
        path.unlink(missing_ok=True)


def read_all(data):
    """Into the page cache, should any of it have left."""
    os.sync()
    for path in data.glob("*/*.log"):
        with open(path, "rb", buffering=0) as f:
            while f.read(4 << 20):
                pass


def timed_start(broker, partitions, records):
    """Seconds from the start of the program to answers for all partitions, with all that was written."""
    begun = time.monotonic()
    broker.launch()
    command = [str(x) for x in (SERVING, "127.0.0.1", broker.port, TOPIC, partitions)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while process.poll() is None:
            assert broker.is_running(), f"the broker has ended:\n{broker.text()[-2000:]}"
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                pass
        result = json.loads(process.stdout.read())
    finally:
        process.kill()
    assert result["end_offsets"] == records, f"{records} records were written, {result['end_offsets']} are there"
    return result["served_us"] / 1e6 - begun


def segments(data, topic):
    """Base offsets and sizes, ascending; the last is the active one."""
    found = []
    for path in (data / f"{topic}-0").glob("*.log"):
        with suppress(FileNotFoundError):  # it has just been deleted
            found.append((int(path.stem), path.stat().st_size))
    return sorted(found)


def cleaned_up_to(data, topic):
    """Where the cleaner goes on in that topic."""
    path = data / "cleaner-offset-checkpoint"
    rows = [x.rsplit(" ", 2) for x in path.read_text().splitlines()[2:]] if path.exists() else []
    return next((int(offset) for name, partition, offset in rows if (name, partition) == (topic, "0")), 0)


def configure(broker, topic, *settings):
    for setting in settings:
        measure.tool("kafka-configs.sh", broker, "--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", setting)


class Run(measure.Run):
    fills = {}  # by name; of all rounds and both kinds

    def fill(self, name, write, **properties):
        if name not in self.fills:
            self.fills[name] = Fill(self.bench, write, **properties)
        return self.fills[name]

    def scaled(self, count):
        return max(int(count * self.options.scale), 1)

    # ---- What is measured ----

    def recovery(self):
        partitions, size = self.scaled(200), self.scaled(5 * GIGA)

        def write(broker):
            measure.create_topic(broker, TOPIC, partitions)
            records = load("produce", "127.0.0.1", broker.port, TOPIC, partitions, size, RECORD, 100000, "none", 1)["records"]
            broker.kill()
            return records

        fill = self.fill("recovery", write)
        with fill.taken_over(self.kind) as broker:
            forget_flushes(broker.data)
            read_all(broker.data)
            taken = timed_start(broker, partitions, fill.records)
            what = f"start after kill -9, {size / GIGA:.3g} GB unflushed in {partitions:,} partitions"
            self.note(what, taken, "s")
            self.note(f"{what}: CPU", cpu_seconds(broker.process.pid), "s")

    def clean_start(self):
        self.second_start("clean_start", 1)

    def memory(self):
        self.second_start("memory", 10)

    def second_start(self, name, each):
        """
        The first is for a broker to find what it left itself. Apache holds all segments open, so that there can be no more of them than
        files.
        """
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        partitions = min(self.scaled(2000), (files - OTHER_FILES) // each)

        def write(broker):
            measure.create_topic(broker, TOPIC, partitions, segment_bytes=BATCH * 3 // 2)
            count = partitions * each
            return load("produce", "127.0.0.1", broker.port, TOPIC, partitions, count * BATCH, RECORD, 0, "none", 1)["records"]

        fill = self.fill(name, write)
        with fill.taken_over(self.kind) as broker:
            for what in ("first", "second"):
                taken = timed_start(broker, partitions, fill.records)
                time.sleep(3)
                memory = resident_mb(broker.process.pid)
                broker.stop()
            what = f"{partitions:,} partitions of {each} segment{'s' * (each > 1)}"
            self.note(f"start after a clean stop, {what}", taken, "s")
            self.note(f"memory after the start, {what}", memory, "MB")

    def compaction(self):
        size = self.scaled(GIGA)
        topics = {"warm-up": (size // 5, "none"), "none": (size, "none"), "lz4": (size // 2, "lz4")}

        def write(broker):
            for topic, (topic_size, codec) in topics.items():
                measure.create_topic(broker, topic, cleanup_policy="compact", min_cleanable_dirty_ratio="1.0", segment_bytes=size // 20)
                load("keyed", "127.0.0.1", broker.port, topic, 1, topic_size, self.scaled(500000), 300, 16384, codec, 0)

        fill = self.fill("compaction", write, log_cleaner_enable="false")
        with fill.copy() as data, fill.taken_over(self.kind, CHORES, data) as broker:
            broker.start()
            for topic, (_, codec) in topics.items():
                measure.wait_for_leaders(broker, topic)
                taken, cpu = self.compact(broker, topic)
                if topic != "warm-up":
                    megabytes = sum(s for _, s in segments(fill.broker.data, topic)[:-1]) / MEGA
                    what = f"compaction of {megabytes:,.0f} MB, {codec}"
                    self.note(f"{what}: MB per CPU second", megabytes / cpu, "MB")
                    self.note(f"{what}: rate", megabytes / taken, "MB/s")
                    self.note(f"{what}: left", sum(s for _, s in segments(data, topic)[:-1]) / MEGA, "MB")

    @staticmethod
    def compact(broker, topic):
        """Lets the cleaner go at a topic; seconds, and CPU seconds, until all below its active segment is clean."""
        active, _ = segments(broker.data, topic)[-1]
        assert cleaned_up_to(broker.data, topic) == 0, f"{topic} is not held back"
        cpu, begun = cpu_seconds(broker.process.pid), time.monotonic()
        configure(broker, topic, LET_GO)
        try:
            harness.wait_until(lambda: cleaned_up_to(broker.data, topic) >= active, f"{topic} clean\n{broker.text()[-2000:]}", 300)
            return time.monotonic() - begun, cpu_seconds(broker.process.pid) - cpu
        finally:
            configure(broker, topic, HELD)  # for the next one who takes it over

    def chores(self):
        """
        A producer's p99 beside others who write as much in both cases: to topics that grow, then to topics that are kept small, by cleaners
        that read and write as much for either kind.
        """
        with measure.fresh_broker(self.bench, self.kind, **CHORES, **AS_MUCH) as broker:
            measure.create_topic(broker, "live")
            measure.create_topic(broker, "compacted", cleanup_policy="compact", min_cleanable_dirty_ratio="1.0", segment_bytes=4 * MEGA)
            measure.create_topic(broker, "short", segment_bytes=MEGA, file_delete_delay_ms=1000)
            self.p99(broker, 5)
            without = self.p99(broker, self.options.seconds)
            configure(broker, "compacted", LET_GO)
            configure(broker, "short", f"retention.bytes={10 * MEGA}")
            self.wait_for_chores(broker)
            cleaned, first = cleaned_up_to(broker.data, "compacted"), segments(broker.data, "short")[0]
            beside = self.p99(broker, self.options.seconds)
            assert cleaned_up_to(broker.data, "compacted") > cleaned and segments(broker.data, "short")[0] > first, "they did not run"
        self.note("chores: producer's p99 without cleaner and retention", without, "ms")
        self.note("chores: producer's p99 with cleaner and retention", beside, "ms")
        self.note("chores: p99 with, over without", beside / without, "")

    @staticmethod
    def wait_for_chores(broker):
        """Until what has gathered before is cleaned and deleted."""
        active, _ = segments(broker.data, "compacted")[-1]
        harness.wait_until(lambda: cleaned_up_to(broker.data, "compacted") >= active, "the first pass of the cleaner", 300)
        harness.wait_until(lambda: len(segments(broker.data, "short")) < 15, "retention")

    @staticmethod
    def p99(broker, seconds):
        rate = 10 * MEGA
        address = ["127.0.0.1", broker.port]
        beside = [start_load("keyed", *address, topic, 1, rate * seconds, 100000, 300, 16384, "none", rate) for topic in ("compacted", "short")]
        result = load("latency", *address, "live", 1000, seconds, RECORD, 1)
        for process in beside:
            end_load(process)
        return result["acked_us"]["p99"] / 1000


PARTS = ["recovery", "clean_start", "compaction", "chores", "memory"]


def arguments():
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--scale", type=float, default=1, help="of all amounts; 0.01 to try it out")
    return parser


if __name__ == "__main__":
    measure.main(arguments(), Run)
