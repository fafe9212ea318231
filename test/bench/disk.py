"""
While the disk catches up: Apache Kafka 3.9.1, Apache's newest in KRaft mode, and barnabas, in turns. Each has a disk of its own, of so many
megabytes a second, to which a producer writes as fast as that for a while. What does one feel who sends a little meanwhile, and afterwards?
And who starts a broker there, or makes a topic? Needs root, for the disk.
"""

import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import measure
from measure import end_load, harness, load, start_load

PARTITIONS = 4
MEGA = 10**6
SETTINGS = {"log.retention.check.interval.ms": 600000, "auto.create.topics.enable": "false", "log.segment.bytes": 256 * MEGA}
LIMIT = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"], "xfs": ["mkfs.xfs", "-q", "-f"]}


def run(*command):
    return subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True).stdout.strip()


def limit(device, bytes_per_second):
    """Of what is written to it, by whomever; 0: none."""
    number = os.stat(device).st_rdev
    LIMIT.write_text(f"{os.major(number)}:{os.minor(number)} {bytes_per_second}\n")


@contextmanager
def slow_disk(folder, kind, size, bytes_per_second):
    """Where a file system of that kind is mounted, on a file of that folder that is written no faster."""
    image, mounted = Path(tempfile.mkstemp(dir=folder)[1]), Path(tempfile.mkdtemp(dir=folder))
    with open(image, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, size)
    device = run("losetup", "--find", "--show", "--direct-io=on", image)
    try:
        run(*MAKE[kind], device)
        run("mount", device, mounted)
        limit(device, bytes_per_second)
        yield mounted
    finally:
        limit(device, 0)
        run("umount", "--lazy", mounted)  # whoever was stopped with us may still be there for a moment
        run("losetup", "--detach", device)
        image.unlink()


class Run(measure.Run):
    """One broker of one kind, on a fresh disk for each part."""

    def measure(self, part):
        bytes_per_second, seconds = self.options.megabytes * MEGA, self.options.seconds
        size = 2 * bytes_per_second * seconds + (4 << 30)
        with slow_disk(self.bench.folder, part.__name__, size, bytes_per_second) as disk:
            with measure.fresh_broker(self.bench, self.kind, lambda broker: self.place(broker, disk), **SETTINGS) as broker:
                self.write_and_look(broker, disk, part.__name__)

    @staticmethod
    def place(broker, disk):
        broker.data = disk / "data"
        return {"log.dirs": broker.data}

    def write_and_look(self, broker, disk, name):
        address, seconds = ["127.0.0.1", broker.port], self.options.seconds
        for topic, partitions in (("bulk", PARTITIONS), ("little", 1), ("warm", PARTITIONS)):
            measure.create_topic(broker, topic, partitions)
        load("produce", *address, "warm", PARTITIONS, 200 * MEGA, 1000, 100000, "none", 1)
        os.sync()
        rate = self.options.megabytes * MEGA
        bulk = start_load("steady", *address, "bulk", PARTITIONS, rate * seconds, 1000, 100000, "none", 1, rate)
        self.look(address, f"{name}, beside {self.options.megabytes} MB/s", seconds // 2)
        begun = time.monotonic()
        measure.create_topic(broker, "another", 10)
        self.note(f"{name}: a topic of 10 partitions beside it", time.monotonic() - begun, "s")
        self.note(f"{name}: a start beside it", self.start_another(disk), "s")
        end_load(bulk)
        self.look(address, f"{name}, afterwards", seconds)

    def look(self, address, when, seconds):
        result = load("latency", *address, "little", 500, seconds, 1000, 1)
        for p in "p50", "p99", "p999", "max":
            self.note(f"latency on {when}, {p}", result["acked_us"][p] / 1000, "ms")

    def start_another(self, disk):
        """Of a broker of its own cluster on the same disk, until it takes connections."""
        broker = measure.make_broker(self.kind, self.bench.zookeeper.chroot(), disk, {})
        broker.properties["log.dirs"] = broker.data = disk / "beside"
        try:
            return measure.timed_start(broker)
        finally:
            broker.kill()
            broker.zookeeper.close()

    def ext4(self):
        pass

    def xfs(self):
        pass


class OneByOne(measure.Bench):
    kinds = ["apache", "apache4", "barnabas"]


if __name__ == "__main__":
    parser = measure.arguments(__doc__, ["ext4", "xfs"])
    parser.set_defaults(seconds=60)
    parser.add_argument("--megabytes", type=int, default=150, help="that the disk takes in a second")
    measure.main(parser, Run, OneByOne)
