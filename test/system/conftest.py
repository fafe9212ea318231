import logging

import pytest
from confluent_kafka.admin import AdminClient
from xdist.scheduler import LoadScopeScheduling

from harness import PATIENCE, Apache, Barnabas, ZooKeeper, wait_until
from progress import Progress, pytest_runtest_makereport  # noqa: F401 (a hook)

TOGETHER = {"test_answers.py", "test_dump_log.py", "test_protocol.py", "test_sasl.py"}  # whose tests share what takes long to make


logging.getLogger("kazoo").addHandler(logging.NullHandler())  # of a server that is stopped before its clients


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes tens of seconds, so it begins before the others")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config))


def pytest_collection_modifyitems(items):
    """What takes long comes first, so that nothing is left to one worker in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None and item.path.name not in TOGETHER)


class TestByTest(LoadScopeScheduling):
    """Survives the end of a worker, where the original tries the test that ended it for ever, or waits for nobody."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return file if file.rsplit("/", 1)[-1] in TOGETHER else nodeid

    def _reschedule(self, node):
        """A worker begins a test when it knows of another, or that there is none: a new one is told at once."""
        for _ in range(2):
            super()._reschedule(node)

    def remove_node(self, node):
        """Returns the test that the worker ended with, which is over; what it had not begun is for the others."""
        work = self.assigned_work.pop(node)
        left = [test for scope in work.values() for test, done in scope.items() if not done]
        for scope, tests in work.items():
            waiting = {test: False for test, done in tests.items() if not done and test != left[0]}
            if waiting:
                self.workqueue[scope] = waiting
        for other in self.assigned_work:
            self._reschedule(other)
        return left[0] if left else None


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return TestByTest(config, log)


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

    def make(kind=Barnabas, data=None, each=None, start=True, **properties):
        broker = kind(zookeeper, tmp_path / (data or "data"), tmp_path / f"broker-{len(made)}.log", properties)
        made.append(broker)
        if each:
            broker.properties.update(each(broker))
        if start:
            broker.start()
        return broker

    yield make
    everyone = [b for broker in made for b in broker.others]
    for broker in sorted(everyone, key=lambda b: isinstance(b, Apache)):
        broker.kill() if isinstance(broker, Apache) else broker.stop()  # theirs take seconds to go
    for broker in everyone:
        broker.check_log()


class Lent:
    """A broker of Apache's for one test after the other, which finds neither topics nor groups, as its start takes seconds."""

    def __init__(self, ensemble, folder):
        self.ensemble, self.folder, self.broker, self.number = ensemble, folder, None, 0

    def topics(self):
        """As the controller has them, which forgets them last. Topics of its own do not count."""
        return [t for t in self.broker.zookeeper.children("/brokers/topics") if not t.startswith("__")]

    def is_clean(self):
        """Whether nothing is left; a member that did not leave would have to be waited for too long."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        topics, groups = self.topics(), [g.group_id for g in admin.list_consumer_groups().result(PATIENCE).valid]
        for delete, names in (admin.delete_consumer_groups, groups), (admin.delete_topics, topics):
            if names and any(done.exception(PATIENCE) for done in delete(names).values()):
                return False
        wait_until(lambda: not self.topics(), "the topics to go")
        return True

    def get(self):
        if self.broker is None or not self.is_clean():
            self.stop()
            self.number += 1
            self.broker = Apache(self.ensemble.chroot(), self.folder / f"data-{self.number}", self.folder / f"broker-{self.number}.log", {})
            self.broker.start()
        return self.broker

    def stop(self):
        if self.broker is not None:
            self.broker.kill()
            self.broker.zookeeper.close()
            self.broker = None


@pytest.fixture(scope="session")
def lent(ensemble, tmp_path_factory):
    apache = Lent(ensemble, tmp_path_factory.mktemp("lent"))
    yield apache
    apache.stop()


@pytest.fixture
def borrow(make_broker, lent):
    """A broker of that kind, of which the test makes nothing but topics and groups."""
    return lambda kind: lent.get() if kind is Apache else make_broker(kind=kind)


@pytest.fixture
def broker(make_broker):
    return make_broker()


@pytest.fixture
def apache(make_broker):
    return lambda **kw: make_broker(kind=Apache, **kw)
