"""
Bytes and requests: Apache Kafka 3.9.1, Apache's newest in KRaft mode, barnabas, and the kernel's floor, all started, and in turns for each
case. What a case does first to each is not counted: it is the first touch of memory, and what a JVM compiles.
"""

import os
import shutil
from contextlib import ExitStack, contextmanager, suppress

import measure
from measure import GIGA, cpu_seconds, end_load, harness, load, start_load

PARTITIONS = 4
SETTINGS = {"log.segment.delete.delay.ms": 100, "log.retention.check.interval.ms": 600000, "auto.create.topics.enable": "false"}


class Subject:
    """One of those that are compared, as it is started once for all cases."""

    def __init__(self, kind, server):
        self.kind, self.server, self.topics = kind, server, 0

    @property
    def address(self):
        return ["127.0.0.1", self.server.port]

    @contextmanager
    def topic(self, partitions=PARTITIONS):
        """A fresh one, whose files are gone afterwards, most of them before they have reached the disk."""
        self.topics += 1
        name = f"topic-{self.topics}"
        if self.kind == "floor":
            yield name
            shutil.rmtree(self.server.data)
            self.server.data.mkdir()
            return
        measure.create_topic(self.server, name, partitions)
        harness.wait_until(lambda: self.takes(name, partitions), f"{name} to be written")
        yield name
        measure.tool("kafka-topics.sh", self.server, "--delete", "--topic", name)
        harness.wait_until(lambda: not list(self.server.data.glob(f"{name}*")), f"{name} to be deleted")

    def takes(self, topic, partitions):
        """Metadata may name leaders that do not know it yet."""
        with suppress(RuntimeError):
            return load("produce", *self.address, topic, partitions, partitions, 1, 0, "none", 1)
        return None

    def measured(self, *args):
        """What the load says, with the CPU seconds that it took this server."""
        before = cpu_seconds(self.server.process.pid)
        result = load(args[0], *self.address, *args[1:])
        return {**result, "cpu": cpu_seconds(self.server.process.pid) - before}


# ---- Cases: each yields its metrics, in the order of the table ----


def per_gigabyte(what, name, r):
    yield f"{what}: CPU per GB, {name}", r["cpu"] / (r["bytes"] / GIGA), "s"
    yield f"{what}: rate, {name}", r["bytes"] / GIGA / r["seconds"], "GB/s"


def per_request(name, r):
    yield f"{name}: CPU of a request", r["cpu"] / r["requests"] * 1e6, "us"
    yield f"{name}: requests", r["requests"] / r["seconds"], "/s"


def bulk(record, batch, codec):
    def case(subject, options):
        size = int(options.gigabytes * GIGA)
        name = f"{record} B records, {batch // 1000} KB batches, {codec}"
        with subject.topic() as topic:
            yield from per_gigabyte("produce", name, subject.measured("produce", topic, PARTITIONS, size, record, batch, codec, 1))
            yield from per_gigabyte("consume", name, subject.measured("consume", topic, PARTITIONS, size, 1 << 20))

    return case


def crowd(name, connections, in_flight, record, batch):
    def case(subject, options):
        requests = int(options.requests)
        with subject.topic() as topic:
            yield from per_request(name, subject.measured("crowd", topic, PARTITIONS, requests, record, batch, "none", 1, connections, in_flight))

    return case


def readers(count):
    """Each reads all, from the page cache."""

    def case(subject, options):
        size = int(options.gigabytes * GIGA / 8)
        with subject.topic() as topic:
            load("produce", *subject.address, topic, PARTITIONS, size, 1000, 16384, "none", 1)
            yield from per_gigabyte("consume", f"{count} consumers", subject.measured("readers", topic, PARTITIONS, size, 1 << 20, count))

    return case


def mixed(megabytes):
    """One record every 2 ms, beside a producer of so many megabytes a second: half of what Apache's broker can take."""

    def case(subject, options):
        with subject.topic(1) as topic, subject.topic() as other:
            rate = megabytes * 10**6
            beside = start_load("keyed", *subject.address, other, PARTITIONS, rate * options.seconds, 100000, 1000, 16384, "none", rate)
            result = load("latency", *subject.address, topic, 500, options.seconds, 1000, 1)
            end_load(beside)
        for p in "p50", "p99", "p999":
            yield f"latency beside {megabytes} MB/s, produce to acknowledgement, {p}", result["acked_us"][p] / 1000, "ms"

    return case


def tail(gigabytes):
    """The same beside one that writes as fast as it can, more than the kernel holds back, and while the disk catches up afterwards."""

    def case(subject, options):
        with subject.topic(1) as topic, subject.topic() as other:
            size = int(gigabytes * options.gigabytes * GIGA)
            beside = start_load("produce", *subject.address, other, PARTITIONS, size, 1000, 100000, "none", 1)
            during = load("latency", *subject.address, topic, 500, options.seconds, 1000, 1)
            end_load(beside)
            after = load("latency", *subject.address, topic, 500, options.seconds, 1000, 1)
            for when, result in ("in a burst", during), ("after a burst", after):
                for p in "p50", "p99", "p999":
                    yield f"latency {when} of {size / GIGA:.3g} GB, {p}", result["acked_us"][p] / 1000, "ms"
        os.sync()

    return case


PARTS = {
    "bulk": [bulk(record, batch, codec) for record in (100, 1000) for batch in (16384, 1000000) for codec in ("none", "lz4")],
    "single": [crowd("one record a request, 8 producers", 8, 5, 100, 0)],
    "crowd": [crowd("500 producers of 1 KB batches", 500, 1, 100, 1000)],
    "readers": [readers(50)],
    "mixed": [mixed(40)],
    "tail": [tail(8)],
}
WITHOUT_FLOOR = {"mixed", "tail"}  # which is no broker, and answers no Fetch late


class SideBySide(measure.Bench):
    kinds = list(measure.KINDS)

    def run_rounds(self):
        if not self.options.unfilled:
            measure.fill_memory(self.folder)
        with ExitStack() as stack:
            subjects = [Subject(kind, stack.enter_context(measure.fresh_broker(self, kind, **SETTINGS))) for kind in self.kinds]
            for part in self.options.parts.split(","):
                for case in PARTS[part]:
                    self.run_case(case, [s for s in subjects if s.kind != "floor" or part not in WITHOUT_FLOOR])

    def run_case(self, case, subjects):
        for n in range(self.options.rounds + 1):
            for subject in subjects[n % len(subjects):] + subjects[:n % len(subjects)]:
                print(f"-- round {n} of {self.options.rounds}: {subject.kind}", flush=True)
                for metric, value, unit in case(subject, self.options):
                    if n > 0:
                        self.note(metric, subject.kind, value, unit)


if __name__ == "__main__":
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--gigabytes", type=float, default=0.5, help="data of each measurement in bulk")
    parser.add_argument("--requests", type=float, default=200000, help="of each measurement of small requests")
    measure.main(parser, None, SideBySide)
