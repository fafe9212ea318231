"""Each of our rules for alerts, with a real Prometheus: what it is about is done to brokers that work, and it fires; it is undone, and it clears."""

import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest
from certificates import Authority
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from harness import PATIENCE, Barnabas, ZooKeeper, connect, frame, free_port, preloaded, read_frame, wait_until
from test_prometheus import ALERTS, Prometheus

pytestmark = pytest.mark.long
LEFT = {"LoopBusy"}  # wants a loop that is busy for a minute


def hasty(rules):
    """The same, but that they look at seconds instead of minutes. Flapping is counted over what it is."""
    rules = re.sub(r"for: \w+", "for: 1s", rules)
    return re.sub(r"(?<!shrink\"\})\[\d+m\]", "[10s]", rules)


class Watch(Prometheus):
    """Scrapes these brokers, and has the alerts."""

    def __init__(self, folder, brokers):
        self.brokers = {f"127.0.0.1:{b.http}": b for b in brokers}
        super().__init__(folder, list(self.brokers))
        self.rules = folder / "alerts.yml"
        self.rules.write_text(hasty(ALERTS.read_text()))

    def firing(self):
        found = self.ask("query", query='ALERTS{alertstate="firing"}')["result"]
        return {r["metric"]["alertname"].removeprefix("Barnabas") for r in found}

    def who(self, alert):
        """Of which brokers it fires, or did."""
        found = self.ask("query", query=f'count_over_time(ALERTS{{alertname="Barnabas{alert}",alertstate="firing"}}[1h])')["result"]
        return [self.brokers.get(r["metric"].get("instance")) for r in found]

    def has_fired(self, *alerts):
        return all(self.who(alert) for alert in alerts)

    def wait_for(self, *alerts, meanwhile=lambda: None):
        def fired():
            meanwhile()
            return self.has_fired(*alerts)
        wait_until(fired, f"that {', '.join(alerts)} fire, and not only {self.firing()}", 90)

    def wait_for_peace(self, meanwhile=lambda: None):
        def quiet():
            meanwhile()
            return not self.firing()
        try:
            wait_until(quiet, "that all is well", 120)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.firing()}") from e


@pytest.fixture
def watch(tmp_path):
    made = []

    def make(*brokers):
        made.append(Watch(tmp_path, brokers))
        made[0].start()
        wait_until(lambda: len(made[0].ask("query", query="up == 1")["result"]) == len(brokers), "the first scrapes")
        made[0].wait_for_peace()
        assert not made[0].ask("query", query="count_over_time(ALERTS{alertstate='firing',alertname!='BarnabasNoController'}[1h])")["result"]
        return made[0]

    yield make
    for it in made:
        it.stop()


@pytest.fixture
def make_watched(make_broker):
    def make(number=0, each=None, **settings):
        port = free_port()
        broker = make_broker(data=f"data{number}", each=each, broker_id=number, **{
            "barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "zookeeper.connection.timeout.ms": PATIENCE * 1000, **settings})
        broker.http = port
        return broker

    return make


def administer(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def create(broker, name, replicas, **config):
    admin = administer(broker)
    topic = NewTopic(name, len(replicas), replica_assignment=replicas, config={k.replace("_", "."): str(v) for k, v in config.items()})
    admin.create_topics([topic])[name].result(PATIENCE)
    wait_until(lambda: in_sync(admin, name) == [len(r) for r in replicas], "replicas in sync")


def in_sync(admin, name):
    partitions = admin.list_topics(name, timeout=PATIENCE).topics[name].partitions
    return [len(partitions[i].isrs) if i in partitions else 0 for i in range(len(partitions))]


def configure(broker, kind, name, **config):
    admin, entries = administer(broker), [ConfigEntry(k.replace("_", "."), str(v), incremental_operation=AlterConfigOpType.SET) for k, v in config.items()]
    what = ConfigResource(kind, name, incremental_configs=entries)
    admin.incremental_alter_configs([what])[what].result(PATIENCE)


def producer(broker, **settings):
    return Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0, "retries": 0, **{k.replace("_", "."): v for k, v in settings.items()}})


def test_each_is_tried():
    here = Path(__file__).read_text()
    assert {alert for alert in re.findall(r"alert: Barnabas(\w+)", ALERTS.read_text()) if f'"{alert}"' not in here.partition("def hasty")[2]} == LEFT


def test_brokers_that_are_gone(make_watched, watch):
    """Of three: one that follows, then the leader with it, then the controller."""
    three = [make_watched(i, offsets_topic_replication_factor=3, replica_lag_time_max_ms=3000) for i in range(3)]
    create(three[0], "alone", [[2]])
    create(three[0], "strict", [[1, 2]], min_insync_replicas=2)
    create(three[0], "loose", [[1, 2]], min_insync_replicas=1, unclean_leader_election_enable="true")
    it = watch(*three)
    three[2].kill()
    refused = producer(three[1], acks="all")
    it.wait_for("BrokerDown", "OfflinePartitions", "UnderMinIsr", "UnderReplicated", "ProduceFails",
                meanwhile=lambda: (refused.produce("strict", b"x", partition=0), refused.flush(PATIENCE)))
    assert it.who("BrokerDown") == [three[2]] and it.who("UnderMinIsr") == it.who("UnderReplicated") == it.who("ProduceFails") == [three[1]]
    three[1].kill()
    three[2].restart()
    it.wait_for("UncleanElection")
    assert it.who("UncleanElection") == [three[0]]
    three[1].restart()
    it.wait_for_peace()
    three[0].kill()
    it.wait_for("NoController")
    three[0].restart()
    it.wait_for_peace()


def test_followers_that_are_slow(make_watched, watch):
    """One that stands still, until it is given up; and that is not let catch up afterwards."""
    records = 250000
    leader, follower = [make_watched(i, zookeeper_session_timeout_ms=60000, replica_lag_time_max_ms=3000) for i in range(2)]
    create(leader, "t", [[0, 1]] * 40, min_insync_replicas=1)
    configure(leader, ResourceType.TOPIC, "t", follower_replication_throttled_replicas="*")
    configure(leader, ResourceType.BROKER, "1", follower_replication_throttled_rate=1)  # of who is not in sync
    careful, careless = producer(leader, acks="all"), producer(leader, acks=1, queue_buffering_max_messages=records)

    def to_each():
        for p in range(40):
            careful.produce("t", b"x", partition=p)
        assert careful.flush(PATIENCE) == 0
    to_each()
    it = watch(leader, follower)
    follower.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(records):
            careless.produce("t", b"x" * 20, partition=0)
        assert careless.flush(PATIENCE) == 0
        to_each()  # which ends when the follower is out of all ISRs
        it.wait_for("IsrFlaps", "ProduceSlow")
    finally:
        follower.process.send_signal(signal.SIGCONT)
    assert it.who("IsrFlaps") == it.who("ProduceSlow") == [leader]
    it.wait_for("FollowerBehind")
    assert it.who("FollowerBehind") == [follower]
    configure(leader, ResourceType.BROKER, "1", follower_replication_throttled_rate=10**9)
    wait_until(lambda: it.firing() <= {"IsrFlaps"}, "that the follower is there; what has flapped is told of for half an hour", 120)


def test_zookeeper_that_is_silent(tmp_path, watch):
    """For a while that sessions outlive: the controller waits for it in the middle of an election, and everything behind that."""
    folder = tmp_path / "own"
    folder.mkdir()
    ensemble, brokers, asking = ZooKeeper(folder), [], []
    ensemble.start()
    chroot = ensemble.chroot()
    try:
        for i in range(2):
            port = free_port()
            brokers.append(Barnabas(chroot, tmp_path / f"data{i}", tmp_path / f"broker-{i}.log", {
                "broker.id": i, "barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "zookeeper.session.timeout.ms": 24000, "zookeeper.connection.timeout.ms": PATIENCE * 1000}))
            brokers[i].http = port
            brokers[i].start()
        create(brokers[0], "t", [[1, 0]])
        it = watch(*brokers)
        ensemble.process.send_signal(signal.SIGSTOP)
        brokers[1].process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Shutting down" in brokers[1].text(), "the other to hand over what it leads")
        for _ in range(150):
            asking.append(connect(brokers[0]))
            asking[-1].sendall(frame(43, 0, b"\xff\xff\xff\xff\0\0\x75\x30"))  # ElectLeaders of all partitions
        it.wait_for("ZooKeeperDisconnected", "ControllerBehind")
        assert it.who("ControllerBehind") == [brokers[0]]
        ensemble.process.send_signal(signal.SIGCONT)
        brokers[1].process.wait(PATIENCE)
        brokers[1].restart()
        it.wait_for_peace()
    finally:
        ensemble.process.send_signal(signal.SIGCONT)
        for sock in asking:
            sock.close()
        chroot.close()
        for broker in brokers:
            broker.stop()
        ensemble.stop()
    for broker in brokers:
        broker.check_log()


def test_sessions_that_end(make_watched, watch):
    broker = make_watched()
    it, node = watch(broker), broker.zookeeper.client
    broker.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: node.exists("/brokers/ids/0") is None, "the end of its session")
    finally:
        broker.process.send_signal(signal.SIGCONT)
    it.wait_for("ZooKeeperSessionLost")
    it.wait_for_peace()


def test_disks_that_fail(make_watched, watch, tmp_path):
    """One that is slow, then one that does nothing, then one that is broken; and a log that cannot be compacted."""
    faults, disks = tmp_path / "faults", [tmp_path / "disk-0", tmp_path / "disk-1"]

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(faults))
        return {"log.dirs": ",".join(map(str, disks))}
    broker = make_watched(each=with_faults, num_io_threads=1, log_cleaner_backoff_ms=500)
    create(broker, "flushed", [[0]], flush_messages=1)
    create(broker, "damaged", [[0]], segment_bytes=1000)
    create(broker, "other", [[0]] * 4)
    sender = producer(broker, request_timeout_ms=PATIENCE * 1000)
    for topic in ["flushed"] + ["damaged"] * 5:
        sender.produce(topic, b"x" * 600, key=b"k", partition=0)
        assert sender.flush(PATIENCE) == 0
    it = watch(broker)

    where = next(d for d in disks if (d / "flushed-0").exists())
    faults.write_text(f"HANG_SYNC 0 {where}/flushed-0")
    begun = time.monotonic()
    sender.produce("flushed", b"x", partition=0)
    wait_until(lambda: time.monotonic() - begun > 3, "the disk")
    faults.unlink()
    it.wait_for("FlushSlow")

    segment = sorted(next(d for d in disks if (d / "damaged-0").exists()).glob("damaged-0/*.log"))[0]
    with segment.open("r+b") as f:
        f.seek(300)
        f.write(b"??")
    configure(broker, ResourceType.TOPIC, "damaged", cleanup_policy="compact", min_cleanable_dirty_ratio="0.01")
    it.wait_for("Uncleanable")
    admin = administer(broker)
    admin.delete_topics(["damaged"])["damaged"].result(PATIENCE)

    faults.write_text(f"HANG 0 {disks[0]}")
    made = admin.create_topics([NewTopic("new", 4, 1)], request_timeout=PATIENCE)["new"]
    it.wait_for("WorkersBusy")
    faults.unlink()
    made.result(PATIENCE)
    it.wait_for_peace()

    faults.write_text(f"EIO 0 {disks[1]}")
    for p in range(4):
        sender.produce("other", b"x", partition=p)
    it.wait_for("LogDirectoryOffline")
    faults.unlink()
    broker.stop()
    broker.restart()
    it.wait_for_peace()


def test_clients_that_are_in_trouble(make_watched, watch, tmp_path):
    """A group that does not read, a transaction that does not end, a wrong password; and a certificate and descriptors that come to their end."""
    login, authority, shown, hour_ago = free_port(), Authority(tmp_path / "ca"), tmp_path / "shown.pem", int(time.time() - 3600) * 1000

    def show(days):
        new = tmp_path / "new.pem"
        new.write_bytes(authority.issue("server", days=days).read_bytes())
        new.rename(shown)

    def settings(broker):
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://127.0.0.1:{login},SSL://127.0.0.1:0", "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": 'org.apache.kafka.common.security.plain.PlainLoginModule required user_u="right";',
                "connection.failed.authentication.delay.ms": 0, "ssl.keystore.type": "PEM", "ssl.keystore.location": shown}
    show(days=100)
    broker = make_watched(each=settings)
    create(broker, "t", [[0]])
    sender, transactor = producer(broker), Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    for _ in range(10):
        sender.produce("t", b"x", timestamp=hour_ago)
    assert sender.flush(PATIENCE) == 0
    group = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    it = watch(broker)

    group.commit(offsets=[TopicPartition("t", 0, 1)], asynchronous=False)
    it.wait_for("GroupBehind")
    transactor.init_transactions(PATIENCE)
    transactor.begin_transaction()
    transactor.produce("t", b"x", timestamp=hour_ago)
    assert transactor.flush(PATIENCE) == 0
    it.wait_for("LateTransactions")
    transactor.abort_transaction(PATIENCE)
    group.commit(offsets=[TopicPartition("t", 0, 12)], asynchronous=False)

    def fail_to_log_in():
        with socket.create_connection(("127.0.0.1", login), PATIENCE) as s:
            s.sendall(frame(17, 1, b"\0\5PLAIN"))
            read_frame(s)
            s.sendall(frame(36, 1, b"\0\0\0\x08\0u\0wrong"))
            read_frame(s)
    it.wait_for("AuthenticationFails", meanwhile=fail_to_log_in)

    show(days=1)
    broker.process.send_signal(signal.SIGHUP)
    it.wait_for("CertificateEnds")
    show(days=100)
    broker.process.send_signal(signal.SIGHUP)

    before, count = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE), len(os.listdir(f"/proc/{broker.process.pid}/fd"))
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (count + 5, before[1]))
    it.wait_for("FewDescriptors")
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, before)
    it.wait_for_peace()
    group.close()
