"""DescribeConfigs beside Apache's broker: names, values, sources, types, and what is hidden."""

import json

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from harness import Apache, Barnabas, java, wait_until
from messages import Asker
from test_kafka_configs import ours, theirs

# What must differ: addresses and paths of the two, and what only one of them has.
OWN = {"listeners", "advertised.listeners", "log.dirs", "log.dir", "zookeeper.connect", "broker.id", "metrics.recording.level"}
SETTINGS = {"num.partitions": 3, "log.retention.hours": 24, "log.segment.bytes": 1 << 20, "ssl.keystore.password": "secret", "no.such.key": "x",
            "log.cleanup.policy": "compact,delete", "min.insync.replicas": 1, "zookeeper.session.timeout.ms": 6000}


@pytest.fixture
def both(make_broker, ensemble):
    def ask(kind, folder):
        broker = make_broker(kind=kind, data=folder, **SETTINGS, **{"zookeeper.connect": ensemble.chroot().connect})
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.bootstrap, "--create", "--topic", "t", "--config", "retention.ms=5",
             "--config", "cleanup.policy=delete")
        resources = [ConfigResource("broker", "0"), ConfigResource("topic", "t")]
        answers = [f.result() for f in (admin.describe_configs([r])[r] for r in resources)]
        text = java("kafka.admin.ConfigCommand", "--bootstrap-server", broker.bootstrap, "--describe", "--all", "--entity-type", "topics",
                    "--entity-name", "t")
        broker.stop()
        return answers, text

    return ask(Apache, "theirs"), ask(Barnabas, "ours")


def facts(entry):
    synonyms = [(s.name, s.value, s.source) for s in entry.synonyms.values()]
    return entry.value, entry.source, entry.is_read_only, entry.is_sensitive, synonyms


def test_describe_configs_says_what_apache_says(both):
    (theirs, their_text), (ours, our_text) = both
    for their, our, what in zip(theirs, ours, ("broker", "topic")):
        assert set(their) - set(our) - OWN == set(), what
        assert set(our) - set(their) - OWN == set(), what
        wrong = [(name, facts(their[name]), facts(our[name])) for name in sorted(set(their) - OWN) if facts(their[name]) != facts(our[name])]
        assert wrong == [], what
    assert sorted(our_text.splitlines()) == sorted(their_text.splitlines())


def test_a_broker_without_a_replica_knows_what_a_topic_was_made_with(make_broker):
    first, second = (make_broker(data=f"data-{i}", **{"broker.id": i}) for i in range(2))
    admin = AdminClient({"bootstrap.servers": first.bootstrap})
    admin.create_topics([NewTopic("here", 1, replica_assignment=[[0]], config={"cleanup.policy": "compact"})])["here"].result()
    for broker in first, second:
        with Asker(broker) as asker:  # so that no other broker is asked than this one
            answer = asker.get("DescribeConfigs", 4, {"Resources": [{"ResourceType": 2, "ResourceName": "here", "ConfigurationKeys": ["cleanup.policy"]}]})
        assert [c["Value"] for c in answer["Results"][0]["Configs"]] == ["compact"]


ALTERATIONS = [
    ("topics", "t", ["--add-config", "retention.ms=86400000,cleanup.policy=[compact,delete]"]),
    ("topics", "t", ["--add-config", "segment.bytes=1048576", "--delete-config", "retention.ms"]),
    ("topics", "t", ["--add-config", "retention.ms=soon"]),
    ("topics", "t", ["--add-config", "no.such.key=1"]),
    ("topics", "none", ["--add-config", "retention.ms=5"]),
    ("brokers", "0", ["--add-config", "log.retention.ms=7200000"]),
    ("brokers", None, ["--add-config", "log.retention.ms=3600000,log.segment.bytes=2097152"]),
    ("brokers", "0", ["--delete-config", "log.retention.ms"]),
    ("brokers", "0", ["--add-config", "log.retention.ms=never"]),
    ("brokers", "0", ["--add-config", "broker.id=5"]),
    ("brokers", "0", ["--add-config", "ssl.keystore.location=/none"]),
    ("brokers", None, ["--add-config", "advertised.listeners=PLAINTEXT://h:1"]),
    ("brokers", "0", ["--add-config", "listener.name.plaintext.ssl.key.password=secret"]),
    ("brokers", "0", ["--add-config", "num.io.threads=1000"]),
    ("brokers", "0", ["--add-config", "num.io.threads=3"]),
    ("brokers", "0", ["--add-config", "num.io.threads=4"]),
    ("brokers", "0", ["--delete-config", "num.io.threads"]),
    ("brokers", None, ["--add-config", "num.network.threads=7"]),
    ("brokers", None, ["--add-config", "num.replica.fetchers=0"]),
    ("brokers", None, ["--add-config", "background.threads=21"]),
    ("brokers", None, ["--add-config", "log.cleaner.threads=3"]),
    ("brokers", "0", ["--add-config", "my.own.key=5"]),
]


def answers_to_alterations(broker, zookeeper):
    java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.bootstrap, "--create", "--topic", "t", "--config", "retention.ms=5")
    found = []
    for kind, name, args in ALTERATIONS:
        entity = ["--entity-name", name] if name else ["--entity-default"]
        out = ours("--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", kind, *entity, *args)
        said = [line for line in out.splitlines() if line and not line.startswith(("Error while executing", "\tat ", "\tSuppressed", "\t..."))]
        shown = ours("--bootstrap-server", broker.bootstrap, "--describe", "--entity-type", kind, *entity)
        found.append((args, said, sorted(shown.splitlines()) if name in ("t", "0", None) else None))
    nodes = {f"{k}/{n}": json.loads(zookeeper.get(f"/config/{k}/{n}")) for k in ("topics", "brokers") for n in zookeeper.children(f"/config/{k}")}
    changes = sorted(json.loads(zookeeper.get(f"/config/changes/{c}"))["entity_path"] for c in zookeeper.children("/config/changes"))
    return found, nodes, changes


def test_settings_are_altered_as_by_apache(make_broker, ensemble):
    answers = []
    for kind in (Apache, Barnabas):
        zookeeper = ensemble.chroot()
        broker = make_broker(kind=kind, data=kind.__name__, **{"zookeeper.connect": zookeeper.connect})
        answers.append(answers_to_alterations(broker, zookeeper))
        broker.stop()
    (of_theirs, their_nodes, their_changes), (of_ours, our_nodes, our_changes) = answers
    for their, our in zip(of_theirs, of_ours):
        assert our == their
    assert our_nodes == their_nodes
    assert our_changes == their_changes


def retention(broker):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    entries = admin.describe_configs([ConfigResource("topic", "t")])
    entry = list(entries.values())[0].result()["retention.ms"]
    return entry.value, entry.source


def test_where_the_file_lies_is_told_to_nobody(broker):
    with Asker(broker) as asker:
        answer = asker.get("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 4, "ResourceName": "0", "Configs": [
            {"Name": "listener.security.protocol.map", "ConfigOperation": 0, "Value": ""}]}]})
    (found,) = answer["Responses"]
    assert found["ErrorCode"] == 42 and "broker-0.properties" in found["ErrorMessage"] and str(broker.data.parent) not in found["ErrorMessage"], found


def test_what_topics_have_by_default_follows_the_brokers_settings(broker):
    java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.bootstrap, "--create", "--topic", "t")
    assert retention(broker) == ("604800000", 5)
    for entity, value, source in ((["--entity-default"], "3600000", 3), (["--entity-name", "0"], "7200000", 2)):
        java("kafka.admin.ConfigCommand", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", "brokers", *entity, "--add-config",
             f"log.retention.ms={value}")
        wait_until(lambda: retention(broker) == (value, source), "the new default")
    broker.stop()
    broker.restart()
    assert retention(broker) == ("7200000", 2)


# ---- Loggers ----


SHOWN_LOGGERS = ["root", "kafka.controller.KafkaController", "org.apache.zookeeper.ClientCnxn"]
LOGGERS = [
    ["--alter", "--add-config", "kafka.controller.KafkaController=DEBUG"],
    ["--alter", "--add-config", "kafka.controller.KafkaController=OFF"],
    ["--alter", "--add-config", "kafka.controller.KafkaController=debug"],
    ["--alter", "--add-config", "org.apache.zookeeper.ClientCnxn=ERROR,kafka.controller.KafkaController=WARN"],
    ["--alter", "--add-config", "root=ERROR"],
    ["--alter", "--add-config", "root=INFO"],
    ["--alter", "--delete-config", "kafka.controller.KafkaController,org.apache.zookeeper.ClientCnxn"],
    ["--alter", "--delete-config", "root"],
    ["--alter", "--add-config", "no.such.logger=INFO"],
    ["--alter", "--add-config", "root=INFO", "--delete-config", "root"],
]


def answers_about_loggers(broker, tool):
    found = []
    tool("--bootstrap-server", broker.bootstrap, "--broker-logger", "0", "--alter", "--add-config", "root=INFO")
    for args in LOGGERS:
        said = tool("--bootstrap-server", broker.bootstrap, "--broker-logger", "0", *args)
        lines = [x for x in said.splitlines() if x and not x.startswith(("Error while", "\tat ", "\tSuppressed", "\t...", "Caused by"))]
        shown = tool("--bootstrap-server", broker.bootstrap, "--broker-logger", "0", "--describe")
        lines += [x for x in shown.splitlines() for name in SHOWN_LOGGERS if x.startswith(f"  {name}=")]
        found.append(sorted(lines))
    return found


@pytest.mark.long
def test_levels_of_loggers_are_altered_as_by_apache(make_broker, ensemble):
    answers = []
    for kind, tool in ((Apache, theirs), (Barnabas, theirs), (Barnabas, ours), (Apache, ours)):
        broker = make_broker(kind=kind, data=f"{kind.__name__}-{tool.__name__}", **{"zookeeper.connect": ensemble.chroot().connect})
        answers.append(answers_about_loggers(broker, tool))
        broker.stop()
    for args, *of_all in zip(LOGGERS, *answers):
        assert of_all[1:] == of_all[:1] * 3, args


def test_a_level_takes_effect_at_once_and_until_the_end(broker):
    at = ["--bootstrap-server", broker.bootstrap, "--broker-logger", "0"]
    event = "DEBUG [ControllerEventThread controllerId=0] Controller event"

    def create(topic):
        java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.bootstrap, "--create", "--topic", topic)

    create("a")
    assert event not in broker.text()
    ours(*at, "--alter", "--add-config", "controller=DEBUG")
    create("b")
    assert event in broker.text()
    ours(*at, "--alter", "--delete-config", "controller")
    seen = broker.text().count(event)
    create("c")
    assert broker.text().count(event) == seen
    for logger in "controller.events", "kafka.controller":
        seen = broker.text().count(event)
        ours(*at, "--alter", "--add-config", f"{logger}=DEBUG")
        create(logger)
        assert broker.text().count(event) > seen
        ours(*at, "--alter", "--delete-config", logger)
    broker.stop()
    broker.restart()
    assert "  controller.events=INFO " in ours(*at, "--describe")


def test_a_format_that_is_not_written_is_warned_of(make_broker):
    broker = make_broker(**{"inter.broker.protocol.version": "2.8"})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    formats = {"old": "0.10.2", "new": "0.11.0", "none": None}
    admin_topics = [NewTopic(t, 1, 1, config={"message.format.version": v} if v else {}) for t, v in formats.items()]
    for created in admin.create_topics(admin_topics).values():
        created.result(60)
    wait_until(lambda: "Topic old has message.format.version=0.10.2" in broker.text(), "the warning")
    broker.stop()
    broker.start()
    wait_until(lambda: broker.text().count("Topic old has message.format.version=0.10.2") >= 2, "it again")
    assert "Topic new has" not in broker.text() and "Topic none has" not in broker.text()
