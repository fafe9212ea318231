"""The broker and its ensemble: several hosts, restarts, silence."""

import json
import socket
import struct
import threading

import pytest
from harness import Barnabas, ZooKeeper, connect, consume, frame, java, produce, read_frame, wait_until

TOPICS, CONFIGS = "org.apache.kafka.tools.TopicCommand", "kafka.admin.ConfigCommand"


@pytest.fixture
def own_ensemble(tmp_path):
    """One that the test may stop."""
    folder = tmp_path / "own"
    folder.mkdir()
    zk = ZooKeeper(folder)
    zk.start()
    yield zk
    zk.stop()


@pytest.fixture
def start(own_ensemble, tmp_path):
    brokers = []

    def make(connect=None, **properties):
        chroot = own_ensemble.chroot()
        broker = Barnabas(chroot, tmp_path / "data", tmp_path / "broker.log", {"zookeeper.session.timeout.ms": "4000", **properties})
        if connect:
            broker.properties["zookeeper.connect"] = connect(chroot.connect)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    if not own_ensemble.is_running():
        own_ensemble.start()
    for broker in brokers:
        broker.stop()
        broker.check_log()


def create(broker, topic):
    return java(TOPICS, "--bootstrap-server", broker.bootstrap, "--create", "--topic", topic, check=False)


def test_one_host_of_the_list_is_enough(start):
    broker = start(lambda connect: "127.0.0.1:1," + connect, **{"zookeeper.connection.timeout.ms": 30000})
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]


def pour(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def late_host(own_ensemble):
    """A way to the ensemble that breaks the first two connections, as a server does that is not ready."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for n in range(10**6):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if n < 2:
                client.recv(10)
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", own_ensemble.port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pour, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_a_host_that_is_not_ready_is_tried_again(start, late_host):
    broker = start(lambda connect: f"127.0.0.1:1,{late_host}/" + connect.split("/")[1], **{"zookeeper.connection.timeout.ms": 30000})
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]


def text(data):
    return struct.pack(">h", len(data)) + data


def old_offset(broker, group, commit):
    """OffsetCommit or OffsetFetch, version 0, of one partition. Returns the error."""
    of_partition = struct.pack(">iq", 0, 5) + text(b"") if commit else struct.pack(">i", 0)
    body = text(group) + struct.pack(">i", 1) + text(b"t") + struct.pack(">i", 1) + of_partition
    with connect(broker) as s:
        s.sendall(frame(8 if commit else 9, 0, body))
        return struct.unpack(">h", read_frame(s)[-2:])[0]


def test_names_that_no_path_can_have(broker):
    """Whoever comes after them is served as if they had not been."""
    chroot = broker.zookeeper
    produce(broker, "t", ["x"])
    for entity in ("topics/", "topics/a\tb", "topics/a/b", "topics/..", "topics/" + "x" * 300, "brokers/", "none", ""):
        change = json.dumps({"version": 2, "entity_path": entity}).encode()
        chroot.client.create("/config/changes/config_change_", change, sequence=True)
    for junk in (b"", b"\0", b"[]", b'{"version":2}', b'{"version":2,"entity_path":3}'):
        chroot.client.create("/config/changes/config_change_", junk, sequence=True)
    chroot.client.create("/config/changes/none", b"")
    for group in (b"a\tb", b"a\nb", b"a\0b", b"\x1f", b"\x7f", b"\xff\xfe", b".", b"", b"a/b"):
        assert old_offset(broker, group, commit=True) == -1 and old_offset(broker, group, commit=False) == -1
    assert old_offset(broker, "gr ü ppe".encode(), commit=True) == 0
    assert chroot.get("/consumers/gr ü ppe/offsets/t/0") == b"5"
    assert old_offset(broker, "gr ü ppe".encode(), commit=False) == 0
    chroot.client.ensure_path("/config/topics/t")
    chroot.client.set("/config/topics/t", json.dumps({"version": 1, "config": {"retention.ms": "77"}}).encode())
    chroot.client.create("/config/changes/config_change_", b'{"version":2,"entity_path":"topics/t"}', sequence=True)
    wait_until(lambda: "retention.ms=77" in java(CONFIGS, "--bootstrap-server", broker.bootstrap, "--describe", "--topic", "t"), "the setting")


def test_it_serves_on_while_zookeeper_is_away(start, own_ensemble):
    broker = start()
    produce(broker, "t", ["before"])
    own_ensemble.stop()
    for i in range(20):
        produce(broker, "t", [f"without {i}"])
    assert consume(broker, "t") == ["before"] + [f"without {i}" for i in range(20)]
    own_ensemble.start()
    wait_until(lambda: "Created topic" in create(broker, "after") or "already exists" in create(broker, "after"), "topics can be made again")
    produce(broker, "after", ["x"])
    assert consume(broker, "after") == ["x"]
