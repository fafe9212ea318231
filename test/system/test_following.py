"""What a follower asks its leader, and by which names: topics without ids."""

import json

import pytest
from harness import Apache, Barnabas, wait_until
from test_cluster import Acknowledged, create, in_sync, make_cluster, read_all  # noqa: F401 (a fixture)

PROTOCOL = "inter.broker.protocol.version"


def test_who_was_away_is_in_sync_again_where_topics_have_no_ids_between_brokers(make_cluster):  # noqa: F811
    """Orders have had them since 2.8-IV1."""
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, **{PROTOCOL: "2.8-IV0"})
    create(brokers, "t", 3)
    sent = Acknowledged(brokers, "t")
    for broker in brokers:
        broker.stop()
        sent.send(100, 3)
        sent.flush()
        broker.start()
        wait_until(lambda: in_sync(brokers, "t", 3), "all in sync again")
    assert not list(brokers[0].data.glob("t-*/partition.metadata"))
    found = read_all(brokers, "t", 3)
    assert {k: found.get(k) for k in sent.records} == sent.records


@pytest.mark.long
def test_topics_get_their_ids_while_they_are_led_and_followed(make_cluster):  # noqa: F811
    """Apache's first controller knows of no ids. The next one gives them, in the leader epochs that there are."""
    brokers = make_cluster(Apache, Apache, Barnabas, each=lambda b: {PROTOCOL: "2.7"} if isinstance(b, Apache) else {})
    chroot = brokers[0].zookeeper
    create(brokers, "t", 6)
    assert json.loads(chroot.get("/controller"))["brokerid"] == 1 and "topic_id" not in json.loads(chroot.get("/brokers/topics/t"))
    sent = Acknowledged(brokers, "t")
    ours = brokers[2]

    def while_it_is_away(broker):
        broker.stop()
        sent.send(120, 6)
        sent.flush()
        broker.start()
        wait_until(lambda: in_sync(brokers, "t", 3), f"all in sync again\n{ours.text()[-3000:]}", 60)

    while_it_is_away(ours)
    for broker in (brokers[1], brokers[0]):
        del broker.properties[PROTOCOL]
        while_it_is_away(broker)
    wait_until(lambda: "topic_id" in json.loads(chroot.get("/brokers/topics/t")), "the id")
    wait_until(lambda: len(list(ours.data.glob("t-*/partition.metadata"))) == 6, "it to be known")
    while_it_is_away(brokers[1])
    while_it_is_away(ours)
    found = read_all(brokers, "t", 6)
    assert {k: found.get(k) for k in sent.records} == sent.records
