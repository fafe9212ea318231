"""KIP-951: who asks the wrong broker, or by an old epoch, is told who leads and where that is."""

import pytest
from batches import make_batch, make_record
from harness import Apache, Barnabas, free_port, wait_until
from messages import Asker
from test_cluster import describe, in_sync, make_cluster, topics  # noqa: F401 (a fixture)

NOT_LEADER, FENCED = 6, 74
NOBODY = {"LeaderId": -1, "LeaderEpoch": -1}
RACKS = {"1": "one", "2": None}
KINDS = pytest.mark.parametrize("kind", [Barnabas, Apache])


def two_listeners(broker):
    """Which others are told of goes by the listener that was asked."""
    broker.second = free_port()
    rack = RACKS[broker.properties["broker.id"]]
    return {"listeners": f"{broker.properties['listeners']},SECOND://127.0.0.1:{broker.second}", "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT", **({"broker.rack": rack} if rack else {})}


class Second:
    """A broker by its other listener."""

    def __init__(self, broker):
        self.port = broker.second


def node(broker, port):
    number = broker.properties["broker.id"]
    return {"NodeId": int(number), "Host": "127.0.0.1", "Port": port, "Rack": RACKS[number]}


def fetch(broker, version, *wanted):
    """Of (topic, its id, partition, leader epoch): the answer, by partition in the order in which it is answered."""
    asked = [{**({"TopicId": topic_id} if version >= 13 else {"Topic": topic}),
              "Partitions": [{"Partition": p, "CurrentLeaderEpoch": epoch, "PartitionMaxBytes": 1000}]} for topic, topic_id, p, epoch in wanted]
    with Asker(broker) as asker:
        answer = asker.get("Fetch", version, {"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 1, "MaxBytes": 1000, "SessionEpoch": -1, "Topics": asked})
    return outcome(answer, [p for t in answer["Responses"] for p in t["Partitions"]])


def produce(broker, version, topic, *partitions):
    data = [{"Index": p, "Records": make_batch([make_record(0)])} for p in partitions]
    with Asker(broker) as asker:
        answer = asker.get("Produce", version, {"Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": topic, "PartitionData": data}]})
    return outcome(answer, [p for t in answer["Responses"] for p in t["PartitionResponses"]])


def outcome(answer, partitions):
    return [(p["ErrorCode"], p.get("CurrentLeader", NOBODY)) for p in partitions], answer.get("NodeEndpoints", [])


def id_of(broker, topic):
    with Asker(broker) as asker:
        return asker.get("Metadata", 12, {"Topics": [{"Name": topic}]})["Topics"][0]["TopicId"]


@KINDS
def test_who_asks_the_wrong_broker_is_told_the_right_one(make_cluster, kind):  # noqa: F811
    brokers = make_cluster(kind, kind, each=two_listeners, **{"min.insync.replicas": 1})
    topics(brokers, "--create", "--topic", "alone", "--replica-assignment", "1,1,2")
    one, two = brokers
    wait_until(lambda: all(len(describe([b], "alone")) == 3 for b in brokers), "both to know the topic")
    wait_until(lambda: produce(one, 9, "alone", 0, 1)[0] == [(0, NOBODY)] * 2, "its leader")
    wait_until(lambda: produce(two, 9, "alone", 2)[0] == [(0, NOBODY)], "the other one's leader")
    topic_id, leader = id_of(two, "alone"), {"LeaderId": 1, "LeaderEpoch": 0}
    wanted = [("alone", topic_id, p, -1) for p in (0, 1)]
    for version in (12, 15):
        assert fetch(two, version, *wanted) == ([(NOT_LEADER, NOBODY)] * 2, [])
    for version in (16, 17):
        assert fetch(two, version, *wanted) == ([(NOT_LEADER, leader)] * 2, [node(one, one.port)])
        assert fetch(Second(two), version, *wanted) == ([(NOT_LEADER, leader)] * 2, [node(one, one.second)])
    assert produce(two, 9, "alone", 0, 1) == ([(NOT_LEADER, NOBODY)] * 2, [])
    for version in (10, 11):
        assert produce(two, version, "alone", 0, 1) == ([(NOT_LEADER, leader)] * 2, [node(one, one.port)])
        assert produce(Second(two), version, "alone", 1) == ([(NOT_LEADER, leader)], [node(one, one.second)])
        assert produce(one, version, "alone", 2) == ([(NOT_LEADER, {"LeaderId": 2, "LeaderEpoch": 0})], [node(two, two.port)])
    one.stop()
    wait_until(lambda: describe([two], "alone")[0][0] is None, "nobody to lead it")
    gone = [(NOT_LEADER, {"LeaderId": -1, "LeaderEpoch": 1})]
    assert fetch(two, 17, wanted[0]) == produce(two, 11, "alone", 0) == (gone, [])


@KINDS
def test_who_asks_by_an_old_epoch_is_told_the_new_one(make_cluster, kind):  # noqa: F811
    brokers = make_cluster(kind, kind, each=two_listeners, **{"min.insync.replicas": 1, "auto.leader.rebalance.enable": "false"})
    topics(brokers, "--create", "--topic", "both", "--replica-assignment", "2:1")
    wait_until(lambda: in_sync(brokers, "both", 2), "both in sync")
    one, two = brokers
    two.stop()
    two.start()
    wait_until(lambda: all(describe([b], "both").get(0) == (1, [2, 1], [1, 2]) for b in brokers), "another leader, of which both know")
    topic_id = id_of(one, "both")
    epoch = next(e for e in range(1, 9) if fetch(one, 15, ("both", topic_id, 0, e))[0][0][0] == 0)
    wanted, leader = ("both", topic_id, 0, 0), {"LeaderId": 1, "LeaderEpoch": epoch}
    wait_until(lambda: fetch(two, 17, wanted)[0] == [(FENCED, leader)], "the other replica to follow by that epoch")
    for broker in brokers:
        assert fetch(broker, 15, wanted) == ([(FENCED, NOBODY)], [])
        assert fetch(broker, 17, wanted) == ([(FENCED, leader)], [node(one, one.port)])
    assert produce(two, 11, "both", 0) == ([(NOT_LEADER, leader)], [node(one, one.port)])

