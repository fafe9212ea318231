"""Starting and stopping: znodes, identity, what must be refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient
from harness import BUILD, PATIENCE, TOP, Apache, Barnabas, consume, preloaded, produce, wait_until
from kazoo.security import make_acl


def test_registers_in_zookeeper(broker, zookeeper):
    node = json.loads(zookeeper.get("/brokers/ids/0"))
    assert node["version"] == 5
    assert node["endpoints"] == [f"PLAINTEXT://127.0.0.1:{broker.port}"]
    assert node["listener_security_protocol_map"] == {"PLAINTEXT": "PLAINTEXT"}
    assert (node["host"], node["port"], node["jmx_port"], node["features"]) == ("127.0.0.1", broker.port, -1, {})
    assert re.fullmatch(r"\d+", node["timestamp"])
    data, stat = zookeeper.client.get("/brokers/ids/0")
    assert stat.version == 1 and stat.ephemeralOwner != 0


def host_of_a_member(broker):
    settings = {"bootstrap.servers": broker.bootstrap}
    consumer = confluent_kafka.Consumer({**settings, "group.id": "g", "broker.address.family": "v4"})
    consumer.subscribe(["t"])
    wait_until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "a member")
    admin = AdminClient(settings)
    group = admin.describe_consumer_groups(["g"])["g"].result(PATIENCE)
    consumer.close()
    return group.members[0].host


def test_the_file_that_comes_with_it_will_do(make_broker, zookeeper):
    """Its listeners have no host: what is advertised is this machine's name, and clients are told by the same address, as by Apache's broker."""
    lines = (TOP / "conf" / "server.properties").read_text().splitlines()
    shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def each(broker):
        own = {"listeners": f"PLAINTEXT://:{broker.port}", "log.dirs": str(broker.data), "zookeeper.connect": zookeeper.connect}
        broker.properties = {**shipped, **own}
        return {}

    hosts, members = [], []
    for kind in (Barnabas, Apache):
        broker = make_broker(kind=kind, data=kind.__name__, each=each)
        hosts.append(json.loads(zookeeper.get("/brokers/ids/0"))["host"])
        produce(broker, "t", [kind.__name__])
        assert consume(broker, "t") == [kind.__name__]
        members.append(host_of_a_member(broker))
        broker.stop()
        zookeeper.client.delete("/brokers/topics/t", recursive=True)
        zookeeper.client.delete("/cluster", recursive=True)
    assert hosts[0] and hosts[0] == hosts[1]
    assert members == ["/127.0.0.1", "/127.0.0.1"]


def test_wins_the_race_for_controller(broker, zookeeper):
    node = json.loads(zookeeper.get("/controller"))
    assert (node["version"], node["brokerid"], node["kraftControllerEpoch"]) == (2, 0, -1)
    assert zookeeper.get("/controller_epoch") == b"1"
    assert json.loads(zookeeper.get("/feature")) == {"features": {}, "version": 2, "status": 1}


def test_makes_the_paths_that_kafka_makes(broker, zookeeper):
    for path in ("/consumers", "/brokers/ids", "/brokers/topics", "/config/changes", "/admin/delete_topics", "/brokers/seqid",
                 "/isr_change_notification", "/latest_producer_id_block", "/log_dir_event_notification", "/config/topics",
                 "/config/clients", "/config/users", "/config/brokers", "/config/ips"):
        assert zookeeper.client.exists(path), path
    cluster = json.loads(zookeeper.get("/cluster/id"))
    assert cluster["version"] == "1" and len(cluster["id"]) == 22


def test_it_may_be_stopped_while_it_starts(broker):
    broker.stop()
    for line in ("Connected to ZooKeeper", "Cluster ID", "Awaiting socket connections", "Registered broker"):
        seen = broker.text().count(line)
        broker.launch()
        wait_until(lambda: broker.text().count(line) > seen, line)
        assert broker.stop() == 0, line
    assert "FATAL" not in broker.text()


def test_its_process_is_found_by_its_name(broker):
    """So kafka-server-stop.sh finds it, which would stop those of all other tests, too."""
    assert "pgrep -x barnabas" in (TOP / "bin" / "kafka-server-stop.sh").read_text()
    assert str(broker.process.pid) in subprocess.check_output(["pgrep", "-x", "barnabas"], text=True).split()


def settings_file(folder, name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


@pytest.fixture
def processes(tmp_path):
    """Processes that look like brokers, or nearly so; the script finds no others."""
    started = []
    (tmp_path / "bin").mkdir()
    for name in "barnabas", "java":
        shutil.copy("/bin/dash", tmp_path / "bin" / name)
    finder = tmp_path / "bin" / "pgrep"
    finder.write_text(f'#!/bin/sh\n{shutil.which("pgrep")} "$@" | grep -xFf {tmp_path}/pids\n')
    finder.chmod(0o755)

    def start(name, *args):
        process = subprocess.Popen([name, "-c", "read x", *args], executable=tmp_path / "bin" / name, cwd=tmp_path, stdin=subprocess.PIPE)
        started.append(process)
        (tmp_path / "pids").write_text("".join(f"{p.pid}\n" for p in started))
        wait_until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(name.encode() + b"\0"), name)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def stop_script(folder, *args, name="kafka-server-stop.sh"):
    path = f"{folder}/bin:{os.environ['PATH']}"
    return subprocess.run([TOP / "bin" / name, *args], cwd="/", env={**os.environ, "PATH": path}, capture_output=True, text=True)


def test_the_stop_script_stops_brokers_only(processes, tmp_path):
    ours = processes("barnabas", "server.properties")
    theirs = processes("java", "-cp", "libs", "kafka.Kafka", "server.properties")
    others = [processes("java", "-cp", "libs", "kafka.KafkaTool", "x"), processes("java", "/var/log/java/kafka.Kafka.log")]
    assert stop_script(tmp_path).returncode == 0
    assert ours.wait(PATIENCE) == theirs.wait(PATIENCE) == -signal.SIGTERM
    assert [x.poll() for x in others] == [None, None]
    again = stop_script(tmp_path)
    assert (again.returncode, again.stdout) == (1, "No kafka server to stop\n")


def test_the_stop_script_stops_zookeeper_only(processes, tmp_path):
    server = processes("java", "-cp", "libs", "org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg")
    other = processes("java", "src/org/apache/zookeeper/server/quorum/QuorumPeerMain.java")
    assert stop_script(tmp_path, name="zookeeper-server-stop.sh").returncode == 0
    assert server.wait(PATIENCE) == -signal.SIGTERM and other.poll() is None


def test_the_stop_script_stops_who_is_named(processes, tmp_path):
    one, two = settings_file(tmp_path, "one", "broker.id=1", "x=node.id=2"), settings_file(tmp_path, "two", "broker.id = 1", "node.id = 2")
    controller = settings_file(tmp_path, "three", "node.id=3", "process.roles=controller")
    first, second = processes("barnabas", one), processes("barnabas", two, "--override", "unclean.leader.election.enable=false")
    third, fourth = processes("java", "kafka.Kafka", controller), processes("barnabas", one, "--override", "broker.id=4")
    assert stop_script(tmp_path, "--node-id=5").returncode == 1
    assert stop_script(tmp_path, "--process-role=other").returncode == 1
    assert stop_script(tmp_path, "--node-id", "2").returncode == 0
    assert second.wait(PATIENCE) == -signal.SIGTERM
    both = stop_script(tmp_path, "--node-id=4", "--process-role=controller")
    assert "the value for node-id will take precedence" in both.stdout
    assert fourth.wait(PATIENCE) == -signal.SIGTERM
    assert stop_script(tmp_path, "--process-role=broker").returncode == 0
    assert first.wait(PATIENCE) == -signal.SIGTERM and third.poll() is None
    assert stop_script(tmp_path, "--process-role=controller").returncode == 0
    assert third.wait(PATIENCE) == -signal.SIGTERM


def test_a_clean_stop_leaves_the_mark_and_no_ephemeral_nodes(broker, zookeeper):
    assert broker.stop() == 0
    assert (broker.data / ".kafka_cleanshutdown").read_text() == '{"version":0,"brokerEpoch":-1}'
    assert not (broker.data / ".lock").exists()
    assert zookeeper.children("/brokers/ids") == []
    assert not zookeeper.client.exists("/controller")
    assert "Resigning as controller of epoch 1: the broker is shutting down" in broker.text()


def test_the_epoch_rises_with_each_controller(broker, zookeeper):
    broker.stop()
    broker.restart()
    assert zookeeper.get("/controller_epoch") == b"2"


def test_generated_broker_ids_start_above_the_reserved_ones(make_broker, zookeeper):
    broker = make_broker(broker_id=-1)
    assert zookeeper.children("/brokers/ids") == ["1001"]
    assert "broker.id=1001" in (broker.data / "meta.properties").read_text()
    broker.stop()
    broker.restart()
    assert zookeeper.children("/brokers/ids") == ["1001"]


def refuses(make_broker, broker):
    broker.launch()
    assert broker.process.wait(60) == 1
    text = broker.text()
    broker.log.write_text("")  # what it said is expected
    return text


def test_refuses_another_brokers_directory(make_broker, broker):
    broker.stop()
    broker.properties["broker.id"] = "5"
    assert "broker.id" in refuses(make_broker, broker)


def test_refuses_the_directory_of_another_cluster(make_broker, broker):
    broker.stop()
    meta = broker.data / "meta.properties"
    meta.write_text(re.sub("cluster.id=.*", "cluster.id=AAAAAAAAAAAAAAAAAAAAAA", meta.read_text()))
    assert "Invalid cluster.id in" in refuses(make_broker, broker)


def test_refuses_a_directory_that_is_in_use(make_broker, broker, zookeeper, tmp_path):
    second = Barnabas(zookeeper, broker.data, tmp_path / "second.log", {"broker.id": 0})
    second.launch()
    assert second.process.wait(60) == 1
    assert "lock" in second.text()


def test_refuses_an_id_that_is_taken(make_broker, broker, zookeeper, tmp_path):
    second = Barnabas(zookeeper, tmp_path / "other", tmp_path / "second.log", {"broker.id": 0})
    second.launch()
    assert second.process.wait(60) == 1
    assert "already registered" in second.text()


def test_says_when_there_is_no_zookeeper(zookeeper, tmp_path):
    zookeeper.connect = "127.0.0.1:1"
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "log", {"zookeeper.connection.timeout.ms": 500})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert "Timed out waiting for connection to ZooKeeper" in broker.text()


def test_names_file_line_key_and_value_of_a_bad_setting(zookeeper, tmp_path):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "log", {"log.segment.bytes": "abc"})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert re.search(r"log\.properties:\d+: .*log\.segment\.bytes.*abc|log\.properties:\d+: log\.segment\.bytes=abc", broker.text()), broker.text()


SASL = {"listeners": "PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0"}


@pytest.mark.parametrize("keys, why", [
    ({"listeners": "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0"}, "ssl.keystore.location is not set"),
    (SASL, "Could not find a 'KafkaServer'"),
    ({**SASL, "sasl.enabled.mechanisms": "PLAIN,FOO"}, "Could not find a 'KafkaServer' or 'sasl_plaintext.KafkaServer' entry in the JAAS configuration"),
    ({**SASL, "sasl.enabled.mechanisms": "PLAIN", "listener.name.sasl_plaintext.plain.sasl.jaas.config": "x"}, "Login module control flag not specified"),
    ({**SASL, "sasl.enabled.mechanisms": "PLAIN", "ssl.principal.mapping.rules": "RULE:x"}, "ssl.principal.mapping.rules"),
    ({"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "authorizer.zookeeper.ssl.client.enable": "true"}, "needs zookeeper.clientCnxnSocket"),
    ({"zookeeper.set.acl": "true"}, "zookeeper.set.acl is true, but"),
    ({"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "admin"}, "super.users=admin"),
    ({"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "authorizer.zookeeper.ssl.client.enable": "true"}, "zookeeper.clientCnxnSocket"),
    ({"listener.name.plaintxt.ssl.client.auth": "required"}, "there is no such listener"),
    ({"principal.builder.class": "com.example.Mine"}, "a part of Java that this broker does not have"),
    ({"zookeeper.ssl.client.enable": "true"}, "needs zookeeper.clientCnxnSocket"),
    ({"remote.log.storage.system.enable": "true"}, "this broker has no remote storage"),
    ({"config.providers": "vault", "config.providers.vault.class": "com.example.Vault"}, "config.providers.vault.class=com.example.Vault"),
    ({"config.providers": "dir", "config.providers.dir.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
      "delegation.token.secret.key": "${dir:/nowhere:secret}"}, "stands for nothing that is there"),
])
def test_serves_nothing_without_the_protection_that_it_is_to_have(zookeeper, tmp_path, keys, why):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.properties.update(keys)
    broker.launch()
    assert broker.process.wait(30) == 1
    fatal = [line for line in broker.text().splitlines() if "FATAL" in line or "=true: " in line]
    assert any(why in line for line in fatal), broker.text()


def test_nor_if_that_was_set_at_run_time(zookeeper, tmp_path):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.start()
    broker.stop()
    listeners = f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:0"
    zookeeper.client.create("/config/brokers/0", json.dumps({"version": 1, "config": {"listeners": listeners}}).encode())
    broker.launch()
    assert broker.process.wait(30) == 1
    assert "FATAL [KafkaServer id=0] Listener SSL cannot be encrypted" in broker.text()


def test_a_lost_session_is_made_anew(make_broker, zookeeper):
    broker = make_broker(zookeeper_session_timeout_ms=2000)
    produce(broker, "t", ["before"])
    first = zookeeper.client.get("/brokers/ids/0")[1].czxid
    broker.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not zookeeper.client.exists("/brokers/ids/0") and not zookeeper.client.exists("/controller"), "the session to expire")
    finally:
        broker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: zookeeper.client.exists("/brokers/ids/0") and zookeeper.client.exists("/controller"), "another session")
    assert zookeeper.client.get("/brokers/ids/0")[1].czxid > first
    assert int(zookeeper.get("/controller_epoch")) == 2
    produce(broker, "t", ["after"])
    assert consume(broker, "t") == ["before", "after"]


def test_settings_that_may_not_be_read_are_not_taken_for_none(make_broker, zookeeper):
    broker = make_broker()
    zookeeper.client.create("/config/topics/hidden", b'{"version":1,"config":{"retention.ms":"-1"}}')
    zookeeper.client.set_acls("/config/topics/hidden", [make_acl("world", "anyone", delete=True, admin=True)])
    broker.stop()
    broker.launch()
    assert broker.process.wait(PATIENCE) == 1
    assert (
        "FATAL [KafkaServer id=0] Cannot read settings, /config/topics/hidden, in ZooKeeper: its ACL" in broker.text()
    )
    broker.log.unlink()


def test_who_may_not_register_tries_on(make_broker, zookeeper):
    broker = make_broker(zookeeper_session_timeout_ms=2000)
    (all_may,), _ = zookeeper.client.get_acls("/brokers/ids")
    zookeeper.client.set_acls("/brokers/ids", [make_acl("world", "anyone", read=True, delete=True, admin=True)])
    broker.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not zookeeper.client.exists("/brokers/ids/0"), "the session to expire")
    finally:
        broker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "tries again once a second" in broker.text(), "a warning")
    time.sleep(2)
    assert broker.text().count("Cannot create /brokers/ids/0 in ZooKeeper: ") == 1
    zookeeper.client.set_acls("/brokers/ids", [all_may])
    wait_until(lambda: zookeeper.client.exists("/brokers/ids/0"), "another registration")
    broker.stop()
    zookeeper.client.set_acls("/brokers/ids", [make_acl("world", "anyone", read=True, delete=True, admin=True)])
    broker.launch()
    assert broker.process.wait(PATIENCE) == 1
    zookeeper.client.set_acls("/brokers/ids", [all_may])
    assert "FATAL [KafkaServer id=0] Cannot create /brokers/ids/0 in ZooKeeper: its ACL" in broker.text()
    assert (broker.data / ".kafka_cleanshutdown").exists()  # its logs were loaded, and closed again
    broker.log.unlink()


class SlowStart:
    """A broker that has crashed, and whose disk holds up the loading of one of its logs, by one thread, until it is told to go on."""

    def __init__(self, make_broker, folder):
        self.broker = make_broker(num_recovery_threads_per_data_dir=1, zookeeper_session_timeout_ms=2000)
        for topic in "abc":
            produce(self.broker, topic, ["one", "two"])
        self.broker.kill()
        self.hangs = folder / "hangs"
        self.hangs.write_text(f"HANG 0 {self.broker.data}/b-")
        self.broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", folder)), DISK_FAULTS=str(self.hangs))
        self.broker.log.unlink()
        self.broker.launch()
        self.wait_for("Recovering logs in")

    def wait_for(self, text):
        wait_until(lambda: self.broker.log.exists() and text in self.broker.text(), text)

    def lose_session(self):
        self.broker.process.send_signal(signal.SIGSTOP)
        time.sleep(5)  # longer than the session, of which no znode tells yet
        self.broker.process.send_signal(signal.SIGCONT)
        self.wait_for("has expired")

    def go_on(self):
        self.hangs.unlink()


@pytest.fixture
def slow_start(make_broker, tmp_path):
    return SlowStart(make_broker, tmp_path)


def test_a_session_may_end_while_logs_are_loaded(slow_start):
    slow_start.lose_session()
    slow_start.wait_for("the broker registers with the next session")
    slow_start.go_on()
    wait_until(slow_start.broker.is_ready, "the broker")
    assert [consume(slow_start.broker, topic) for topic in "abc"] == [["one", "two"]] * 3
    admin = AdminClient({"bootstrap.servers": slow_start.broker.bootstrap})
    admin.delete_topics(["a"])["a"].result(PATIENCE)  # its watches are there, too


def test_a_stop_does_not_wait_for_logs_to_be_loaded(slow_start):
    broker = slow_start.broker
    broker.process.send_signal(signal.SIGTERM)
    slow_start.wait_for("Terminating process")
    slow_start.go_on()
    assert broker.process.wait(PATIENCE) == 0
    assert "leave the others for the next start" in broker.text()
    assert not (broker.data / ".kafka_cleanshutdown").exists()
    broker.restart()
    assert [consume(broker, topic) for topic in "abc"] == [["one", "two"]] * 3


def test_the_office_is_taken_again_when_its_node_goes(broker, zookeeper):
    zookeeper.client.delete("/controller")
    wait_until(lambda: zookeeper.client.exists("/controller"), "a controller")
    assert int(zookeeper.get("/controller_epoch")) == 2


def test_any_free_port_will_do(zookeeper, tmp_path):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "log", {"listeners": "PLAINTEXT://127.0.0.1:0"})
    broker.launch()
    try:
        node = wait_until(lambda: zookeeper.client.exists("/brokers/ids/0") and json.loads(zookeeper.get("/brokers/ids/0")), "registration")
        assert node["port"] > 0 and node["endpoints"] == [f"PLAINTEXT://127.0.0.1:{node['port']}"]
        broker.port = node["port"]
        wait_until(broker.is_ready, "the broker")
        produce(broker, "t", ["x"])
        assert consume(broker, "t") == ["x"]
    finally:
        broker.stop()
    broker.check_log()


REPORTER = {"metric.reporters": "io.strimzi.kafka.metrics.KafkaPrometheusMetricsReporter"}


@pytest.mark.parametrize("changes, said", [
    ({}, None),
    ({"num.network.threads": "none"}, "num.network.threads"),
    ({"log.dirs": "/dev/null/x"}, "log.dirs: /dev/null/x: Not a directory"),
    ({"listeners": "SSL://127.0.0.1:0", "security.inter.broker.protocol": "SSL"}, "ssl.keystore.location is not set"),
    ({"listeners": "SASL_PLAINTEXT://127.0.0.1:0", "security.inter.broker.protocol": "SASL_PLAINTEXT"}, "JAAS"),
    ({"zookeeper.set.acl": "true"}, "zookeeper.set.acl is true, but"),
    ({"barnabas.http.listeners": "GREEK://:0"}, "barnabas.http.listeners"),
    ({**REPORTER, "prometheus.metrics.reporter.listener": "tcp://:8080"}, "Invalid value tcp://:8080 for configuration prometheus.metrics.reporter.listener"),
    ({**REPORTER, "prometheus.metrics.reporter.listener": "http://8080"}, "Invalid value http://8080 for configuration prometheus.metrics.reporter.listener"),
    ({**REPORTER, "prometheus.metrics.reporter.allowlist": "a,(("}, "prometheus.metrics.reporter.allowlist: ((: missing closing parenthesis"),
    ({**REPORTER, "prometheus.metrics.reporter.listener": "tcp://:8080", "prometheus.metrics.reporter.listener.enable": "false"}, None),
])
def test_says_whether_it_could_start(tmp_path, changes, said):
    """Without ZooKeeper, and without a trace."""
    file = tmp_path / "server.properties"
    settings = {"zookeeper.connect": "127.0.0.1:1", "log.dirs": tmp_path / "new" / "data", **changes}
    file.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
    done = subprocess.run([BUILD / "barnabas", "--check", file], capture_output=True, text=True, timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == [file]
    if said is None:
        assert done.returncode == 0 and done.stdout == f"{file}: a broker could start with this\n", done
    else:
        assert done.returncode == 1 and said in done.stderr and "FATAL" in done.stderr, done
