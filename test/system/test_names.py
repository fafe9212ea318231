"""Brokers that know each other by names: with several addresses, and a name service that hangs."""

import socket

import pytest
from harness import Barnabas, free_port, preloaded, wait_until
from test_cluster import Acknowledged, create, describe, in_sync, make_cluster, read_all, topics  # noqa: F401 (a fixture)
from test_controller import controller


@pytest.fixture(scope="session")
def name_library(tmp_path_factory):
    return preloaded("names.c", tmp_path_factory.mktemp("names"))


def test_an_address_that_is_taken_is_not_evaded(zookeeper, tmp_path, name_library):
    """Who asks for the name would get whoever is there."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"PLAINTEXT://broker.test:{other.getsockname()[1]}"
        broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {"listeners": where})
        broker.env = {"LD_PRELOAD": str(name_library), "NAMES_HANG": str(tmp_path / "never")}
        broker.launch()
        assert broker.process.wait(30) == 1
    assert "FATAL" in broker.text() and "Address already in use" in broker.text()


def test_a_name_service_that_hangs_holds_up_nothing_else(make_cluster, tmp_path, request, name_library):
    hang = tmp_path / "hang"

    def by_name(broker):
        broker.env = {"LD_PRELOAD": str(name_library), "NAMES_HANG": str(hang)}
        port = free_port()
        return {"listeners": f"{broker.properties['listeners']},INTERNAL://127.0.0.1:{port}",
                "advertised.listeners": f"{broker.properties['listeners']},INTERNAL://broker-{broker.properties['broker.id']}.test:{port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
                "inter.broker.listener.name": "INTERNAL"}

    brokers = make_cluster(Barnabas, Barnabas, Barnabas, each=by_name)
    chroot = brokers[0].zookeeper
    create(brokers, "t", 3)  # nobody listens at the names' first address
    sent = Acknowledged(brokers, "t")
    sent.send(200)
    sent.flush()
    old = controller(brokers, chroot)
    alive = [b for b in brokers if b is not old]
    epochs = [chroot.client.get(f"/brokers/ids/{b.properties['broker.id']}")[1].czxid for b in alive]
    hang.touch()
    request.addfinalizer(lambda: hang.unlink(missing_ok=True))
    old.kill()
    wait_until(lambda: controller(brokers, chroot) is not old, "another controller, which cannot tell anybody")
    topics(alive, "--create", "--topic", "u", "--partitions", 1, "--replication-factor", 2, zookeeper=True)
    wait_until(lambda: chroot.client.exists("/brokers/topics/u/partitions/0/state"), "what it does go on with")
    hang.unlink()
    wait_until(lambda: all(leader is not None for leader, _, _ in describe(alive, "t").values()), "leaders")
    sent.send(200)
    sent.flush()
    assert [chroot.client.get(f"/brokers/ids/{b.properties['broker.id']}")[1].czxid for b in alive] == epochs
    old.restart()
    wait_until(lambda: in_sync(brokers, "t", 3), "all in sync again")
    found = read_all(brokers, "t", 3)
    assert {k: found.get(k) for k in sent.records} == sent.records
