"""kafka-configs and kafka-delete-records beside Apache's: the same arguments, the same lines, on brokers of both kinds."""

import json
import re
import signal

import pytest

from harness import Apache, Barnabas, java, kcat, wait_until
from messages import Asker
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_tools import script, topics

NOISE = ("Error while executing", "\tat ", "\tSuppressed", "\t...", "Caused by", "Option ", "------ ", "--", "  ", "\tFor ", "For entity")


def said(text):
    """Without the stack and the usage, which are Java's."""
    return [line.strip() for line in text.splitlines() if line and not line.startswith(NOISE)]


def shown(text):
    return [line for line in text.splitlines() if line]


def ours(*args):
    try:
        out = script("kafka-configs", *args)
    except AssertionError:
        out = script("kafka-configs", *args, code=1)
    return out + script.errors


def theirs(*args):
    return java("kafka.admin.ConfigCommand", *args, check=False)


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def any_broker(request, make_broker):
    broker = make_broker(kind=request.param)
    topics(broker, "--create", "--topic", "t", "--config", "retention.ms=5")
    return broker


DESCRIPTIONS = [
    ["--entity-type", "topics"],
    ["--topic", "t"],
    ["--topic", "t", "--all"],
    ["--broker", "0", "--all"],
    ["--entity-type", "brokers"],
    ["--broker-defaults"],
    ["--entity-type", "brokers", "--entity-default"],
]


def test_describes_what_apache_describes(any_broker):
    b = ["--bootstrap-server", any_broker.bootstrap]
    ours(*b, "--alter", "--broker-defaults", "--add-config", "log.retention.ms=7200000")
    ours(*b, "--alter", "--broker", "0", "--add-config", "log.cleanup.policy=[compact,delete]")
    wait_until(lambda: "log.cleanup.policy" in ours(*b, "--describe", "--broker", "0"), "the broker's own setting")
    for args in DESCRIPTIONS:
        assert shown(ours(*b, "--describe", *args)) == shown(theirs(*b, "--describe", *args)), args


def both_in_turn(broker, args, reset):
    """What each of the tools says, each on the same state."""
    b = ["--bootstrap-server", broker.bootstrap]
    answers = []
    for tool in (theirs, ours):
        reset()
        answers.append((said(tool(*b, *args)), sorted(shown(theirs(*b, "--describe", *args[1:3])))))
    return answers


ALTERATIONS = [
    ["--alter", "--topic", "t", "--add-config", "cleanup.policy=[compact,delete], segment.bytes = 1048576,"],
    ["--alter", "--topic", "t", "--delete-config", "retention.ms", "--add-config", "flush.ms=9"],
    ["--alter", "--topic", "t", "--delete-config", "flush.ms,no.such.key"],
    ["--alter", "--topic", "t", "--add-config", "retention.ms=soon"],
    ["--alter", "--topic", "t", "--add-config", "retention.ms"],
    ["--alter", "--topic", "t", "--add-config", "a=b=c"],
    ["--alter", "--topic", "t", "--add-config", "a b=c"],
    ["--alter", "--topic", "bad name", "--add-config", "retention.ms=6"],
    ["--alter", "--broker", "0", "--add-config", "log.retention.ms=7200000"],
    ["--alter", "--broker", "0", "--delete-config", "log.segment.bytes"],
    ["--alter", "--broker", "one", "--add-config", "log.retention.ms=7200000"],
]


@pytest.mark.long
def test_alters_as_apache_alters(any_broker):
    b = ["--bootstrap-server", any_broker.bootstrap]

    def reset():
        ours(*b, "--alter", "--topic", "t", "--delete-config", "flush.ms")
        ours(*b, "--alter", "--topic", "t", "--delete-config", "cleanup.policy,segment.bytes")
        ours(*b, "--alter", "--topic", "t", "--add-config", "retention.ms=5")

    def differ(args):
        their, our = both_in_turn(any_broker, args, reset)
        return (our, their) if our != their else None

    for args in ALTERATIONS:
        for _ in range(3):  # a broker follows its own settings after it has answered
            difference = differ(args)
            if not difference:
                break
        assert not difference, args


WRONG = [
    ["--describe", "--alter", "--topic", "t"],
    ["--topic", "t"],
    ["--describe", "--topic", "t", "--add-config", "a=b"],
    ["--describe"],
    ["--describe", "--entity-type", "shoes"],
    ["--describe", "--topic", "t", "--broker", "0"],
    ["--describe", "--entity-type", "topics", "--entity-type", "topics"],
    ["--describe", "--entity-type", "topics", "--topic", "t"],
    ["--describe", "--topic", "t", "--zookeeper", "z"],
    ["--describe", "--topic", "t", "--zk-tls-config-file", "f"],
    ["--describe", "--ip", "no such host"],
    ["--describe", "--entity-type", "broker-loggers"],
    ["--alter", "--entity-type", "brokers", "--add-config", "a=b"],
    ["--alter", "--entity-type", "topics", "--add-config", "a=b"],
    ["--alter", "--topic", "t"],
    ["--alter", "--topic", "t", "--add-config", "a=b", "--add-config-file", "f"],
    ["--alter", "--topic", "t", "--add-config", "a=b", "--add-config", "c=d"],
    ["--alter", "--user", "u", "--add-config", "no.such.key=1"],
    ["--alter", "--client", "c", "--delete-config", "no.such.key"],
    ["--alter", "--ip", "127.0.0.1", "--add-config", "no.such.key=1"],
]


def test_complains_as_apache_complains(broker):
    b = ["--bootstrap-server", broker.bootstrap]
    for args in WRONG:
        assert said(ours(*b, *args))[:1] == said(theirs(*b, *args))[:1], args
    assert said(ours("--describe", "--topic", "t")) == said(theirs("--describe", "--topic", "t"))
    assert "Only one of" not in ours("--bootstrap-controller", "x:1", "--describe", "--topic", "t")


def test_settings_from_a_file(broker, tmp_path):
    file = tmp_path / "add.properties"
    file.write_text("# comment\nretention.ms: 77\ncleanup.policy=compact,delete\n")
    topics(broker, "--create", "--topic", "t")
    b = ["--bootstrap-server", broker.bootstrap]
    assert ours(*b, "--alter", "--topic", "t", "--add-config-file", file) == "Completed updating config for topic t.\n"
    out = ours(*b, "--describe", "--topic", "t")
    assert "  retention.ms=77 " in out and "  cleanup.policy=compact,delete " in out


# ---- Quotas and credentials: on Apache's broker until barnabas serves them ----


QUOTAS = [
    ["--alter", "--user", "u", "--add-config", "producer_byte_rate=1000,request_percentage=12.5"],
    ["--alter", "--user", "u", "--client", "c", "--add-config", "consumer_byte_rate=20000000"],
    ["--alter", "--entity-type", "clients", "--entity-default", "--entity-type", "users", "--entity-name", "v", "--add-config", "consumer_byte_rate=3"],
    ["--alter", "--ip", "127.0.0.1", "--add-config", "connection_creation_rate=5"],
    ["--alter", "--user-defaults", "--add-config", "producer_byte_rate=7"],
    ["--alter", "--user", "u", "--delete-config", "request_percentage"],
    ["--alter", "--user", "u", "--delete-config", "request_percentage"],
    ["--alter", "--user", "u", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=secret],SCRAM-SHA-512=[password=other]"],
    ["--alter", "--user", "u", "--add-config", "SCRAM-SHA-256=[iterations=1,password=secret]"],
    ["--alter", "--user", "u", "--add-config", "SCRAM-SHA-256=[password=secret],producer_byte_rate=1"],
    ["--alter", "--user-defaults", "--add-config", "SCRAM-SHA-256=[password=secret]"],
    ["--describe", "--user", "u"],
    ["--describe", "--entity-type", "users"],
    ["--describe", "--entity-type", "users", "--entity-type", "clients"],
    ["--describe", "--ip-defaults"],
    ["--describe", "--entity-type", "ips"],
    ["--alter", "--user", "u", "--delete-config", "SCRAM-SHA-256"],
    ["--describe", "--user", "u"],
]


def in_any_order(lines):
    return sorted(sorted(line.replace(" are ", ", ").split(", ")) for line in lines)


@pytest.mark.long
def test_quotas_and_credentials_on_apache(make_broker, ensemble):
    answers = []
    for tool in (theirs, ours):
        broker = make_broker(kind=Apache, data=tool.__name__, **{"zookeeper.connect": ensemble.chroot().connect})
        answers.append([said(tool("--bootstrap-server", broker.bootstrap, *args)) for args in QUOTAS])
        broker.stop()
    for args, their, our in zip(QUOTAS, *answers):
        assert in_any_order(our) == in_any_order(their), args


# ---- Through ZooKeeper ----


ZK = [
    ["--alter", "--user", "a b", "--add-config", "SCRAM-SHA-256=[password=secret]"],
    ["--alter", "--user", "u", "--add-config", "producer_byte_rate=1"],
    ["--alter", "--user", "a b", "--delete-config", "SCRAM-SHA-512"],
    ["--alter", "--broker", "5", "--add-config", "log.retention.ms=7200000"],
    ["--alter", "--broker", "5", "--add-config", "listener.name.internal.ssl.key.password=secret"],
    ["--alter", "--broker", "5", "--delete-config", "no.such.key"],
    ["--alter", "--broker", "0", "--add-config", "log.retention.ms=7200000"],
    ["--alter", "--broker-defaults", "--add-config", "log.retention.ms=7200000"],
    ["--describe", "--broker", "5"],
    ["--describe", "--broker", "0"],
    ["--describe", "--entity-type", "brokers"],
    ["--alter", "--user", "a b", "--delete-config", "SCRAM-SHA-256"],
    ["--describe", "--user", "a b"],
    ["--describe", "--entity-type", "users"],
    ["--describe", "--topic", "t"],
]


def test_through_zookeeper_as_apache(make_broker, ensemble):
    answers = []
    for tool in (theirs, ours):
        zookeeper = ensemble.chroot()
        broker = make_broker(data=tool.__name__, **{"zookeeper.connect": zookeeper.connect})
        answers.append([said(tool("--zookeeper", zookeeper.connect, *args)) for args in ZK])
        answers[-1].append(json.loads(zookeeper.get("/config/brokers/5")))
        answers[-1].append([json.loads(zookeeper.get(f"/config/changes/{c}"))["entity_path"] for c in zookeeper.children("/config/changes")])
        answers[-1].append(zookeeper.children("/config/users"))
        broker.stop()
    for args, their, our in zip([*ZK, "node", "changes", "users"], *answers):
        assert our == their, args


def test_credentials_that_kafka_reads(zookeeper, make_broker):
    make_broker(kind=Apache).stop()
    out = ours("--zookeeper", zookeeper.connect, "--alter", "--user", "alice", "--add-config", "SCRAM-SHA-512=[iterations=5000,password=pencil]")
    assert out.endswith("Completed updating config for entity: user-principal 'alice'.\n")
    broker = make_broker(kind=Apache)
    out = theirs("--bootstrap-server", broker.bootstrap, "--describe", "--user", "alice")
    assert "SCRAM credential configs for user-principal 'alice' are SCRAM-SHA-512=iterations=5000" in out


CREDENTIALS = ["[password=]", "[iterations=8192,password=]", "[iterations=99999999999,password=p]", "[iterations=,password=p]", "[iterations=-1,password=]",
               "[iterations=-5,password=p]", "[iterations=--1,password=p]", "[iterations=16385,password=p]", "[iterations=x,password=p]", "[iterations=4095,password=p]"]


def test_credentials_that_are_none(zookeeper, make_broker):
    broker = make_broker()
    for credential in CREDENTIALS:
        for where in ["--bootstrap-server", broker.bootstrap], ["--zookeeper", zookeeper.connect]:
            if where[0] == "--zookeeper" and "16385" in credential:
                continue  # which a broker would not take
            args = [*where, "--alter", "--user", "u", "--add-config", f"SCRAM-SHA-256={credential}"]
            our, their = said(ours(*args)), said(theirs(*args))
            assert our == [re.sub("^(Invalid credential property .*?)=.*", r"\1=[hidden]", line) for line in their], args  # which may be a password
    assert not zookeeper.client.exists("/config/users/u")


@pytest.mark.parametrize("tool", [ours, theirs], ids=["ours", "theirs"])
def test_credentials_through_the_broker(any_broker, tool):
    def credentials():
        with Asker(any_broker) as t:
            found = t.get("DescribeUserScramCredentials", 0, {"Users": [{"Name": "a b"}]})["Results"][0]
            return [(i["Mechanism"], i["Iterations"]) for i in found["CredentialInfos"]]

    def alter(*args):
        assert "Completed updating config" in tool("--bootstrap-server", any_broker.bootstrap, "--alter", "--entity-type", "users", "--entity-name", "a b", *args)
    alter("--add-config", "SCRAM-SHA-256=[iterations=8192,password=pencil],SCRAM-SHA-512=[password=pencil]")
    assert credentials() == [(1, 8192), (2, 4096)]
    alter("--delete-config", "SCRAM-SHA-256")
    assert credentials() == [(2, 4096)]


# ---- kafka-delete-records ----


def test_records_are_deleted_as_by_apache(any_broker, tmp_path):
    b = ["--bootstrap-server", any_broker.bootstrap]
    topics(any_broker, "--create", "--topic", "u", "--partitions", 3)
    script("kafka-console-producer", *b, "--topic", "t", stdin="".join(f"{i}\n" for i in range(9)))

    def both(content):
        file = tmp_path / "offsets.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        answers = []
        for tool in (lambda *a: java("org.apache.kafka.tools.DeleteRecordsCommand", *a, check=False), lambda *a: run_delete(*a)):
            answers.append(sorted(line for line in tool(*b, "--offset-json-file", file).splitlines() if not line.startswith("\tat ") and line))
        return answers

    def run_delete(*args):
        try:
            return script("kafka-delete-records", *args) + script.errors
        except AssertionError:
            return script("kafka-delete-records", *args, code=1) + script.errors

    def at(*partitions):
        return {"version": 1, "partitions": [{"topic": t, "partition": p, "offset": o} for t, p, o in partitions]}

    for content in (at(("t", 0, 3)), at(("t", 0, -1), ("u", 0, 0), ("u", 2, 0)), at(("t", 0, 99), ("u", 1, 0)), at()):
        their, our = both(content)
        assert [line.split(": org.apache")[0] for line in our] == [line.split(": org.apache")[0] for line in their], content
    for content in (at(("t", 0, 3), ("t", 0, 4)), {"version": 2, "partitions": []}, {"version": 1}, "nonsense", {"partitions": [{"topic": "t"}]}):
        their, our = both(content)
        assert our[0] in their or "valid JSON" in our[0], (our, their)
    assert script("kafka-get-offsets", *b, "--topic", "t", "--time", "earliest") == "t:0:9\n"


def deleted(brokers, folder, *partitions, config=None):
    file = folder / "offsets.json"
    file.write_text(json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": p, "offset": 1} for p in partitions]}))
    args = []
    if config is not None:
        (folder / "client.properties").write_text(config)
        args = ["--command-config", folder / "client.properties"]
    out = script("kafka-delete-records", "--bootstrap-server", brokers[0].bootstrap, "--offset-json-file", file, *args)
    return dict(re.findall(r"partition: t-(\d)\t(.*)", out))


def test_what_is_deleted_is_told_though_a_leader_is_silent(make_cluster, tmp_path):
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1, "zookeeper.session.timeout.ms": 30000})
    topics(brokers[0], "--create", "--topic", "t", "--replica-assignment", "2,1")
    for partition in 0, 1:
        wait_until(lambda: kcat(brokers[0], "-P", "-t", "t", "-p", partition, stdin="a\nb\n") == "", "a leader")
    brokers[1].process.send_signal(signal.SIGSTOP)
    try:
        told = deleted(brokers, tmp_path, 0, 1, config="request.timeout.ms=1000\ndefault.api.timeout.ms=3000\n")
    finally:
        brokers[1].process.send_signal(signal.SIGCONT)
    assert told["1"] == "low_watermark: 1"
    assert told["0"].startswith("error: org.apache.kafka.common.errors.TimeoutException: ")


def test_records_are_deleted_at_the_next_leader(make_cluster, tmp_path):
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1})
    topics(brokers[0], "--create", "--topic", "t", "--replica-assignment", "2:1")
    wait_until(lambda: kcat(brokers[0], "-P", "-t", "t", stdin="a\nb\n") == "", "a leader")
    wait_until(lambda: "Isr: 1,2" in topics(brokers[0], "--describe", "--topic", "t") or "Isr: 2,1" in topics(brokers[0], "--describe", "--topic", "t"), "both")
    brokers[1].kill()
    assert deleted(brokers, tmp_path, 0) == {"0": "low_watermark: 1"}
