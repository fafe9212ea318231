import pytest

from harness import Apache, Barnabas, ZooKeeper
from progress import Progress, pytest_runtest_makereport  # noqa: F401 (a hook)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config))


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory):
    """One ZooKeeper for the session; each test has a chroot of its own."""
    zk = ZooKeeper(tmp_path_factory.mktemp("zookeeper"))
    zk.start()
    yield zk
    zk.stop()


@pytest.fixture
def zookeeper(ensemble):
    return ensemble.chroot()


@pytest.fixture
def make_broker(zookeeper, tmp_path):
    """Makes brokers that are stopped, and whose logs are looked at, when the test is over."""
    made = []

    def make(kind=Barnabas, data=None, each=None, **properties):
        broker = kind(zookeeper, tmp_path / (data or "data"), tmp_path / f"broker-{len(made)}.log", properties)
        made.append(broker)
        if each:
            broker.properties.update(each(broker))
        broker.start()
        return broker

    yield make
    everyone = [b for broker in made for b in broker.others]
    for broker in everyone:
        broker.stop()
    for broker in everyone:
        broker.check_log()


@pytest.fixture
def broker(make_broker):
    return make_broker()


@pytest.fixture
def apache(make_broker):
    return lambda **kw: make_broker(kind=Apache, **kw)
