"""The broker and its ensemble: several hosts, restarts, silence."""

import socket
import threading

import pytest
from harness import Barnabas, ZooKeeper, consume, java, produce, wait_until

TOPICS = "org.apache.kafka.tools.TopicCommand"


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
