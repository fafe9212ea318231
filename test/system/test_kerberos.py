"""GSSAPI by Kerberos: clients of several kinds, and brokers among themselves."""

import contextlib
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from gss import Client
from harness import JARS, PATIENCE, Apache, Barnabas, jvm, kcat, produce, wait_until
from kdc import REALM, Kdc
from test_sasl import Talk
from test_security import PAIRS, Listener, check_replication, check_tools, make_pair, tool

MODULE = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true"
RULES = "RULE:[2:$1-$2](.*-admin)s/-admin$/_adm/,DEFAULT"


@pytest.fixture(scope="module")
def kdc(tmp_path_factory):
    found = Kdc(tmp_path_factory.mktemp("kdc"))
    found.start()
    found.tables = {p: found.add(p) for p in ("kafka/localhost", "gus", "gus/admin", "stranger/of/three")}
    yield found
    found.stop()


def kerberized(make_broker, kdc, kind=Barnabas, between=False, mechanisms=None, **more):
    listener = Listener("SASL_PLAINTEXT")
    jaas = f'{MODULE} keyTab="{kdc.tables["kafka/localhost"]}" principal="kafka/localhost@{REALM}";'
    among = {"security.inter.broker.protocol": "SASL_PLAINTEXT", "sasl.mechanism.inter.broker.protocol": "GSSAPI"} if between else {}

    def settings(b):
        b.env.update(kdc.broker_env)
        return {**listener.settings(b), "sasl.enabled.mechanisms": mechanisms or ("GSSAPI" if between else "GSSAPI,PLAIN"), "sasl.kerberos.service.name": "kafka", "sasl.kerberos.principal.to.local.rules": RULES,
                "listener.name.sasl_plaintext.gssapi.sasl.jaas.config": jaas,
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": 'org.apache.kafka.common.security.plain.PlainLoginModule required user_a="b";', **among}
    broker = make_broker(kind=kind, each=settings, **more)
    broker.listener = listener
    return broker


def by_kcat(broker, kdc, principal, *args):
    kdc.login(principal, kdc.tables[principal])
    return subprocess.run(["kcat", "-b", broker.listener.bootstrap, "-X", "security.protocol=sasl_plaintext", "-X", "sasl.mechanism=GSSAPI",
                           "-X", "sasl.kerberos.kinit.cmd=true", "-X", "sasl.kerberos.service.name=kafka", "-m", "3", *args],
                          capture_output=True, text=True, env={**kdc.env, "PATH": "/usr/bin:/bin"})


def test_tickets_of_librdkafka(make_broker, kdc):
    """A short name by the rules; who has none by them is nobody."""
    broker = kerberized(make_broker, kdc, **{"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:ANONYMOUS;User:gus_adm"})
    produce(broker, "t", ["x"])
    out = by_kcat(broker, kdc, "gus/admin", "-C", "-t", "t", "-e")
    assert out.stdout == "x\n", out.stderr
    assert by_kcat(broker, kdc, "gus", "-C", "-t", "t", "-e").stdout == ""  # may not
    assert by_kcat(broker, kdc, "stranger/of/three", "-L").returncode != 0
    wait_until(lambda: "is no principal of one or two components" in broker.text(), "it to be told")


def test_tickets_of_java(make_broker, kdc, tmp_path):
    broker = kerberized(make_broker, kdc)
    produce(broker, "there", ["x"])
    config = tmp_path / "client.properties"
    config.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=GSSAPI\nsasl.kerberos.service.name=kafka\n"
                      f'sasl.jaas.config={MODULE} keyTab="{kdc.tables["gus"]}" principal="gus@{REALM}";\n')
    command = [*jvm(f"-Djava.security.krb5.conf={kdc.config}", jars=JARS), "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.listener.bootstrap,
               "--command-config", config, "--list"]
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert "there" in out.stdout.split(), out.stdout + out.stderr


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda k: "+".join(c.__name__ for c in k))
def test_tickets_between_brokers(make_broker, kdc, kinds):
    check_replication(make_pair(kinds, lambda kind, **more: kerberized(make_broker, kdc, kind, True, **more)))


def by_hand(listener, version, last):
    """What is heard by a client that has a ticket, and says that in the end: version None is that of Kafka 0.9, without a handshake."""
    with Talk(listener) as t:
        if version is not None:
            t.shake("GSSAPI", version)

        def say(token):
            answer = t.say(token) if version == 1 else t.say_raw(token)
            return answer["AuthBytes"] if isinstance(answer, dict) else answer
        client, challenge, ready = Client("kafka@localhost"), b"", False
        while not ready:
            token, ready = client.step(challenge)
            if token or not ready:
                challenge = say(token)
        offer = client.unwrap(say(b""))
        t.heard.clear()  # tickets differ
        token = client.wrap(last)
        t.say(token) if version == 1 else t.write(struct.pack(">i", len(token)) + token)
        t.ask("ApiVersions", 0) if last[0] == 1 else t.end()
        return offer, [what for what, _ in t.heard]


GARBAGE = [b"", b"x", b"\x60\x80\x01\x02garbage", b"\x60\x0b\x06\x09" + bytes.fromhex("2a864886f712010202") + b"\x01\x00", bytes(5000)]
LAST = [b"\1\0\0\0", b"\1\0\0\0somebody", b"\4\0\0\0"]  # no layer, with an authorization id, privacy


def test_tokens_message_by_message(make_broker, ensemble, kdc, monkeypatch):
    """Good ones and bad ones, by Apache's broker and ours: with and without a handshake."""
    for key, value in kdc.env.items():
        monkeypatch.setenv(key, value)
    kdc.login("gus", kdc.tables["gus"])

    def hear(kind):
        broker, found = kerberized(make_broker, kdc, kind, data=kind.__name__, **{"zookeeper.connect": ensemble.chroot().connect}), []
        for version in 1, 0, None:
            for token in GARBAGE:
                with Talk(broker.listener) as t:
                    if version is not None:
                        t.shake("GSSAPI", version)
                    t.say(token) if version == 1 else t.say_raw(token)
                    found.append((version, token, t.heard[-1][0]))
            found += [(version, last, by_hand(broker.listener, version, last)) for last in LAST]
        return found
    for theirs, ours in zip(hear(Apache), hear(Barnabas)):
        assert ours == theirs


@pytest.mark.parametrize("jaas, said", [
    (f'{MODULE} keyTab="/no/such" principal="kafka/localhost@{REALM}";', "the key table /no/such"),
    ("com.sun.security.auth.module.Krb5LoginModule required;", "needs useKeyTab=true and keyTab"),
    ("com.example.Mine required;", "is by com.sun.security.auth.module.Krb5LoginModule"),
])
def test_does_not_start_without_keys(zookeeper, tmp_path, kdc, jaas, said):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.env.update(kdc.broker_env)
    broker.properties.update({"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://127.0.0.1:0", "listener.name.sasl_plaintext.gssapi.sasl.jaas.config": jaas})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert said in broker.text(), broker.text()


BY_TABLE, BY_CACHE = "useKeyTab=true keyTab=\"{table}\" principal=\"gus@" + REALM + "\"", "useTicketCache=true"


@pytest.mark.parametrize("options", [BY_TABLE, BY_CACHE], ids=["table", "cache"])
def test_tools_come_with_tickets(make_broker, kdc, tmp_path, options):
    """By a table in which another user is first, or with the tickets that somebody has."""
    broker = kerberized(make_broker, kdc, **{"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:ANONYMOUS;User:gus"})
    table, config = tmp_path / "several.keytab", tmp_path / "client.properties"
    table.write_bytes(kdc.tables["gus/admin"].read_bytes() + kdc.tables["gus"].read_bytes()[2:])  # after the version
    config.write_text("security.protocol=SASL_PLAINTEXT\nsasl.kerberos.service.name=kafka\n"
                      f"sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required {options.format(table=table)};\n")
    env = {"KAFKA_OPTS": kdc.broker_env["KAFKA_OPTS"], "PATH": "/usr/bin:/bin"}
    if options == BY_CACHE:
        kdc.login("gus", kdc.tables["gus"])
        env["KRB5CCNAME"] = kdc.env["KRB5CCNAME"]
    check_tools(broker, config, env)


def test_tools_say_why_they_have_no_ticket(make_broker, kdc, tmp_path):
    broker, config = kerberized(make_broker, kdc), tmp_path / "client.properties"
    config.write_text("security.protocol=SASL_PLAINTEXT\nsasl.kerberos.service.name=kafka\n"
                      f'sasl.jaas.config={MODULE} keyTab="{kdc.tables["gus"]}" principal="nobody@{REALM}";\n')
    env = {"KAFKA_OPTS": kdc.broker_env["KAFKA_OPTS"], "PATH": "/usr/bin:/bin"}
    for name, option in ("kafka-topics", "--command-config"), ("kafka-console-producer", "--producer.config"):
        out = tool(name, "--bootstrap-server", broker.listener.bootstrap, option, config, *(["--list"] if "topics" in name else ["--topic", "t"]), env=env, stdin="x\n")
        assert out.returncode == 1 and f"no tickets by {kdc.tables['gus']}" in out.stdout + out.stderr, out


# ---- A KDC that hangs ----


@contextlib.contextmanager
def hanging(kdc):
    """Whoever asks it is connected, and gets no answer."""
    kdc.stop()
    with socket.create_server(("127.0.0.1", kdc.port)):
        yield
    kdc.serve()


def waiting_at(broker, port):
    """That broker's connections to a server there, each by a number of its own."""
    fds = [os.readlink(f) for f in Path(f"/proc/{broker.process.pid}/fd").iterdir() if f.is_symlink()]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in fds}


def in_sync(broker, topic):
    return {frozenset(p.isrs) for p in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(topic, PATIENCE).topics[topic].partitions.values()}


class Three:
    """Brokers that go to each other by tickets, and to whom users come by passwords, too; the first is the controller."""

    def __init__(self, make_broker, kdc):
        self.kdc = kdc
        self.all = [kerberized(make_broker, kdc, between=True, mechanisms="GSSAPI,PLAIN", data=f"data-{i}", broker_id=i, num_replica_fetchers=4,
                               min_insync_replicas=2, zookeeper_session_timeout_ms=2000) for i in range(3)]
        self.first, self.second, self.third = self.all
        self.admin = AdminClient({"bootstrap.servers": self.first.bootstrap})
        wait_until(lambda: all(kcat(b, "-L").count("  broker ") == 3 for b in self.all), "all three")
        self.create("two", [0, 1])
        self.create("three", [0, 1, 2])
        self.create("one", [2], {"min.insync.replicas": "1"})
        produce(self.first, "three", ["x"], "-X", "acks=all")

    def create(self, topic, replicas, config=None):
        made = NewTopic(topic, 12, replica_assignment=[replicas[i % len(replicas):] + replicas[:i % len(replicas)] for i in range(12)], config=config or {})
        self.admin.create_topics([made])[topic].result(PATIENCE)

    def sessions(self):
        return [self.first.zookeeper.client.get(f"/brokers/ids/{b.properties['broker.id']}")[1].czxid for b in self.all]

    def check_while_waiting(self, broker, logins, what):
        """Does that while so many of the broker's logins wait for the KDC; again if the library has given them up meanwhile, after half a minute."""
        for attempt in range(3):
            waiting = wait_until(lambda: len(found := waiting_at(broker, self.kdc.port)) >= logins and found, f"{logins} logins that wait")
            what(attempt)
            if waiting <= waiting_at(broker, self.kdc.port):
                return
        raise AssertionError("it had to wait, too")

    def check_users(self):
        for broker in self.all:
            with Talk(broker.listener) as t:
                assert t.login("a", "b")["ErrorCode"] == 0


@pytest.fixture
def own_kdc(tmp_path):
    (tmp_path / "kdc").mkdir()
    found = Kdc(tmp_path / "kdc")
    found.start()
    found.tables = {"kafka/localhost": found.add("kafka/localhost")}
    yield found
    found.stop()


@pytest.mark.long
def test_a_kdc_that_hangs_while_a_broker_starts(make_broker, own_kdc):
    """It leads what it is told to lead, and lets users in, while all that it wants of others waits; and is in sync when the KDC is back."""
    three = Three(make_broker, own_kdc)
    three.third.stop()

    def others_go_on(attempt):
        three.check_users()
        produce(three.third, "one", ["y"], "-X", "acks=all")
        produce(three.first, "two", ["y"], "-X", "acks=all")
        three.create(f"more-{attempt}", [0, 1])
    with hanging(own_kdc):
        three.third.start()
        wait_until(lambda: in_sync(three.third, "one") == {frozenset([2])}, "what it leads")
        sessions = three.sessions()
        three.check_while_waiting(three.third, 4, others_go_on)
        assert in_sync(three.first, "two") == {frozenset([0, 1])} == in_sync(three.second, "three")
        assert three.sessions() == sessions
    wait_until(lambda: in_sync(three.first, "three") == {frozenset([0, 1, 2])}, "the third to be in sync")


TICKET_LIFE = 4  # seconds


@pytest.mark.long
def test_a_kdc_that_hangs_when_tickets_are_over(make_broker, own_kdc):
    """The controller does not come to a broker that starts; all others go on, and it elects and creates."""
    own_kdc.do("kadmin.local", "-q", f"modprinc -maxlife {TICKET_LIFE}s kafka/localhost")
    three = Three(make_broker, own_kdc)
    three.third.stop()
    over = time.time() + TICKET_LIFE
    wait_until(lambda: time.time() > over, "the tickets' end")

    def others_go_on(attempt):
        three.check_users()
        produce(three.first, "two", ["y"], "-X", "acks=all")
        three.create(f"more-{attempt}", [0, 1])
        produce(three.second, f"more-{attempt}", ["y"], "-X", "acks=all")
    with hanging(own_kdc):
        three.third.launch()
        wait_until(lambda: three.first.zookeeper.client.exists("/brokers/ids/2"), "the third")
        sessions = three.sessions()
        three.check_while_waiting(three.first, 1, others_go_on)
        assert three.sessions() == sessions
    wait_until(lambda: in_sync(three.first, "three") == {frozenset([0, 1, 2])}, "the third to be in sync")
    produce(three.third, "one", ["y"], "-X", "acks=all")
