"""Several log directories, of which some fail: what is in them goes elsewhere, and the rest is served on."""

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from harness import Apache, Barnabas, connect, consume, frame, java, kcat, preloaded, produce, read_frame, wait_until
from messages import Asker, errors_in
from test_cluster import Acknowledged, describe, make_cluster, read_all, topics  # noqa: F401 (a fixture)
from test_controller import INELIGIBLE_REPLICA, ask_for_isr
from test_tools import script

REPLICA_NOT_AVAILABLE = 9


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    return preloaded("disk_faults.c", tmp_path_factory.mktemp("faults"))


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
    for disks in (b.disks for b in brokers if hasattr(b, "disks")):
        wait_until(lambda: len(disks.partitions(0, topic) + disks.partitions(1, topic)) == partitions, "the logs to be made")


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

def test_who_reads_finds_that_a_disk_fails(make_cluster, with_disks):  # noqa: F811
    """Nothing is written there meanwhile. Its partitions get another leader, and nobody tries again and again."""
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    bad = brokers[0].disks.partitions(1, "t")
    for partition in range(4):
        fill(brokers[0], "t", partition)
    brokers[0].disks.fail(1)
    assert consume(brokers[0], "t", "-p", bad[0]) == [f"{bad[0]}-{i}" for i in range(20)]
    wait_until(lambda: all(describe(brokers, "t")[p][0] == 2 for p in bad), "another leader")
    assert brokers[0].log.read_text().count("Cannot read") < 10


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_a_follower_loses_a_directory(make_cluster, with_disks, pair):  # noqa: F811
    """It leaves the ISRs of what was there, although its fetches of the rest go on, and what is acknowledged does not wait for it."""
    brokers = make_cluster(*pair, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    disks = brokers[1].disks
    good, bad = disks.partitions(0, "t"), disks.partitions(1, "t")
    sent = Acknowledged(brokers, "t")
    sent.send(200, 4)
    sent.flush()
    disks.fail(1, "EROFS" if pair[1] is Apache else "EIO")
    sent.send(200, 4)
    expected = {p: (1, [1, 2], [1, 2]) for p in good} | {p: (1, [1, 2], [1]) for p in bad}
    wait_until(lambda: describe(brokers, "t") == expected, f"the ISRs to be {expected}")
    sent.flush()
    for _ in range(3):  # rounds in which it would be found in sync, if its fetches of the others counted
        sent.send(200, 4)
        sent.flush()
        make_topic(brokers, f"beside-{len(sent.records)}", 1)
    assert describe(brokers, "t") == expected
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records


@pytest.mark.parametrize("pair", PAIRS, ids=names)
@pytest.mark.parametrize("controller", [1, 2])
def test_a_deletion_waits_for_a_failed_directory(make_cluster, with_disks, pair, controller):  # noqa: F811
    brokers = make_cluster(*pair, each=with_disks, **SETTINGS)
    chroot = brokers[0].zookeeper
    elect_controller(brokers, chroot, controller)
    make_topic(brokers, "t")
    disks = brokers[0].disks
    bad = disks.partitions(1, "t")
    disks.fail(1, "EROFS")
    for p in bad:
        kcat(brokers[0], "-P", "-t", "t", "-p", str(p), stdin="x\n")
    wait_until(lambda: all(offline_replicas(brokers[1], "t")[p] for p in bad), "offline replicas")
    topics(brokers, "--delete", "--topic", "t")
    wait_until(lambda: not disks.partitions(0, "t") and not brokers[1].disks.partitions(0, "t"), "the others to be deleted")
    assert chroot.children("/admin/delete_topics") == ["t"] and disks.partitions(1, "t") == bad
    words = brokers[controller - 1].text().count("Deletion of topic t waits")
    assert words < 10
    brokers[0].stop()
    disks.repair()
    brokers[0].start()
    wait_until(lambda: not chroot.children("/admin/delete_topics") and not disks.partitions(1, "t"), "the end of the deletion")


def test_a_full_disk_keeps_what_it_acknowledged(make_cluster, with_disks):  # noqa: F811
    """It fills up in the middle of a batch; nothing of that is ever read, and all that was acknowledged is."""
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1,1,1,1")
    wait_until(lambda: len(describe(brokers, "t")) == 4, "the topic")
    disks = brokers[0].disks
    sent = Acknowledged(brokers, "t")
    sent.send(400, 4)
    sent.flush()
    bad = disks.partitions(1, "t")
    disks.fail(1, "ENOSPC", 100)
    sent.producer.produce("t", "y" * 1000, partition=bad[0], on_delivery=lambda e, m: sent.failed.append(e))
    wait_until(lambda: describe(brokers, "t") == {p: (None if p in bad else 1, [1], [1]) for p in range(4)}, "the directory to be offline")
    brokers[0].stop()
    log = disks.dirs[1] / f"t-{bad[0]}" / "00000000000000000000.log"
    assert not (disks.dirs[1] / ".kafka_cleanshutdown").exists() and (disks.dirs[0] / ".kafka_cleanshutdown").exists()
    assert b"yyy" not in log.read_bytes()
    disks.repair()
    brokers[0].start()
    wait_until(lambda: describe(brokers, "t") == {p: (1, [1], [1]) for p in range(4)}, "the leaders")
    sent.producer.flush(60)  # the client has not been told yet that it failed, and tries on
    sent.send(400, 4)
    sent.producer.flush(60)
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_a_disk_that_is_really_full(make_cluster, tmp_path):  # noqa: F811
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], check=True)
    try:
        brokers = make_cluster(Barnabas, Barnabas, each=lambda b: {"log.dirs": f"{small},{b.data}"} if b.properties["broker.id"] == "1" else {}, **SETTINGS)
        make_topic(brokers, "t", 2)
        (on_small,) = [p for p in (0, 1) if (small / f"t-{p}").exists()]
        sent = Acknowledged(brokers, "t")
        for i in range(800):
            sent.producer.produce("t", f"{i}-" + "z" * 10000, partition=i % 2, on_delivery=sent.note)
            sent.producer.poll(0)
        sent.flush()
        wait_until(lambda: describe(brokers, "t") == {p: (2, [1, 2], [2]) if p == on_small else (1, [1, 2], [1, 2]) for p in (0, 1)}, "another leader")
        found = read_all(brokers, "t", 2)
        assert len(sent.records) == 800 and {k: found.get(k) for k in sent.records} == sent.records
    finally:
        for broker in brokers:
            broker.stop()
        subprocess.run(["umount", small], check=True)


def test_a_disk_that_failed_can_be_unmounted(make_cluster, with_disks):  # noqa: F811
    """Nothing in it is open any more."""
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    disks = brokers[0].disks

    def is_open():
        files = [os.readlink(f) for f in Path(f"/proc/{brokers[0].process.pid}/fd").iterdir() if f.is_symlink()]
        maps = Path(f"/proc/{brokers[0].process.pid}/maps").read_text()
        return str(disks.dirs[1]) in maps or any(f.startswith(str(disks.dirs[1])) for f in files)

    for p in range(4):
        fill(brokers[0], "t", p)
    assert is_open()
    disks.fail(1)
    fill(brokers[0], "t", disks.partitions(1, "t")[0])
    wait_until(lambda: not is_open(), "its files to be closed")


def test_without_any_directory_the_broker_ends(make_cluster, with_disks):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    disks = brokers[0].disks
    sent = Acknowledged(brokers, "t")
    for which in (0, 1):
        disks.fail(which)
        sent.send(200, 4)
        wait_until(lambda: f"Log directory {disks.dirs[which]} is offline" in brokers[0].text(), "the directory to fail")
    sent.flush()
    assert brokers[0].process.wait(60) == 1
    assert f"Shutdown broker because all log dirs in {disks.dirs[0]}, {disks.dirs[1]} have failed" in brokers[0].text()
    wait_until(lambda: describe([brokers[1]], "t") == {p: (2, [1, 2], [2]) for p in range(4)}, "the other broker to lead")
    found = read_all(brokers[1:], "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records
    brokers[0].log.write_text("")  # its last word is what was expected


def fetch_error(broker, version, topic, partition):
    with Asker(broker) as asker:
        part = {"Partition": partition, "FetchOffset": 0, "PartitionMaxBytes": 1000, "CurrentLeaderEpoch": -1, "LogStartOffset": -1}
        answer = asker.get("Fetch", version, {"ReplicaId": -1, "MaxWaitMs": 100, "MinBytes": 1, "MaxBytes": 1000, "IsolationLevel": 0, "SessionEpoch": -1,
                                              "Topics": [{"Topic": topic, "Partitions": [part]}]})
    return answer["Responses"][0]["Partitions"][0]["ErrorCode"]


@pytest.mark.parametrize("kind", ["EIO", "EROFS"])
def test_a_directory_that_cannot_be_used_at_start(make_cluster, with_disks, kind):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    disks = brokers[0].disks
    bad = disks.partitions(1, "t")
    sent = Acknowledged(brokers, "t")
    sent.send(400, 4)
    sent.flush()
    brokers[0].stop()
    disks.fail(1, kind)
    brokers[0].start()
    wait_until(lambda: offline_replicas(brokers[1], "t") == {p: [1] if p in bad else [] for p in range(4)}, "offline replicas")
    wait_until(lambda: all(p[2] == ([2] if n in bad else [1, 2]) for n, p in describe(brokers, "t").items()), "the others to be in sync")
    assert disks.partitions(0, "t") == [p for p in range(4) if p not in bad]
    # Its leader may have heard of what it had before it was restarted.
    assert ask_for_isr(brokers, brokers[0].zookeeper, "t", {1: -1, 2: -1}, bad[0]) == INELIGIBLE_REPLICA
    assert [fetch_error(brokers[0], version, "t", bad[0]) for version in (4, 5, 6, 11)] == [6, 6, 56, 56]  # NOT_LEADER, and what others do not know
    sent.send(400, 4)
    sent.flush()
    brokers[0].stop()
    disks.repair()
    brokers[0].start()
    wait_until(lambda: all(len(p[2]) == 2 for p in describe(brokers, "t").values()), "all to be in sync again")
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records


# ---- kafka-log-dirs ----


LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"


def ours(broker, *args, **kw):
    return script("kafka-log-dirs", "--bootstrap-server", broker.bootstrap, "--describe", *args, **kw)


def theirs(broker, *args, **kw):
    return java(LOG_DIRS, "--bootstrap-server", broker.bootstrap, "--describe", *args, **kw)


def ordered(text):
    """What is printed, with Java's order of the hash table made one that is known."""
    *before, last = text.splitlines()
    found = json.loads(last)
    for broker in found["brokers"]:
        broker["logDirs"].sort(key=lambda d: d["logDir"])
        for d in broker["logDirs"]:
            d["partitions"].sort(key=lambda p: (p["partition"], p["isFuture"]))
    return before, json.dumps(found)


def log_dirs(broker, number=None):
    """{directory: {partition: (size, lag, whether it is a future one)}}, with the error instead where there is one."""
    found = json.loads(ours(broker, "--broker-list", number or broker.properties["broker.id"]).splitlines()[-1])["brokers"][0]
    return {d["logDir"]: d["error"] or {p["partition"]: (p["size"], p["offsetLag"], p["isFuture"]) for p in d["partitions"]}
            for d in found["logDirs"]}


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_the_script_says_what_theirs_says(make_cluster, with_disks, pair):  # noqa: F811
    brokers = make_cluster(*pair, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    topics(brokers, "--create", "--topic", "u", "--replica-assignment", "2,2")
    for p in range(4):
        fill(brokers[0], "t", p, 10 * p)
    wait_until(lambda: all(p[0] or name in ("t-0", "u-0", "u-1") for b in brokers for d in log_dirs(b).values() for name, p in d.items()), "the followers")
    for broker in brokers:
        for args in ([], ["--topic-list", "t,x"], ["--broker-list", "2,1,2"], ["--broker-list", "1", "--topic-list", "u"]):
            wait_until(lambda: ordered(ours(broker, *args)) == ordered(theirs(broker, *args)), f"the same with {args}")
    assert theirs(brokers[0], "--broker-list", "7,1,9", check=False).strip() == (ours(brokers[0], "--broker-list", "7,1,9", code=1) + script.errors).strip()
    ours(brokers[0], "--broker-list", "one", code=1)
    assert script.errors == 'For input string: "one"\n'
    brokers[0].disks.fail(1, "EROFS")
    bad = brokers[0].disks.partitions(1, "t")[-1]
    kcat(brokers[0], "-P", "-t", "t", "-p", str(bad), stdin="x\n")
    wait_until(lambda: offline_replicas(brokers[1], "t")[bad], "offline replicas")
    for broker in brokers:
        assert ordered(ours(broker)) == ordered(theirs(broker))
    assert log_dirs(brokers[1], 1)[str(brokers[0].disks.dirs[1])] == "org.apache.kafka.common.errors.KafkaStorageException"


# ---- Moving logs ----


REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"


class Move:
    """Of partitions of broker 1 to a directory, by our script or by Apache's."""

    def __init__(self, brokers, path, targets, replicas=(1, 2)):
        self.at = ["--bootstrap-server", brokers[0].bootstrap, "--reassignment-json-file", path]
        entries = [{"topic": t, "partition": p, "replicas": list(replicas), "log_dirs": [str(d)] + ["any"] * (len(replicas) - 1)}
                   for (t, p), d in targets.items()]
        path.write_text(json.dumps({"version": 1, "partitions": entries}))

    def run(self, *args, apache=False):
        return java(REASSIGN, *args, *self.at) if apache else script("kafka-reassign-partitions", *args, *self.at)

    def is_done(self, apache=False):
        out = self.run("--verify", "--preserve-throttles", apache=apache)
        return "in progress" not in out and "completed successfully" in out and "not being moved" not in out


def set_rate(brokers, number, rate):
    config = ["--delete-config", "replica.alter.log.dirs.io.max.bytes.per.second"] if rate is None else \
        ["--add-config", f"replica.alter.log.dirs.io.max.bytes.per.second={rate}"]
    java("kafka.admin.ConfigCommand", "--bootstrap-server", brokers[0].bootstrap, "--alter", "--entity-type", "brokers", "--entity-name", number, *config)


def big_lines(count=1000, size=10000):
    return [f"{i}-" + "x" * size for i in range(count)]


@pytest.mark.parametrize("apache", [False, True], ids=["our-tool", "apaches-tool"])
def test_logs_move_while_they_are_written(make_cluster, with_disks, tmp_path, apache):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t")
    disks = brokers[0].disks
    sent = Acknowledged(brokers, "t")
    sent.send(2000, 4)
    here = {p: disks.where(f"t-{p}")[0] for p in range(4)}
    move = Move(brokers, tmp_path / "moves.json", {("t", p): disks.dirs[1 - at] for p, at in here.items()})
    assert "Successfully started moving log directory" in move.run("--execute", apache=apache)
    sent.send(2000, 4)
    wait_until(lambda: move.is_done(apache), "the moves")
    sent.send(2000, 4)
    sent.flush()
    assert {p: disks.where(f"t-{p}") for p in range(4)} == {p: [1 - at] for p, at in here.items()}
    assert describe(brokers, "t") == {p: (1, [1, 2], [1, 2]) for p in range(4)}
    found = read_all(brokers, "t", 4)
    assert {k: found.get(k) for k in sent.records} == sent.records
    for broker in brokers:
        broker.stop()
    for p in range(4):
        mine, other = ((b.disks.dirs[b.disks.where(f"t-{p}")[0]] / f"t-{p}") for b in brokers)
        for name in ("00000000000000000000.log", "partition.metadata"):
            assert (mine / name).read_bytes() == (other / name).read_bytes()


def with_a_slow_disk(make_cluster, with_disks):  # noqa: F811
    """Two brokers, a topic of which one chunk is moved, and then nothing for months; and where its log is."""
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    make_topic(brokers, "t", 1)
    produce(brokers[0], "t", big_lines())
    set_rate(brokers, 1, 1)
    (home,) = brokers[0].disks.where("t-0")
    return brokers, home


def futures(disks, which):
    return sorted(p.name for p in disks.dirs[which].glob("*-future"))


def test_a_future_log_beside_its_own_goes_nowhere(make_broker, tmp_path):
    """Left there by hand. It is in the way of nothing, also not of a move to another directory."""
    dirs = tmp_path / "a", tmp_path / "b"
    broker = make_broker(log_dirs=f"{dirs[0]},{dirs[1]}")
    produce(broker, "t", ["x", "y"])
    here, there = dirs if (dirs[0] / "t-0").exists() else dirs[::-1]
    broker.stop()
    (here / f"t-0.{'0' * 32}-future").mkdir()
    broker.restart()
    wait_until(lambda: "has a future log in" in broker.text(), "the future log to be found")
    assert consume(broker, "t") == ["x", "y"]
    with Asker(broker) as asker:
        answer = asker.get("AlterReplicaLogDirs", 1, {"Dirs": [{"Path": str(there), "Topics": [{"Name": "t", "Partitions": [0]}]}]})
    assert errors_in(answer) == {0}
    wait_until(lambda: (there / "t-0").exists() and not list(here.glob("t-0.*-future")), "the move")
    assert consume(broker, "t") == ["x", "y"]


def test_a_future_log_of_an_older_topic_takes_no_place(make_broker, tmp_path):
    """Its directory was away when that topic was deleted; the records are the new one's all the same."""
    dirs = tmp_path / "a", tmp_path / "b"
    broker = make_broker(log_dirs=f"{dirs[0]},{dirs[1]}")
    produce(broker, "t", ["of old"])
    here, there = dirs if (dirs[0] / "t-0").exists() else dirs[::-1]
    broker.stop()
    shutil.copytree(here / "t-0", there / f"t-0.{'0' * 32}-future")
    (there / f"t-0.{'0' * 32}-future" / "partition.metadata").write_text("version: 0\ntopic_id: 4GHYYy0ZTGmWjnmJzQ0sWw\n")
    broker.restart()
    wait_until(lambda: "of an older topic of that name" in broker.text(), "the future log to be found")
    wait_until(lambda: not list(there.glob("t-0.*-future")), "it to be gone")
    assert consume(broker, "t") == ["of old"] and (here / "t-0").exists()


def test_a_move_survives_a_restart(make_cluster, with_disks, tmp_path):  # noqa: F811
    brokers, home = with_a_slow_disk(make_cluster, with_disks)
    disks = brokers[0].disks
    target = str(disks.dirs[1 - home])
    move = Move(brokers, tmp_path / "moves.json", {("t", 0): target})
    move.run("--execute")
    wait_until(lambda: log_dirs(brokers[0])[target].get("t-0", (0, 0, 0))[0] > 0, "the beginning of the copy")
    size, lag, future = log_dirs(brokers[0])[target]["t-0"]
    assert future and lag > 0 and "still in progress" in move.run("--verify", "--preserve-throttles")
    assert ordered(ours(brokers[0])) == ordered(theirs(brokers[0]))
    (name,) = futures(disks, 1 - home)
    assert re.fullmatch(r"t-0\.[0-9a-f]{32}-future", name)
    for how in (brokers[0].stop, brokers[0].kill):
        how()
        brokers[0].start()
        wait_until(lambda: log_dirs(brokers[0])[target].get("t-0", (0, 0, 0))[0] >= size, "the copy to go on")
        assert futures(disks, 1 - home) == [name] and disks.where("t-0") == [home]
    wait_until(lambda: "The move of t-0 to another directory has come to offset " in brokers[0].text(), "it to be told how far it is")
    set_rate(brokers, 1, None)
    wait_until(move.is_done, "the move")
    assert disks.where("t-0") == [1 - home] and futures(disks, 1 - home) == []
    assert [v for _, v in sorted(read_all(brokers, "t", 1).items())] == [line.encode() for line in big_lines()]


def test_a_move_is_called_off_or_goes_elsewhere(make_cluster, with_disks, tmp_path):  # noqa: F811
    brokers, home = with_a_slow_disk(make_cluster, with_disks)
    disks = brokers[0].disks
    move = Move(brokers, tmp_path / "moves.json", {("t", 0): disks.dirs[1 - home]})
    move.run("--execute")
    assert len(futures(disks, 1 - home)) == 1
    move.run("--cancel", "--preserve-throttles")
    assert disks.where("t-0") == [home] and futures(disks, 1 - home) == []
    move.run("--execute")
    topics(brokers, "--delete", "--topic", "t")
    wait_until(lambda: not futures(disks, 1 - home) and not disks.where("t-0"), "the topic's logs to go")


def test_a_partition_is_made_where_it_is_wanted(make_cluster, with_disks, tmp_path):  # noqa: F811
    """The order comes before the partition, as the tool sends it with a reassignment."""
    brokers = make_cluster(Barnabas, Barnabas, each=with_disks, **SETTINGS)
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", ",".join(["2"] * 5))
    disks = brokers[0].disks
    assert set(alter_dirs(brokers[0], disks.dirs[1], "t", range(5)).values()) == {REPLICA_NOT_AVAILABLE}
    move = Move(brokers, tmp_path / "moves.json", {("t", p): disks.dirs[1] for p in range(5)})
    move.run("--execute")
    wait_until(move.is_done, "the replicas")
    assert [disks.partitions(0, "t"), disks.partitions(1, "t")] == [[], [0, 1, 2, 3, 4]]


def alter_dirs(broker, path, topic, partitions):
    """{partition: error code} of AlterReplicaLogDirs 1."""

    def text(x):
        return struct.pack(">h", len(x)) + x.encode()

    body = struct.pack(">i", 1) + text(str(path)) + struct.pack(">i", 1) + text(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    with connect(broker) as s:
        s.sendall(frame(34, 1, body))
        data = read_frame(s)
    at = 4 + 4 + 4 + 2 + len(topic)
    (count,) = struct.unpack_from(">i", data, at)
    return dict(struct.unpack_from(">ih", data, at + 4 + 6 * i) for i in range(count))


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_orders_that_cannot_be_carried_out(make_cluster, with_disks, kind):  # noqa: F811
    brokers = make_cluster(kind, kind, each=with_disks, **SETTINGS)
    make_topic(brokers, "t", 2)
    topics(brokers, "--create", "--topic", "far", "--replica-assignment", "2")
    wait_until(lambda: describe([brokers[0]], "far"), "the broker to know the topic")
    disks = brokers[0].disks
    STORAGE, NOT_FOUND, NOT_AVAILABLE, UNKNOWN, TOPIC = 56, 57, 9, 3, 17
    assert alter_dirs(brokers[0], "/nowhere", "t", [0, 1]) == {0: NOT_FOUND, 1: NOT_FOUND}
    assert alter_dirs(brokers[0], disks.dirs[0], "far", [0]) == {0: NOT_AVAILABLE}
    assert alter_dirs(brokers[0], disks.dirs[0], "none", [0]) == {0: UNKNOWN}
    assert alter_dirs(brokers[0], disks.dirs[0], "x" * 220, [0]) == {0: TOPIC}
    home = {p: disks.where(f"t-{p}")[0] for p in (0, 1)}
    assert sorted(home.values()) == [0, 1]
    on = {v: k for k, v in home.items()}
    assert alter_dirs(brokers[0], disks.dirs[0], "t", [on[0]]) == {on[0]: 0}
    disks.fail(1, "EROFS")
    kcat(brokers[0], "-P", "-t", "t", "-p", str(on[1]), stdin="x\n")
    wait_until(lambda: offline_replicas(brokers[1], "t")[on[1]], "the directory to be offline")
    assert alter_dirs(brokers[0], disks.dirs[1], "t", [0, 1]) == {0: STORAGE, 1: STORAGE}
    assert alter_dirs(brokers[0], disks.dirs[1], "far", [0]) == {0: STORAGE}
    assert alter_dirs(brokers[0], disks.dirs[0], "t", [0, 1]) == {on[0]: 0, on[1]: STORAGE}
