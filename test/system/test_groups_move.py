"""Groups move between Apache's broker and barnabas, in both directions, and nothing of them is lost or comes back."""

import struct
import time

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from group_frames import Connection
from harness import JARS, JARS_4, PATIENCE, Apache, Barnabas, java, kcat, other, produce, wait_until
from test_group_protocol import create, open_coordinator, subscription, wait_for_topic
from transaction_frames import Connection as TransactionConnection

GROUP_COMMAND = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
NONE, LOADING = 0, 14
GROUPS = "static", "dynamic", "simple", "kept", "short", "emptied", "deleted", "never", "cleared"
BOTH_WAYS = pytest.mark.parametrize("kinds", [(Apache, Barnabas), (Barnabas, Apache)], ids=["Apache first", "barnabas first"])


def offsets(c, group, stable=False):
    answer = c.fetch([group], None, version=9, stable=stable)["groups"][0]
    assert answer["error"] == NONE
    return {(t["topic"], p["index"]): (p["offset"], p["metadata"]) for t in answer["topics"] for p in t["partitions"]}


def described(c, group):
    answer = c.describe(group)["groups"][0]
    answer["members"].sort(key=lambda m: m["id"])
    return answer


def leave_state(c, broker):
    """A group of each kind; what must be found of them wherever they go."""
    two = Connection(broker)
    a = c.join("static", instance="one", protocols=[("range", subscription("t", "u"))])["id"]
    two.send_join("static", instance="two", protocols=[("range", subscription("t"))])
    wait_until(lambda: c.heartbeat("static", a, 1, "one")["error"] == 27, "a rebalance")
    c.join("static", a, "one", protocols=[("range", subscription("t", "u"))])
    b = two.receive()["id"]
    two.send_sync("static", b, 2, "two")
    c.sync("static", a, 2, "one", [(a, b"for one"), (b, b"for two")])
    two.receive()
    c.commit("static", {"t": {0: 10, 1: 11}}, a, 2, "one", metadata="by one")
    d = c.join("dynamic", c.join("dynamic")["id"])["id"]
    c.sync("dynamic", d, 1, assignments=[(d, b"all")])
    c.commit("dynamic", {"t": {0: 20}}, d, 1, version=6)
    c.commit("simple", {"t": {0: 30}, "u": {1: 31}}, metadata="\u20ac")
    c.commit("kept", {"t": {0: 40}}, version=3, retention=7 * 24 * 3600 * 1000)
    e = c.join("emptied", instance="one")["id"]
    c.sync("emptied", e, 1, "one")
    c.commit("emptied", {"t": {0: 50}}, e, 1, "one")
    c.leave("emptied", (e, "one"))
    c.commit("deleted", {"t": {0: 60}})
    f = c.join("deleted", instance="one")["id"]
    c.sync("deleted", f, 1, "one")
    c.leave("deleted", (f, None))
    assert c.delete("deleted")["groups"] == [{"id": "deleted", "error": NONE}]
    c.commit("cleared", {"t": {0: 70, 1: 71}})
    c.offset_delete("cleared", {"t": [0]})
    two.close()
    return a, b, d


def find_state(c, members, generation=2):
    a, b, d = members
    static = described(c, "static")
    assert static["state"] == "Stable" and static["protocol"] == "range" and static["type"] == "consumer"
    assert {(m["id"], m["instance"], m["assignment"]) for m in static["members"]} == {(a, "one", b"for one"), (b, "two", b"for two")}
    assert {m["metadata"] for m in static["members"]} == {subscription("t", "u"), subscription("t")}
    assert c.heartbeat("static", a, generation, "one")["error"] == c.heartbeat("static", b, generation, "two")["error"] == NONE
    assert c.sync("static", b, generation, "two")["assignment"] == b"for two"
    assert c.heartbeat("dynamic", d, 1)["error"] == NONE
    assert offsets(c, "static") == {("t", 0): (10, "by one"), ("t", 1): (11, "by one")}
    assert offsets(c, "dynamic") == {("t", 0): (20, "")}
    assert offsets(c, "simple") == {("t", 0): (30, "\u20ac"), ("u", 1): (31, "\u20ac")}
    assert offsets(c, "kept") == {("t", 0): (40, "")}
    assert offsets(c, "emptied") == {("t", 0): (50, "")}
    assert offsets(c, "cleared") == {("t", 1): (71, "")}
    empty = described(c, "emptied")
    assert (empty["state"], empty["type"], empty["members"]) == ("Empty", "consumer", [])
    assert described(c, "simple")["type"] == ""
    for group in "deleted", "never":
        assert described(c, group)["state"] == "Dead" and offsets(c, group) == {}
    assert {g["id"] for g in c.list()["groups"]} == {"static", "dynamic", "simple", "kept", "emptied", "cleared"}


def start_other(broker, kind, request):
    broker.stop()
    broker.check_log()
    new = other(broker, kind)
    request.addfinalizer(new.stop)
    new.start()
    return new


@BOTH_WAYS
def test_there_and_back(make_broker, request, kinds):
    broker = make_broker(kind=kinds[0])
    create(broker, "t", "u")
    c = open_coordinator(broker, *GROUPS)
    members = leave_state(c, broker)
    find_state(c, members)
    broker = start_other(broker, kinds[1], request)
    c = open_coordinator(broker, *GROUPS)
    find_state(c, members)
    again = c.join("static", instance="two", protocols=[("range", subscription("t"))])  # the member's new process, here
    assert (again["error"], again["generation"]) == (NONE, 2)
    assert c.heartbeat("static", members[1], 2, "two")["error"] == 82
    members = members[0], again["id"], members[2]
    c.commit("never", {"t": {0: 80}})
    c.delete("never")
    broker = start_other(broker, kinds[0], request)
    c = open_coordinator(broker, *GROUPS)
    find_state(c, members)
    assert c.heartbeat("static", "gone", 2, "two")["error"] == 82
    broker.stop()
    broker.check_log()


@BOTH_WAYS
def test_what_has_expired_does_not_come_back(make_broker, request, kinds):
    broker = make_broker(kind=kinds[0], offsets_retention_check_interval_ms=100, offsets_retention_minutes=1)
    create(broker, "t", "u")
    c = open_coordinator(broker, *GROUPS)
    minutes_ago = int(time.time() * 1000) - 5 * 60000
    c.commit("simple", {"t": {0: 1}}, version=1, time=minutes_ago)
    c.commit("short", {"t": {0: 2}}, version=2, retention=1)
    c.commit("kept", {"t": {0: 3}}, version=4, retention=3600000)
    a = c.join("static", instance="one", protocols=[("range", subscription("t"))])["id"]
    c.sync("static", a, 1, "one")

    def only_subscribed():
        """All of it may go when the broker looks before it knows the subscription."""
        found = offsets(c, "static")
        if ("t", 0) not in found:
            c.commit("static", {"t": {0: 4}, "u": {0: 5}}, a, 1, version=1, time=minutes_ago)
        return found == {("t", 0): (4, "")}
    wait_until(only_subscribed, "expiry of what is not subscribed to")
    wait_until(lambda: not offsets(c, "simple") and not offsets(c, "short"), "expiry")
    wait_until(lambda: {g["id"] for g in c.list()["groups"]} == {"kept", "static"}, "the end of the groups")
    broker = start_other(broker, kinds[1], request)
    c = open_coordinator(broker, *GROUPS)
    assert not offsets(c, "simple") and not offsets(c, "short")
    assert offsets(c, "kept") == {("t", 0): (3, "")}
    assert offsets(c, "static") == {("t", 0): (4, "")}
    c.commit("short", {"t": {1: 7}}, version=2, retention=1)
    wait_until(lambda: not offsets(c, "short"), "expiry")
    broker = start_other(broker, kinds[0], request)
    c = open_coordinator(broker, *GROUPS)
    assert not offsets(c, "short") and not offsets(c, "simple")
    assert offsets(c, "kept") == {("t", 0): (3, "")}


def delete_topic(broker, topic):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics([topic])[topic].result(PATIENCE)


@BOTH_WAYS
def test_a_deleted_topic_takes_its_offsets_with_it(make_broker, request, kinds):
    broker = make_broker(kind=kinds[0])
    create(broker, "t", "u")
    c = open_coordinator(broker, *GROUPS)
    c.commit("simple", {"t": {0: 1, 1: 2}, "u": {0: 3}})
    c.commit("cleared", {"t": {0: 1}})
    delete_topic(broker, "t")
    wait_until(lambda: offsets(c, "simple") == {("u", 0): (3, "")}, "the offsets to go")
    assert described(c, "cleared")["state"] == "Dead"
    wait_until(lambda: not broker.zookeeper.client.exists("/admin/delete_topics/t"), "the end of the deletion")
    create(broker, "t")
    assert offsets(c, "simple") == {("u", 0): (3, "")}
    broker = start_other(broker, kinds[1], request)
    c = open_coordinator(broker, *GROUPS)
    assert offsets(c, "simple") == {("u", 0): (3, "")}
    assert described(c, "cleared")["state"] == "Dead"


@BOTH_WAYS
def test_offsets_of_an_open_transaction_move(make_broker, request, kinds):
    broker = make_broker(kind=kinds[0], transaction_state_log_num_partitions=1)
    create(broker, "t")
    c = open_coordinator(broker, *GROUPS)
    c.commit("simple", {"t": {0: 1, 1: 1}})
    settings = {"bootstrap.servers": broker.bootstrap}
    producers = [confluent_kafka.Producer({**settings, "transactional.id": name}) for name in ("kept", "lost")]
    consumer = confluent_kafka.Consumer({**settings, "group.id": "simple"})
    for i, p in enumerate(producers):
        p.init_transactions(PATIENCE)
        p.begin_transaction()
        p.send_offsets_to_transaction([TopicPartition("t", i, 9)], consumer.consumer_group_metadata(), PATIENCE)
    broker = start_other(broker, kinds[1], request)
    c = open_coordinator(broker, *GROUPS)
    assert offsets(c, "simple") == {("t", 0): (1, ""), ("t", 1): (1, "")}
    stable = c.fetch(["simple"], {"t": [0, 1]}, version=9, stable=True)["groups"][0]["topics"][0]["partitions"]
    assert [p["error"] for p in stable] == [88, 88]
    producers[0].commit_transaction(PATIENCE)
    producers[1].abort_transaction(PATIENCE)
    wait_until(lambda: offsets(c, "simple", True) == {("t", 0): (9, ""), ("t", 1): (1, "")}, "the ends of the transactions")
    broker = start_other(broker, kinds[0], request)
    c = open_coordinator(broker, *GROUPS)
    assert offsets(c, "simple", True) == {("t", 0): (9, ""), ("t", 1): (1, "")}
    consumer.close()


# ---- Between brokers that run ----


def find_coordinator(brokers, group):
    def look():
        for b in brokers:
            if not b.is_running():
                continue
            c = Connection(b)
            if c.fetch(group, {})["error"] == NONE:
                return c
            c.close()
        return None
    return wait_until(look, "a coordinator")


def test_a_coordinator_moves_within_a_mixed_cluster(make_broker):
    """The one that coordinates stops, again and again; members stay members, and find their offsets."""
    settings = {"offsets_topic_replication_factor": 2, "offsets_topic_num_partitions": 1, "default_replication_factor": 2,
                "controlled_shutdown_retry_backoff_ms": 500, "auto_leader_rebalance_enable": "false"}
    brokers = [make_broker(kind=kind, data=f"data-{i}", broker_id=i, **settings) for i, kind in enumerate((Apache, Barnabas))]
    wait_until(lambda: all(kcat(b, "-L").count("  broker ") == 2 for b in brokers), "both brokers")
    kcat(brokers[0], "-P", "-t", "t", stdin="x\n")
    wait_for_topic(brokers[0])
    a, coordinators = None, []
    for offset in range(4):
        c = find_coordinator(brokers, "g")
        if a is None:
            a = c.join("g", instance="one")["id"]
            c.sync("g", a, 1, "one", [(a, b"mine")])
        assert c.commit("g", {"t": {0: offset}}, a, 1, "one")["topics"][0]["partitions"][0]["error"] == NONE
        coordinators.append(type(c.broker))
        c.broker.stop()
        moved = find_coordinator(brokers, "g")
        assert moved.heartbeat("g", a, 1, "one")["error"] == NONE
        assert moved.sync("g", a, 1, "one")["assignment"] == b"mine"
        assert offsets(moved, "g") == {("t", 0): (offset, "")}
        c.broker.restart()
        wait_until(lambda: kcat(moved.broker, "-L", "-t", "__consumer_offsets").count("isrs: 0,1") + kcat(
            moved.broker, "-L", "-t", "__consumer_offsets").count("isrs: 1,0") == 1, "both replicas in sync")
    assert set(coordinators) == {Apache, Barnabas}


# ---- Apache's tool ----


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_apaches_group_tool(broker, jars):
    create(broker, "t", "u")
    produce(broker, "t", [str(i) for i in range(10)], "-p", "0")
    tool = (GROUP_COMMAND, "--bootstrap-server", broker.bootstrap)
    c = open_coordinator(broker, "reader", "simple", "workers")
    a = c.join("reader", instance="one", protocols=[("range", subscription("t"))])["id"]
    c.sync("reader", a, 1, "one", [(a, struct.pack(">hih", 0, 1, 1) + b"t" + struct.pack(">iii", 1, 0, -1))])
    c.commit("reader", {"t": {0: 4}, "u": {0: 0}}, a, 1, "one")
    c.commit("simple", {"t": {0: 7}})
    assert set(java(*tool, "--list", jars=jars).split()) == {"reader", "simple"}
    assert "Stable" in java(*tool, "--list", "--state", "Stable", jars=jars)
    assert "simple" not in java(*tool, "--list", "--state", "Stable", jars=jars)
    assert "Classic" in java(*tool, "--list", "--type", "classic", jars=jars)
    assert java(*tool, "--list", "--type", "consumer", jars=jars).split() in ([], ["GROUP", "TYPE"])
    members = java(*tool, "--describe", "--group", "reader", "--members", "--verbose", jars=jars)
    assert "one" in members and ("(0)" in members or "t:0" in members), members
    lag = [line.split() for line in java(*tool, "--describe", "--group", "reader", jars=jars).splitlines()]
    assert ["reader", "t", "0", "4", "10", "6"] in [line[:6] for line in lag], lag
    assert "subscribed to" in java(*tool, "--delete-offsets", "--group", "reader", "--topic", "t:0", check=False, jars=jars)
    java(*tool, "--delete-offsets", "--group", "reader", "--topic", "u:0", jars=jars)
    assert offsets(c, "reader") == {("t", 0): (4, "")}
    java(*tool, "--reset-offsets", "--group", "simple", "--topic", "t:0", "--to-offset", 2, "--execute", jars=jars)
    assert offsets(c, "simple") == {("t", 0): (2, "")}
    out = java(*tool, "--delete", "--group", "simple", "--group", "reader", check=False, jars=jars)
    assert "simple" in out and "GroupNotEmptyException" in out, out
    assert java(*tool, "--list", jars=jars).split() == ["reader"]


def test_what_was_seen_is_what_is_loaded(make_broker):
    """Commits and deletions race for the same offsets: whichever was last, a restart finds it so."""
    broker = make_broker(num_io_threads=8, offsets_topic_num_partitions=1, offsets_load_buffer_size=100)
    create(broker, "t")
    groups = [f"g{i}" for i in range(150)]
    racers = [open_coordinator(broker, *GROUPS)] + [Connection(broker) for _ in range(5)]
    for g in groups:
        racers[0].commit(g, {"t": {0: 1}})
        for i, c in enumerate(racers[:5]):
            c.send_commit(g, {"t": {0: 10 + i}})
        racers[5].offset_delete(g, {"t": [0]})
        for c in racers[:5]:
            c.receive()
    seen = {g: offsets(racers[0], g) for g in groups}
    broker.kill()
    broker.restart()
    c = open_coordinator(broker, *GROUPS)
    found = {g: offsets(c, g) for g in groups}
    assert found == seen, {g: (seen[g], found[g]) for g in groups if seen[g] != found[g]}


@pytest.mark.parametrize("kind", [Apache, Barnabas])
def test_who_runs_finds_everything_where_it_was_when_partitions_are_added(make_broker, kind):
    """To the topics of the coordinators, whose number says where a key belongs: it stays what the broker has begun with."""
    broker = make_broker(kind=kind, offsets_topic_num_partitions=5, transaction_state_log_num_partitions=5)
    c, t = open_coordinator(broker), TransactionConnection(broker)
    groups = [f"g-{n}" for n in range(20)]
    create(broker, "t")
    for n, g in enumerate(groups):
        wait_until(lambda n=n, g=g: c.commit(g, {"t": {0: n}})["topics"][0]["partitions"][0]["error"] == NONE, "a commit")
    ids = [f"x-{n}" for n in range(10)]
    wait_until(lambda: t.find_coordinator("x")["error"] == NONE, "the coordinator of transactions")
    begun = {x: wait_until(lambda x=x: next((a for a in [t.init(x)] if a["error"] == NONE), None), x) for x in ids}
    for x, p in begun.items():
        assert t.add_partitions(x, p["producer"], p["epoch"], {"t": [0]})["topics"][0]["partitions"][0]["error"] == NONE
    for topic in "__consumer_offsets", "__transaction_state":
        java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.bootstrap, "--alter", "--topic", topic, "--partitions", "7")
    wait_until(lambda: kcat(broker, "-L").count("with 7 partitions") == 2, "the new partitions")
    for n, g in enumerate(groups):
        assert offsets(c, g) == {("t", 0): (n, "")}
        assert c.commit(g, {"t": {0: 100 + n}})["topics"][0]["partitions"][0]["error"] == NONE
    for x, p in begun.items():
        assert t.end(x, p["producer"], p["epoch"], True)["error"] == NONE
    wait_until(lambda: {x["state"] for x in t.describe(*ids)["transactions"]} == {"CompleteCommit"}, "the ends")
    wait_until(lambda: t.list()["error"] == LOADING, "what is not loaded")
    if kind is Barnabas:
        for topic in "__consumer_offsets", "__transaction_state":
            assert f"The number of partitions of {topic} was changed from 5 to 7" in broker.text()
        assert broker.text().count("is not loaded") == 2 # the new ones of transactions
    c.close(), t.close()
