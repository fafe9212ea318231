"""The broker and its ensemble: several hosts, restarts, silence."""

import json
import socket
import struct
import threading

import pytest
from harness import Barnabas, ZooKeeper, connect, consume, frame, java, preloaded, produce, read_frame, receive, run, wait_until
from messages import SCHEMAS, Asker, read_response

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


def pour(source, sink, passes=lambda data: True):
    try:
        while data := source.recv(65536):
            if passes(data):
                sink.sendall(data)
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Way:
    """To the ensemble, with a first word on each connection: `greet` says if it is let through."""

    def __init__(self, ensemble, greet=lambda n, client: True, host="127.0.0.1"):
        self.ensemble, self.greet, self.connections, self.kept = ensemble, greet, [], []
        self.deaf_after = None  # something that is asked, and how often: what is said from then on is lost
        self.listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        port = self.listener.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        for n in range(10**6):
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.greet(n, client):
                continue
            server = socket.create_connection(("127.0.0.1", self.ensemble.port))
            self.connections += [client, server]
            for args in ((client, server, self.listen), (server, client, lambda _: self.deaf_after is None or self.deaf_after[1] > 0)):
                threading.Thread(target=pour, args=args, daemon=True).start()

    def listen(self, data):
        if self.deaf_after and self.deaf_after[0] in data:
            self.deaf_after[1] -= 1
        return True

    def close(self):
        self.listener.close()
        for s in self.connections + self.kept:
            s.close()

    def break_all(self):
        for s in self.connections:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is broken already

    def hang_up_at_first(self, n, client):
        if n < 2:
            client.recv(10)
            client.close()
        return n >= 2

    def say_nothing_at_first(self, n, client):
        self.kept.append(client)
        return n >= 2


@pytest.fixture
def way(own_ensemble):
    ways = []

    def make(*args, **kw):
        ways.append(Way(own_ensemble, *args, **kw))
        return ways[-1]

    yield make
    for w in ways:
        w.close()


def by_way(*addresses):
    return lambda connect: ",".join(addresses) + "/" + connect.split("/")[1]


@pytest.mark.parametrize("how", [Way.hang_up_at_first, Way.say_nothing_at_first], ids=["hangs up", "says nothing"])
def test_a_host_that_is_not_ready_is_tried_again(start, way, how):
    late = way()
    late.greet = lambda n, client: how(late, n, client)
    broker = start(by_way("127.0.0.1:1", late.address), **{"zookeeper.connection.timeout.ms": 30000})
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]


def test_hosts_have_names_and_addresses_of_either_kind(start, way, own_ensemble):
    broker = start(by_way(way(host="::1").address, f"localhost:{own_ensemble.port}"))
    produce(broker, "t", ["x"])
    assert consume(broker, "t") == ["x"]


def owner(broker):
    """The session that the broker is registered by."""
    return broker.zookeeper.client.get("/brokers/ids/0")[1].ephemeralOwner


def test_a_session_lives_on_by_another_connection(start, way):
    it = way()
    broker = start(by_way(it.address))
    session = owner(broker)
    for _ in range(3):
        before = len(it.connections)
        it.break_all()
        wait_until(lambda: len(it.connections) > before, "another connection")
        assert "Created topic" in create(broker, f"t{before}")
    assert owner(broker) == session


def test_strangers_are_not_let_through_to_zookeeper(broker):
    """The socket that the client library is served by is the library's alone."""
    listening = run(["ss", "-Hltnp"]).splitlines()
    ports = [line.split()[3] for line in listening if f"pid={broker.process.pid}," in line and f":{broker.port} " not in line]
    assert len(ports) == 1 and ports[0].startswith("127.0.0.1:")
    with socket.create_connection(("127.0.0.1", int(ports[0].split(":")[1])), 10) as s:
        s.sendall(b"ruok")
        assert not receive(s, 1)
    assert "Created topic" in create(broker, "t")


def test_more_watches_than_a_server_takes_in_one(start, own_ensemble):
    """Over a million bytes of paths. All are set again, on the same session."""
    broker = start(**{"zookeeper.session.timeout.ms": "20000"})
    client = broker.zookeeper.client
    node = b'{"version":2,"partitions":{"0":[99]},"adding_replicas":{},"removing_replicas":{}}'
    names = [f"{i:05d}" + "x" * 240 for i in range(4500)]
    for made in [client.create_async(f"/brokers/topics/{name}", node) for name in names]:
        made.get(60)
    wait_until(lambda: f"New topic {names[-1]} " in broker.text(), "the last topic", 120)
    session = owner(broker)
    broker.zookeeper.close()  # a session of the test's own, shorter than the broker's
    own_ensemble.stop()
    own_ensemble.start()
    assert "Created topic" in create(broker, "after")
    assert owner(broker) == session
    broker.zookeeper.client.set(f"/brokers/topics/{names[0]}", node.replace(b"[99]", b'[99],"1":[0]'))
    wait_until(lambda: f"Topic {names[0]} grows" in broker.text(), "the watch of the first topic")


def test_a_request_that_servers_hang_up_on_is_given_up(own_ensemble, tmp_path, start):
    """A server may take less than others. What it hangs up on is sent again so often and no more, then all goes on."""
    own_ensemble.stop()
    own_ensemble.start(JAVA_TOOL_OPTIONS="-Djute.maxbuffer=40000")
    broker = start()
    key = text(b"leader.replication.throttled.replicas")
    value = text(b",".join(b"%d:0" % i for i in range(5000))[:32000].rsplit(b",", 1)[0])
    configs = struct.pack(">i", 2) + key + value + key.replace(b"leader", b"follower").replace(struct.pack(">h", 37), struct.pack(">h", 39)) + value
    with connect(broker) as s:
        s.sendall(frame(19, 4, struct.pack(">i", 1) + text(b"big") + struct.pack(">ihi", 1, 1, 0) + configs + struct.pack(">iB", 30000, 0)))
        answer = read_frame(s)
    assert struct.unpack_from(">h", answer, 17)[0] != 0
    assert "is given up: the creation of /config/topics/big was sent" in broker.text()
    wait_until(lambda: broker.zookeeper.client.exists("/brokers/ids/0"), "the next registration")
    assert "Created topic" in create(broker, "small")


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


def test_old_notifications_go(make_broker, tmp_path, zookeeper):
    """A quarter of an hour after they were made, by the clock of whoever looks."""
    broker = make_broker()
    for _ in range(120):
        zookeeper.client.create("/config/changes/config_change_", b'{"version":2,"entity_path":"topics/t"}', sequence=True)
    zookeeper.client.create("/config/changes/other", b"")
    assert len(zookeeper.children("/config/changes")) == 121
    broker.stop()
    broker.env = {"LD_PRELOAD": str(preloaded("later.c", tmp_path)), "LATER_SECONDS": "960"}
    broker.restart()
    wait_until(lambda: zookeeper.children("/config/changes") == ["other"], "the old ones to go")
    broker.env["LATER_SECONDS"] = "840"
    broker.stop()
    broker.restart()
    zookeeper.client.create("/config/changes/config_change_", b'{"version":2,"entity_path":"topics/t"}', sequence=True)
    assert "Created topic" in create(broker, "t")
    assert len(zookeeper.children("/config/changes")) == 2


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


def creation(topic):
    """CreateTopics 0 of a topic with one partition."""
    name = topic.encode()
    return frame(19, 0, struct.pack(">ih", 1, len(name)) + name + struct.pack(">ihiii", 1, 1, 0, 0, 60000))


def metadata(*topics):
    """Metadata 1."""
    return frame(3, 1, struct.pack(">i", len(topics)) + b"".join(struct.pack(">h", len(t)) + t.encode() for t in topics))


def test_acls_that_are_gone_are_told_though_zookeepers_answer_was_lost(start, way):
    """The write that it is asked for anew finds them gone already: that was by this request."""
    through = way()
    broker = start(lambda connect: f"{through.address}/{connect.partition('/')[2]}",
                   **{"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:ANONYMOUS"})
    entry = {"ResourceType": 2, "ResourceName": "t", "ResourcePatternType": 3, "Principal": "User:a", "Host": "*", "Operation": 3, "PermissionType": 3}
    wanted = {"ResourceTypeFilter": 2, "ResourceNameFilter": "t", "PatternTypeFilter": 3, "PrincipalFilter": None, "HostFilter": None, "Operation": 1, "PermissionType": 1}
    with Asker(broker) as asker:
        assert asker.get("CreateAcls", 3, {"Creations": [entry]})["Results"][0]["ErrorCode"] == 0
        through.deaf_after = [b"/kafka-acl/Topic/t", 2]  # the list is read, and written
        key = SCHEMAS["DeleteAcls"].key
        asker.send(key, 3, {"Filters": [wanted]})
        wait_until(lambda: not broker.zookeeper.client.exists("/kafka-acl/Topic/t"), "the list to go")
        through.deaf_after = None
        through.break_all()
        (result,) = read_response(key, 3, asker.receive())[1]["FilterResults"]
        assert [(a["Principal"], a["ErrorCode"]) for a in result["MatchingAcls"]] == [("User:a", 0)]


def test_who_waits_for_zookeeper_takes_nobodys_place(start, own_ensemble):
    """More than queued.max.requests of those whose request needs it, and of those who have given up; who needs nothing of it is served."""
    broker = start(**{"queued.max.requests": 5})
    produce(broker, "t", ["before"])
    own_ensemble.stop()
    wait_until(lambda: "The connection to ZooKeeper is lost" in broker.text(), "the loss of ZooKeeper")
    waiting = [connect(broker) for _ in range(20)]
    for i, s in enumerate(waiting):
        s.sendall(creation(f"later{i}"))
    for s in waiting[:10]:
        s.close()
    with connect(broker) as s:
        s.sendall(metadata("t"))
        assert b"t" in read_frame(s)
    produce(broker, "t", ["without"])
    assert consume(broker, "t") == ["before", "without"]
    own_ensemble.start()
    wait_until(lambda: "Created topic" in create(broker, "after") or "already exists" in create(broker, "after"), "topics can be made again")


def test_a_topic_that_nobody_can_make_now_holds_up_no_metadata(start, own_ensemble):
    """Who asks for it, and for others, too, is told of the others at once."""
    broker = start()
    produce(broker, "t", ["before"])
    own_ensemble.stop()
    with connect(broker) as s:
        def asked():
            s.sendall(metadata("t", "new"))
            return read_frame(s)

        s.settimeout(60)
        answer = asked()
        assert b"t" in answer and struct.pack(">hh", 5, 3) + b"new" in answer
        own_ensemble.start()
        wait_until(lambda: struct.pack(">hh", 0, 3) + b"new" in asked(), "the topic to be made")
