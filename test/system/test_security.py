"""Encrypted and authenticated listeners: real clients, and brokers among themselves."""

import json
import logging
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import kafka
import pytest
from confluent_kafka import Consumer, Producer

from certificates import Authority, openssl
from harness import BUILD, PATIENCE, Apache, Barnabas, Meanwhile, Process, consume, frame, free_port, jvm, kcat, log4j, preloaded, produce, read_frame, wait_until


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server_keys(authority):
    return authority.issue("server")


@pytest.fixture(scope="session")
def client_keys(authority):
    return authority.issue("alice", "/C=DE/L=Köln/O=Ex, Inc/CN=alice", hosts=())


def stores(keys, authority):
    return {"ssl.keystore.type": "PEM", "ssl.keystore.location": keys, "ssl.truststore.type": "PEM", "ssl.truststore.location": authority.certificate}


class Listener:
    """A second listener of a broker, besides the plain one that the harness uses."""

    def __init__(self, protocol):
        self.protocol, self.port = protocol, free_port()
        self.bootstrap = f"localhost:{self.port}"

    def settings(self, broker):
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},{self.protocol}://127.0.0.1:{self.port}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},{self.protocol}://localhost:{self.port}"}


def protected(make_broker, protocol, kind=Barnabas, keys=None, **more):
    """A broker with such a listener."""
    listener = Listener(protocol)
    broker = make_broker(kind=kind, each=lambda b: {**listener.settings(b), **(keys or {})}, **more)
    broker.listener = listener
    return broker


PAIRS = [(Barnabas, Barnabas), (Barnabas, Apache), (Apache, Barnabas)]


def make_pair(kinds, make):
    """Two brokers that know each other, with two replicas of everything, which have to be in sync."""
    brokers = [make(kind, data=f"data-{i}", broker_id=i, default_replication_factor=2, min_insync_replicas=2) for i, kind in enumerate(kinds)]
    wait_until(lambda: all(kcat(b, "-L").count("  broker ") == 2 for b in brokers), "both brokers")
    return brokers


def protected_pair(make_broker, protocol, kinds, keys):
    return make_pair(kinds, lambda kind, **more: protected(make_broker, protocol, kind, keys, **more))


def check_replication(brokers, *arguments):
    produce(brokers[0], "t", [str(i) for i in range(1000)], "-X", "acks=all", *arguments)
    for b in brokers:
        assert sorted(map(int, consume(b, "t"))) == list(range(1000))


def through(broker, authority, **options):
    """For kcat: over the protected listener."""
    options = {"security.protocol": broker.listener.protocol.lower(), "ssl.ca.location": authority.certificate, **options}
    return ["-b", broker.listener.bootstrap, *(a for k, v in options.items() for a in ("-X", f"{k}={v}"))]


# ---- TLS ----


def test_tls_carries_everything(make_broker, authority, server_keys):
    """Small and large records, in and out, whole."""
    broker = protected(make_broker, "SSL", keys=stores(server_keys, authority))
    lines = [f"{i} {'x' * (i * 37 % 9000)}" for i in range(3000)]
    produce(broker, "t", lines, *through(broker, authority))
    assert consume(broker, "t") == lines
    assert consume(broker, "t", *through(broker, authority)) == lines
    kernel = Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text().split()
    assert f"What listener SSL sends is encrypted by {'the kernel' if 'tls' in kernel else 'this broker'}" in broker.text()


def test_tls_with_certificates_of_clients(make_broker, authority, server_keys, client_keys):
    broker = protected(make_broker, "SSL", keys={**stores(server_keys, authority), "ssl.client.auth": "required", "listener.name.ssl.ssl.ktls": "off"})
    assert "What listener SSL sends is encrypted by this broker: ssl.ktls is off" in broker.text()
    mine = through(broker, authority, **{"ssl.certificate.location": client_keys, "ssl.key.location": client_keys})
    produce(broker, "t", ["x"], *mine)
    assert consume(broker, "t", *mine) == ["x"]
    refused = subprocess.run(["kcat", *through(broker, authority), "-L", "-m", "3"], capture_output=True, text=True)
    assert refused.returncode != 0
    said = r"Failed authentication with /127\.0\.0\.1 \(channelId=127\.0\.0\.1:\d+-127\.0\.0\.1:\d+-\d+\) \(SSL handshake failed"
    wait_until(lambda: re.search(said, broker.text()), "it to be told")


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda k: "+".join(c.__name__ for c in k))
def test_tls_between_brokers(make_broker, authority, server_keys, kinds):
    keys = {**stores(server_keys, authority), "security.inter.broker.protocol": "SSL"}
    check_replication(protected_pair(make_broker, "SSL", kinds, keys))


def by_certificates(make_broker, authority, kinds, supers, **more):
    """Two brokers that only know each other by certificates, of which each broker says whom it trusts with everything."""
    names = ["/CN=server", "/C=DE/O=Ex, Inc/CN=server"]
    keys = [authority.issue(f"among-{i}", name) for i, name in enumerate(names)]

    def settings(broker):
        i = int(broker.properties["broker.id"])
        return {**stores(keys[i], authority), "security.inter.broker.protocol": "SSL", "listener.name.ssl.ssl.client.auth": "required",
                "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": ";".join(["User:ANONYMOUS", *supers[i]]).replace("\\", "\\\\")}

    def make(kind, **own):
        listener = Listener("SSL")
        broker = make_broker(kind=kind, each=lambda b: {**listener.settings(b), **settings(b)}, **own, **more)
        broker.listener = listener
        return broker
    return make_pair(kinds, make)


FIRST, SECOND = "User:CN=server", "User:CN=server,O=Ex\\, Inc,C=DE"


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda k: "+".join(c.__name__ for c in k))
def test_brokers_know_each_other_by_certificates(make_broker, authority, kinds):
    check_replication(by_certificates(make_broker, authority, kinds, [[FIRST, SECOND]] * 2))


def in_sync(broker, topic):
    """The replicas in sync of each partition, as that broker knows them."""
    topics = json.loads(kcat(broker, "-L", "-J", "-t", topic))["topics"]
    return {p["partition"]: sorted(r["id"] for r in p["isrs"]) for p in topics[0]["partitions"]}


def test_a_broker_replicates_by_what_its_certificate_may_do(make_broker, authority):
    """The second does not get what the first leads, to which its certificate is nobody, until an ACL says who that is; the other way round all goes well."""
    first, second = by_certificates(make_broker, authority, (Barnabas, Barnabas), [[FIRST], [FIRST, SECOND]], replica_lag_time_max_ms=2000)
    made = tool("kafka-topics", "--bootstrap-server", first.bootstrap, "--create", "--topic", "t", "--replica-assignment", "0:1,1:0")
    assert made.returncode == 0, made
    wait_until(lambda: in_sync(first, "t") == {0: [0], 1: [0, 1]}, "the first to give the second up")
    assert f"Principal = {SECOND} is Denied Operation = ClusterAction from host = 127.0.0.1 on resource = Cluster:LITERAL:kafka-cluster for request = Fetch" in first.text()
    allowed = tool("kafka-acls", "--bootstrap-server", first.bootstrap, "--add", "--allow-principal", SECOND, "--cluster", "--operation", "ClusterAction")
    assert allowed.returncode == 0, allowed
    wait_until(lambda: in_sync(first, "t") == {0: [0, 1], 1: [0, 1]}, "the second to be in sync")
    check_replication([first, second])


# ---- SASL ----

PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="of brokers" user_admin="of brokers" user_alice="a,b=c";'


def sasl_keys(protocol, mechanism="PLAIN", jaas=PLAIN, between=True, **keys):
    listener = f"listener.name.{protocol.lower()}"
    among = {"security.inter.broker.protocol": protocol, "sasl.mechanism.inter.broker.protocol": mechanism} if between else {}
    return {"sasl.enabled.mechanisms": mechanism, f"{listener}.{mechanism.lower()}.sasl.jaas.config": jaas, **among, **keys}


def as_user(broker, authority, user, password, mechanism="PLAIN"):
    return through(broker, authority, **{"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password})


def test_plain_passwords(make_broker, authority):
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=sasl_keys("SASL_PLAINTEXT", between=False))
    produce(broker, "t", ["x"], *as_user(broker, authority, "alice", "a,b=c"))
    assert consume(broker, "t") == ["x"]
    refused = subprocess.run(["kcat", *as_user(broker, authority, "alice", "wrong one"), "-L", "-m", "3"], capture_output=True, text=True)
    assert refused.returncode != 0 and "Authentication failed: Invalid username or password" in refused.stderr
    assert "wrong one" not in broker.text() and "a,b=c" not in broker.text()


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda k: "+".join(c.__name__ for c in k))
def test_sasl_ssl_between_brokers(make_broker, authority, server_keys, kinds):
    keys = {**stores(server_keys, authority), **sasl_keys("SASL_SSL")}
    brokers = protected_pair(make_broker, "SASL_SSL", kinds, keys)
    check_replication(brokers, *as_user(brokers[0], authority, "alice", "a,b=c"))


def test_scram_credentials_of_zookeeper(make_broker, authority, zookeeper):
    """Made before the first broker starts, by which brokers log in; and while it runs, by which users do."""
    jaas = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="of brokers";'

    def credentials(action, user, what):
        tool = [BUILD / "barnabas-tool", "kafka-configs", "--zookeeper", zookeeper.connect, "--alter", action, what, "--entity-type", "users", "--entity-name", user]
        done = subprocess.run([str(a) for a in tool], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    zookeeper.client.ensure_path("/")
    credentials("--add-config", "admin", "SCRAM-SHA-512=[password=of brokers]")
    keys = sasl_keys("SASL_PLAINTEXT", "SCRAM-SHA-512", jaas)
    brokers = protected_pair(make_broker, "SASL_PLAINTEXT", (Barnabas, Barnabas), keys)
    credentials("--add-config", "al=ice", "SCRAM-SHA-512=[iterations=8192,password=sesame]")
    alice = [as_user(b, authority, "al=ice", "sesame", "SCRAM-SHA-512") for b in brokers]

    def may_come(arguments):
        return subprocess.run(["kcat", *arguments, "-L", "-m", "2"], capture_output=True).returncode == 0

    for arguments in alice:
        wait_until(lambda: may_come(arguments), "alice may log in")
    produce(brokers[0], "t", ["x"], "-X", "acks=all", *alice[0])
    assert consume(brokers[1], "t") == ["x"]
    credentials("--delete-config", "al=ice", "SCRAM-SHA-512")
    for arguments in alice:
        wait_until(lambda: not may_come(arguments), "alice may not any more")


# ---- Tools ----


def trusting(authority):
    """Properties: a trust store of keytool's, as an operator has it for Java's tools."""
    trust = authority.folder / "trust.jks"
    if not trust.exists():
        subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", authority.certificate, "-keystore", trust, "-storepass", "sesame"],
                       check=True, capture_output=True)
    return f"ssl.truststore.location={trust}\nssl.truststore.password=sesame\n"


def client_properties(path, authority, user, password):
    """The same with a login module."""
    path.write_text(f"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n{trusting(authority)}"
                    "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\\n"
                    f'  username="{user}" \\\n  password="{password}";\n')
    return path


# librdkafka's threads are of a kind that ThreadSanitizer does not see begin, at which a program of ours that uses it ends.
SEES_THREADS = "--enable-tsan" in (BUILD / "config.status").read_text()


def tool(name, *args, stdin=None, env=None):
    if SEES_THREADS and name.startswith("kafka-console"):
        pytest.skip(f"{name} does not run under ThreadSanitizer")
    return subprocess.run([BUILD / "barnabas-tool", name, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=PATIENCE, env=env)


def check_tools(broker, config, env=None):
    """By that file of properties a topic is made, and records go there and come back."""
    there = "--bootstrap-server", broker.listener.bootstrap
    made = tool("kafka-topics", *there, "--command-config", config, "--create", "--topic", "by-tools", "--partitions", "1", env=env)
    assert made.stdout == "Created topic by-tools.\n", made
    sent = tool("kafka-console-producer", *there, "--producer.config", config, "--topic", "by-tools", stdin="one\ntwo\n", env=env)
    assert sent.returncode == 0, sent
    read = tool("kafka-console-consumer", *there, "--consumer.config", config, "--topic", "by-tools", "--from-beginning", "--max-messages", "2", env=env)
    assert read.stdout == "one\ntwo\n", read


def test_tools_take_javas_client_properties(make_broker, authority, server_keys, tmp_path):
    keys = {**stores(server_keys, authority), **sasl_keys("SASL_SSL", between=False)}
    broker = protected(make_broker, "SASL_SSL", keys=keys)
    mine = client_properties(tmp_path / "alice.properties", authority, "alice", "a,b=c")
    check_tools(broker, mine)
    wrong = client_properties(tmp_path / "wrong.properties", authority, "alice", "another one")
    for name, option, more in (("kafka-topics", "--command-config", ["--list"]), ("kafka-console-producer", "--producer.config", ["--topic", "by-tools"]),
                               ("kafka-console-consumer", "--consumer.config", ["--topic", "by-tools", "--group", "g"])):
        refused = tool(name, "--bootstrap-server", broker.listener.bootstrap, option, wrong, *more, stdin="x\n")
        assert refused.returncode == 1 and "Authentication failed: Invalid username or password" in refused.stdout + refused.stderr, refused
        assert "another one" not in refused.stdout + refused.stderr


def test_tools_show_the_certificate_of_a_java_key_store(make_broker, authority, server_keys, client_keys, tmp_path):
    """In which, as often, an authority is trusted as well; its name comes first."""
    broker = protected(make_broker, "SSL", keys={**stores(server_keys, authority), "listener.name.ssl.ssl.client.auth": "required"})
    config = tmp_path / "mine.properties"
    p12, store = tmp_path / "mine.p12", tmp_path / "mine.jks"
    openssl("pkcs12", "-export", "-in", client_keys, "-inkey", client_keys, "-name", "mine", "-passout", "pass:sesame", "-out", p12)
    subprocess.run(["keytool", "-importkeystore", "-srckeystore", p12, "-srcstorepass", "sesame", "-srcstoretype", "PKCS12", "-destkeystore", store,
                    "-deststoretype", "JKS", "-deststorepass", "sesame"], check=True, capture_output=True)
    subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "authority", "-file", authority.certificate, "-keystore", store, "-storepass", "sesame"],
                   check=True, capture_output=True)
    config.write_text("\n".join(["security.protocol=SSL", trusting(authority), f"ssl.keystore.location={store}", "ssl.keystore.password=sesame", "ssl.key.password=sesame"]))
    check_tools(broker, config)


def test_tools_keep_to_the_versions_and_suites_that_are_named(make_broker, authority, server_keys, tmp_path):
    """By Java's names, which librdkafka does not have."""
    only = {"ssl.enabled.protocols": "TLSv1.2", "ssl.cipher.suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
    broker = protected(make_broker, "SSL", keys={**stores(server_keys, authority), **{f"listener.name.ssl.{k}": v for k, v in only.items()}})
    config = tmp_path / "mine.properties"

    def use(**keys):
        config.write_text("\n".join(["security.protocol=SSL", trusting(authority), *(f"ssl.{k}={v}" for k, v in keys.items())]))
        return tool("kafka-console-producer", "--bootstrap-server", broker.listener.bootstrap, "--producer.config", config, "--topic", "t",
                    "--producer-property", "delivery.timeout.ms=1500", "--producer-property", "request.timeout.ms=1000", "--producer-property", "linger.ms=0", stdin="x\n")
    for allowed in {}, {"enabled.protocols": "TLSv1.2,TLSv1.3"}, {"cipher.suites": "TLS_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}:
        assert use(**allowed).stderr == "", allowed
    assert consume(broker, "t") == ["x"] * 3
    for other in {"enabled.protocols": "TLSv1.3"}, {"cipher.suites": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"}, {"cipher.suites": "TLS_AES_256_GCM_SHA384"}:
        done = use(**other)
        assert "SSL handshake failed" in done.stdout + done.stderr, done
    for wrong, said in ({"cipher.suites": "DES"}, "there is no cipher suite DES"), ({"enabled.protocols": "TLSv1.1"}, "neither TLSv1.2 nor TLSv1.3"):
        done = use(**wrong)
        assert done.returncode == 1 and said in done.stderr, done
    assert consume(broker, "t") == ["x"] * 3


def test_tools_that_cannot_log_in_by_a_token_say_so(make_broker, authority, server_keys, tmp_path):
    broker = protected(make_broker, "SASL_SSL", keys={**stores(server_keys, authority), "ssl.client.auth": "required", **sasl_keys("SASL_SSL", between=False)})
    assert "ssl.client.auth=required does not count for listener SASL_SSL" in broker.text()
    config = client_properties(tmp_path / "token.properties", authority, "id", "hmac")
    config.write_text(config.read_text().replace('password="hmac"', 'password="hmac" tokenauth="true"').replace("mechanism=PLAIN", "mechanism=SCRAM-SHA-256").replace("plain.Plain", "scram.Scram"))
    refused = tool("kafka-console-producer", "--bootstrap-server", broker.listener.bootstrap, "--producer.config", config, "--topic", "t", stdin="x\n")
    assert refused.returncode == 1 and "does not log in by a delegation token" in refused.stderr and "hmac" not in refused.stderr, refused


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_passwords_may_stand_somewhere_else(make_broker, authority, server_keys, tmp_path, kind):
    """Those of the broker's stores and users in a file, of the client's module in a folder and in the environment."""
    providers = "org.apache.kafka.common.config.provider."
    secrets, folder = tmp_path / "secrets.properties", tmp_path / "secrets"
    keys = {**stores(server_keys, authority), **sasl_keys("SASL_SSL", between=False)}
    module = next(k for k in keys if k.endswith("plain.sasl.jaas.config"))
    secrets.write_text("module=" + keys[module].replace("\\", "\\\\") + "\n", encoding="utf-8")
    folder.mkdir()
    (folder / "alice").write_text("a,b=c")
    (folder / "store").write_text("sesame\n")
    broker = protected(make_broker, "SASL_SSL", kind, keys={**keys, module: f"${{vault:{secrets}:module}}", "config.providers": "vault",
                                                            "config.providers.vault.class": f"{providers}FileConfigProvider"})
    mine = client_properties(tmp_path / "alice.properties", authority, "${env:ALICE}", f"${{dir:{folder}:alice}}")
    mine.write_text(mine.read_text().replace("password=sesame", f"password=${{dir:{folder}:store}}"))
    mine.write_text(f"config.providers=dir,env\nconfig.providers.dir.class={providers}DirectoryConfigProvider\n"
                    f"config.providers.env.class={providers}EnvVarConfigProvider\n{mine.read_text()}")
    check_tools(broker, mine, env={**os.environ, "ALICE": "alice"})


# ---- JAAS files ----

MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def section(name, **options):
    """As operators write them."""
    lines = "".join(f'\n    {k}="{v}"' for k, v in options.items())
    return f"// of {name}\n{name} {{\n  {MODULE} required{lines};\n}};\n"


def users_of_a_broker(alices):
    among = f"{alices} too"
    return {"username": "admin", "password": among, "user_admin": among, "user_alice": alices}


def by_jaas(path, *sections):
    """The environment by which a broker or a tool finds that file; Java's own machine is told by another variable than our scripts."""
    path.write_text("".join(sections))
    option = f"-Djava.security.auth.login.config={path}"
    return {"KAFKA_OPTS": f"-Xmx256m {option}", "JAVA_TOOL_OPTIONS": option}


@pytest.mark.parametrize("kind", [Barnabas, Apache])
@pytest.mark.parametrize("own", [False, True], ids=["shared", "listener"])
def test_who_logs_in_stands_in_jaas_files(make_broker, authority, tmp_path, kind, own):
    """And nowhere else: users, and how a broker comes to another; a listener's own section goes before the one that all share. Tools have one, too."""
    keys = {"sasl.enabled.mechanisms": "PLAIN", "security.inter.broker.protocol": "SASL_PLAINTEXT", "sasl.mechanism.inter.broker.protocol": "PLAIN"}
    sections = [section("KafkaServer", **users_of_a_broker("a,b=c of all"))]
    if own:
        sections.append(section("sasl_plaintext.KafkaServer", **users_of_a_broker("a,b=c of one")))
    right, wrong = ("a,b=c of one", "a,b=c of all") if own else ("a,b=c of all", "a,b=c of one")
    broker = protected(make_broker, "SASL_PLAINTEXT", kind, keys, start=False)
    broker.env.update(by_jaas(tmp_path / "server.jaas", *sections))
    broker.start()
    config = tmp_path / "client.properties"
    config.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n")
    check_tools(broker, config, {**os.environ, **by_jaas(tmp_path / "alice.jaas", section("KafkaServer", **users_of_a_broker("x")), section("KafkaClient", username="alice", password=right))})
    for env, said in ((by_jaas(tmp_path / "wrong.jaas", section("KafkaClient", username="alice", password=wrong)), "Authentication failed: Invalid username or password"),
                      (by_jaas(tmp_path / "none.jaas", section("KafkaServer", username="alice", password=right)), "Could not find a 'KafkaClient' entry in the JAAS configuration"),
                      ({}, "Could not find a 'KafkaClient' entry in the JAAS configuration. System property 'java.security.auth.login.config' is not set")):
        for name, option, more in (("kafka-topics", "--command-config", ["--list"]), ("kafka-console-producer", "--producer.config", ["--topic", "by-tools"]),
                                   ("kafka-console-consumer", "--consumer.config", ["--topic", "by-tools", "--from-beginning", "--max-messages", "2"])):
            refused = tool(name, "--bootstrap-server", broker.listener.bootstrap, option, config, *more, stdin="x\n", env={**os.environ, **env})
            assert refused.returncode == 1 and said in refused.stdout + refused.stderr, refused
            assert right not in refused.stdout + refused.stderr


# ---- Stores that change while a broker runs ----


def shown_serial(broker):
    """Of the certificate that a new connection gets to see."""
    shown = subprocess.run(["openssl", "s_client", "-connect", broker.listener.bootstrap], input="", capture_output=True, text=True).stdout
    return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown, capture_output=True, text=True, check=True).stdout


def alter(broker, *what):
    return tool("kafka-configs", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", "brokers", "--entity-name", "0", *what)


class Arrivals(Meanwhile):
    """Clients that come without a pause, each by a connection of its own, beside one that stays; none of them tries anything twice."""

    def __init__(self, broker, authority):
        super().__init__(*(partial(self.go_on, work) for work in (self.by_library, self.by_hand)))
        self.broker, self.tls = broker, ssl.create_default_context(cafile=str(authority.certificate))
        self.common = {"bootstrap.servers": broker.listener.bootstrap, "security.protocol": "ssl", "ssl.ca.location": str(authority.certificate), "acks": "all", "retries": 0,
                       "linger.ms": 0, "error_cb": self.complain}
        self.stays, self.sent, self.complaints, self.rounds = Producer(self.common), [], [], {}

    def __exit__(self, *what):
        super().__exit__(*what)
        self.stays = None  # or it would complain of the broker's end

    def complain(self, what):
        self.complaints.append(what)

    def go_on(self, work):
        self.rounds[work] = 0
        while not self.over.is_set():
            try:
                work()
            except Exception as e:
                self.complain(e)
            self.rounds[work] += 1

    def by_library(self):
        for producer in Producer(self.common), self.stays:
            for _ in range(5):
                self.sent.append(str(len(self.sent)))
                producer.produce("t", self.sent[-1], on_delivery=lambda error, _: error and self.complain(error))
            assert producer.flush(PATIENCE) == 0

    def by_hand(self):
        """A question for versions, which a library does not ask again when its handshake fails."""
        with self.tls.wrap_socket(knock(self.broker), server_hostname="localhost") as s:
            s.sendall(frame(18, 0))
            assert read_frame(s)

    def more(self):
        """Until some have come that began after this was called."""
        before = dict(self.rounds)
        wait_until(lambda: all(self.rounds[work] >= before[work] + 2 for work in before), "more clients")


@pytest.mark.long
@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_key_stores_are_changed_while_records_come(make_broker, authority, server_keys, tmp_path, kind):
    """By another file, and by the same one with other contents; but not to another name. Of all who come meanwhile nobody is refused anything."""
    mine = tmp_path / "keys.pem"
    mine.write_text(server_keys.read_text())
    broker = protected(make_broker, "SSL", kind, keys=stores(mine, authority))
    produce(broker, "t", ["first"])
    key, serials = "listener.name.ssl.ssl.keystore.location", [shown_serial(broker)]
    other = tmp_path / "other.pem"

    def change(path, name):
        path.write_text(authority.issue(name, "/CN=server").read_text())
        assert alter(broker, "--add-config", f"{key}={path}").returncode == 0
        wait_until(lambda: shown_serial(broker) not in serials, "the certificate that the file has now")
        serials.append(shown_serial(broker))
        arrivals.more()

    with Arrivals(broker, authority) as arrivals:
        wait_until(lambda: len(arrivals.rounds) == 2, "the clients")
        arrivals.more()
        change(other, "second")
        change(other, "third")
        refused = alter(broker, "--add-config", f"{key}={authority.issue('stranger', '/CN=stranger')}")
        assert refused.returncode == 1 and "DistinguishedName does not match" in refused.stdout + refused.stderr, refused
        missing = alter(broker, "--add-config", f"{key}={tmp_path / 'nothing.pem'}")
        assert missing.returncode == 1 and "Validation of dynamic config update of SSLFactory failed" in missing.stdout + missing.stderr, missing
        assert shown_serial(broker) == serials[-1]
        arrivals.more()
        for i in range(2):
            change((mine, other)[i % 2], f"later-{i}")
    assert arrivals.complaints == []
    assert sorted(consume(broker, "t")) == sorted(["first", *arrivals.sent])


def test_a_key_store_on_a_disk_that_hangs_holds_up_nobody(make_broker, zookeeper, authority, server_keys, tmp_path):
    """Not the one who asks for it, when the disk is back, nor the controller meanwhile, nor the session with ZooKeeper."""
    slow, hangs, said = tmp_path / "slow", tmp_path / "hangs", []
    slow.mkdir()
    (slow / "keys.pem").write_text(authority.issue("slow", "/CN=server").read_text())

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
        return {**listener.settings(broker), **stores(server_keys, authority)}
    listener = Listener("SSL")
    broker = make_broker(each=with_faults, zookeeper_session_timeout_ms=2000)
    broker.listener = listener
    registered, first = zookeeper.client.get("/brokers/ids/0")[1].czxid, shown_serial(broker)
    hangs.write_text(f"HANG 0 {slow}")
    asking = threading.Thread(target=lambda: said.append(alter(broker, "--add-config", f"listener.name.ssl.ssl.keystore.location={slow / 'keys.pem'}")))
    asking.start()
    for i in range(10):
        done = tool("kafka-topics", "--bootstrap-server", broker.bootstrap, "--create", "--topic", f"t{i}")
        assert done.returncode == 0, done
    assert asking.is_alive()
    hangs.unlink()
    asking.join(PATIENCE)
    assert said[0].returncode == 0, said
    wait_until(lambda: shown_serial(broker) != first, "another certificate")
    assert zookeeper.client.get("/brokers/ids/0")[1].czxid == registered


def test_a_hangup_has_stores_read_again(make_broker, authority, server_keys, tmp_path):
    """Those of another name are not followed; a broker goes on with what it had."""
    mine = tmp_path / "keys.pem"
    mine.write_text(server_keys.read_text())
    broker = protected(make_broker, "SSL", keys=stores(mine, authority))
    first = shown_serial(broker)
    mine.write_text(authority.issue("renewed", "/CN=server").read_text())
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: shown_serial(broker) != first, "the certificate that the file has now")
    second = shown_serial(broker)
    mine.write_text(authority.issue("stranger", "/CN=stranger").read_text())
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "goes on with the stores that it had" in broker.text(), "the refusal")
    assert shown_serial(broker) == second


# ---- Who comes to the door and does not behave ----


def knock(broker, data=b""):
    s = socket.create_connection(("127.0.0.1", broker.listener.port), PATIENCE)
    s.sendall(data)
    return s


def is_closed(s):
    s.settimeout(PATIENCE)
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(32)  # the beginning of a ClientHello


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_who_does_not_behave_stops_nobody(make_broker, authority, server_keys, protocol):
    """Silent, slow, cut off, no TLS at all, by the hundred: others are served, and the broker ends when it is told to."""
    sasl = sasl_keys(protocol, between=False) if protocol == "SASL_SSL" else {}
    broker = protected(make_broker, protocol, keys={**stores(server_keys, authority), **sasl})
    mine = as_user(broker, authority, "alice", "a,b=c") if sasl else through(broker, authority)
    waiting = [knock(broker, data) for data in (b"", HELLO[:3], HELLO) for _ in range(60)]
    for data in (b"GET / HTTP/1.1\r\n\r\n" * 10, frame(18, 0), b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x15\x03\x03\x00\x02\x02\x28", bytes(100)):
        for _ in range(10):
            assert is_closed(knock(broker, data))
    for _ in range(40):
        knock(broker, HELLO).close()
    produce(broker, "t", [str(i) for i in range(500)], *mine)
    assert consume(broker, "t", *mine) == [str(i) for i in range(500)]
    tls = ssl.create_default_context(cafile=str(authority.certificate))
    half = [tls.wrap_socket(knock(broker), server_hostname="localhost") for _ in range(20)]
    for s in half:
        s.sendall(b"\x00\x00\x10\x00half of a frame")
    assert broker.stop() == 0
    assert all(is_closed(s) for s in [*waiting, *half])


def test_before_a_login_little_is_taken(make_broker, authority):
    """Frames are small, the first is a question for versions or a handshake, and who guesses has to wait."""
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=sasl_keys("SASL_PLAINTEXT", between=False, **{
        "sasl.server.max.receive.size": 1000, "connection.failed.authentication.delay.ms": 300}))
    assert is_closed(knock(broker, struct.pack(">i", 1001)))
    assert is_closed(knock(broker, struct.pack(">i", -1)))
    assert is_closed(knock(broker, frame(3, 1, struct.pack(">i", 0))))  # Metadata
    assert is_closed(knock(broker, frame(36, 0, struct.pack(">i", 0))))
    with knock(broker, frame(18, 0)) as s:
        assert read_frame(s)
        s.sendall(frame(17, 1, struct.pack(">h", 3) + b"FOO"))
        began = time.monotonic()
        assert struct.unpack(">h", read_frame(s)[4:6])[0] == 33  # UNSUPPORTED_SASL_MECHANISM
        assert time.monotonic() - began >= 0.3 and is_closed(s)
    with knock(broker, frame(17, 0, struct.pack(">h", 5) + b"PLAIN")) as s:
        read_frame(s)
        token = b"\0alice\0a,b=c"
        s.sendall(struct.pack(">i", len(token)) + token + frame(18, 0))
        assert read_frame(s) == b""  # what a token without a frame of Kafka's is answered with
        assert len(read_frame(s)) > 100
    guesses = [knock(broker, frame(17, 1, struct.pack(">h", 5) + b"PLAIN") + frame(36, 0, struct.pack(">i", 9) + b"\0alice\0no")) for _ in range(50)]
    broker.stop()
    assert all(is_closed(s) for s in guesses)


# ---- Logins that run out (KIP-368) ----

SECONDS = int(os.environ.get("BARNABAS_LOGIN_SECONDS", 6))  # three lifetimes, or more
RATE = 200  # records of Java's a second


def steadily(broker, seconds, **options):
    """Produces and consumes for so long by librdkafka; what it has complained about."""
    complaints, end, count = [], time.monotonic() + seconds, 0
    common = {"bootstrap.servers": broker.listener.bootstrap, "security.protocol": broker.listener.protocol, "error_cb": lambda e: complaints.append(str(e)), **options}
    producer = Producer({**common, "acks": "all", "linger.ms": 0})
    consumer = Consumer({**common, "group.id": "steady", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["steady"])
    while time.monotonic() < end:
        producer.produce("steady", str(count), on_delivery=lambda e, m: complaints.append(str(e)) if e else None)
        assert producer.flush(PATIENCE) == 0
        count += 1
        consumer.poll(0)
    consumer.close()
    assert len(consume(broker, "steady")) == count
    return complaints


@pytest.mark.long
def test_clients_log_in_again(make_broker, authority, tmp_path):
    broker = protected(make_broker, "SASL_PLAINTEXT", keys={**sasl_keys("SASL_PLAINTEXT", between=False), "connections.max.reauth.ms": 2000})
    complaints = []
    alice = {"sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": "a,b=c"}
    python = threading.Thread(target=lambda: complaints.extend(steadily(broker, SECONDS, **alice)))
    python.start()
    config, count = tmp_path / "client.properties", SECONDS * RATE
    config.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
                      'sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="a,b=c";\n')

    def launch(tool, *args):
        process = Process(tmp_path / f"{tool}.log")
        process.spawn([*jvm(*log4j("WARN")), tool, *args])
        return process

    java = [launch("org.apache.kafka.tools.ProducerPerformance", "--topic", "java", "--num-records", count, "--record-size", 10, "--throughput", RATE,
                   "--producer.config", config, "--producer-props", f"bootstrap.servers={broker.listener.bootstrap}", "acks=all"),
            launch("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker.listener.bootstrap, "--topic", "java", "--from-beginning",
                   "--consumer.config", config, "--max-messages", count, "--timeout-ms", PATIENCE * 1000)]
    for process in java:
        assert process.process.wait(SECONDS + 2 * PATIENCE) == 0, process.text()[-3000:]
        assert "disconnected" not in process.text() and "Exception" not in process.text(), process.text()[-3000:]
    python.join()
    assert f"Processed a total of {count} messages" in java[1].text(), java[1].text()[-1000:]
    assert len(consume(broker, "java")) == count
    # A busy machine may bring librdkafka, which logs in anew a fifth of a second before the end, too late for it; not each time.
    assert len(complaints) <= 1 and all("Disconnected" in c for c in complaints), complaints
    assert "Failed authentication" not in broker.text()


@pytest.mark.long
@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_clients_that_cannot_log_in_again_come_anew(make_broker, authority, caplog, kind):
    """One that knows nothing of KIP-368 is cut off when its time is over. It finds its way back, and nothing is lost on it, nor there twice."""
    caplog.set_level(logging.INFO, "kafka.conn")
    broker = protected(make_broker, "SASL_PLAINTEXT", kind, {**sasl_keys("SASL_PLAINTEXT", between=False), "connections.max.reauth.ms": 1500})
    produce(broker, "t", ["first"])
    common = {"bootstrap_servers": broker.listener.bootstrap, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": "alice",
              "sasl_plain_password": "a,b=c", "api_version": (2, 5)}
    sent, got = ["first"], []

    def go_on():
        """Until the connections by which both have their records have been made anew three times."""
        sent.append(str(len(sent)))
        producer.send("t", sent[-1].encode()).get(PATIENCE)
        return is_read() and sum(bool(re.search("node_id=0 .*Authenticated as alice", r.getMessage())) for r in caplog.records) >= 8

    def is_read():
        got.extend(r.value.decode() for records in consumer.poll(10).values() for r in records)
        return len(got) >= len(sent)
    with closing(kafka.KafkaProducer(**common, acks="all", retries=100, max_in_flight_requests_per_connection=1)) as producer, \
            closing(kafka.KafkaConsumer("t", **common, auto_offset_reset="earliest", group_id="g")) as consumer:
        wait_until(go_on, "both to have come anew several times")
    assert got == sent == consume(broker, "t")


@pytest.mark.long
@pytest.mark.parametrize("kinds", [(Barnabas, Apache), (Apache, Barnabas)], ids=lambda k: "+".join(c.__name__ for c in k))
def test_brokers_log_in_again(make_broker, kinds):
    """All the while in sync, and without a word of it."""
    keys = {**sasl_keys("SASL_PLAINTEXT"), "connections.max.reauth.ms": 2000, "num.partitions": 4}
    brokers = protected_pair(make_broker, "SASL_PLAINTEXT", kinds, keys)
    end, lines = time.monotonic() + SECONDS, []
    while time.monotonic() < end:
        lines.append(str(len(lines)))
        produce(brokers[0], "t", lines[-1:], "-X", "acks=all", "-X", "retries=0")
        assert "isrs: 0,1" in (out := kcat(brokers[0], "-L", "-t", "t")) or "isrs: 1,0" in out
    assert sorted(consume(brokers[1], "t"), key=int) == lines
    for b in brokers:
        if isinstance(b, Barnabas):
            assert " ERROR " not in b.text() and "Failed authentication" not in b.text(), b.text()
