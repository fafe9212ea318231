"""Several log directories, of which some fail: what is in them goes elsewhere, and the rest is served on."""

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest
from harness import Apache, Barnabas, connect, frame, kcat, produce, read_frame, wait_until
from test_cluster import Acknowledged, describe, make_cluster, read_all, topics  # noqa: F401 (a fixture)
from test_controller import by_id

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    out = tmp_path_factory.mktemp("faults") / "disk_faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", out, HERE / "disk_faults.c", "-ldl"], check=True)
    return out


class Disks:
    """The log directories of a broker, and their faults."""

    def __init__(self, broker, folder, count, library):
        self.dirs = [folder / f"{broker.data.name}-disk-{i}" for i in range(count)]
        self.control = folder / f"{broker.data.name}.faults"
        broker.properties["log.dirs"] = ",".join(map(str, self.dirs))
        broker.env = {"LD_PRELOAD": str(library), "DISK_FAULTS": str(self.control)}
        broker.disks = self

    def fail(self, which, kind="EIO", room=0):
        self.control.write_text(f"{kind} {room} {self.dirs[which]}\n")

    def repair(self):
        self.control.unlink(missing_ok=True)

    def partitions(self, which, topic):
        """Those of the topic whose logs lie there."""
        return sorted(int(p.name[len(topic) + 1:]) for p in self.dirs[which].glob(f"{topic}-*") if p.name[len(topic) + 1:].isdigit())

    def where(self, log):
        return [i for i, d in enumerate(self.dirs) if (d / log).exists()]


@pytest.fixture
def with_disks(tmp_path, fault_library):
    def each(broker):
        Disks(broker, tmp_path, 2, fault_library)
        return {}

    return each


def offline_replicas(broker, topic):
    """{partition: replicas that are offline}, as Metadata 5 has it."""
    with connect(broker) as s:
        s.sendall(frame(3, 5, struct.pack(">ih", 1, len(topic)) + topic.encode() + b"\0"))
        data = memoryview(read_frame(s))
    at = 8

    def take(fmt):
        nonlocal at
        (value,) = struct.unpack_from(">" + fmt, data, at)
        at += struct.calcsize(fmt)
        return value

    def text():
        nonlocal at
        length = take("h")
        at += max(length, 0)

    def numbers():
        return [take("i") for _ in range(take("i"))]

    for _ in range(take("i")):
        take("i"), text(), take("i"), text()
    text(), take("i")
    assert take("i") == 1
    take("h"), text(), take("b")
    found = {}
    for _ in range(take("i")):
        _, number, _ = take("h"), take("i"), take("i")
        numbers(), numbers()
        found[number] = numbers()
    return found


def fill(broker, topic, partition, count=20):
    produce(broker, topic, [f"{partition}-{i}" for i in range(count)], "-p", partition)


def leads_everything(brokers, topic, leader, count):
    parts = describe(brokers, topic)
    return len(parts) == count and all(p[0] == leader and len(p[2]) == len(brokers) for p in parts.values())


def make_topic(brokers, topic, partitions=4):
    topics(brokers, "--create", "--topic", topic, "--replica-assignment", ",".join(["1:2"] * partitions))
    wait_until(lambda: leads_everything(brokers, topic, 1, partitions), "all to be in sync")


PAIRS = [(Barnabas, Barnabas), (Barnabas, Apache), (Apache, Barnabas)]
SETTINGS = {"min.insync.replicas": 1, "auto.leader.rebalance.enable": "false", "replica.high.watermark.checkpoint.interval.ms": 600000}


def names(pair):
    return "-".join(kind.__name__.lower() for kind in pair)


def elect_controller(brokers, chroot, number):
    """Until that broker is it."""

    def is_it():
        now = json.loads(chroot.get("/controller"))["brokerid"] if chroot.client.exists("/controller") else None
        if now not in (None, number):
            chroot.client.delete("/controller")
        return now == number

    wait_until(is_it, f"broker {number} to be the controller")
    said = re.compile(rf"broker {number} at \S+ \(controller\)")
    for broker in brokers:
        wait_until(lambda: said.search(kcat(broker, "-L")), "all to know it")


@pytest.mark.parametrize("controller", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_a_directory_that_fails_goes_alone(make_cluster, with_disks, pair, controller):  # noqa: F811
    brokers = make_cluster(*pair, each=with_disks, **SETTINGS)
    chroot = brokers[0].zookeeper
    elect_controller(brokers, chroot, controller)
    make_topic(brokers, "t")
    disks = brokers[0].disks
    good, bad = disks.partitions(0, "t"), disks.partitions(1, "t")
    assert len(good) == 2 and len(bad) == 2
    sent = Acknowledged(brokers, "t")
    sent.send(200, 4)
    sent.flush()
    disks.fail(1, "EROFS" if pair[0] is Apache else "EIO")  # reading, Apache does not take EIO for the disk's failure
    sent.send(200, 4)
    sent.flush()
    expected = {p: (1, [1, 2], [1, 2]) for p in good} | {p: (2, [1, 2], [2]) for p in bad}
    wait_until(lambda: describe(brokers, "t") == expected, f"the leaders to be {expected}")
    for broker in brokers:
        wait_until(lambda: offline_replicas(broker, "t") == {p: [1] if p in bad else [] for p in range(4)}, "offline replicas")
    wait_until(lambda: not chroot.children("/log_dir_event_notification"), "the notification to be taken")
    sent.send(200, 4)
    sent.flush()
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records
    # A broker that has lost a directory takes new topics, and is back with all after a restart.
    topics(brokers, "--create", "--topic", "new", "--replica-assignment", "1:2,1:2")
    wait_until(lambda: leads_everything(brokers, "new", 1, 2), "the new topic")
    assert disks.partitions(0, "new") == [0, 1]
    brokers[0].stop()
    disks.repair()
    brokers[0].start()
    wait_until(lambda: all(len(p[2]) == 2 for p in describe(brokers, "t").values()), "all to be in sync again")
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records
