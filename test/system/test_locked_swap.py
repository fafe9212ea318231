"""
A running Apache cluster behind locks is swapped to barnabas one broker at a time, and back: brokers and clients log in by SCRAM over TLS,
clients may do what they do and no more, and ZooKeeper lets only brokers write.
"""

import pytest
from harness import Apache
from locks import Locks, denials, let_in
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_swap import UNHURRIED, swap_under_load
from test_zookeeper_security import acls, authority, locked, login, zookeeper  # noqa: F401 (fixtures)

pytestmark = pytest.mark.long


def test_a_locked_cluster_is_swapped_under_load_and_back(make_cluster, zookeeper, tmp_path, request):  # noqa: F811
    opens = login(tmp_path)
    locks = Locks(zookeeper, tmp_path, opens)

    def settings(broker):
        broker.env = {**opens, "JDK_JAVA_OPTIONS": opens["KAFKA_OPTS"]}
        return {**locks.settings(broker), "zookeeper.set.acl": "true"}

    brokers = make_cluster(Apache, Apache, Apache, each=settings, **UNHURRIED)
    let_in(brokers, "w1", "--operation Write --topic facts")
    let_in(brokers, "r1", "--operation Read --topic facts", "--operation Describe --group r1")
    for name in "m1", "m2":
        let_in(brokers, name, "--operation Read --topic facts --group members")
    let_in(brokers, "k1", "--operation Write --topic latest")
    ours = swap_under_load(brokers, Apache, locks.librdkafka, request)
    assert not denials(ours)
    for path in "/brokers/topics/facts", "/brokers/ids/1", "/controller", "/kafka-acl/Topic/facts":
        assert acls(zookeeper, path) == {("sasl", "kafka", 31), ("world", "anyone", 1)}, path
