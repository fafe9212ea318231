"""DescribeConfigs beside Apache's broker: names, values, sources, types, and what is hidden."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource
from harness import Apache, Barnabas, java

# What must differ: addresses and paths of the two, and what only one of them has.
OWN = {"listeners", "advertised.listeners", "log.dirs", "log.dir", "zookeeper.connect", "broker.id", "metrics.recording.level"}
SETTINGS = {"num.partitions": 3, "log.retention.hours": 24, "log.segment.bytes": 1 << 20, "ssl.keystore.password": "secret", "no.such.key": "x",
            "log.cleanup.policy": "compact,delete", "min.insync.replicas": 1}


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
